"""A child process of `up`: its own session and notify socket, its last words, its death noticed by pidfd."""

from __future__ import annotations

import array
import contextlib
import ctypes
import os
import re
import secrets
import select
import signal
import socket
import struct
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from energyctl.up.core import Notified, Role
from energyctl.up.proc import stat_field

LAST_LINES_MAX: Final = 20
_LINE_BYTES_MAX: Final = 4096  # a daemon that writes without a line's end must not grow us
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PREFIX = re.compile(
    r"^<[0-7]>"
)  # the journal's priority, which a daemon writes when nobody keeps a terminal
_UCRED = struct.Struct("=iII")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Command:
    """What is started, under which name."""

    name: str
    role: Role
    argv: tuple[str, ...]


@dataclass(slots=True)
class Child:
    """A running child and the descriptors that tell about it."""

    command: Command
    process: subprocess.Popen[bytes]
    pidfd: int
    notify: socket.socket
    output_fd: int
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES_MAX))
    _partial: bytes = b""

    @property
    def pid(self) -> int:
        """The child's process id, which is also its process group and session."""
        return self.process.pid

    def notifications(self) -> Iterator[Notified]:
        """What waits on the notify socket, from this very process only (`NotifyAccess=main`)."""
        space = socket.CMSG_SPACE(_UCRED.size) + socket.CMSG_SPACE(16 * array.array("i").itemsize)
        while True:
            try:
                data, ancillary, _flags, _address = self.notify.recvmsg(4096, space)
            except BlockingIOError:
                return
            if _sender(ancillary) == self.pid:
                yield parse_notification(self.command.name, data)

    def read_output(self) -> list[str]:
        """Whole lines that have come since the last time; the pipe is read until it would block."""
        lines: list[bytes] = []
        while True:
            try:
                data = os.read(self.output_fd, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            *whole, self._partial = (self._partial + data).split(b"\n")
            self._partial = self._partial[-_LINE_BYTES_MAX:]
            lines += whole
        return self._keep(lines)

    def flush_output(self) -> list[str]:
        """What is left at the child's end: the last line may lack its end."""
        lines = self.read_output()
        rest, self._partial = self._partial, b""
        return lines + self._keep([rest] if rest else [])

    def _keep(self, lines: list[bytes]) -> list[str]:
        texts = [_PREFIX.sub("", line[-_LINE_BYTES_MAX:].decode("utf-8", "replace")) for line in lines]
        self.last_lines.extend(texts)
        return texts

    def send(self, number: signal.Signals) -> None:
        """Signal the child itself; a child that is gone is no error."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def kill_group(self) -> None:
        """SIGKILL to the child and all that stayed in its group; safe only until it has been reaped."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Take the dead child's exit code. Its group goes first, while the zombie still holds the number."""
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
        self.kill_group()
        return self.process.wait()

    def close(self) -> None:
        """Close what told about the child."""
        os.close(self.pidfd)
        os.close(self.output_fd)
        self.notify.close()


def spawn(command: Command, environ: Mapping[str, str], life_fd: int) -> Child:
    """Start a child that dies with us. `life_fd` is a pidfd of this process."""
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    # An abstract address leaves nothing behind, however we die; its number cannot be guessed and squatted.
    address = f"energy-market/{os.getpid()}/{secrets.token_hex(8)}"
    notify.bind(f"\0{address}")
    notify.setblocking(False)
    output_fd, child_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(output_fd, False)
    try:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=child_end,
            stderr=child_end,
            env={**environ, "NOTIFY_SOCKET": f"@{address}"},
            start_new_session=True,
            # We are one thread, so the child may run Python between fork and exec.
            preexec_fn=lambda: die_with_parent(life_fd),  # noqa: PLW1509
        )
    finally:
        os.close(child_end)
    return Child(command, process, os.pidfd_open(process.pid), notify, output_fd)


def die_with_parent(life_fd: int) -> None:
    """Run in the child: SIGKILL when the parent dies, and at once if it already has."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if select.select([life_fd], [], [], 0)[0]:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind, so that it can be found and reaped."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER failed")


def kill_orphans() -> int:
    """SIGKILL and reap every child we still have; the answer is how many there were."""
    count = 0
    for pid in children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while True:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED)
        except ChildProcessError:
            return count
        count += 1
        # what that one had left behind is ours now
        for pid in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def children() -> list[int]:
    """Process ids of our children, the adopted ones included."""
    me = os.getpid()
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if stat_field(pid, 4) == str(me)]


def parse_notification(name: str, data: bytes) -> Notified:
    """The assignments of an sd_notify datagram that a supervisor acts on."""
    ready = stopping = False
    status: str | None = None
    for line in data.decode("utf-8", "replace").split("\n"):
        key, _, value = line.partition("=")
        if key == "READY":
            ready = value == "1"
        elif key == "STOPPING":
            stopping = value == "1"
        elif key == "STATUS":
            status = value[:200]
    return Notified(name, ready, stopping, status)


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    pid = None
    for level, kind, data in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_CREDENTIALS:
            pid = _UCRED.unpack(data[: _UCRED.size])[0]
        elif kind == socket.SCM_RIGHTS:
            # nobody asked for descriptors: keep none
            for fd in array.array("i", data[: len(data) - len(data) % 4]):
                os.close(fd)
    return pid

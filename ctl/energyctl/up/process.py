"""A child process of `up`: its own session and notify socket, its last words, its death noticed by pidfd."""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import os
import re
import resource
import secrets
import select
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from energyctl.up.events import Notified
from energyctl.up.life import Role
from energyctl.up.policy import Policy, of_unit
from energyctl.up.proc import stat_field

LAST_LINES_MAX: Final = 20
_LINE_BYTES_MAX: Final = 4096  # a daemon that writes without a line's end must not grow us
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PREFIX = re.compile(
    r"^<[0-7]>"
)  # the journal's priority, which a daemon writes when nobody keeps a terminal
_UCRED = struct.Struct("=iII")
_FIRST_LISTENING: Final = 3  # sd_listen_fds(3)
_SPAN_US_MAX: Final = 86_400_000_000  # a day: nobody starts, stops or is silent for longer
_OURS: Final = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
EXIT_NOT_STARTED: Final = 127  # of a shell that finds no program

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Listen:
    """A listening socket that outlives the daemon which serves it: a file's path, or host and port."""

    name: str  # FileDescriptorName= of the socket's unit
    at: Path | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Command:
    """What is started, under which name, and as which unit it is known, here as under systemd."""

    name: str
    role: Role
    argv: tuple[str, ...]
    unit: str
    required: bool = True  # the first start fails without it
    listens: tuple[Listen, ...] = ()

    @property
    def policy(self) -> Policy:
        """How it is watched and restarted."""
        return of_unit(self.unit)


@dataclass(slots=True)
class Child:
    """A running child and the descriptors that tell about it."""

    command: Command
    pid: int  # which is also its process group and session
    pidfd: int
    notify: socket.socket
    output_fd: int
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES_MAX))
    reaped: bool = False
    _partial: bytes = b""

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

    def send(self, *numbers: signal.Signals) -> None:
        """Signal the child itself; a child that is gone is no error."""
        with contextlib.suppress(ProcessLookupError):
            for number in numbers:
                signal.pidfd_send_signal(self.pidfd, number)

    def kill_group(self) -> None:
        """SIGKILL to the child and all that stayed in its group; safe only until it has been reaped."""
        if not self.reaped:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Take the dead child's exit code. Its group goes first, while the zombie still holds the number."""
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
        self.kill_group()
        gone = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        self.reaped = True
        if gone is None:
            raise ChildProcessError(f"{self.command.name} (process {self.pid}) was reaped by somebody else")
        return gone.si_status if gone.si_code == os.CLD_EXITED else -gone.si_status

    def close(self) -> None:
        """Close what told about the child."""
        os.close(self.pidfd)
        os.close(self.output_fd)
        self.notify.close()


def spawn(
    command: Command, environ: Mapping[str, str], life_fd: int, sockets: Sequence[socket.socket] = ()
) -> Child:
    """Start a child that dies with us. `life_fd` is a pidfd of this process; it inherits the sockets.

    Raises OSError where there is no process, no descriptor or no program to be had.
    """
    with contextlib.ExitStack() as stack:
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        stack.callback(notify.close)
        notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # An abstract address leaves nothing behind, however we die; its number cannot be guessed.
        address = f"energy-market/{os.getpid()}/{secrets.token_hex(8)}"
        notify.bind(f"\0{address}")
        notify.setblocking(False)
        output_fd, child_end = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, output_fd)
        os.set_blocking(output_fd, False)
        watched_us = int(command.policy.watchdog_s * 1e6)
        told = {**environ, "NOTIFY_SOCKET": f"@{address}"}
        told |= {"WATCHDOG_USEC": str(watched_us)} if watched_us else {}
        # A signal that came to the child before it has forgotten our handlers would be told to us as ours.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            # We are one thread, so the child may run Python between fork and exec.
            pid = os.fork()
            if pid == 0:
                _become(command, told, life_fd, child_end, sockets)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(child_end)
        child = Child(command, pid, _pidfd(pid), notify, output_fd)
        stack.pop_all()
    return child


def _pidfd(pid: int) -> int:
    """The descriptor that tells of a child's death; without one the child cannot stay."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _become(
    command: Command, environ: dict[str, str], life_fd: int, output_fd: int, sockets: Sequence[socket.socket]
) -> NoReturn:
    """In the child: leave our session, die with us, take the descriptors, and be that program."""
    try:
        os.setsid()
        die_with_parent(life_fd)
        for number in _OURS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # LimitCORE=0: the watchdog's SIGABRT leaves a stack
        null_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        # First out of the way of the numbers that are about to be taken.
        free_fd = _FIRST_LISTENING + len(sockets)
        parts = [null_fd, output_fd, output_fd, *(each.fileno() for each in sockets)]
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, free_fd) for fd in parts]
        for place, fd in enumerate(moved):
            os.dup2(fd, place)
        if sockets:
            environ["LISTEN_PID"], environ["LISTEN_FDS"] = str(os.getpid()), str(len(sockets))
            environ["LISTEN_FDNAMES"] = ":".join(listen.name for listen in command.listens)
        os.execve(command.argv[0], command.argv, environ)  # noqa: S606 - no shell: this is the daemon's start
    except OSError as error:
        sys.stderr.write(f"{command.argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
    finally:
        os._exit(EXIT_NOT_STARTED)


def die_with_parent(life_fd: int) -> None:
    """Run in the child: SIGKILL when the parent dies, and at once if it already has."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if select.select([life_fd], [], [], 0)[0]:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind, so that it can be found and reaped."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER failed")


def kill_orphans(known: Iterable[int] = ()) -> int:
    """SIGKILL every child that is not known: what the dead have left behind is ours. How many there were."""
    strange = set(children()) - set(known)
    for pid in strange:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(strange)


def reap_orphans(known: Iterable[int] = ()) -> None:
    """Take the dead that are not known; those that are have an owner who asks for their exit code."""
    known = set(known)
    for pid in children():
        if pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def end_orphans() -> None:
    """SIGKILL and reap every child we still have, and what they leave behind in turn."""
    kill_orphans()
    while True:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED)
        except ChildProcessError:
            return
        kill_orphans()


def children() -> list[int]:
    """Process ids of our children, the adopted ones included."""
    me = os.getpid()
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if stat_field(pid, 4) == str(me)]


def parse_notification(name: str, data: bytes) -> Notified:
    """The assignments of an sd_notify datagram that a supervisor acts on; the last of a name counts."""
    said = dict(line.split("=", 1) for line in data.decode("utf-8", "replace").split("\n") if "=" in line)
    status = said.get("STATUS")
    return Notified(
        name,
        ready=said.get("READY") == "1",
        stopping=said.get("STOPPING") == "1",
        status=None if status is None else status[:200],
        alive=said.get("WATCHDOG") == "1",
        trigger=said.get("WATCHDOG") == "trigger",
        watchdog_s=_span_s(said.get("WATCHDOG_USEC")),
        extend_s=_span_s(said.get("EXTEND_TIMEOUT_USEC")),
    )


def _span_s(text: str | None) -> float | None:
    """Microseconds as seconds; None for what is no number, or longer than a day."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > len(str(_SPAN_US_MAX)):
        return None
    return min(int(text), _SPAN_US_MAX) / 1e6


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

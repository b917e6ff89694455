"""Listening Unix sockets: made by path without stealing a live one, or inherited from systemd."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import stat
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FIRST_INHERITED: Final = 3
"""sd_listen_fds(3): inherited descriptors begin here."""

INHERITED_MAX: Final = 64

LOCK_TRIES: Final = 40
LOCK_TRY_MS: Final = 50
"""Two seconds for another process that is just making its socket in the same directory."""


class InUse(Exception):
    """A living process answers at this path (exit code 73)."""


@dataclass(frozen=True, slots=True)
class Made:
    """A socket file that this process made: removed only while it is still the same file."""

    path: Path
    device: int
    inode: int

    def remove(self) -> None:
        """Remove the file unless it is gone or somebody else's by now."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return
        if (found.st_dev, found.st_ino) == (self.device, self.inode):
            self.path.unlink(missing_ok=True)


def listen(path: Path, mode: int, backlog: int) -> tuple[socket.socket, Made]:
    """Listen at a path with these file permissions; a dead process's socket file is replaced.

    Raises InUse if somebody lives there, FileExistsError if the path is something else than a socket.
    The mode is set before listen(2), so nobody connects under the wider one.
    """
    with _locked(path.parent):
        _clear(path)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.bind(str(path))
            path.chmod(mode)
            made.listen(backlog)
        except BaseException:
            made.close()
            raise
        found = path.lstat()
    return made, Made(path, found.st_dev, found.st_ino)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory while looking, removing and binding: two starts at once cannot both win."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    """flock(2) has no time-out, so the lock is asked for again until the bound."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            select.poll().poll(LOCK_TRY_MS)
        else:
            return
    message = f"{directory}: another process is starting in it"
    raise InUse(message)


def _clear(path: Path) -> None:
    """Remove a socket file nobody listens at."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, "is there and is no socket", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        outcome = probe.connect_ex(str(path))
    if outcome != errno.ECONNREFUSED:
        # 0 is a peer, EAGAIN a peer with a full backlog, EACCES a socket that is not ours to judge.
        message = f"{path}: another process answers there"
        raise InUse(message)
    path.unlink()


def inherited(environ: MutableMapping[str, str], pid: int) -> dict[str, socket.socket]:
    """The listening sockets systemd passed, by FileDescriptorName; empty without socket activation.

    Takes the variables out of `environ`, so that no child believes they are meant for it.
    """
    count = environ.pop("LISTEN_FDS", "")
    meant_for = environ.pop("LISTEN_PID", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if meant_for != str(pid) or not count.isascii() or not count.isdigit() or int(count) > INHERITED_MAX:
        return {}
    found: dict[str, socket.socket] = {}
    for place in range(int(count)):
        descriptor = FIRST_INHERITED + place
        os.set_inheritable(descriptor, False)
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            continue  # the descriptor store passes other things the same way
        adopted = socket.socket(fileno=descriptor)
        if not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            adopted.detach()
            continue
        adopted.setblocking(False)
        found[names[place] if place < len(names) else str(place)] = adopted
    return found

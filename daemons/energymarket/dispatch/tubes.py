"""The named pipes of a worker: dwtubeN from the dispatcher, wdtubeN to it. They carry tokens only.

Either side makes what is missing, so every start order works. Each opens its reading end before it tries
the other's: one of the two always finds the other there. A death is told by the kernel (POLLHUP).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from energymarket.dispatch.tokens import FRAME_BYTES, Token, TokenReader
from energymarket.exits import ConfigError, Failure, SecondInstance, exit_of

_NOBODY = frozenset({errno.ENXIO, errno.EPIPE, errno.ENOENT, errno.EMFILE, errno.ENFILE})
"""Nobody reads there, or we have no descriptor to reach it with just now: it is tried again either way."""
_READ_BYTES = 256 * FRAME_BYTES


class Side(StrEnum):
    """Which way a pipe leads; the first letter is who writes."""

    TO_WORKER = "dwtube"
    TO_DISPATCHER = "wdtube"


def path_of(directory: Path, side: Side, worker: int) -> Path:
    """Where the pipe is."""
    return directory / f"{side}{worker}"


def ensure(path: Path) -> None:
    """Make the pipe if there is none. Failure if it cannot be made, or something else has its place."""
    with suppress(FileExistsError):
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:
            raise
        except OSError as error:
            raise Failure(
                f"{path}: the pipe cannot be made: {error.strerror}",
                f"{path.parent} has to be a directory that this user may write to",
                exit_of(error),
            ) from error
    status = path.lstat()
    if not stat.S_ISFIFO(status.st_mode):
        raise ConfigError(f"{path}: is there and is no pipe", "move it away, then start again")
    if status.st_uid != os.geteuid():
        raise ConfigError(f"{path}: belongs to uid {status.st_uid}, not to us", "move it away")


class ReadingEnd:
    """The end that we read: tokens, and whether the other side is gone."""

    def __init__(self, path: Path, *, alone: bool = False) -> None:
        """Open it, made if need be. With `alone`, SecondInstance if another process has it like this."""
        ensure(path)
        self.path = path
        self._tokens = TokenReader()
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        if alone:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.close()
                raise SecondInstance(f"{path}: another worker of this number runs") from None

    def fileno(self) -> int:
        """For epoll, edge-triggered: a pipe without a writer would be ready all the time."""
        return self._fd

    @property
    def skipped_bytes(self) -> int:
        """Garbage so far."""
        return self._tokens.skipped_bytes

    def read(self) -> list[Token]:
        """All tokens that have come."""
        found: list[Token] = []
        while True:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return found
            if not data:
                return found  # nobody writes
            found += self._tokens.feed(data)

    def current(self) -> bool:
        """Whether the path still leads to the pipe that is open here."""
        try:
            there, here = self.path.lstat(), os.fstat(self._fd)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def close(self) -> None:
        """Close the descriptor. Twice is allowed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class WritingEnd:
    """The end that we write; it is open as long as somebody reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def send(self, token: Token) -> bool:
        """Tell it, whole or not at all; whether somebody is there to read it."""
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            return os.write(self._fd, token.pack()) == FRAME_BYTES
        except BlockingIOError:
            return False  # thousands of tokens unread: whoever reads is frozen
        except OSError as error:
            self.close()
            if error.errno in _NOBODY:
                return False
            raise

    def close(self) -> None:
        """Close the descriptor: what nobody has read is gone then. Twice is allowed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def remove(directory: Path, worker: int) -> None:
    """Remove the pair of a worker. What is no pipe is not ours."""
    for side in Side:
        path = path_of(directory, side, worker)
        with suppress(FileNotFoundError):
            if stat.S_ISFIFO(path.lstat().st_mode):
                path.unlink(missing_ok=True)

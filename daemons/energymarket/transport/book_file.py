"""The file of a meter's book: one process keeps it, others read what was durable last."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from energymarket.exits import ConfigError, Exit, Failure, SecondInstance
from energymarket.wire import readings

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from energymarket.core.metering import Book

SUFFIX = ".book"


def place(directory: Path, meter: str) -> Path:
    """Where a meter's book is."""
    return directory / f"{meter}{SUFFIX}"


def read(path: Path) -> Book | None:
    """What was durable last; None before the first samples. Failure if it cannot be read, or is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", code=Exit.IO_ERROR) from error
    found = _unpacked(path, content)
    return None if found is None else found[1]


def _unpacked(path: Path, content: bytes) -> tuple[str, Book, int] | None:
    try:
        return readings.unpack(content)
    except readings.BookError as problem:
        hint = "move it away: the meter's registers then begin anew, behind what the home has"
        raise Failure(f"{path}: {problem}", hint, Exit.IO_ERROR) from problem


class BookFile:
    """The file, held by the process that writes it."""

    def __init__(self, path: Path, meter: str) -> None:
        self._path = path
        self._meter = meter
        self._fd = -1
        self._generation = 0

    def open(self) -> Book | None:
        """Take the file; what it holds. SecondInstance, ConfigError (of another meter), Failure, OSError."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SecondInstance(f"another process keeps {self._path}") from None
        found = _unpacked(self._path, os.pread(self._fd, readings.FILE_BYTES, 0))
        if found is None:
            return None
        meter, book, self._generation = found
        if meter != self._meter:
            raise ConfigError(f"{self._path} is the book of {meter!r}")
        return book

    def writing(self, book: Book) -> Generator[list[int], None, None]:
        """Make a book durable, in the place of the one before the last, in steps.

        Before each next step the caller syncs the descriptors that it names. OSError: the last one stands.
        """
        if self._generation == 0:
            os.posix_fallocate(self._fd, 0, readings.FILE_BYTES)  # later writes need no room
            os.fsync(self._fd)
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        generation = self._generation + 1
        area = memoryview(readings.pack(self._meter, book, generation))
        offset = generation % 2 * readings.AREA_BYTES
        while area:
            written = os.pwrite(self._fd, area, offset)
            area, offset = area[written:], offset + written
        yield [self._fd]
        self._generation = generation

    def close(self) -> None:
        """Give the file back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

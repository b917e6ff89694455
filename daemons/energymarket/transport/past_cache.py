"""What is written and hardly read: past the system's cache, to the disk and back at once.

What goes through the cache is copied into fresh pages, which the system has to find, to write and to take
away again: for a slot of a million homes more work than to copy it here (measured: 14 against 9 ms). Where
the file system cannot do it, or only in part, the rest is written and read as everybody does.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    Buffer: TypeAlias = bytes | bytearray | memoryview

BUFFER_BYTES: Final = 1 << 20
"""At a time: half the second-level cache, and long enough for a disk."""

ALIGNED_TO: Final = 4_096
"""Of the buffer, of each place in the file and of each length: no disk's block is larger."""


class _Opener:
    """Opens files past the cache, as long as the file system lets it."""

    def __init__(self, flags: int) -> None:
        self._flags = flags | os.O_CLOEXEC
        self._direct = True  # as far as we know

    def open(self, name: str, directory: int) -> int:
        """A descriptor of a file. OSError for what the disk refuses."""
        if self._direct:
            try:
                return os.open(name, self._flags | os.O_DIRECT, 0o644, dir_fd=directory)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._direct = False  # not on this file system
        return os.open(name, self._flags, 0o644, dir_fd=directory)


class Writer(_Opener):
    """Writes one file after the other, each empty when it is opened, by a buffer of its own."""

    def __init__(self) -> None:
        super().__init__(os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._buffer = memoryview(mmap.mmap(-1, BUFFER_BYTES))
        self._filled = 0

    def write(self, file: int, parts: Iterable[Buffer]) -> None:
        """Parts that follow each other, all of a file that `open` has opened; not durable yet."""
        self._filled = 0  # a write that failed may have left something
        for part in parts:
            self.append(file, part)
        self.end(file)

    def append(self, file: int, part: Buffer) -> None:
        """What follows; some of it stays in the buffer until more comes, or the end."""
        view = memoryview(part).cast("B")
        while len(view):
            at, size = self._filled, min(len(view), BUFFER_BYTES - self._filled)
            self._buffer[at : at + size] = view[:size]
            self._filled, view = at + size, view[size:]
            if self._filled == BUFFER_BYTES:
                self.end(file)

    def end(self, file: int) -> None:
        """What the buffer holds: whole blocks past the cache, and the end of a file through it."""
        data, self._filled = self._buffer[: self._filled], 0
        whole = len(data) - len(data) % ALIGNED_TO
        if whole:
            data = data[_written(file, data[:whole]) :]
        if len(data):
            through_cache(file)
        while len(data):
            data = data[os.write(file, data) :]


def write_over(file: int, data: memoryview, at: int) -> None:
    """Write whole blocks, which lie in memory as `ALIGNED_TO` says, over those of a file at a place of it.

    Meanwhile the descriptor is nobody else's. OSError for what the disk refuses; not durable yet.
    """
    past_cache(file)
    try:
        while len(data):
            try:
                put = os.pwrite(file, data, at)
            except OSError as error:
                if error.errno != errno.EINVAL or not is_past_cache(file):
                    raise
                put = 0
            data, at = data[put:], at + put
            if put % ALIGNED_TO or not put:
                through_cache(file)
    finally:
        through_cache(file)


class Reader(_Opener):
    """Reads parts of files, by a buffer of its own."""

    def __init__(self) -> None:
        super().__init__(os.O_RDONLY)
        self._buffer = memoryview(mmap.mmap(-1, BUFFER_BYTES))

    def read(self, file: int, at: int, size: int) -> memoryview:
        """Bytes of a file from a place on, until the next call: as many as there are and fit the buffer."""
        before = at % ALIGNED_TO
        wanted = min(before + size, BUFFER_BYTES)
        into = self._buffer[: wanted + -wanted % ALIGNED_TO]
        try:
            got = os.preadv(file, [into], at - before)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            through_cache(file)
            got = os.preadv(file, [into], at - before)
        return into[before : min(got, wanted)]


def _written(file: int, data: memoryview) -> int:
    """How much of it was written; nothing if it is not to be written so."""
    try:
        return os.write(file, data)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return 0


def past_cache(file: int) -> None:
    """From here on, a file is written past the cache, unless its file system cannot do that."""
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def is_past_cache(file: int) -> bool:
    """Whether a file is written so."""
    return bool(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT)


def through_cache(file: int) -> None:
    """From here on, a file is written as everybody does."""
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) & ~os.O_DIRECT)

"""The segment that dispatcher and workers share: a file in the runtime directory, mapped by all of them.

    header      64 bytes (wire/cell.py); the cookie is the number of workers
    per worker  cell of its task     written by the dispatcher
                cell of its word     written by the worker
                cell of its result   written by the worker

A cell has one writer, and is read under a sequence lock:

    sequence u8   even: at rest; odd: being written
    length u4     of the payload
    check u4      CRC-32 over sequence, length and payload
    payload

What is longer than its cell is refused, never cut. The disk space is taken when the file is made: on a
full file system that is an error with a name, where a store into a hole would be a SIGBUS.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from enum import Enum
from pathlib import Path
from typing import Final, Self

from energymarket.dispatch.limits import RESULT_BYTES_MAX, TASK_BYTES_MAX, WORD_BYTES_MAX
from energymarket.exits import Failure, exit_of
from energymarket.wire.cell import HEADER_BYTES, SEQUENCE, Header

NAME: Final = "segment"
MAGIC: Final = b"EMDISPA\n"
VERSION: Final = 1
READ_TRIES: Final = 100
"""A writer that lives is done within a millisecond; a hundred tries, each a yield, outlast it."""

_SEAL: Final = struct.Struct("=QII")


class TooLong(Exception):
    """A message that is longer than its cell; the text says by how much."""


class Part(Enum):
    """The cells of a worker: which one, and how many bytes it can hold."""

    TASK = ("task", TASK_BYTES_MAX)
    WORD = ("word", WORD_BYTES_MAX)
    RESULT = ("result", RESULT_BYTES_MAX)

    @property
    def bytes_max(self) -> int:
        """Of its payload."""
        return int(self.value[1])


_CELLS: Final = {part: _SEAL.size + part.bytes_max for part in Part}  # each a multiple of 16
_OFFSETS: Final = {
    Part.TASK: 0,
    Part.WORD: _CELLS[Part.TASK],
    Part.RESULT: _CELLS[Part.TASK] + _CELLS[Part.WORD],
}
SLOT_BYTES: Final = sum(_CELLS.values())


def size_bytes(workers: int) -> int:
    """Of a segment for this many workers."""
    return HEADER_BYTES + workers * SLOT_BYTES


class Segment:
    """A mapped segment. Close it; reading or writing afterwards is a ValueError."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        status = os.fstat(descriptor)
        self._file = (status.st_dev, status.st_ino)
        self._map = mmap.mmap(descriptor, 0)
        self.workers = Header.unpack(self._map[:HEADER_BYTES]).cookie

    def current(self) -> bool:
        """Whether the path still leads to what is mapped here."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._file

    def write(self, worker: int, part: Part, payload: bytes) -> None:
        """Replace what a cell holds. TooLong if it has no room; the cell keeps what it had then."""
        if len(payload) > part.bytes_max:
            raise TooLong(f"the {part.value[0]} has {len(payload)} bytes, its slot {part.bytes_max}")
        at = self._at(worker, part)
        (before,) = SEQUENCE.unpack_from(self._map, at)
        sequence = (before | 1) + 1
        SEQUENCE.pack_into(self._map, at, sequence - 1)
        body = at + _SEAL.size
        self._map[body : body + len(payload)] = payload
        _SEAL.pack_into(self._map, at, sequence - 1, len(payload), _check(sequence, payload))
        SEQUENCE.pack_into(self._map, at, sequence)

    def read(self, worker: int, part: Part) -> bytes | None:
        """What a cell holds; None: never written, torn by a writer that died, or written all the time."""
        at = self._at(worker, part)
        for _ in range(READ_TRIES):
            sequence, length, check = _SEAL.unpack_from(self._map, at)
            if sequence == 0:
                return None
            if not sequence & 1 and length <= part.bytes_max:
                body = at + _SEAL.size
                payload = self._map[body : body + length]
                (after,) = SEQUENCE.unpack_from(self._map, at)
                if after == sequence and check == _check(sequence, payload):
                    return payload
            os.sched_yield()
        return None

    def close(self) -> None:
        """Let go of the memory. Twice is allowed."""
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _at(self, worker: int, part: Part) -> int:
        if not 1 <= worker <= self.workers:
            message = f"worker {worker}: the segment is for 1 to {self.workers}"
            raise ValueError(message)
        return HEADER_BYTES + (worker - 1) * SLOT_BYTES + _OFFSETS[part]


def _check(sequence: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_SEAL.pack(sequence, len(payload), 0)))


def attach(directory: Path) -> Segment | None:
    """The segment of the dispatcher that is there; None if there is none, or none of this version."""
    path = directory / NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None  # the dispatcher makes it before it rings
    try:
        size = os.fstat(descriptor).st_size
        header = Header.unpack(os.pread(descriptor, HEADER_BYTES, 0)) if size >= HEADER_BYTES else None
        if header is None or (header.magic, header.version) != (MAGIC, VERSION):
            return None
        return Segment(path, descriptor) if size == size_bytes(header.cookie) else None
    finally:
        os.close(descriptor)


def ensure(directory: Path, workers: int) -> Segment:
    """The segment for this many workers: the one that is there if it fits, else a new one. Failure."""
    found = attach(directory)
    if found is not None:
        if found.workers == workers:
            return found
        found.close()
    draft = directory / f".{NAME}.{os.getpid()}"
    try:
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size_bytes(workers))
            os.pwrite(descriptor, Header(MAGIC, VERSION, workers).pack(), 0)
            draft.rename(directory / NAME)
            return Segment(directory / NAME, descriptor)
        finally:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise Failure(
            f"{directory / NAME}: the shared segment cannot be made: {error.strerror}",
            f"it takes {size_bytes(workers) >> 10} KiB in a directory of this user; workers = {workers}",
            exit_of(error),
        ) from error

"""The state of a range of homes in two generations, one of which is always whole.

One generation is kept, that of the last slot the ledger has; the other is written: SIGKILL at any
instant, or a power cut, leaves at least the kept one. A generation counts when its header and its
checksum say so.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from energymarket.exits import Exit, Failure
from energymarket.wire.fault import WireError, WireFault
from energymarket.wire.state_file import (
    HEADER_BYTES,
    HEADER_STEP,
    IDENTITY_BYTES,
    NO_SLOT,
    VERSION,
    Header,
    Shape,
    checksum,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DRAFT: Final = ".new"
"""What the name of a file that is being made ends with; nobody reads it."""

PAYLOAD_BYTES_MAX: Final = 1 << 32
"""4 GiB: four million homes (the most that a market has) with a kilobyte each."""


class GenerationFault(StrEnum):
    """Why a state cannot be had."""

    MISSING = "missing"  # the file holds no state of this slot
    CORRUPT = "corrupt"  # it says that it does, but the checksum disagrees
    SHAPE = "shape"  # the file is of other homes or of another layout
    FOREIGN = "foreign"  # the state belongs to another ledger or scenario
    LOCKED = "locked"  # another process has the file
    DISK = "disk"  # it cannot be made durable: the disk refuses it


_CODES: Final = {
    GenerationFault.MISSING: Exit.FAILED,
    GenerationFault.CORRUPT: Exit.CONFIGURATION,
    GenerationFault.SHAPE: Exit.CONFIGURATION,
    GenerationFault.FOREIGN: Exit.CONFIGURATION,
    GenerationFault.LOCKED: Exit.SECOND_INSTANCE,
    GenerationFault.DISK: Exit.IO_ERROR,
}


class GenerationError(Failure):
    """The state cannot be had; the text says where and what to do."""

    def __init__(self, fault: GenerationFault, detail: str) -> None:
        super().__init__(detail, code=_CODES[fault])
        self.fault = fault


class GenerationFile:
    """The file, open, locked and mapped. OSError for what the disk refuses (full: at creation, not later)."""

    def __init__(
        self,
        path: Path,
        first: int,
        count: int,
        payload_bytes: int,
        identity: bytes = bytes(IDENTITY_BYTES),
        version: int = VERSION,
    ) -> None:
        if not 0 < payload_bytes <= PAYLOAD_BYTES_MAX or len(identity) != IDENTITY_BYTES:
            raise ValueError(f"payload of {payload_bytes} bytes, identity of {len(identity)}")
        self.path = path
        self._shape = Shape(first, count, payload_bytes, identity, version)
        self._kept: int | None = None  # generation that must not be overwritten
        self._writing: int | None = None  # generation that is being written
        self._fd = _open_or_create(path, self._shape)
        try:
            self._map = mmap.mmap(self._fd, self._shape.file_bytes)
            self._check()
            _drop_drafts(path)
        except BaseException:  # whatever it is, it goes on; the lock does not
            self._unlock()
            raise

    def slots(self) -> tuple[int, ...]:
        """The slots of which the file says that it holds the state, newest first."""
        held = [header.slot for header in self._headers() if header is not None and header.slot != NO_SLOT]
        return tuple(sorted(held, reverse=True))

    def holds(self, slot: int) -> bool:
        """Whether `slots` has a slot."""
        return slot in self.slots()

    def load(self, slot: int) -> tuple[memoryview, int]:
        """The state at the end of a slot, read-only, and its edition; it is kept from now on.

        Raises GenerationError MISSING or CORRUPT.
        """
        found = self._held(slot)
        area = self._area(found.generation)
        self._hold(found, area)
        return area[: self._shape.payload_bytes].toreadonly(), found.edition

    def _held(self, slot: int) -> Header:
        """The header of a slot's state. Raises GenerationError MISSING."""
        found = self._newest_of(slot)
        if found is None:
            held = ", ".join(str(each) for each in self.slots()) or "none"
            raise GenerationError(
                GenerationFault.MISSING, f"{self.path}: no state of slot {slot}; it holds: {held}"
            )
        return found

    def _hold(self, found: Header, area: memoryview) -> None:
        """Keep a state whose area is as its header says. Raises GenerationError CORRUPT if it is not."""
        if checksum(area) != found.checksum:
            raise GenerationError(
                GenerationFault.CORRUPT,
                f"{self.path}: the state of slot {found.slot} does not match its checksum",
            )
        self._kept = found.generation

    def keep(self, slot: int) -> None:
        """Keep the state of a slot: the ledger has the slot, so a restart would go on from there."""
        found = self._newest_of(slot)
        if found is None:
            raise ValueError(f"no state of slot {slot} to keep")
        self._kept = found.generation

    def writable(self) -> memoryview:
        """The area that is not kept, with whatever it held; that is lost from here on."""
        generation = self._free_generation()
        self._put_header(Header(self._shape, generation, NO_SLOT, 0))
        self._writing = generation
        return self._area(generation)[: self._shape.payload_bytes]

    def commit(self, slot: int, edition: int = 0) -> None:
        """Make the state of a slot durable. OSError means that it is not: never try the same file again."""
        if self._writing is None:
            raise ValueError("nothing is being written")
        generation = self._writing
        area = self._area(generation)
        self._put_header(Header(self._shape, generation, slot, checksum(area), edition))
        os.fdatasync(self._fd)
        self._writing = None

    def _newest_of(self, slot: int) -> Header | None:
        held = [header for header in self._headers() if header is not None and header.slot == slot]
        return max(held, key=lambda header: header.edition, default=None)

    def _free_generation(self) -> int:
        """The generation that is not kept; before any is, the one with the older state."""
        if self._kept is not None:
            return 1 - self._kept
        slots = [NO_SLOT if header is None else header.slot for header in self._headers()]
        return slots.index(min(slots))

    def close(self) -> None:
        """Give the lock back. The mapping stays for as long as somebody's arrays look at it."""
        if self._fd >= 0:
            with contextlib.suppress(BufferError):
                self._map.close()
            self._unlock()
            self._fd = -1

    def _unlock(self) -> None:
        """Said aloud: closing is not enough while the mapping, which has a descriptor of its own, lives."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _area(self, generation: int) -> memoryview:
        at = self._shape.area_at(generation)
        return memoryview(self._map)[at : at + self._shape.area_bytes]

    def _put_header(self, header: Header) -> None:
        at = header.generation * HEADER_STEP
        self._map[at : at + HEADER_BYTES] = header.pack()

    def _header(self, generation: int) -> Header | None:
        at = generation * HEADER_STEP
        return _unpacked(self._map[at : at + HEADER_BYTES])

    def _headers(self) -> Iterator[Header | None]:
        return (self._header(generation) for generation in (0, 1))

    def _check(self) -> None:
        found = [header.shape for header in self._headers() if header is not None]
        if not found:
            self._refuse_another_version()
            raise GenerationError(
                GenerationFault.CORRUPT,
                f"{self.path}: not a state file, or both headers are torn; move it away",
            )
        for shape in found:
            if shape.identity != self._shape.identity:
                raise GenerationError(
                    GenerationFault.FOREIGN,
                    f"{self.path}: state of another ledger or scenario; move it away",
                )
            if shape != self._shape:
                raise GenerationError(
                    GenerationFault.SHAPE,
                    f"{self.path}: homes {shape.first} to {shape.first + shape.count - 1} with "
                    f"{shape.payload_bytes} bytes, not {self._shape.first} to "
                    f"{self._shape.first + self._shape.count - 1} with {self._shape.payload_bytes}",
                )

    def _refuse_another_version(self) -> None:
        """Raise GenerationError SHAPE where a header is of a layout that we do not read."""
        for at in (0, HEADER_STEP):
            try:
                Header.unpack(self._map[at : at + HEADER_BYTES])
            except WireError as error:
                if error.fault is WireFault.VERSION:
                    text = f"{self.path}: {error}; it was written by another energy-market"
                    raise GenerationError(GenerationFault.SHAPE, text) from error


def _drop_drafts(path: Path) -> None:
    """Remove what killed processes left: who has the file locked is the only one that may make it anew."""
    for each in path.parent.iterdir():
        number = each.name.removeprefix(f"{path.name}.").removesuffix(DRAFT)
        if number.isdecimal() and each == draft_of(path, number):
            each.unlink(missing_ok=True)


def draft_of(path: Path, process: int | str) -> Path:
    """Where a process makes a file before it has its name."""
    return path.with_name(f"{path.name}.{process}{DRAFT}")


def write_all(descriptor: int, data: memoryview, at: int) -> None:
    """Write all of it at a place of a file. OSError for what the disk refuses."""
    while len(data):
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written


def shape_of(path: Path) -> Shape | None:
    """What the headers say of the file of this name; None if none does, or no file is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return next((header.shape for header in headers_of(descriptor) if header is not None), None)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(path: Path) -> Iterator[int]:
    """A locked descriptor of the file of this name. FileNotFoundError, or GenerationError LOCKED."""
    descriptor = _open_locked(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def headers_of(descriptor: int) -> tuple[Header | None, Header | None]:
    """Both headers of an open file; None for one that is torn."""
    first, second = (_unpacked(os.pread(descriptor, HEADER_BYTES, at)) for at in (0, HEADER_STEP))
    return first, second


def _unpacked(raw: bytes) -> Header | None:
    try:
        return Header.unpack(raw)
    except WireError:
        return None


def _open_locked(path: Path) -> int:
    """Open and lock the file that has this name; FileNotFoundError if there is none."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            lock(descriptor, path)
            here, there = os.fstat(descriptor), path.stat()
        except FileNotFoundError:
            os.close(descriptor)  # removed between opening and locking
            continue
        except BaseException:  # whatever it is, it goes on; the descriptor does not
            os.close(descriptor)
            raise
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
            return descriptor
        os.close(descriptor)


def _open_or_create(path: Path, shape: Shape) -> int:
    """A locked descriptor of the file at this path, made first if there is none."""
    while True:
        try:
            descriptor = _open_locked(path)
        except FileNotFoundError:
            _create(path, shape)
            continue
        try:
            _check_size(os.fstat(descriptor).st_size, path, shape)
        except BaseException:  # whatever it is, it goes on; the descriptor does not
            os.close(descriptor)
            raise
        return descriptor


def lock(descriptor: int, path: Path) -> None:
    """Lock an open file for as long as it is open. GenerationError LOCKED if somebody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise GenerationError(GenerationFault.LOCKED, f"{path}: another process has it open") from error


def _check_size(size: int, path: Path, shape: Shape) -> None:
    if size != shape.file_bytes:
        raise GenerationError(
            GenerationFault.SHAPE,
            f"{path}: {size} bytes, not {shape.file_bytes}: other homes or another version",
        )


def _create(path: Path, shape: Shape) -> None:
    """Make an empty file of the full size, durably, then give it its name."""
    fresh = draft_of(path, os.getpid())
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        # Every block is there from now on: a full disk is an error here, not a SIGBUS in the mapping.
        os.posix_fallocate(descriptor, 0, shape.file_bytes)
        for generation in (0, 1):
            header = Header(shape, generation, NO_SLOT, 0).pack()
            os.pwrite(descriptor, header, generation * HEADER_STEP)
        os.fsync(descriptor)
        # Somebody else was first: theirs is as empty as ours, which they may have removed.
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.link(fresh, path)
    finally:
        os.close(descriptor)
        fresh.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make durable which names a directory has."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A generation file of a state that is in its user's memory: areas are read and written as a whole."""

from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Final

from energymarket.transport.generation import (
    GenerationError,
    GenerationFault,
    GenerationFile,
    draft_of,
    lock,
    sync_directory,
    write_all,
)
from energymarket.transport.past_cache import write_over
from energymarket.wire.state_file import HEADER_STEP, NO_SLOT, VERSION, Header, Shape, checksum

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DIRECT_BYTES_MIN: Final = 1 << 20
"""An area as large is written past the system's cache; to copy a smaller one costs less than to wait."""


def room(area_bytes: int) -> memoryview:
    """Memory for an area, nothing but zeros, where a disk can take it from."""
    found = mmap.mmap(-1, area_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if area_bytes >= DIRECT_BYTES_MIN:
        with contextlib.suppress(OSError):  # a kernel without large pages
            found.madvise(mmap.MADV_HUGEPAGE)  # found and handed to the disk by the page
    return memoryview(found)


class AreaFile(GenerationFile):
    """The file of a state that lives elsewhere: loaded once, put whenever it is to be durable."""

    @property
    def shape(self) -> Shape:
        """What does not change while the file lives, unless `reshape` is asked for."""
        return self._shape

    def load_into(self, area: memoryview, slot: int) -> Header:
        """Fill an area's memory with the state of a slot, which is kept from now on; what its header says.

        Raises GenerationError MISSING or CORRUPT; of a corrupt one the memory has whatever was there.
        """
        found = self._held(slot)
        left, at = area, self._shape.area_at(found.generation)
        while len(left):
            size = os.preadv(self._fd, [left], at)
            if not size:
                raise GenerationError(GenerationFault.CORRUPT, f"{self.path}: it has been cut short")
            left, at = left[size:], at + size
        self._hold(found, area)
        return found

    def put(self, area: memoryview, slot: int, edition: int, sums: int) -> None:
        """Write an area as the state of a slot over the one that nothing needs; `flush` makes it durable.

        The memory comes from `room`, and `sums` is its checksum. OSError as in `flush`.
        """
        generation = self._free_generation()
        self._put_header(Header(self._shape, generation, NO_SLOT, 0))
        at = self._shape.area_at(generation)
        if len(area) < DIRECT_BYTES_MIN:
            write_all(self._fd, area, at)
        else:
            write_over(self._fd, area, at)
        self._put_header(Header(self._shape, generation, slot, sums, edition))

    def flush(self) -> None:
        """Make durable what was put. OSError means that it is not: never try the same file again."""
        os.fdatasync(self._fd)

    # another layout

    def refuse_if_damaged(self) -> None:
        """Raise GenerationError CORRUPT if it holds states, and none of them is sound."""
        held = [header for header in self._headers() if header is not None and header.slot != NO_SLOT]
        if held and all(self._wrong(header) for header in held):
            slots = ", ".join(str(header.slot) for header in held)
            text = f"{self.path}: no state in it matches its checksum (slots {slots}); move it away"
            raise GenerationError(GenerationFault.CORRUPT, text)

    def reshape(
        self, payload_bytes: int, convert: Callable[[memoryview], bytes], version: int = VERSION
    ) -> Path | None:
        """Give the states another layout: each payload as `convert` answers it, all or nothing.

        A new file is made durable beside the old one and takes its name. A damaged payload cannot be
        converted, and what a torn header was of nobody knows: both stay so, and the old file is kept under
        the name that is answered. OSError for what the disk refuses: the file is as it was then. Nothing
        that `load` or `writable` has shown is of this file any more.
        """
        shape = replace(self._shape, payload_bytes=payload_bytes, version=version)
        fresh = draft_of(self.path, os.getpid())
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            lock(descriptor, fresh)
            os.posix_fallocate(descriptor, 0, shape.file_bytes)
            wrong = [self._put_converted(at, descriptor, shape, convert) for at in (0, 1)]
            os.fsync(descriptor)
            mapped = mmap.mmap(descriptor, shape.file_bytes)
            aside = self._kept_aside() if any(wrong) else None
            fresh.replace(self.path)
            sync_directory(self.path.parent)
        except BaseException:  # whatever it is, it goes on; the draft does not
            os.close(descriptor)
            fresh.unlink(missing_ok=True)
            raise
        kept, self._writing = self._kept, None
        self.close()
        self._fd, self._map, self._shape, self._kept = descriptor, mapped, shape, kept
        return aside

    def _put_converted(
        self, generation: int, descriptor: int, shape: Shape, convert: Callable[[memoryview], bytes]
    ) -> bool:
        """Write a generation in another layout; whether something is wrong with it, which stays so."""
        header = self._header(generation)
        if header is None:
            return True  # zeros are no header
        wrong, fresh = 0, Header(shape, generation, NO_SLOT, 0)
        if header.slot != NO_SLOT:
            wrong = self._wrong(header)
            payload = self._area(generation)[: self._shape.payload_bytes].toreadonly()
            converted = b"" if wrong else convert(payload)
            data = memoryview(converted + bytes(shape.area_bytes - len(converted)))
            write_all(descriptor, data, shape.area_at(generation))
            fresh = Header(shape, generation, header.slot, checksum(data) ^ wrong, header.edition)
        write_all(descriptor, memoryview(fresh.pack()), generation * HEADER_STEP)
        return bool(wrong)

    def _wrong(self, header: Header) -> int:
        """By what the checksum of a state is off: 0 if it is sound."""
        return checksum(self._area(header.generation)) ^ header.checksum

    def _kept_aside(self) -> Path:
        """The file under another name as well, one that no earlier one has."""
        for number in count(1):
            aside = self.path.with_name(f"{self.path.name}.damaged-{number}")
            try:
                os.link(self.path, aside)
            except FileExistsError:
                if not aside.samefile(self.path):
                    continue
            return aside
        raise AssertionError  # there is always a next number

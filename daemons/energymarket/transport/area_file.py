"""A generation file of a state that is in its user's memory: areas are read and written as a whole."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import Final

from energymarket.transport.generation import GenerationError, GenerationFault, GenerationFile, write_all
from energymarket.transport.past_cache import write_over
from energymarket.wire.state_file import NO_SLOT, Header, Shape

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

"""A generation file whose states are read and written in parts: nothing of it is in this process's memory."""

from __future__ import annotations

import os

from energymarket.transport.generation import GenerationError, GenerationFault, GenerationFile, write_all
from energymarket.wire.state_file import NO_SLOT, Header, Shape


class BlockFile(GenerationFile):
    """The file, with one state that others are made from part by part, and one that is being made."""

    def begin(self, present: int | None) -> int:
        """The generation that the next state may be written to, whose own state is lost from here on.

        `present` is the generation that the next state is made from, if there is one.
        """
        generation = self._free_generation()
        if self._kept is None and present is not None:
            held = self._header(present)
            is_state = held is not None and held.slot != NO_SLOT
            generation = 1 - present if is_state else present
        self._put_header(Header(self._shape, generation, NO_SLOT, 0))
        return generation

    def read(self, generation: int, at: int, into: memoryview) -> None:
        """Read a part of an area, without a mapping: its pages would count as this process's memory."""
        offset = self._shape.area_at(generation) + at
        while len(into):
            size = os.preadv(self._fd, [into], offset)
            if not size:
                raise GenerationError(GenerationFault.CORRUPT, f"{self.path}: it has been cut short")
            into, offset = into[size:], offset + size

    def write(self, generation: int, at: int, data: memoryview) -> None:
        """Write a part of an area that `begin` has answered; `finish` makes it a state."""
        write_all(self._fd, data, self._shape.area_at(generation) + at)

    def finish(self, generation: int, slot: int, edition: int, sums: int) -> None:
        """Say that an area is the state of a slot; `flush` makes that durable."""
        self._put_header(Header(self._shape, generation, slot, sums, edition))

    def flush(self) -> None:
        """Make durable what is finished. OSError means that it is not: never try the same file again."""
        os.fdatasync(self._fd)

    @property
    def kept(self) -> int | None:
        """The generation that is kept."""
        return self._kept

    @property
    def shape(self) -> Shape:
        """What does not change while the file lives, unless `reshape` is asked for."""
        return self._shape

    def sums_of(self, generation: int) -> int:
        """The checksum of a state, as its header has it."""
        held = self._header(generation)
        if held is None or held.slot == NO_SLOT:
            raise ValueError(f"generation {generation} holds no state")
        return held.checksum

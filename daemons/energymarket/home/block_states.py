"""The present state of a range of homes, in its file: in memory is one block of homes at a time.

A pass over the homes reads each block from the area with the present state, lets it be changed, and writes it
into the area that nothing needs. It is the present state from then on, and `commit` says of which slot. The
pages are in the kernel's cache; in a private copy beside it they would be there twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from energymarket.core.fleet import initial_block
from energymarket.core.sparse import block_bytes, payload_bytes, spans, state_in
from energymarket.core.state import Layout, State, Work
from energymarket.transport.block_file import BlockFile
from energymarket.transport.generation import GenerationError, GenerationFault, shape_of
from energymarket.wire.state_file import VERSION, VERSION_SPARSE, Checksum

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from energymarket.core.block import Column
    from energymarket.core.fleet import Fleet

SUMMED_BYTES: Final = 1 << 20  # at once: it is in the cache still for the exclusive-or


@dataclass(frozen=True, slots=True)
class Place:
    """A block of homes: where it lies in an area and in the buffer, and how it is changed there."""

    start: int
    stop: int
    parts: tuple[tuple[int, memoryview], ...]  # where in the area, and the buffer's bytes for it
    work: Work


class Gifts:
    """Receipts that are not in the registers of gifts yet: of each block, as its registers are."""

    def __init__(self, of_blocks: Sequence[tuple[Column, Column]]) -> None:
        self._of_blocks = of_blocks  # given and received

    @classmethod
    def of(cls, receipt: Mapping[str, Column], places: Sequence[Place]) -> Self | None:
        """Those of a receipt; None if somebody has given who has no register for it."""
        of_blocks = []
        for place in places:
            here = slice(place.start, place.stop)
            given_wh = place.work.after.of_owners("given_wh", receipt["given_wh"][here])
            if given_wh is None:
                return None
            # Copies: what came as a memory file is not held on to.
            of_blocks.append((np.array(given_wh), np.array(receipt["received_wh"][here])))
        return cls(of_blocks)

    def and_also(self, other: Gifts) -> Gifts:
        """Those of both."""
        both = zip(self._of_blocks, other._of_blocks, strict=True)
        return Gifts([(given + others[0], received + others[1]) for (given, received), others in both])

    def book(self, block: int, state: State) -> None:
        """Add what a block's homes have given and received."""
        given_wh, received_wh = self._of_blocks[block]
        state.given_wh += given_wh
        state.received_wh += received_wh


class BlockStates:
    """The states of one range of homes, and who of it has what."""

    def __init__(self, path: Path, fleet: Fleet, identity: bytes) -> None:
        self._path = path
        self._fleet = fleet
        layout = _layout_of(path, fleet)
        self.layout = layout or Layout.NARROW
        self.is_sparse = layout is None
        size = payload_bytes(fleet.owned) if layout is None else layout.size_bytes(fleet.count)
        version = VERSION_SPARSE if self.is_sparse else VERSION
        self.file = BlockFile(path, fleet.first, fleet.count, size, identity, version)
        self._present: int | None = None  # the generation with the present state
        self._sums: int | None = None  # its checksum, where it is known
        self._places = self._lay()

    def _lay(self) -> list[Place]:
        """Where the blocks lie; all of them use the same buffer."""
        count = self._fleet.count
        owned = self._fleet.owned if self.is_sparse else None
        of_blocks = [None if owned is None else owned.part(start, stop) for start, stop in spans(count)]
        sizes = [
            self.layout.size_bytes(stop - start) if each is None else block_bytes(each)
            for (start, stop), each in zip(spans(count), of_blocks, strict=True)
        ]
        buffer = np.zeros(max(sizes), np.uint8).data
        places, at = [], 0
        for (start, stop), each, size in zip(spans(count), of_blocks, sizes, strict=True):
            parts = [(at, buffer[:size])] if each is not None else self._columns(start, stop, buffer)
            state = State(buffer, stop - start, self.layout, each)
            places.append(Place(start, stop, tuple(parts), Work(state, state, self._fleet.scratch)))
            at += size
        return places

    def _columns(self, start: int, stop: int, buffer: memoryview) -> list[tuple[int, memoryview]]:
        """The parts of a block in a state that has one column after the other, of all homes."""
        parts, column_at, at = [], 0, 0
        for width in self.layout.widths:
            size = (stop - start) * width
            parts.append((column_at + start * width, buffer[at : at + size]))
            column_at += self._fleet.count * width
            at += size
        return parts

    # passes

    def fresh(self) -> None:
        """Homes as the scenario makes them are the present state."""
        self._present = None
        for place, block in zip(self._changed(None), self._fleet.blocks, strict=True):
            state = place.work.after
            for _, data in place.parts:
                data[:] = bytes(len(data))
            if state.owned is not None:
                place.parts[0][1][: state.owned.packed_bytes] = state.owned.packed()
            initial_block(self._fleet, block, state)

    def works(self, gifts: Gifts | None) -> Iterator[Work]:
        """A pass: each block to be changed in place, its gifts booked. It is to be gone to the end of."""
        for number, place in enumerate(self._changed(self._present)):
            if gifts is not None:
                gifts.book(number, place.work.after)
            yield place.work

    def _changed(self, source: int | None) -> Iterator[Place]:
        """Each block, read (unless there is no source), and written when the next one is asked for."""
        expected, self._present = self._sums, None
        target, found, made = self.file.begin(source), Checksum(), Checksum()
        for place in self._places:
            if source is not None:
                self._read(source, place)
                if expected is not None:
                    found.add(place.parts[0][1])
            yield place
            for at, data in place.parts:
                self.file.write(target, at, data)
            if self.is_sparse:
                made.add(place.parts[0][1])
        if source is not None and expected is not None and found.value() != expected:
            text = f"{self._path}: it is not what was written: somebody else writes there, or the disk fails"
            raise GenerationError(GenerationFault.CORRUPT, text)
        self._present, self._sums = target, made.value() if self.is_sparse else None

    def _read(self, source: int, place: Place) -> None:
        for at, data in place.parts:
            self.file.read(source, at, data)

    # what is there

    def load(self, slot: int) -> int:
        """The state of a slot is the present one, and is kept; its edition. Raises GenerationError."""
        data, edition = self.file.load(slot)
        data.release()
        self.file.forget_pages()
        self._present = self.file.kept
        self._sums = None
        if self.is_sparse:
            self._sums = self.file.sums_of(self._source())
            for place in self._looked_at():
                owned = place.work.before.owned
                if owned is not None and place.parts[0][1][: owned.packed_bytes] != owned.packed():
                    text = f"{self._path}: state of homes that have other things; move it away"
                    raise GenerationError(GenerationFault.FOREIGN, text)
        return edition

    def commit(self, slot: int, edition: int) -> None:
        """The present state is that of a slot; `file.flush` makes it durable."""
        generation = self._source()
        sums = self._sums
        if sums is None:
            found, size = Checksum(), self.file.shape.area_bytes
            for at in range(0, size, SUMMED_BYTES):
                data = bytearray(min(SUMMED_BYTES, size - at))
                self.file.read(generation, at, memoryview(data))
                found.add(memoryview(data))
            sums = found.value()
        self.file.finish(generation, slot, edition, sums)

    def column(self, name: str, gifts: Gifts | None = None) -> Column:
        """A column of the present state, a value per home, with gifts that are not in it yet."""
        found = []
        for number, place in enumerate(self._looked_at()):
            if gifts is not None:
                gifts.book(number, place.work.before)
            found.append(place.work.before.column(name).copy())
        return np.concatenate(found)

    def largest_wh(self) -> int:
        """The largest register of all."""
        return max(place.work.before.largest_wh() for place in self._looked_at())

    def gifts_of(self, receipt: Mapping[str, Column]) -> Gifts | None:
        """What a receipt says was given and received, to be booked with the next pass; see `Gifts.of`."""
        return Gifts.of(receipt, self._places)

    def widen(self) -> None:
        """Go on with registers of 64 bits and room for everything. OSError for what the disk refuses."""
        count, is_sparse = self._fleet.count, self.is_sparse
        size = Layout.WIDE.size_bytes(count)

        def widened(payload: memoryview) -> bytes:
            wide = bytearray(size)
            State(wide, count).copy_from(state_in(payload, count, is_sparse=is_sparse))
            return bytes(wide)

        self.file.reshape(size, widened)
        self.layout, self.is_sparse, self._sums = Layout.WIDE, False, None
        self._places = self._lay()

    def _looked_at(self) -> Iterator[Place]:
        source = self._source()
        for place in self._places:
            self._read(source, place)
            yield place

    def _source(self) -> int:
        if self._present is None:
            raise RuntimeError("the homes have no state yet")
        return self._present


def _layout_of(path: Path, fleet: Fleet) -> Layout | None:
    """That of a file that is there, None for a sparse one, as a new one is where that saves something."""
    shape = shape_of(path)
    if shape is None or (shape.first, shape.count) != (fleet.first, fleet.count):
        return None if fleet.count > 1 else Layout.NARROW
    if shape.is_sparse:
        return None
    return Layout.of(fleet.count, shape.payload_bytes) or Layout.NARROW

"""The present state of a range of homes: lived in memory, block by block, and put in its file as a whole.

A pass over the homes lets each block be changed where it lies. What a pass has not been gone to the end of is
no state any more: one that counts is loaded from the file.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from energymarket.core.block import BLOCK_HOMES
from energymarket.core.fleet import initial_block
from energymarket.core.nothing import has_nothing
from energymarket.core.sparse import block_bytes, pack, payload_bytes, spans, state_in, unpack
from energymarket.core.state import Layout, State, Work
from energymarket.transport.area_file import AreaFile, room
from energymarket.transport.generation import GenerationError, GenerationFault, shape_of
from energymarket.wire.state_file import VERSION_SPARSE, Checksum, checksum

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from energymarket.core.block import Column
    from energymarket.core.fleet import Fleet

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """A block of homes: where it lies, and how it is changed there."""

    start: int
    stop: int
    work: Work
    pages: memoryview | None  # of a sparse state: it has its homes alone

    @property
    def state(self) -> State:
        """What its homes remember."""
        return self.work.after


class Gifts:
    """Receipts that are not in the registers of gifts yet: of each block, as its registers are."""

    def __init__(self, of_blocks: Sequence[tuple[Column | None, Column | None]]) -> None:
        self._of_blocks = of_blocks  # given and received; None: nothing

    @classmethod
    def of(cls, receipt: Mapping[str, Column], places: Sequence[Place]) -> Self | None:
        """Those of a receipt; None if somebody has given who has no register for it."""
        of_blocks = []
        for place in places:
            here = slice(place.start, place.stop)
            given_wh, received_wh = receipt["given_wh"][here], receipt["received_wh"][here]
            given: Column | None = None
            if not has_nothing(given_wh):
                given = place.state.of_owners("given_wh", given_wh)
                if given is None:
                    return None
            received = None if has_nothing(received_wh) else received_wh
            of_blocks.append((_copied(given), _copied(received)))
        return cls(of_blocks)

    def and_also(self, other: Gifts) -> Gifts:
        """Those of both."""
        both = zip(self._of_blocks, other._of_blocks, strict=True)
        return Gifts([(_sum(given, more[0]), _sum(received, more[1])) for (given, received), more in both])

    def book(self, block: int, state: State) -> None:
        """Add what a block's homes have given and received."""
        given_wh, received_wh = self._of_blocks[block]
        if given_wh is not None:
            state.given_wh += given_wh
        if received_wh is not None:
            state.received_wh += received_wh


def _copied(gifts: Column | None) -> Column | None:
    """What came as a memory file is not held on to."""
    return None if gifts is None else np.array(gifts)


def _sum(one: Column | None, other: Column | None) -> Column | None:
    return other if one is None else one if other is None else one + other


class BlockStates:
    """The states of one range of homes, and who of it has what."""

    def __init__(self, path: Path, fleet: Fleet, identity: bytes) -> None:
        self._path = path
        self._fleet = fleet
        layout = _layout_of(path, fleet)
        self.layout = layout or Layout.NARROW
        self.is_sparse = layout is None
        self.file = self._opened(path, identity)
        self._area = room(self.file.shape.area_bytes)
        self._places = self._lay()
        self._is_whole = False  # whether the memory has a state
        self._sums: int | None = None  # its checksum, where it is known

    def _opened(self, path: Path, identity: bytes) -> AreaFile:
        """The file, with the layout that we write. GenerationError, OSError for what the disk refuses."""
        fleet = self._fleet
        first, count = fleet.first, fleet.count
        if not self.is_sparse:
            return AreaFile(path, first, count, self.layout.size_bytes(count), identity)
        owned, shape = fleet.owned, shape_of(path)
        size = payload_bytes(owned, BLOCK_HOMES)
        if shape is None or (had := shape.block_homes) in {None, BLOCK_HOMES}:
            return AreaFile(path, first, count, size, identity, VERSION_SPARSE)
        file = AreaFile(path, first, count, payload_bytes(owned, had), identity, shape.version)

        def repacked(payload: memoryview) -> bytes:
            try:
                state, found = unpack(payload, count, had)
            except ValueError as error:
                raise self._foreign() from error
            if found != owned:
                raise self._foreign()
            return pack(state, owned, BLOCK_HOMES)

        try:
            file.refuse_if_damaged()
            self._tell(file.reshape(size, repacked, VERSION_SPARSE))
        except BaseException:  # whatever it is, it goes on; the lock does not
            file.close()
            raise
        return file

    def _lay(self) -> list[Place]:
        """Where the blocks lie in memory, which is as in the file."""
        count, scratch = self._fleet.count, self._fleet.scratch
        if not self.is_sparse:
            everyone = State(self._area, count, self.layout)
            states = [(start, stop, everyone.part(start, stop)) for start, stop in spans(count, BLOCK_HOMES)]
            return [Place(start, stop, Work(state, state, scratch), None) for start, stop, state in states]
        owned, places, at = self._fleet.owned, [], 0
        for start, stop in spans(count, BLOCK_HOMES):
            part = owned.part(start, stop)
            pages = self._area[at : at + block_bytes(part)]
            state = State(pages, stop - start, self.layout, part)
            places.append(Place(start, stop, Work(state, state, scratch), pages))
            at += len(pages)
        return places

    # passes

    def fresh(self) -> None:
        """Homes as the scenario makes them are the present state."""
        self._is_whole, self._sums = False, None
        for place, block in zip(self._places, self._fleet.blocks, strict=True):
            owned = place.state.owned
            if owned is not None and place.pages is not None:
                place.pages[: owned.packed_bytes] = owned.packed()
            initial_block(self._fleet, block, place.state)
        self._is_whole = True

    def works(self, gifts: Gifts | None) -> Iterator[Work]:
        """A pass: each block to be changed in place, its gifts booked. It is to be gone to the end of."""
        places, made = self._there(), Checksum()
        self._is_whole, self._sums = False, None
        for number, place in enumerate(places):
            if gifts is not None:
                gifts.book(number, place.state)
            yield place.work
            if place.pages is not None:
                made.add(place.pages)  # while they are in the cache
        self._is_whole, self._sums = True, made.value() if self.is_sparse else None

    # what is there

    def load(self, slot: int) -> int:
        """The state of a slot is the present one, and is kept; its edition. Raises GenerationError."""
        self._is_whole, self._sums = False, None
        found = self.file.load_into(self._area, slot)
        for place in self._places:
            owned = place.state.owned
            if owned is None or place.pages is None:
                break
            if place.pages[: owned.packed_bytes] != owned.packed():
                raise self._foreign()
        self._is_whole, self._sums = True, found.checksum
        return found.edition

    def _tell(self, aside: Path | None) -> None:
        if aside is not None:
            log.warning("a state in %s is damaged; the file as it was is kept: %s", self._path, aside)

    def _foreign(self) -> GenerationError:
        text = f"{self._path}: state of homes that have other things; move it away"
        return GenerationError(GenerationFault.FOREIGN, text)

    def write(self, slot: int, edition: int) -> None:
        """Make the present state durable, as that of a slot; nobody changes it meanwhile.

        Raises GenerationError DISK; the same file is not to be tried again.
        """
        self._there()
        sums = checksum(self._area) if self._sums is None else self._sums
        try:
            self.file.put(self._area, slot, edition, sums)
            self.file.flush()
        except OSError as error:
            text = f"{self._path}: the state of slot {slot} cannot be written: {error.strerror}"
            raise GenerationError(GenerationFault.DISK, text) from error

    def column(self, name: str) -> Column:
        """A column of the present state, a value per home."""
        return np.concatenate([place.state.column(name) for place in self._there()])

    def largest_wh(self) -> int:
        """The largest register of all."""
        return max(place.state.largest_wh() for place in self._there())

    def gifts_of(self, receipt: Mapping[str, Column]) -> Gifts | None:
        """What a receipt says was given and received, to be booked with the next pass; see `Gifts.of`."""
        return Gifts.of(receipt, self._places)

    def widen(self) -> None:
        """Go on with registers of 64 bits and room for everything. OSError for what the disk refuses."""
        count, block_homes = self._fleet.count, self.file.shape.block_homes
        size = Layout.WIDE.size_bytes(count)

        def widened(payload: memoryview) -> bytes:
            wide = bytearray(size)
            State(wide, count).copy_from(state_in(payload, count, block_homes))
            return bytes(wide)

        present = widened(self._area[: self.file.shape.payload_bytes])
        self._tell(self.file.reshape(size, widened))
        self._area = room(self.file.shape.area_bytes)
        self._area[:size] = present
        self.layout, self.is_sparse, self._sums = Layout.WIDE, False, None
        self._places = self._lay()

    def _there(self) -> list[Place]:
        if not self._is_whole:
            raise RuntimeError("the homes have no state yet")
        return self._places


def _layout_of(path: Path, fleet: Fleet) -> Layout | None:
    """That of a file that is there, None for a sparse one, as a new one is where that saves something."""
    shape = shape_of(path)
    if shape is None or (shape.first, shape.count) != (fleet.first, fleet.count):
        return None if fleet.count > 1 else Layout.NARROW
    if shape.block_homes is not None:
        return None
    return Layout.of(fleet.count, shape.payload_bytes) or Layout.NARROW

"""What a range of homes remembers: the present state in memory, and on the disk the last one or two.

The file has two areas. One holds the state of the last slot that the ledger has a batch of; it is not
touched until the ledger has a later one. The present state lives in memory, slot after slot in place, and
is written into the other area. Where the market did not hear of a slot (late batch, market down), the homes
have lived through it all the same, and the next batch carries the gap.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core import fleet as fleets
from energymarket.core.limits import ENERGY_WH_MAX
from energymarket.core.state import NARROW_WH_MAX, Layout, State, sparse_bytes, state_in
from energymarket.transport.generation import GenerationError, GenerationFault, GenerationFile, shape_of
from energymarket.wire.state_file import VERSION, VERSION_SPARSE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    import numpy.typing as npt

    from energymarket.core.fleet import Fleet, Net
    from energymarket.core.owned import Owned
    from energymarket.core.weather import Sample

CATCH_UP_SLOTS_MAX = 400_000
"""Longest absence that is lived through slot by slot: eleven years of quarter-hours."""


GROWTH_WH_MAX: Final = 2 * ENERGY_WH_MAX
"""What a register can grow by in a slot: full power, and as much again of what was put off before."""


class Books:
    """The state of one range of homes."""

    def __init__(self, path: Path, fleet: Fleet, identity: bytes) -> None:
        self._path = path
        self._fleet = fleet
        layout, owned = _layout_of(path, fleet)
        size = layout.size_bytes(fleet.count) if owned is None else sparse_bytes(owned)
        version = VERSION if owned is None else VERSION_SPARSE
        self._file = GenerationFile(path, fleet.first, fleet.count, size, identity, version)
        self._memory = np.zeros(self._file.area_bytes, np.uint8).data
        if owned is not None:
            self._memory[: owned.packed_bytes] = owned.packed()
        self._state = State(self._memory, fleet.count, layout, owned)  # at the end of `slot`
        self._room_slots = 0  # for so many slots no register outgrows its width, whatever the homes do
        self.slot: int | None = None  # None: nothing has happened yet
        self._settled = -1  # last slot whose receipt has been added to the registers of gifts
        self._written = (-1, 0)  # slot and edition that were handed to the disk last
        self._flusher = ThreadPoolExecutor(1, "flush")  # waits for the disk, and touches nothing else
        self._flush: Future[None] | None = None

    def close(self) -> None:
        """Give the file back."""
        self.slot = None
        self._flusher.shutdown()
        self._file.close()

    def fresh(self, slot: int) -> None:
        """Homes as the scenario makes them, at the end of a slot."""
        fleets.initial_state(self._fleet, self._state)
        self._room_slots = 0
        self.slot = slot

    def begin(self, slot: int, since: int) -> None:
        """Homes of which the ledger has no batch yet, at the end of a slot. Raises GenerationError.

        What they have lived through since the ledger's first slot stands, though nobody has heard of it: an
        earlier life may have died before its first batch was settled, and registers never jump.
        """
        lived = [each for each in self._file.slots() if since <= each <= slot]
        if lived:
            self.resume(max(lived))
        else:
            self.fresh(slot)

    def resume(self, slot: int) -> None:
        """Go on from the state of the last slot that the ledger has a batch of. Raises GenerationError."""
        if self.slot is not None and self.slot >= slot and self._file.holds(slot):
            self._file.keep(slot)
            return  # the market came back, not we: the homes have lived on
        self.go_back(slot)

    def go_back(self, slot: int) -> None:
        """Load the state of a slot; whatever was lived since is forgotten. Raises GenerationError."""
        data, edition = self._file.load(slot)
        try:
            found = state_in(data, self._fleet.count, is_sparse=self._state.owned is not None)
            self._state.copy_from(found)
        except ValueError as error:  # its checksum is right: another scenario's, under this one's name
            raise GenerationError(GenerationFault.FOREIGN, f"{self._path}: {error}; move it away") from error
        self._file.forget_pages()
        self._room_slots = 0
        self.slot = slot
        self._settled = slot if edition else -1
        self._written = (slot, edition)

    def holds(self, slot: int) -> bool:
        """Whether the file has the state of a slot."""
        return self._file.holds(slot)

    def keep(self, slot: int) -> None:
        """Keep the state of a slot that is settled, whether or not the homes were heard in it."""
        if self._file.holds(slot):
            self._file.keep(slot)

    def settle(self, slot: int, receipt: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Add a receipt to the registers of gifts, once; the ledger has the slot now."""
        if slot <= self._settled:
            return
        if not fleets.apply_receipt(self.present, receipt):
            self._widen()  # a home that says what is not so may give what it never had
            fleets.apply_receipt(self.present, receipt)
        self._settled = slot
        if self._file.holds(slot):
            self._file.keep(slot)

    def live_until(self, slot: int, weather_of: Callable[[int], Sample]) -> None:
        """Live through the slots up to `slot` that passed without a market."""
        for each in range(max(self._lived() + 1, slot - CATCH_UP_SLOTS_MAX), slot + 1):
            self._make_room()
            self._fleet.step(self._state, self._state, each, weather_of(each), None)
        self.slot = max(self._lived(), slot)

    def step(self, slot: int, sample: Sample, price_ueur_per_kwh: int) -> Net:
        """Live through an open slot; `write` makes it durable."""
        self._make_room()
        net = self._fleet.step(self.present, self.present, slot, sample, price_ueur_per_kwh)
        self.slot = slot
        return net

    def meter(self, slot: int, production_wh: int, consumption_wh: int) -> None:
        """A slot of a metered home: its registers are its meter's; the difference is import or export.

        Registers never fall. `write` makes it durable. OSError for what the disk refuses.
        """
        produced_wh = max(0, production_wh - int(self.present.production_wh[0]))
        consumed_wh = max(0, consumption_wh - int(self.present.consumption_wh[0]))
        # What was missing for days comes at once: that is more than `_make_room` expects of a slot.
        largest_wh = self.present.largest_wh() + produced_wh + consumed_wh + GROWTH_WH_MAX
        if self.present.layout is Layout.NARROW and largest_wh > NARROW_WH_MAX:
            self._widen()
        state = self.present
        state.production_wh += produced_wh
        state.consumption_wh += consumed_wh
        state.export_wh += max(0, produced_wh - consumed_wh)
        state.import_wh += max(0, consumed_wh - produced_wh)
        self.slot = slot

    def _make_room(self) -> None:
        """See to it that no register outgrows its 32 bits in the next slot: it gets 64 in time."""
        if self._state.layout is not Layout.NARROW:
            return
        if self._room_slots <= 1:  # the receipt of a slot comes when the next one may have begun
            self._room_slots = (NARROW_WH_MAX - self._state.largest_wh()) // GROWTH_WH_MAX
            if self._room_slots <= 1:
                self._widen()
                return
        self._room_slots -= 1

    def _widen(self) -> None:
        """Go on with wide registers, in memory and in the file. OSError for what the disk refuses."""
        count = self._fleet.count
        self._await_disk()
        is_sparse = self._state.owned is not None
        self._file.reshape(
            Layout.WIDE.size_bytes(count), lambda payload: _widened(payload, count, is_sparse=is_sparse)
        )
        memory = np.zeros(self._file.area_bytes, np.uint8).data
        state = State(memory, count)
        state.copy_from(self._state)
        self._memory, self._state = memory, state

    def start_writing(self) -> None:
        """Hand the present state to the disk; `write` waits until it is there."""
        if self._put():
            self._flush = self._flusher.submit(self._file.flush)

    def write(self) -> None:
        """Make the present state durable: before its batch is handed in, and at the end."""
        if self._put():
            self._file.flush()
        self._await_disk()

    def _put(self) -> bool:
        """Copy the present state into the file; whether it was not there yet."""
        slot = self._lived()
        edition = int(self._settled == slot)
        if self._written == (slot, edition):
            return False
        self._await_disk()
        self._file.put(self._memory, slot, edition)
        self._written = (slot, edition)
        return True

    def _await_disk(self) -> None:
        flush, self._flush = self._flush, None
        if flush is not None:
            flush.result()

    def _lived(self) -> int:
        if self.slot is None:
            raise RuntimeError("the homes have no state yet")
        return self.slot

    @property
    def present(self) -> State:
        """The state at the end of `slot`."""
        self._lived()
        return self._state


def _layout_of(path: Path, fleet: Fleet) -> tuple[Layout, Owned | None]:
    """That of a file that is there; a new one begins narrow, and sparse where that saves something."""
    shape = shape_of(path)
    if shape is None or (shape.first, shape.count) != (fleet.first, fleet.count):
        return Layout.NARROW, fleet.owned if fleet.count > 1 else None
    if shape.is_sparse:
        return Layout.NARROW, fleet.owned
    return Layout.of(fleet.count, shape.payload_bytes) or Layout.NARROW, None


def _widened(payload: memoryview, count: int, *, is_sparse: bool) -> bytes:
    """The wide state of a narrow one."""
    wide = bytearray(Layout.WIDE.size_bytes(count))
    State(wide, count).copy_from(state_in(payload, count, is_sparse=is_sparse))
    return bytes(wide)

"""What a range of homes remembers: the state that the ledger has, and the one after it.

The file has two areas. One holds the state of the last slot that the ledger has a batch of; it is not
touched until the ledger has a later one. A slot is lived straight into the other. Where the market did
not hear of a slot (late batch, market down), the homes have lived through it all the same: then the
present state is set aside in memory, the next batch carries the gap, and memory is free again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from energymarket.core import fleet as fleets
from energymarket.core.state import STATE_COLUMNS, State
from energymarket.transport.generation import GenerationFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from energymarket.core.fleet import Fleet, Net
    from energymarket.core.weather import Sample

CATCH_UP_SLOTS_MAX = 400_000
"""Longest absence that is lived through slot by slot: eleven years of quarter-hours."""


class Books:
    """The state of one range of homes."""

    def __init__(self, path: Path, fleet: Fleet, identity: bytes) -> None:
        self._fleet = fleet
        self._file = GenerationFile(path, fleet.first, fleet.count, State.size_bytes(fleet.count), identity)
        # The registers of gifts as the receipts leave them: the file has them with the slot after.
        self._given_wh = np.zeros(fleet.count, np.int64)
        self._received_wh = np.zeros(fleet.count, np.int64)
        self._present: State | None = None  # in the file, or set aside in memory
        self._open = False  # the present state lies in the file and is not durable yet
        self.slot: int | None = None  # of the present state; None: nothing has happened yet
        self._settled = -1  # last slot whose receipt has been added to the registers of gifts
        self._written = (-1, 0)  # slot and edition that were made durable last

    def close(self) -> None:
        """Give the file back."""
        self._present = None  # its arrays would keep the mapping
        self._file.close()

    def fresh(self, slot: int) -> None:
        """Homes as the scenario makes them, at the end of a slot."""
        state = self._in_memory()
        fleets.initial_state(self._fleet, state)
        self._adopt(state)
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
        self._adopt(State(data, self._fleet.count))
        self.slot = slot
        self._settled = slot if edition else -1
        self._written = (slot, edition)
        self._open = False

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
        fleets.apply_receipt(self.present, receipt)
        self._settled = slot
        if self._file.holds(slot):
            self._file.keep(slot)

    def live_until(self, slot: int, weather_of: Callable[[int], Sample]) -> None:
        """Live through the slots up to `slot` that passed without a market."""
        first = max(self._lived() + 1, slot - CATCH_UP_SLOTS_MAX)
        if first <= slot:
            states = (self._set_aside(), self._in_memory())
            after, _ = fleets.catch_up(self._fleet, states, range(first, slot + 1), weather_of)
            self._adopt(after)
            self._open = False
        self.slot = max(self._lived(), slot)

    def step(self, slot: int, sample: Sample, price_ueur_per_kwh: int) -> Net:
        """Live through an open slot; `write` makes it durable."""
        before, after = self._before_and_after()
        net = fleets.step(self._fleet, before, after, slot, sample, price_ueur_per_kwh)
        self._adopt(after)
        self.slot = slot
        self._open = True
        return net

    def write(self) -> None:
        """Make the present state durable: before its batch is handed in, and at the end."""
        slot = self._lived()
        edition = int(self._settled == slot)
        if not self._open:
            if self._written == (slot, edition):
                return
            before, area = self._before_and_after()
            _copy(before, area)
        self._file.commit(slot, edition)
        self._written = (slot, edition)
        self._open = False

    def _lived(self) -> int:
        if self.slot is None:
            raise RuntimeError("the homes have no state yet")
        return self.slot

    @property
    def present(self) -> State:
        """The state at the end of `slot`."""
        if self._present is None:
            raise RuntimeError("the homes have no state yet")
        return self._present

    def _adopt(self, state: State) -> None:
        """Make it the present state; its registers of gifts are ours from now on."""
        self._given_wh[:] = state.given_wh
        self._received_wh[:] = state.received_wh
        state.given_wh, state.received_wh = self._given_wh, self._received_wh
        self._present = state

    def _before_and_after(self) -> tuple[State, State]:
        """The present state, and the free area of the file: apart, even if the present one lay there."""
        after = State(self._file.writable(), self._fleet.count)
        if np.may_share_memory(self.present.production_wh, after.production_wh):
            return self._set_aside(), after
        return self.present, after

    def _set_aside(self) -> State:
        """The present state, in memory from now on."""
        state = self._in_memory()
        _copy(self.present, state)
        self._adopt(state)
        return state

    def _in_memory(self) -> State:
        return State(bytearray(State.size_bytes(self._fleet.count)), self._fleet.count)


def _copy(source: State, target: State) -> None:
    for name, _ in STATE_COLUMNS:
        target.column(name)[:] = source.column(name)

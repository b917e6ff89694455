"""What a range of homes remembers: the state that the ledger has, and the one after it.

The file has two areas. One holds the state of the last slot that the ledger has a batch of; it is not
touched until the ledger has a later one. The other is written slot by slot. Where the market did not
hear of a slot (late batch, market down), the homes have lived through it all the same: the state goes
on in memory, and the next batch carries the gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from energymarket.core import fleet as fleets
from energymarket.core.state import STATE_COLUMNS, State
from energymarket.transport.generation import GenerationFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
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
        self._spare = State(bytearray(State.size_bytes(fleet.count)), fleet.count)
        self._present = State(bytearray(State.size_bytes(fleet.count)), fleet.count)
        self.slot: int | None = None  # of the present state; None: nothing has happened yet
        self._settled = -1  # last slot whose receipt has been added to the registers of gifts

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def fresh(self, slot: int) -> None:
        """Homes as the scenario makes them, at the end of a slot."""
        fleets.initial_state(self._fleet, self._present)
        self.slot = slot

    def resume(self, slot: int) -> None:
        """Go on from the state of the last slot that the ledger has a batch of. Raises GenerationError."""
        if self.slot is not None and self.slot >= slot and self._file.holds(slot):
            self._file.keep(slot)
            return  # the market came back, not we: the homes have lived on
        data, edition = self._file.load(slot)
        _copy(State(data, self._fleet.count), self._present)
        self.slot = slot
        self._settled = slot if edition else -1

    def settle(self, slot: int, receipt: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Add a receipt to the registers of gifts, once; the ledger has the slot now."""
        if slot <= self._settled:
            return
        fleets.apply_receipt(self._present, receipt)
        self._settled = slot
        if self._file.holds(slot):
            self._file.keep(slot)

    def live_until(self, slot: int, weather_of: Callable[[int], Sample]) -> None:
        """Live through the slots up to `slot` that passed without a market."""
        first = max(self._lived() + 1, slot - CATCH_UP_SLOTS_MAX)
        if first <= slot:
            states = (self._present, self._spare)
            self._present, self._spare = fleets.catch_up(
                self._fleet, states, range(first, slot + 1), weather_of
            )
        self.slot = max(self._lived(), slot)

    def step(self, slot: int, sample: Sample, price_ueur_per_kwh: int) -> Net:
        """Live through an open slot; `write` makes it durable."""
        net = fleets.step(self._fleet, self._present, self._spare, slot, sample, price_ueur_per_kwh)
        self._present, self._spare = self._spare, self._present
        self.slot = slot
        return net

    def write(self) -> None:
        """Make the present state durable: before its batch is handed in, and at the end."""
        slot = self._lived()
        area = State(self._file.writable(), self._fleet.count)
        _copy(self._present, area)
        self._file.commit(slot, edition=int(self._settled == slot))

    def _lived(self) -> int:
        if self.slot is None:
            raise RuntimeError("the homes have no state yet")
        return self.slot

    @property
    def present(self) -> State:
        """The state at the end of `slot`."""
        return self._present


def _copy(source: State, target: State) -> None:
    for name, _ in STATE_COLUMNS:
        target.column(name)[:] = source.column(name)

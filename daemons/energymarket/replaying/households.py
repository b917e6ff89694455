"""The homes once more: their registers by the scenario's physics and the recorded weather.

A report, not a verdict: homes of hand-made traders and of scenes hand in what they like, a home that
came late or saw other weather than the market has lived another slot. Who has not handed in yet begins
as the scenario makes homes; a slot that nobody traded is lived at the reference price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from energymarket.core import fleet as fleets
from energymarket.core.admission import READING_COLUMNS
from energymarket.core.fleet import Fleet
from energymarket.core.state import STATE_COLUMNS, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from energymarket.core.inputs import Inputs
    from energymarket.core.market import Closed
    from energymarket.scenario.compiled import Compiled


class Households:
    """Every home of the scenario, slot by slot beside the replay; it begins with the ledger or not at all."""

    def __init__(self, compiled: Compiled, first_slot: int) -> None:
        """`first_slot` is the ledger's first."""
        self._compiled = compiled
        self._due = first_slot
        self._fleet = Fleet(compiled, 1, compiled.homes_count)
        self._initial, self._now, self._next = (_in_memory(compiled.homes_count) for _ in range(3))
        for state in (self._initial, self._now):
            fleets.initial_state(self._fleet, state)
        self._begun = np.zeros(compiled.homes_count, np.bool_)
        self.differs_since = np.full(compiled.homes_count, -1, np.int64)
        self.heard = np.zeros(compiled.homes_count, np.bool_)
        self.unknown = ""  # why nothing can be said of them
        self.foreign_prices = -1  # first slot in which the grid's prices are not the scenario's

    def hear(self, inputs: Inputs, closed: Closed) -> None:
        """A slot that was played."""
        world = inputs.world
        self._compare_prices(inputs)
        if world.slot != self._due and not self.unknown:
            self.unknown = f"slot {self._due} has no record"
        if world.sample is None and not self.unknown:
            self.unknown = f"there is no weather of slot {world.slot} in the record"
        if self.unknown or world.sample is None:
            return
        self._due += 1
        self._begin_unheard()
        price = None if inputs.gap else closed.head.price_ueur_per_kwh
        fleets.step(self._fleet, self._now, self._next, world.slot, world.sample, price)
        self._now, self._next = self._next, self._now
        for each in inputs.refused:
            self._begun[each.first - 1 : each.first - 1 + each.count] = True
        for batch in inputs.batches:
            self._compare(batch.first, batch.count, batch.columns, world.slot)

    def _compare_prices(self, inputs: Inputs) -> None:
        if self._compiled.tariff.follows_price or self.foreign_prices >= 0:
            return
        world = inputs.world
        found = (world.import_ueur_per_kwh, world.export_ueur_per_kwh)
        if found != self._compiled.import_export_at(world.slot):
            self.foreign_prices = world.slot

    def _begin_unheard(self) -> None:
        """Who has not handed in yet has not lived yet."""
        unheard = ~self._begun
        if unheard.any():
            for name, _ in STATE_COLUMNS:
                self._now.column(name)[unheard] = self._initial.column(name)[unheard]

    def _compare(self, first: int, count: int, columns: Mapping[str, npt.NDArray[Any]], slot: int) -> None:
        rows = slice(first - 1, first - 1 + count)
        self._begun[rows] = self.heard[rows] = True
        wrong = np.zeros(count, np.bool_)
        for name in READING_COLUMNS:
            wrong |= columns[name] != self._now.column(name)[rows]
        since = self.differs_since[rows]
        since[wrong & (since < 0)] = slot

    def document(self) -> dict[str, Any]:
        """What came out, for programs."""
        differing = np.flatnonzero(self.differs_since >= 0)
        return {
            "unknown": self.unknown or None,
            "heard": int(self.heard.sum()),
            "differing": [
                {"home": int(at) + 1, "since_slot": int(self.differs_since[at])} for at in differing[:100]
            ],
            "differing_count": len(differing),
            "foreign_prices_since_slot": None if self.foreign_prices < 0 else self.foreign_prices,
        }


def _in_memory(homes: int) -> State:
    return State(bytearray(State.size_bytes(homes)), homes)

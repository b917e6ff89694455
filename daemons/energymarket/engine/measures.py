"""What a run measures while it goes, and takes up again: indicators of homes and community."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from energymarket.core.fleet import Fleet, initial_state
from energymarket.core.kpi.document import document
from energymarket.core.kpi.storage import Storage
from energymarket.core.kpi.tally import Tally
from energymarket.core.state import State
from energymarket.scenario import indicators

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.core.passage import Passage
    from energymarket.scenario.compiled import Compiled

HOME_TABLE_MAX: Final = 1_000
"""The document has a table of all homes up to so many (a third of a megabyte); `energyctl kpi` always has."""


class Measures:
    """Hears settled slots, in order."""

    def __init__(self, compiled: Compiled, parts: Mapping[str, bytes | memoryview] | None = None) -> None:
        """`parts` are those of a checkpoint; ValueError if they are none."""
        self._compiled = compiled
        if parts is None:
            self._tally = Tally(indicators.frame_of(compiled))
        else:
            self._tally = Tally.unpack(bytes(parts["tally"]))

    def add(self, passage: Passage) -> None:
        """Settled slots."""
        carbon = indicators.carbon_of(self._compiled, passage.first_slot, passage.slots)
        self._tally.add(passage, carbon)

    def parts(self) -> dict[str, bytes]:
        """What a checkpoint keeps."""
        return {"tally": self._tally.pack()}

    def document(self, state: State) -> dict[str, Any]:
        """`energy`, `money` and `kpi` of the slots so far; `state` is that of the homes after them."""
        homes = self._compiled.homes_count
        before = State(bytearray(State.size_bytes(homes)), homes)
        initial_state(Fleet(self._compiled, 1, homes), before)
        storage = Storage.between(self._tally, before, state)
        expected = indicators.expectation_of(self._compiled, self._tally)
        return document(self._tally, storage, expected, home_table=homes <= HOME_TABLE_MAX)

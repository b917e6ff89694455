"""What a run measures while it goes, and takes up again: indicators, and bills under every sharing rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from energymarket.core.kpi.document import document
from energymarket.core.kpi.home_sums import METERED
from energymarket.core.kpi.storage import Storage
from energymarket.core.kpi.tally import Tally
from energymarket.core.sharing.comparison import Comparison
from energymarket.core.units import UEUR_PER_EUR
from energymarket.scenario import indicators

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.core.passage import Passage
    from energymarket.core.state import State
    from energymarket.core.units import I64
    from energymarket.engine.checkpoint import Part
    from energymarket.scenario.compiled import Compiled

HOME_TABLE_MAX: Final = 1_000
"""The document has a table of all homes up to so many (a third of a megabyte); `energyctl kpi` always has."""


class Measures:
    """Hears settled slots, in order."""

    def __init__(
        self,
        compiled: Compiled,
        parts: Mapping[str, bytes | memoryview] | None = None,
        *,
        compares: bool = False,
        metered: bool = False,
    ) -> None:
        """`parts` are those of a checkpoint; ValueError or KeyError if they are none, or of another kind.

        `metered`: each home's columns say what its meters have counted; `read` tells it between two legs.
        """
        self._compiled = compiled
        self._metered = metered
        self._comparison: Comparison | None = None
        if parts is None:
            self._tally = Tally(indicators.frame_of(compiled), metered=metered)
            if compares:
                self._comparison = Comparison(indicators.terms_of(compiled))
            return
        self._tally = Tally.unpack(bytes(parts["tally"]), metered=metered)
        if compares:
            self._comparison = Comparison.unpack(bytes(parts["comparison"]))

    def add(self, passage: Passage) -> None:
        """Settled slots."""
        carbon = indicators.carbon_of(self._compiled, passage.first_slot, passage.slots)
        self._tally.add(passage, carbon)
        if self._comparison is not None:
            self._comparison.add(passage)

    def read(self, state: State) -> None:
        """The homes after the last slot: before sums are asked for, if they are metered."""
        if self._metered:
            self._tally.read({name: state.column(name) for name in METERED.values()})

    def sum_of(self, name: str) -> I64:
        """What a column of the ledger has added up to since the run began, by home."""
        return self._tally.of(name)

    def parts(self) -> dict[str, Part]:
        """What a checkpoint keeps."""
        parts: dict[str, Part] = {"tally": self._tally.packed()}
        return parts if self._comparison is None else parts | {"comparison": [self._comparison.pack()]}

    def document(self, state: State) -> dict[str, Any]:
        """`energy`, `money` and `kpi` of the slots so far; `state` is that of the homes after them."""
        homes = self._compiled.homes_count
        storage = Storage.between(self._tally, None, state)  # every run begins with registers at zero
        expected = indicators.expectation_of(self._compiled, self._tally)
        found = document(self._tally, storage, expected, home_table=homes <= HOME_TABLE_MAX)
        if self._comparison is not None:
            found["sharing"] = rules_of(self._comparison, home_table=homes <= HOME_TABLE_MAX)
        return found


def rules_of(comparison: Comparison, *, home_table: bool) -> dict[str, Any]:
    """What all homes together pay under each rule, and how many have less than alone."""
    found: dict[str, Any] = {
        "rule": str(comparison.terms.sharing.rule),
        "slots": comparison.slots,
        "rules": {
            str(rule): {
                "bill_eur": -int(money.sum()) / UEUR_PER_EUR,
                "worse_off_homes": int(comparison.worse_off(rule).sum()),
            }
            for rule, money in comparison.money_ueur.items()
        },
    }
    if home_table:
        found["bills_eur"] = {
            rule: [bill / UEUR_PER_EUR for bill in bills] for rule, bills in comparison.bills_ueur().items()
        }
    return found

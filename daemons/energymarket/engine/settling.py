"""From what homes did in some slots to what the ledger says of them: gifts, money, bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core import ledger
from energymarket.core.agreement import agree, allocate
from energymarket.core.kpi.community_sums import TOTALS
from energymarket.core.market import head_of
from energymarket.core.parameters import Rule
from energymarket.core.passage import Passage
from energymarket.core.postings import Columns, Legs
from energymarket.core.records import SLOT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energymarket.core.agreement import Agreed
    from energymarket.core.block import I32
    from energymarket.core.course import Lived
    from energymarket.core.market import Opening
    from energymarket.core.settlement import VoidClaim
    from energymarket.core.totals import Totals
    from energymarket.scenario.compiled import Compiled

Batches: TypeAlias = "tuple[tuple[int, int, str], ...]"
"""Who has handed in: (first home, count, id)."""


BLOCK_VALUES: Final = 1 << 16
"""Slots times homes that are settled together: their twenty columns fit the second-level cache."""

COLUMN_TYPES: Final = {
    name: np.dtype(np.int64 if name == "money_ueur" else np.int32) for name in SLOT_COLUMNS[1:]
}
"""What the columns of settled slots are kept in."""

_GIVEN: Final = ("produced_wh", "consumed_wh", "given_wh", "received_wh")
"""Columns that are there before the postings."""

_MADE: Final = tuple(name for name in SLOT_COLUMNS[1:] if name not in _GIVEN)


@dataclass(frozen=True, slots=True)
class Settled:
    """Consecutive settled slots, ready for the chain and the store."""

    openings: Sequence[Opening]
    totals: Sequence[Totals]
    bodies: Sequence[bytes | memoryview]
    passage: Passage
    batches: Sequence[Batches]
    voids: Sequence[tuple[VoidClaim, ...]]


class Settler:
    """Settles slots in which every home is honest and on time; they may come in any order."""

    def __init__(self, compiled: Compiled) -> None:
        self._policy: npt.NDArray[np.integer[Any]] = np.asarray(compiled.homes["policy"])
        self._sharing = compiled.sharing
        self._seed = compiled.seed
        weights = compiled.key_weights()
        self._weights = np.ones(compiled.homes_count, np.int64) if weights is None else weights
        self._everyone: Batches = ((1, compiled.homes_count, "all"),)

    def settle(self, openings: Sequence[Opening], lived: Lived, into: Columns | None = None) -> Settled:
        """Settle K slots of all homes, opened at these prices; their columns are `into`, or new."""
        columns = room(lived) if into is None else into
        slots = range(openings[0].slot, openings[0].slot + len(openings))
        moved = columns["given_wh"], columns["received_wh"]
        agreed: Agreed
        if self._sharing.rule is Rule.QUEUE:
            agreed = agree(lived.net_wh, self._policy, self._sharing, self._seed, slots, moved)
        else:
            for column in moved:
                column[:] = 0
            agreed = allocate(self._sharing.rule, lived.net_wh, self._policy.astype(np.int64), self._weights)
        homes = lived.net_wh.shape[1]
        legs = Legs([opening.prices for opening in openings], homes)
        per_block = max(1, BLOCK_VALUES // len(openings))
        bounds = Bounds(len(openings))
        for start in range(0, homes, per_block):
            part = slice(start, start + per_block)
            self._settle_block(part, lived.net_wh, agreed, legs, columns)
            bounds.hear({name: column[:, part] for name, column in columns.items()})
        totals = legs.totals(homes, agreed.gift_counts, [0] * len(openings))
        heads = [head_of(opening, void_claims=0) for opening in openings]
        return Settled(
            openings=openings,
            totals=totals,
            bodies=ledger.pack_slots(heads, columns, agreed.gifts, agreed.gift_counts, bounds.of),
            passage=passage_of(openings, columns, totals, bounds.sizes()),
            batches=(self._everyone,) * len(openings),
            voids=((),) * len(openings),
        )

    def _settle_block(self, part: slice, net_wh: I32, agreed: Agreed, legs: Legs, columns: Columns) -> None:
        """Some homes: all that is done with a column is done while it is in the cache."""
        net = net_wh[:, part]
        exported_wh = np.maximum(net, 0)
        imported_wh = exported_wh - net
        traded = agreed.traded(part, exported_wh, imported_wh)
        block = {
            **{name: columns[name][:, part] for name in _GIVEN},
            "imported_wh": imported_wh,
            "exported_wh": exported_wh,
            "sold_wh": traded.sold_wh,
            "bought_wh": traded.bought_wh,
        }
        legs.post(block, traded.offered_wh, traded.returned_wh, self._policy[part])
        for name in _MADE:
            np.copyto(columns[name][:, part], block[name], casting="same_kind")


def room(lived: Lived) -> Columns:
    """Room for the columns of settled slots; of those that are known already, the columns themselves."""
    known = {"produced_wh": lived.production_wh, "consumed_wh": lived.consumption_wh}
    return {
        name: known[name] if name in known else np.empty(lived.net_wh.shape, COLUMN_TYPES[name])
        for name in SLOT_COLUMNS[1:]
    }


class Bounds:
    """The smallest and the largest value of each column and slot, heard block by block."""

    def __init__(self, slots: int) -> None:
        none = np.zeros(slots, np.int64)
        self.of = {name: (none.copy(), none.copy()) for name in SLOT_COLUMNS[1:]}

    def hear(self, columns: Columns) -> None:
        """Some homes' columns, (K, n) each; zero is always among the values."""
        for name, (low, high) in self.of.items():
            np.minimum(low, columns[name].min(axis=1), out=low)
            np.maximum(high, columns[name].max(axis=1), out=high)

    def sizes(self) -> dict[str, int]:
        """The largest absolute value of each column."""
        return {name: max(int(high.max()), -int(low.min())) for name, (low, high) in self.of.items()}


def passage_of(
    openings: Sequence[Opening],
    columns: Columns,
    totals: Sequence[Totals],
    sizes: Mapping[str, int] | None = None,
) -> Passage:
    """Settled slots as indicators hear them."""
    totals_wh = {name: np.array([getattr(each, name) for each in totals], np.int64) for name in TOTALS}
    prices = np.array([(o.prices.price, o.prices.import_, o.prices.export) for o in openings], np.int64).T
    balanced = not any(each.short_wh or each.long_wh for each in totals)
    return Passage(openings[0].slot, prices[0], prices[1], prices[2], columns, sizes, totals_wh, balanced)

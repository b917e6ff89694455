"""From what homes did in some slots to what the ledger says of them: gifts, money, bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core import ledger
from energymarket.core.agreement import agree, allocate
from energymarket.core.market import head_of
from energymarket.core.parameters import Rule
from energymarket.core.passage import Passage
from energymarket.core.postings import post

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.core.fleet import Lived
    from energymarket.core.market import Opening
    from energymarket.core.settlement import VoidClaim
    from energymarket.core.totals import Totals
    from energymarket.scenario.compiled import Compiled

Batches: TypeAlias = "tuple[tuple[int, int, str], ...]"
"""Who has handed in: (first home, count, id)."""


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

    def settle(self, openings: Sequence[Opening], lived: Lived) -> Settled:
        """Settle K slots of all homes, opened at these prices."""
        slots = range(openings[0].slot, openings[0].slot + len(openings))
        if self._sharing.rule is Rule.QUEUE:
            agreed = agree(lived.net_wh, self._policy, self._sharing, self._seed, slots)
        else:
            agreed = allocate(self._sharing.rule, lived.net_wh, self._policy.astype(np.int64), self._weights)
        exported_wh = np.maximum(lived.net_wh, 0)
        columns = {
            "produced_wh": lived.production_wh,
            "consumed_wh": lived.consumption_wh,
            "imported_wh": exported_wh - lived.net_wh,
            "exported_wh": exported_wh,
            **agreed.columns,
        }
        posted = post(
            columns,
            offered_wh=agreed.offered_wh,
            returned_wh=agreed.returned_wh,
            policy=self._policy,
            prices=[opening.prices for opening in openings],
            gifts=agreed.gift_counts,
            void_claims=[0] * len(openings),
        )
        heads = [head_of(opening, void_claims=0) for opening in openings]
        return Settled(
            openings=openings,
            totals=posted.totals,
            bodies=ledger.pack_slots(heads, posted.columns, agreed.gifts, agreed.gift_counts),
            passage=passage_of(openings, posted.columns),
            batches=(self._everyone,) * len(openings),
            voids=((),) * len(openings),
        )


def passage_of(
    openings: Sequence[Opening], columns: dict[str, npt.NDArray[np.signedinteger[Any]]]
) -> Passage:
    """Settled slots as indicators hear them."""
    prices = np.array([(o.prices.price, o.prices.import_, o.prices.export) for o in openings], np.int64).T
    return Passage(openings[0].slot, prices[0], prices[1], prices[2], columns)

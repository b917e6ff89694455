"""A sharing rule at the close of a slot: what homes have handed in becomes what is settled.

Under every rule but gifts over the queue, homes state what they have over and what they lack, and the
market shares it out. The answer is batches like any other: settlement, ledger and receipts know no rules.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from energymarket.core import serving
from energymarket.core.limits import INDEX_MAX
from energymarket.core.records import CLAIM
from energymarket.core.sharing.flows import Flows
from energymarket.core.sharing.rules import GIFTS, RULES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from energymarket.core.admission import Batch, Readings
    from energymarket.core.parameters import Rule
    from energymarket.core.units import I64

_NO_CLAIMS = np.zeros(0, CLAIM)


def restate(
    rule: Rule,
    batches: Sequence[Batch],
    before: Readings,
    was_read: npt.NDArray[np.bool_],
    orders: Mapping[str, I64],
    weights: I64,
) -> list[Batch]:
    """The batches as the rule has them: gifts by what homes state, allocation by what meters say.

    `was_read` says of each home of the market whether its meter was read in the slot before: else the
    reading is of more than this slot, and of an unknown part of it; it stays with the grid. Energy of
    single orders is spoken for and is not allocated again. What homes claim has no effect.
    """
    if rule in GIFTS:
        return _give(rule, batches, len(before.import_wh), weights)
    return _allocate(rule, batches, before, was_read, orders, weights)


def _place(batch: Batch) -> slice:
    return slice(batch.first - 1, batch.first - 1 + batch.count)


def _give(rule: Rule, batches: Sequence[Batch], homes: int, weights: I64) -> list[Batch]:
    offered, need, policies = np.zeros((3, homes), np.int64)
    for batch in batches:
        here = _place(batch)
        offered[here] = batch.columns["offered_wh"]
        need[here] = batch.columns["bought_wh"]
        policies[here] = batch.columns["policy"]
    shares = RULES[rule](Flows(offered, need, policies, weights))
    claims = pair(shares.given_wh, shares.received_wh)
    np.subtract.at(need, claims["taker"].astype(np.int64) - 1, claims["energy_wh"].astype(np.int64))
    restated = []
    for batch in batches:
        columns = {**batch.columns, "returned_wh": np.zeros(batch.count, np.int64)}
        columns["bought_wh"] = need[_place(batch)]
        restated.append(replace(batch, columns=columns, claims=_NO_CLAIMS))
    if restated:
        restated[0] = replace(restated[0], claims=claims)
    return restated


def pair(given_wh: I64, received_wh: I64) -> npt.NDArray[np.void]:
    """CLAIM array of gifts: givers and takers by id, laid end to end; both columns have the same sum.

    A giver's parts have INDEX_MAX + 1 names: beyond them nothing is given, its rest goes by its policy.
    """
    givers, takers = given_wh.nonzero()[0], received_wh.nonzero()[0]
    if not len(givers):
        return _NO_CLAIMS
    taken = serving.exact_selfish(given_wh[givers], received_wh[takers])
    index = serving.parts(taken.offer)
    claims = np.zeros(len(index), CLAIM)
    claims["giver"] = givers[taken.offer] + 1
    claims["taker"] = takers[taken.taker] + 1
    claims["energy_wh"] = taken.energy_wh
    claims["index"] = np.minimum(index, INDEX_MAX)
    return claims[index <= INDEX_MAX]


def _allocate(
    rule: Rule,
    batches: Sequence[Batch],
    before: Readings,
    was_read: npt.NDArray[np.bool_],
    orders: Mapping[str, I64],
    weights: I64,
) -> list[Batch]:
    metered = np.zeros(len(before.import_wh), np.int64)
    for batch in batches:
        here = _place(batch)
        metered[here] = batch.flow("export_wh", before)
        metered[here] -= batch.flow("import_wh", before)
    metered *= was_read
    left = metered.copy()
    np.subtract.at(left, orders["home"] - 1, orders["energy_wh"])
    surplus = np.maximum(left, 0) * (metered > 0)
    need = np.maximum(-left, 0) * (metered < 0)
    shares = RULES[rule](Flows(surplus, need, np.zeros_like(metered), weights))
    restated = []
    for batch in batches:
        here, none = _place(batch), np.zeros(batch.count, np.int64)
        columns = {**batch.columns, "offered_wh": none, "returned_wh": none}
        columns |= {"sold_wh": shares.sold_wh[here], "bought_wh": shares.bought_wh[here]}
        restated.append(replace(batch, columns=columns, claims=_NO_CLAIMS))
    return restated

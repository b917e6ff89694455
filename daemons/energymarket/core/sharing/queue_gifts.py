"""Gifts over the queue, played slot by slot: what homes would do without a ledger to say what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from energymarket.core.exchange import outcome
from energymarket.core.parameters import Sharing
from energymarket.core.records import Policy
from energymarket.core.sharing.flows import Flows, Shares

if TYPE_CHECKING:
    from collections.abc import Sequence

_GIVE = int(Policy.GIVE)


def play(flows: Flows, sharing: Sharing, seed: int, slots: Sequence[int]) -> Shares:
    """The exchange of each of K slots, of flows of shape (K, N); the answer is int64.

    What a greedy taker has beyond its need, and sells by its policy, is in `sold_wh`. Purchases and sales
    of the surplus itself go by policy and are not in the answer.
    """
    ids = np.arange(1, flows.need_wh.shape[1] + 1)
    given, received, sold, bought = np.zeros((4, *flows.need_wh.shape), np.int64)
    for at, slot in enumerate(slots):
        surplus, need = flows.surplus_wh[at].astype(np.int64), flows.need_wh[at].astype(np.int64)
        ends = outcome(ids, surplus, need, flows.policies, sharing, seed, slot)
        given[at], received[at] = ends.given_wh, ends.received_wh
        sold[at] = ends.excess_wh * (flows.policies != _GIVE)
    return Shares(given, received, sold, bought)

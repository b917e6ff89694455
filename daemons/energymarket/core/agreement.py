"""The exchange of many slots at once, as it is where everybody is honest and on time.

`agree` is `exchange.outcome` for K slots of homes 1 .. N: same ring, same order, same gifts. The gifts
of a slot depend on nothing but that slot's needs and surpluses, so slots may be agreed upon in any
order and anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core import exchange
from energymarket.core.chance import Purpose, draw_u64_of_slots
from energymarket.core.parameters import Take
from energymarket.core.records import CLAIM, GIFT_COLUMNS, OFFER, Policy
from energymarket.core.sharing.flows import Flows
from energymarket.core.sharing.rules import RULES
from energymarket.core.units import I64

if TYPE_CHECKING:
    from energymarket.core.block import I32
    from energymarket.core.parameters import Rule, Sharing
    from energymarket.core.sharing.flows import Shares

Signed: TypeAlias = npt.NDArray[np.signedinteger[Any]]

_NO_CLAIMS: Final = np.zeros(0, CLAIM)


@dataclass(frozen=True, slots=True)
class Traded:
    """What some homes have agreed upon in K slots, (K, n) each."""

    sold_wh: Signed
    bought_wh: Signed
    offered_wh: Signed
    returned_wh: Signed


@dataclass(frozen=True, slots=True)
class Allocated:
    """What a rule has allocated in K slots: there are no gifts."""

    shares: Shares
    gifts: dict[str, I64]
    gift_counts: list[int]

    def traded(self, part: slice, surplus_wh: Signed, need_wh: Signed) -> Traded:
        """What a part of the homes trades, which has so much over and lacks so much: (K, n) each."""
        none = np.zeros_like(surplus_wh)
        del need_wh
        return Traded(self.shares.sold_wh[:, part], self.shares.bought_wh[:, part], none, none)


def allocate(rule: Rule, net_wh: I32, policy: I64, weights: I64) -> Allocated:
    """What a rule allocates by the meters of homes 1 .. N, `net_wh` (K, N). The rest is the grid's."""
    surplus_wh = np.maximum(net_wh, 0).astype(np.int64)
    shares = RULES[rule](Flows(surplus_wh, surplus_wh - net_wh, policy, weights))
    return Allocated(
        shares, gifts={name: np.zeros(0, np.int64) for name in GIFT_COLUMNS}, gift_counts=[0] * len(net_wh)
    )


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What gifts over the queue have come to in K slots."""

    policy: npt.NDArray[np.integer[Any]]
    given_wh: I32
    received_wh: I32
    excess_wh: I32  # (K, 0) where nobody takes more than he lacks
    gifts: dict[str, I64]  # GIFT_COLUMNS: slot after slot, each by (giver, index)
    gift_counts: list[int]  # of each slot

    def traded(self, part: slice, surplus_wh: Signed, need_wh: Signed) -> Traded:
        """What a part of the homes trades, which has so much over and lacks so much: (K, n) each."""
        found = exchange.trade_columns(
            self.policy[part],
            surplus_wh,
            need_wh,
            self.received_wh[:, part],
            self.excess_wh[:, part],
            surplus_wh - self.given_wh[:, part],
        )
        return Traded(**found)


Agreed: TypeAlias = "Allocated | Exchanged"


def agree(
    net_wh: I32,
    policy: npt.NDArray[np.integer[Any]],
    sharing: Sharing,
    seed: int,
    slots: range,
    moved: tuple[I32, I32],
) -> Exchanged:
    """Gifts and orders of homes 1 .. N whose meters say `net_wh` (K, N) in these slots.

    `policy` (N) has one of `records.Policy` per home. What was given and what received is written to
    `moved`, (K, N) each.
    """
    homes = net_wh.shape[1]
    gives = policy != Policy.SELL
    starts = draw_u64_of_slots(seed, Purpose.RING, np.arange(slots.start, slots.stop, dtype=np.uint64))
    excess_wh = np.zeros_like(net_wh) if sharing.take is Take.GREEDY else net_wh[:, :0]
    for column in moved:
        column[:] = 0
    claims = [
        _serve(net_wh[at], gives, start, sharing, (moved[0][at], moved[1][at], excess_wh[at]))
        for at, start in enumerate((starts % np.uint64(homes)).tolist())
    ]
    return Exchanged(policy, *moved, excess_wh, _columns(claims), [len(each) for each in claims])


def _serve(
    net_wh: I32, gives: npt.NDArray[np.bool_], start: int, sharing: Sharing, moved: tuple[I32, I32, I32]
) -> npt.NDArray[np.void]:
    """The claims of one slot, by (giver, index); `moved`: given, received and excess, to be filled."""
    given_wh, received_wh, excess_wh = moved
    givers = np.flatnonzero((net_wh > 0) & gives)
    takers = np.flatnonzero(net_wh < 0)
    if not len(givers) or not len(takers):
        return _NO_CLAIMS
    givers, takers = _ring(givers, start), _ring(takers, start)
    offers = np.zeros(len(givers), OFFER)
    offers["giver"] = givers + 1
    offers["energy_wh"] = net_wh[givers]
    offers["position"] = (givers - start) % len(net_wh)
    served = exchange.serve(offers, takers + 1, -net_wh[takers], sharing)
    given_wh[givers] = served.given_wh
    received_wh[takers] = served.received_wh
    if sharing.take is Take.GREEDY:
        excess_wh[takers] = served.excess_wh
    return _by_giver(served.claims, start)


def _ring(at: npt.NDArray[np.intp], start: int) -> npt.NDArray[np.intp]:
    """Ascending places in the order of the ring that begins at `start`."""
    cut = int(np.searchsorted(at, start))
    return np.concatenate((at[cut:], at[:cut]))


def _by_giver(claims: npt.NDArray[np.void], start: int) -> npt.NDArray[np.void]:
    """Claims in the order of the ring that begins at `start`, by giver: two runs change places."""
    cut = int(np.count_nonzero(claims["giver"] > start))
    pairs = np.ascontiguousarray(claims).view("<u8")  # NumPy copies numbers faster than records
    return np.concatenate((pairs[2 * cut :], pairs[: 2 * cut])).view(CLAIM)


def _columns(claims: list[npt.NDArray[np.void]]) -> dict[str, I64]:
    """All claims as the ledger has them."""
    every = (
        np.concatenate([each.view("<u8") for each in claims]).view(CLAIM) if len(claims) > 1 else claims[0]
    )
    return {name: every[name].astype(np.int64) for name in GIFT_COLUMNS}

"""The exchange of many slots at once, as it is where everybody is honest and on time.

`agree` is `exchange.outcome` for K slots of homes 1 .. N: same ring, same order, same gifts. The gifts
of a slot depend on nothing but that slot's needs and surpluses, so slots may be agreed upon in any
order and anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

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

_NO_CLAIMS: Final = np.zeros(0, CLAIM)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What homes agree upon in K slots: columns (K, N), and the gifts of all slots in the ledger's order."""

    columns: dict[str, npt.NDArray[np.signedinteger[Any]]]  # given, received, sold and bought Wh
    offered_wh: npt.NDArray[np.signedinteger[Any]]
    returned_wh: npt.NDArray[np.signedinteger[Any]]
    gifts: dict[str, I64]  # GIFT_COLUMNS: slot after slot, each by (giver, index)
    gift_counts: list[int]  # of each slot


def allocate(rule: Rule, net_wh: I32, policy: I64, weights: I64) -> Agreed:
    """What a rule allocates by the meters of homes 1 .. N, `net_wh` (K, N). The rest is the grid's."""
    surplus_wh = np.maximum(net_wh, 0).astype(np.int64)
    shares = RULES[rule](Flows(surplus_wh, surplus_wh - net_wh, policy, weights))
    none = np.zeros_like(net_wh)
    return Agreed(
        columns={
            "given_wh": none,
            "received_wh": none,
            "sold_wh": shares.sold_wh,
            "bought_wh": shares.bought_wh,
        },
        offered_wh=none,
        returned_wh=none,
        gifts={name: np.zeros(0, np.int64) for name in GIFT_COLUMNS},
        gift_counts=[0] * len(net_wh),
    )


def agree(
    net_wh: I32, policy: npt.NDArray[np.integer[Any]], sharing: Sharing, seed: int, slots: range
) -> Agreed:
    """Gifts and orders of homes 1 .. N whose meters say `net_wh` (K, N) in these slots.

    `policy` (N) has one of `records.Policy` per home.
    """
    homes = net_wh.shape[1]
    surplus_wh = np.maximum(net_wh, 0)
    need_wh = surplus_wh - net_wh
    offered_wh = np.where(policy == Policy.SELL, 0, surplus_wh)
    starts = draw_u64_of_slots(seed, Purpose.RING, np.arange(slots.start, slots.stop, dtype=np.uint64))
    given_wh, received_wh, excess_wh = (np.zeros_like(net_wh) for _ in range(3))
    claims = [
        _serve(offered_wh[at], need_wh[at], start, sharing, (given_wh[at], received_wh[at], excess_wh[at]))
        for at, start in enumerate((starts % np.uint64(homes)).tolist())
    ]
    traded = exchange.trade_columns(
        policy, surplus_wh, need_wh, received_wh, excess_wh, offered_wh - given_wh
    )
    return Agreed(
        columns={
            "given_wh": given_wh,
            "received_wh": received_wh,
            "sold_wh": traded["sold_wh"],
            "bought_wh": traded["bought_wh"],
        },
        offered_wh=traded["offered_wh"],
        returned_wh=traded["returned_wh"],
        gifts=_columns(claims),
        gift_counts=[len(each) for each in claims],
    )


def _serve(
    offered_wh: I32, need_wh: I32, start: int, sharing: Sharing, moved: tuple[I32, I32, I32]
) -> npt.NDArray[np.void]:
    """The claims of one slot, by (giver, index); `moved`: given, received and excess, to be filled."""
    given_wh, received_wh, excess_wh = moved
    givers = np.flatnonzero(offered_wh)
    takers = np.flatnonzero(need_wh)
    if not len(givers) or not len(takers):
        return _NO_CLAIMS
    givers, takers = _ring(givers, start), _ring(takers, start)
    offers = np.zeros(len(givers), OFFER)
    offers["giver"] = givers + 1
    offers["energy_wh"] = offered_wh[givers]
    offers["position"] = (givers - start) % len(offered_wh)
    served = exchange.serve(offers, takers + 1, need_wh[takers], sharing)
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

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

from energymarket.core import exchange, serving, serving_slots
from energymarket.core.chance import Purpose, draw_u64_of_slots
from energymarket.core.limits import INDEX_MAX
from energymarket.core.parameters import Take, Turn
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
    gifts: dict[str, Signed]
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
    given_wh: Signed
    received_wh: Signed
    excess_wh: I32  # (K, 0) where nobody takes more than he lacks
    gifts: dict[str, Signed]  # GIFT_COLUMNS: slot after slot, each by (giver, index)
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
    moved: tuple[Signed, Signed],
) -> Exchanged:
    """Gifts and orders of homes 1 .. N whose meters say `net_wh` (K, N) in these slots.

    `policy` (N) has one of `records.Policy` per home. What was given and what received is written to
    `moved`, (K, N) each, of a width that holds what a home lacks or has over.
    """
    homes = net_wh.shape[1]
    gives = policy != Policy.SELL
    numbers = np.arange(slots.start, slots.stop, dtype=np.uint64)
    starts = (draw_u64_of_slots(seed, Purpose.RING, numbers) % np.uint64(homes)).astype(np.int64)
    for column in moved:
        column[:] = 0
    if len(slots) > 1 and (sharing.take, sharing.turn) == (Take.EXACT, Turn.FAIR) and homes < INDEX_MAX:
        gifts, counts = _serve_slots(net_wh, gives, starts, moved)
        return Exchanged(policy, *moved, net_wh[:, :0], gifts, counts)
    if len(slots) == 1 and sharing.take is Take.EXACT:
        found = _serve_slot(net_wh[0], gives, int(starts[0]), sharing.turn, (moved[0][0], moved[1][0]))
        if found is not None:
            return Exchanged(policy, *moved, net_wh[:, :0], found, [len(found["giver"])])
    excess_wh = np.zeros_like(net_wh) if sharing.take is Take.GREEDY else net_wh[:, :0]
    claims = [
        _serve(net_wh[at], gives, start, sharing, (moved[0][at], moved[1][at], excess_wh[at]))
        for at, start in enumerate(starts.tolist())
    ]
    return Exchanged(policy, *moved, excess_wh, _columns(claims), [len(each) for each in claims])


def _serve_slots(
    net_wh: I32, gives: npt.NDArray[np.bool_], starts: I64, moved: tuple[Signed, Signed]
) -> tuple[dict[str, Signed], list[int]]:
    """The gifts of several slots, exact and fair, and how many are of each; `moved` as in `_serve`.

    No offer has more parts than there are names for: a part that does not end it ends a need.
    """
    homes = net_wh.shape[1]
    giving, taking = (net_wh > 0) & gives, net_wh < 0
    both = np.flatnonzero(giving.any(axis=1) & taking.any(axis=1))
    counts = np.zeros(len(net_wh), np.int64)
    if not len(both):
        return {name: np.zeros(0, np.int64) for name in GIFT_COLUMNS}, counts.tolist()
    givers, offers = _on_rings(giving[both], both, starts[both])
    takers, needs = _on_rings(taking[both], both, starts[both])
    offered_wh, need_wh = net_wh.take(givers), -net_wh.take(takers)
    taken = serving_slots.exact_fair(offered_wh, offers, need_wh, needs)
    np.put(moved[0], givers, offered_wh - taken.left_wh)
    np.put(moved[1], takers, need_wh - taken.lacking_wh)
    counts[both] = taken.counts
    slot_at = np.repeat(both * homes, taken.counts)
    giver = givers[taken.offer] - slot_at
    ends = np.cumsum(taken.counts)
    beyond = giver >= np.repeat(starts[both], taken.counts)  # the ring has them first, the ledger last
    cuts = np.add.reduceat(beyond, ends - taken.counts, dtype=np.int64)
    order = serving_slots.turned(taken.counts, cuts)
    columns = (giver + 1, serving.parts(taken.offer), takers[taken.taker] - slot_at + 1, taken.energy_wh)
    found = {
        name: column[order].astype(np.int64, copy=False)
        for name, column in zip(GIFT_COLUMNS, columns, strict=True)
    }
    return found, counts.tolist()


def _on_rings(mask: npt.NDArray[np.bool_], slots: I64, starts: I64) -> tuple[I64, I64]:
    """Places in (K, N) of the homes of a mask, slot after slot on its ring; how many are in each slot."""
    homes = mask.shape[1]
    row, home = mask.nonzero()
    counts = np.bincount(row, minlength=len(slots))
    before = np.add.reduceat(home < starts[row], np.cumsum(counts) - counts, dtype=np.int64)
    return (slots[row] * homes + home)[serving_slots.turned(counts, before)], counts


def _serve_slot(
    net_wh: I32, gives: npt.NDArray[np.bool_], start: int, turn: Turn, moved: tuple[Signed, Signed]
) -> dict[str, Signed] | None:
    """The gifts of one slot, exact, without records in between; `moved` as in `_serve`, nothing but zeros.

    None if an offer has more parts than there are names for.
    """
    giving = net_wh > 0
    giving &= gives
    givers, takers = np.flatnonzero(giving), np.flatnonzero(net_wh < 0)
    if not len(givers) or not len(takers):
        return {name: np.zeros(0, np.int32) for name in GIFT_COLUMNS}
    givers, takers = _ring(givers, start), _ring(takers, start)
    offered_wh, need_wh = net_wh[givers], -net_wh[takers]
    fair = turn is Turn.FAIR
    taken = (
        serving.exact_fair(offered_wh, need_wh, None) if fair else serving.exact_selfish(offered_wh, need_wh)
    )
    index = serving.parts(taken.offer)
    if int(index.max()) > INDEX_MAX:
        return None
    # NumPy writes by an index sooner than by `put`, and sooner what is of the same width.
    touched = taken.used_up + (taken.rest_wh > 0)  # by day most offers are not
    moved[0][givers[:touched]] = _given_wh(offered_wh[:touched], taken).astype(moved[0].dtype)
    moved[1][takers] = _received_wh(need_wh, taken).astype(moved[1].dtype)
    # The ring has those from its start on first, the ledger last: two runs change places.
    cut = int(np.searchsorted(taken.offer, np.count_nonzero(givers >= start)))
    giver, taker = (each.astype(np.int32) + np.int32(1) for each in (givers, takers))
    columns = giver.take(taken.offer), index, taker.take(taken.taker), taken.energy_wh
    return {
        name: np.concatenate((column[cut:], column[:cut]))
        for name, column in zip(GIFT_COLUMNS, columns, strict=True)
    }


def _given_wh(offered_wh: Signed, taken: serving.Taken) -> Signed:
    """What was taken of each offer; the first ones are used up."""
    given_wh = offered_wh.copy()
    given_wh[taken.used_up :] = 0
    if taken.rest_wh:
        given_wh[taken.used_up] = offered_wh[taken.used_up] - taken.rest_wh
    return given_wh


def _received_wh(need_wh: Signed, taken: serving.Taken) -> Signed:
    """What each taker took."""
    if taken.lacking is None:
        received_wh = np.zeros_like(need_wh)
        np.add.at(received_wh, taken.taker, taken.energy_wh)
        return received_wh
    who, lacking_wh = taken.lacking
    received_wh = need_wh.copy()
    received_wh[who] -= lacking_wh
    return received_wh


def _serve(
    net_wh: I32,
    gives: npt.NDArray[np.bool_],
    start: int,
    sharing: Sharing,
    moved: tuple[Signed, Signed, Signed],
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


def _columns(claims: list[npt.NDArray[np.void]]) -> dict[str, Signed]:
    """All claims as the ledger has them."""
    every = (
        np.concatenate([each.view("<u8") for each in claims]).view(CLAIM) if len(claims) > 1 else claims[0]
    )
    return {name: every[name].astype(np.int64) for name in GIFT_COLUMNS}

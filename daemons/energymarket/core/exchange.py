"""The exchange of gifts: a ring of homes, a queue of offers, and who takes how much of what.

`serve` is one hold of the queue; `outcome` is the reference of a whole slot, that of an unbounded
queue. Both are functions of the order of the givers and the order of the takers, and of nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.chance import Purpose, draw_u64
from energymarket.core.limits import INDEX_MAX
from energymarket.core.parameters import Excess, Sharing, Take, Turn
from energymarket.core.records import CLAIM, OFFER, Policy
from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Iterator

Records: TypeAlias = npt.NDArray[np.void]
Numbers: TypeAlias = npt.NDArray[Any]

_TRADE_COLUMNS: Final = ("offered_wh", "returned_wh", "sold_wh", "bought_wh")


def ring_start(seed: int, slot: int, homes: int) -> int:
    """Index (0 .. homes − 1) of the home where the ring starts in this slot: H(seed, slot) mod N."""
    return draw_u64(seed, Purpose.RING, slot) % homes


def ring_positions(first: int, count: int, start: int, homes: int) -> I64:
    """The place on the ring of each home of a range, in order of ids; the home at `start` has 0."""
    return (np.arange(first - 1, first - 1 + count, dtype=np.int64) - start) % homes


def ring_order(first: int, count: int, start: int, homes: int) -> I64:
    """Indices (0 .. count − 1) of a range's homes in ring order: at most one cut turns it round."""
    index = np.arange(count, dtype=np.int64)
    cut = start - (first - 1)
    return np.roll(index, -cut) if 0 < cut < count <= homes else index


def make_offers(home_ids: Numbers, surplus_wh: Numbers, positions: Numbers) -> Records:
    """OFFER array in ring order of those who have a surplus. All three columns go by home, in any order."""
    at = np.flatnonzero(np.asarray(surplus_wh) > 0)
    at = at[np.argsort(positions[at], kind="stable")]
    offers = np.zeros(len(at), OFFER)
    offers["giver"] = home_ids[at]
    offers["energy_wh"] = surplus_wh[at]
    offers["position"] = positions[at]
    return offers


@dataclass(frozen=True, slots=True)
class Served:
    """What came of serving takers from a list of offers."""

    claims: Records  # CLAIM, in the order of taking
    rests: Records  # OFFER: what stays in the queue, oldest first; a split rest keeps its place
    received_wh: I64  # per taker: all that it took
    excess_wh: I64  # per taker, greedy and mean: of it, what it did not need
    neutral_rest: Records  # OFFER: goes back to the giver, is not offered again


def serve(
    offers: Records, taker_ids: Numbers, need_wh: Numbers, sharing: Sharing, *, turns: int | None = None
) -> Served:
    """Serve takers, in their order, from offers, oldest first.

    Exact: a taker takes what it lacks; the part taken keeps the offer's index, the rest stays at its
    place with the next index. Greedy: whole offers; what is beyond the need is the taker's excess
    (mean) or goes back to the giver (neutral: the claim is then of the needed part only).
    Selfish: one taker after the other, each until satisfied. Fair: round by round, one offer, whole or
    part, per needy taker and round; `turns` bounds the rounds. An offer of no energy is dropped.

    An offer that has been split INDEX_MAX times has no further name for a rest: its last taker ends it,
    and the rest goes back to the giver.
    """
    needs = np.maximum(np.asarray(need_wh), 0).astype(np.int64)
    offers = offers[offers["energy_wh"] > 0]
    if turns is not None and turns <= 0:
        needs[:] = 0
    if sharing.take is Take.EXACT and sharing.turn is Turn.SELFISH:
        served = _serve_intervals(offers, taker_ids, needs)
        if served is not None:
            return served
    return _serve_by_turns(offers, taker_ids, needs, sharing, turns)


def _serve_intervals(offers: Records, taker_ids: Numbers, needs: I64) -> Served | None:
    """Exact and selfish at once: lay offers and needs end to end on one line; a claim is an overlap.

    None if an offer would be split more often than it has names for its parts.
    """
    offer_end = np.cumsum(offers["energy_wh"], dtype=np.int64)
    need_end = np.cumsum(needs)
    total = min(int(offer_end[-1]), int(need_end[-1])) if len(offer_end) and len(need_end) else 0
    met = np.minimum(need_end, total)
    received = np.diff(met, prepend=0)
    whole = int(np.searchsorted(offer_end, total, side="right"))  # offers that are used up
    ends = np.concatenate((offer_end[:whole], met[received > 0]))
    ends.sort(kind="stable")  # two runs: a merge
    ends = ends[np.diff(ends, prepend=0) > 0]
    offer_at = np.searchsorted(offer_end, ends)
    part = np.arange(len(ends)) - np.searchsorted(offer_at, offer_at)  # its place among its offer's parts
    index = offers["index"][offer_at] + part
    rests = offers[whole:].copy()
    if len(ends) and len(offer_at) and whole < len(offers) and offer_at[-1] == whole:
        rests["energy_wh"][0] = offer_end[whole] - total
        split = int(index[-1]) + 1
        if split > INDEX_MAX:
            return None
        rests["index"][0] = split
    if len(index) and int(index.max()) > INDEX_MAX:
        return None
    claims = np.zeros(len(ends), CLAIM)
    claims["giver"] = offers["giver"][offer_at]
    claims["taker"] = np.asarray(taker_ids)[np.searchsorted(need_end, ends)]
    claims["energy_wh"] = np.diff(ends, prepend=0)
    claims["index"] = index
    return Served(claims, rests, received, np.zeros(len(needs), np.int64), offers[:0].copy())


def _serve_by_turns(
    offers: Records, taker_ids: Numbers, needs: I64, sharing: Sharing, turns: int | None
) -> Served:
    """Any sharing model, one claim after the other."""
    table = _Table(offers["energy_wh"].tolist(), offers["index"].tolist(), sharing)
    lack = needs.tolist()
    for taker in _turns(lack, sharing, turns):
        if table.empty:
            break
        lack[taker] = table.take(taker, lack[taker])
    left = np.asarray(lack, np.int64)
    claims = np.zeros(len(table.claims), CLAIM)
    if table.claims:
        at, taker_at, energy, index = np.asarray(table.claims, np.int64).T
        claims["giver"] = offers["giver"][at]
        claims["taker"] = np.asarray(taker_ids)[taker_at]
        claims["energy_wh"] = energy
        claims["index"] = index
    rests = offers[table.head :].copy()
    if len(rests):
        rests["energy_wh"][0] = table.energies[table.head]
        rests["index"][0] = table.indexes[table.head]
    withdrawn = np.asarray(table.withdrawn, np.int64).reshape(-1, 3)
    neutral = offers[withdrawn[:, 0]].copy()
    neutral["energy_wh"] = withdrawn[:, 1]
    neutral["index"] = withdrawn[:, 2]
    return Served(claims, rests, needs - left, np.maximum(-left, 0), neutral)


def _turns(lack: list[int], sharing: Sharing, turns: int | None) -> Iterator[int]:
    """Whose turn it is, for ever anew until nobody lacks anything or the rounds are over."""
    needy = [taker for taker, lacking in enumerate(lack) if lacking > 0]
    if sharing.turn is Turn.SELFISH:
        for taker in needy:
            while lack[taker] > 0:
                yield taker
        return
    rounds = 0
    while needy and (turns is None or rounds < turns):
        yield from needy
        needy = [taker for taker in needy if lack[taker] > 0]
        rounds += 1


class _Table:
    """Offers on the table, oldest first, while they are taken one by one."""

    def __init__(self, energies: list[int], indexes: list[int], sharing: Sharing) -> None:
        self.energies = energies
        self.indexes = indexes
        self.sharing = sharing
        self.head = 0
        self.claims: list[tuple[int, int, int, int]] = []  # offer, taker, energy, index
        self.withdrawn: list[tuple[int, int, int]] = []  # offer, energy, index

    @property
    def empty(self) -> bool:
        """Nothing is left to take."""
        return self.head == len(self.energies)

    def take(self, taker: int, lacking: int) -> int:
        """Take one offer or a part of it; the answer is what is still lacking, below zero in excess."""
        head = self.head
        energy, index = self.energies[head], self.indexes[head]
        exact = self.sharing.take is Take.EXACT
        if lacking >= energy or (not exact and self.sharing.excess is Excess.MEAN):
            self.claims.append((head, taker, energy, index))
            self.head = head + 1
            return lacking - energy
        self.claims.append((head, taker, lacking, index))
        if exact and index < INDEX_MAX:
            self.energies[head] = energy - lacking
            self.indexes[head] = index + 1
        else:
            self.withdrawn.append((head, energy - lacking, min(index + 1, INDEX_MAX)))
            self.head = head + 1
        return 0


def trade_columns(
    policies: Numbers,
    surplus_wh: Numbers,
    need_wh: Numbers,
    received_wh: Numbers,
    excess_wh: Numbers,
    returned_wh: Numbers,
) -> dict[str, I64]:
    """What each home states and orders after the exchange: the batch's columns but registers and policy.

    A mean excess is the taker's to trade: sold by those who sell; under policy 1 it is counted in
    `offered_wh` though it never lay in the queue, so that it expires. `returned_wh` is what the home
    got back from the queue; a home of policy 1 leaves it to expire.
    """
    gives = np.asarray(policies) == Policy.GIVE
    sells = np.asarray(policies) == Policy.SELL
    surplus = np.asarray(surplus_wh, np.int64)
    excess = np.asarray(excess_wh, np.int64)
    returned = np.where(gives | sells, 0, np.asarray(returned_wh, np.int64))
    return {
        "offered_wh": np.where(sells, 0, surplus) + np.where(gives, excess, 0),
        "returned_wh": returned,
        "sold_wh": np.where(sells, surplus, 0) + returned + np.where(gives, 0, excess),
        "bought_wh": np.maximum(np.asarray(need_wh, np.int64) - np.asarray(received_wh, np.int64), 0),
    }


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a slot's exchange ends for all homes: int64 columns by home, as given."""

    home_ids: Numbers
    policies: Numbers
    offered_wh: I64  # the batch's column: under greedy and mean a giver's excess included
    given_wh: I64
    returned_wh: I64
    expired_wh: I64
    received_wh: I64
    excess_wh: I64
    sold_wh: I64
    bought_wh: I64
    claims: Records


def outcome(
    home_ids: Numbers,
    surplus_wh: Numbers,
    need_wh: Numbers,
    policies: Numbers,
    sharing: Sharing,
    seed: int,
    slot: int,
) -> Outcome:
    """The reference: all homes (ascending ids), an unbounded queue, everybody on time."""
    ids = np.asarray(home_ids)
    homes = len(ids)
    start = ring_start(seed, slot, homes) if homes else 0
    order = ring_order(1, homes, start, homes)
    positions = ring_positions(1, homes, start, homes) if homes else order
    up_wh = np.where(np.asarray(policies) == Policy.SELL, 0, np.asarray(surplus_wh, np.int64))
    needs = np.asarray(need_wh, np.int64)
    served = serve(make_offers(ids, up_wh, positions), ids[order], needs[order], sharing)
    received, excess, given = np.zeros((3, homes), np.int64)
    received[order] = served.received_wh
    excess[order] = served.excess_wh
    giver_at = np.searchsorted(ids, served.claims["giver"])
    np.add.at(given, giver_at, served.claims["energy_wh"].astype(np.int64))
    columns = trade_columns(policies, surplus_wh, needs, received, excess, up_wh - given)
    return Outcome(
        home_ids=ids,
        policies=np.asarray(policies),
        given_wh=given,
        expired_wh=columns["offered_wh"] - given - columns["returned_wh"],
        received_wh=received,
        excess_wh=excess,
        claims=served.claims,
        **columns,
    )


def batch_columns(result: Outcome, first: int, count: int) -> tuple[dict[str, Numbers], Records]:
    """An outcome's columns and claims for the batch of a range; the registers are the caller's to add."""
    here = slice(*np.searchsorted(result.home_ids, (first, first + count)).tolist())
    columns: dict[str, Numbers] = {name: getattr(result, name)[here].astype("<i4") for name in _TRADE_COLUMNS}
    columns["policy"] = result.policies[here].astype("u1")
    takers = result.claims["taker"]
    return columns, result.claims[(takers >= first) & (takers < first + count)]

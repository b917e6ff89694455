"""The exchange of gifts: a ring of homes, a queue of offers, and who takes how much of what.

`serve` is one hold of the queue; `outcome` is the reference of a whole slot, that of an unbounded
queue. Both are functions of the order of the givers and the order of the takers, and of nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core import serving
from energymarket.core.chance import Purpose, draw_u64
from energymarket.core.limits import INDEX_MAX
from energymarket.core.parameters import Excess, Sharing, Take, Turn
from energymarket.core.records import CLAIM, OFFER, Policy
from energymarket.core.single_claims import Table
from energymarket.core.sums import bounds
from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Sequence

Records: TypeAlias = npt.NDArray[np.void]
Numbers: TypeAlias = npt.NDArray[Any]

_GIVE, _SELL, _GIVE_THEN_SELL = (int(policy) for policy in Policy)  # NumPy compares an enum slowly
_BYTES: Final = np.dtype((np.void, OFFER.itemsize))
TRADE_COLUMNS: Final = ("offered_wh", "returned_wh", "sold_wh", "bought_wh")


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


def in_ring_order(mask: npt.NDArray[np.bool_], first: int, start: int) -> npt.NDArray[np.int32]:
    """Places (0 .. count - 1) in a range of the homes of a mask, in the order in which the ring has them."""
    at = np.flatnonzero(mask).astype(np.int32)
    cut = int(np.searchsorted(at, start - (first - 1)))
    return np.concatenate((at[cut:], at[:cut])) if 0 < cut < len(at) else at


def offers_of(givers: Numbers, energy_wh: Numbers, positions: Numbers) -> Records:
    """OFFER array of what some homes have over, by id, in the order given."""
    offers = np.zeros(len(givers), OFFER)
    offers["giver"] = givers
    offers["energy_wh"] = energy_wh
    offers["position"] = positions
    return offers


def make_offers(home_ids: Numbers, surplus_wh: Numbers, positions: Numbers) -> Records:
    """OFFER array in ring order of those who have a surplus. All three columns go by home, in any order."""
    at = np.flatnonzero(np.asarray(surplus_wh) > 0)
    at = at[np.argsort(positions[at], kind="stable")]
    return offers_of(home_ids[at], surplus_wh[at], positions[at])


def joined(pieces: Sequence[Records]) -> Records:
    """Offers, one after the other: as pairs of numbers, because NumPy joins records slowly."""
    return np.concatenate([np.ascontiguousarray(piece).view("<u8") for piece in pieces]).view(OFFER)


@dataclass(frozen=True, slots=True)
class Served:
    """What came of serving takers from a list of offers."""

    claims: Records  # CLAIM, in the order of taking
    rests: Records  # OFFER: what stays in the queue, oldest first; a split rest keeps its place
    received_wh: Numbers  # per taker: all that it took
    excess_wh: Numbers  # per taker, greedy and mean: of it, what it did not need
    neutral_rest: Records  # OFFER: goes back to the giver, is not offered again
    given_wh: Numbers  # per offer that has energy: what was taken of it
    round: Round | None = (
        None  # where claims are of one taker after the other, and offers of one part at least
    )


@dataclass(frozen=True, slots=True)
class Round:
    """What is known of a single round without looking at every claim."""

    reached: int  # takers: the first ones; the others lack what they lacked
    lacking: Numbers  # of these, the places in the list of those who lack something still
    lack_wh: Numbers  # how much each of them lacks
    following: Numbers  # of each offer that was touched, the first ones: the first index that is not claimed


def serve(
    offers: Records,
    taker_ids: Numbers,
    need_wh: Numbers,
    sharing: Sharing,
    *,
    turns: int | None = None,
    marks: I64 | None = None,
) -> Served:
    """Serve takers, in their order, from offers, oldest first.

    Exact: a taker takes what it lacks; the part taken keeps the offer's index, the rest stays at its
    place with the next index. Greedy: whole offers; what is beyond the need is the taker's excess
    (mean) or goes back to the giver (neutral: the claim is then of the needed part only).
    Selfish: one taker after the other, each until satisfied. Fair: round by round, one offer, whole or
    part, per needy taker and round; `turns` bounds the rounds. An offer of no energy is dropped.
    Where everybody lacks something, who has the `marks` of the needs (`serving.line_of`) may give them.

    An offer that has been split INDEX_MAX times has no further name for a rest: its last taker ends it,
    and the rest goes back to the giver.
    """
    needs, energy = _narrow(np.asarray(need_wh)), _narrow(offers["energy_wh"])
    if not energy.all():
        offers, energy = offers[energy > 0], energy[energy > 0]
    is_needy = needs > 0
    all_needy = bool(is_needy.all())
    takers = np.arange(len(needs), dtype=np.int32) if all_needy else is_needy.nonzero()[0].astype(np.int32)
    needs = needs if all_needy else np.maximum(needs, 0)
    if not len(offers) or not len(takers) or (turns is not None and turns <= 0):
        received, excess = np.zeros((2, len(needs)), np.int64)
        return Served(np.zeros(0, CLAIM), offers.copy(), received, excess, offers[:0], np.zeros_like(energy))
    sides = _Sides(offers, energy, np.asarray(taker_ids), needs, takers)
    lack, selfish = needs if all_needy else needs[takers], sharing.turn is Turn.SELFISH
    if sharing.take is Take.GREEDY:
        greedy = serving.greedy_selfish(energy, lack) if selfish else serving.greedy_fair(energy, lack, turns)
        return _serve_greedy(sides, greedy, sharing)
    if turns == 1 and not selfish and (served := _serve_round(sides, lack, marks)) is not None:
        return served
    exact = serving.exact_selfish(energy, lack) if selfish else serving.exact_fair(energy, lack, turns)
    return _serve_exact(sides, exact) or _serve_singly(sides, sharing, turns)


def _narrow(energy_wh: Numbers) -> Numbers:
    """In 32 bits with a sign where that is enough: of many homes it is half as much to go through."""
    column = np.ascontiguousarray(energy_wh)
    low, high = bounds(column) if column.dtype.kind == "i" else (0, int(column.max(initial=0)))
    return column.astype(np.int32 if max(high, -low) < 1 << 30 else np.int64, copy=False)


@dataclass(frozen=True, slots=True)
class _Sides:
    """Who takes from whom."""

    offers: Records  # with energy
    energy_wh: Numbers  # of each offer
    taker_ids: Numbers
    needs: Numbers
    takers: npt.NDArray[np.int32]  # the places of those in need

    def claims(self, taken: serving.Taken, index: Numbers) -> Records:
        """Claims of what was taken."""
        claims = np.empty(len(taken.offer), CLAIM)
        claims["giver"] = self.offers["giver"][taken.offer]
        claims["taker"] = self.taker_ids[self.takers[taken.taker]]
        claims["energy_wh"] = taken.energy_wh
        claims["index"] = index
        claims["flags"] = 0
        return claims

    def received_wh(self, taken: serving.Taken, *, greedy: bool = False) -> Numbers:
        """What each taker took; the greedy may take more than they lack."""
        if taken.lacking is not None and not greedy:
            who, lack = taken.lacking
            received = self.needs.copy()
            received[self.takers[who]] -= lack
            return received
        # Doubles are exact below 2**53, and add up many times faster than integers by place.
        summed = np.bincount(self.takers[taken.taker], taken.energy_wh, len(self.needs))
        return summed.astype(np.int64)

    def given_wh(self, taken: serving.Taken) -> Numbers:
        """What was taken of each offer."""
        given = self.energy_wh.copy()
        given[taken.used_up :] = 0
        if taken.rest_wh:
            given[taken.used_up] = self.energy_wh[taken.used_up] - taken.rest_wh
        return given

    def rests(self, used_up: int) -> Records:
        """The offers that are left; as bytes, because NumPy copies records slowly."""
        return self.offers.view(_BYTES)[used_up:].copy().view(OFFER)


def _serve_exact(sides: _Sides, taken: serving.Taken) -> Served | None:
    """Parts are named one after the other; None if an offer has more parts than names."""
    index = serving.parts(taken.offer)
    first = sides.offers["index"]
    if first.any():
        index += first[taken.offer]
    rests = sides.rests(taken.used_up)
    names = int(index.max())
    if taken.rest_wh:
        rests["energy_wh"][0] = taken.rest_wh
        split = int(index[-1]) + 1
        names = max(names, split)
        rests["index"][0] = min(split, INDEX_MAX)
    if names > INDEX_MAX:
        return None
    none = np.zeros(len(sides.needs), np.int32)
    claims, received = sides.claims(taken, index), sides.received_wh(taken)
    return Served(claims, rests, received, none, sides.offers[:0], sides.given_wh(taken))


def _serve_round(sides: _Sides, lack: Numbers, marks: I64 | None) -> Served | None:
    """As `_serve_exact` of a single round, in which the claims are of one taker after the other."""
    found = serving.one_round(sides.energy_wh, lack, serving.line_of(lack) if marks is None else marks)
    touched, number = len(found.counts), len(found.energy_wh)
    ends = np.cumsum(found.counts)
    first, index = sides.offers["index"][:touched], np.ones(number, np.uint32)  # differences
    following = first + found.counts
    index[0] = first[0]
    index[ends[:-1]] = (first[1:] - (following[:-1] - 1)).astype(np.uint32)  # modulo 2**32
    rests, names = sides.rests(found.used_up), int(following.max()) - 1
    if found.rest_wh:
        split = int(following[-1])
        names = max(names, split)
        rests["energy_wh"][0], rests["index"][0] = found.rest_wh, min(split, INDEX_MAX)
    if names > INDEX_MAX:
        return None
    takers = slice(number) if len(lack) == len(sides.needs) else sides.takers[:number]
    giver = np.zeros(number, np.uint32)  # differences
    giver[ends[:-1]] = np.diff(sides.offers["giver"][:touched])
    giver[0] = sides.offers["giver"][0]
    claims = np.empty(number, CLAIM)
    words = claims.view("<u4").reshape(number, 4)  # the last one is index and flags: these are 0
    np.cumsum(giver, out=words[:, 0])
    words[:, 1] = sides.taker_ids[takers]
    words[:, 2] = found.energy_wh
    np.cumsum(index, out=words[:, 3])
    received, none = np.zeros((2, len(sides.needs)), lack.dtype)
    received[takers] = found.energy_wh
    given = sides.energy_wh.copy()
    given[found.used_up :] = 0
    if touched > found.used_up:
        given[found.used_up] = sides.energy_wh[found.used_up] - found.rest_wh
    final = ends - 1  # the others have all that they lacked
    left_wh = lack[final] - found.energy_wh[final]
    last = sides.takers[final[left_wh > 0]]
    one = Round(int(sides.takers[number - 1]) + 1, last, left_wh[left_wh > 0], following)
    return Served(claims, rests, received, none, sides.offers[:0], given, one)


def _serve_greedy(sides: _Sides, taken: serving.Taken, sharing: Sharing) -> Served:
    """Whole offers. What the last one has beyond the need is the taker's excess, or goes back."""
    offers, taker = sides.offers, sides.takers[taken.taker]
    received, given = sides.received_wh(taken, greedy=True), sides.given_wh(taken)
    excess = np.maximum(received - sides.needs, 0)
    back = offers[:0]
    claims = sides.claims(taken, offers["index"][taken.offer])
    if sharing.excess is Excess.NEUTRAL:
        last = np.zeros(len(sides.needs), np.int64)
        last[taker] = np.arange(len(taker))  # of several claims of a taker, the last one stands
        cut = np.sort(last[excess > 0])
        too_much = excess[taker[cut]]
        claims["energy_wh"][cut] -= too_much.astype("<u4")
        given[taken.offer[cut]] -= too_much
        back = offers[taken.offer[cut]]
        back["energy_wh"] = too_much
        back["index"] = np.minimum(back["index"].astype(np.int64) + 1, INDEX_MAX)
        received -= excess
        excess = np.zeros_like(excess)
    return Served(claims, sides.rests(taken.used_up), received, excess, back, given)


def _serve_singly(sides: _Sides, sharing: Sharing, turns: int | None) -> Served:
    """Exact, one claim after the other."""
    offers = sides.offers
    table = Table(sides.energy_wh.tolist(), offers["index"].tolist(), sides.needs[sides.takers].tolist())
    table.serve(sharing, turns)
    at, taker, energy, index = np.asarray(table.claims, np.int64).T
    taken = serving.Taken(at, taker, energy, table.head, 0)
    rests = sides.rests(table.head)
    if len(rests):
        rests["energy_wh"][0] = table.energies[table.head]
        rests["index"][0] = table.indexes[table.head]
    withdrawn = np.asarray(table.withdrawn, np.int64).reshape(-1, 3)
    back = offers[withdrawn[:, 0]]
    back["energy_wh"] = withdrawn[:, 1]
    back["index"] = withdrawn[:, 2]
    none, given = np.zeros(len(sides.needs), np.int64), np.zeros(len(offers), np.int64)
    np.add.at(given, at, energy)
    return Served(sides.claims(taken, index), rests, sides.received_wh(taken), none, back, given)


def trade_columns(
    policies: Numbers,
    surplus_wh: Numbers,
    need_wh: Numbers,
    received_wh: Numbers,
    excess_wh: Numbers,
    returned_wh: Numbers,
) -> dict[str, Numbers]:
    """What each home states and orders after the exchange: the batch's columns but registers and policy.

    All energies of one integer type, which has to hold twice what a home can have; so has the answer.
    A mean excess is the taker's to trade: sold by those who sell; under policy 1 it is counted in
    `offered_wh` though it never lay in the queue, so that it expires. `returned_wh` is what the home
    got back from the queue; a home of policy 1 leaves it to expire.
    """
    sold = surplus_wh * (policies == _SELL)
    offered = surplus_wh - sold
    returned = returned_wh * (policies == _GIVE_THEN_SELL)
    sold += returned
    if excess_wh.any():
        expires = excess_wh * (policies == _GIVE)
        offered += expires
        sold += excess_wh - expires
    bought = need_wh - received_wh
    np.maximum(bought, 0, out=bought)
    return {"offered_wh": offered, "returned_wh": returned, "sold_wh": sold, "bought_wh": bought}


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
    ids, policies = np.asarray(home_ids), np.asarray(policies)
    homes = len(ids)
    surplus, needs = np.asarray(surplus_wh, np.int64), np.asarray(need_wh, np.int64)
    given, received, excess = np.zeros((3, homes), np.int64)
    claims = np.zeros(0, CLAIM)
    up_wh = surplus * (policies != _SELL)
    if up_wh.any() and needs.any():
        start = ring_start(seed, slot, homes)
        ring_ids, ring_needs = _turned(ids, start), _turned(needs, start)
        ring_up_wh = _turned(up_wh, start)
        at = (ring_up_wh > 0).nonzero()[0]
        offers = offers_of(ring_ids[at], ring_up_wh[at], at)
        served = serve(offers, ring_ids, ring_needs, sharing)
        claims = served.claims
        received = _turned(served.received_wh, homes - start)
        if sharing.take is Take.GREEDY:
            excess = _turned(served.excess_wh, homes - start)
        ring_up_wh[at] = served.given_wh
        given = _turned(ring_up_wh, homes - start)
    columns = trade_columns(policies, surplus, needs, received, excess, up_wh - given)
    return Outcome(
        home_ids=ids,
        policies=policies,
        given_wh=given,
        expired_wh=columns["offered_wh"] - given - columns["returned_wh"],
        received_wh=received,
        excess_wh=excess,
        claims=claims,
        **columns,
    )


def _turned(column: Numbers, start: int) -> Numbers:
    """A column that begins at `start` and goes round."""
    return np.concatenate((column[start:], column[:start]))


def batch_columns(result: Outcome, first: int, count: int) -> tuple[dict[str, Numbers], Records]:
    """An outcome's columns and claims for the batch of a range; the registers are the caller's to add."""
    here = slice(*np.searchsorted(result.home_ids, (first, first + count)).tolist())
    columns: dict[str, Numbers] = {name: getattr(result, name)[here].astype("<i4") for name in TRADE_COLUMNS}
    columns["policy"] = result.policies[here].astype("u1")
    takers = result.claims["taker"]
    return columns, result.claims[(takers >= first) & (takers < first + count)]

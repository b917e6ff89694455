"""The exchange of gifts against a pencil and against a queue of plain Python objects."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core import exchange, serving, single_claims
from energymarket.core.limits import INDEX_MAX
from energymarket.core.parameters import Excess, Sharing, Take, Turn
from energymarket.core.records import OFFER, Policy

Claim = tuple[int, int, int, int]  # giver, index, taker, energy

MODELS = [Sharing(take, turn, excess) for take in Take for turn in Turn for excess in Excess]
E_S = Sharing(Take.EXACT, Turn.SELFISH)
E_F = Sharing(Take.EXACT, Turn.FAIR)
G_S_MEAN = Sharing(Take.GREEDY, Turn.SELFISH, Excess.MEAN)
G_S_NEUTRAL = Sharing(Take.GREEDY, Turn.SELFISH, Excess.NEUTRAL)
G_F_MEAN = Sharing(Take.GREEDY, Turn.FAIR, Excess.MEAN)
G_F_NEUTRAL = Sharing(Take.GREEDY, Turn.FAIR, Excess.NEUTRAL)


def offers_of(*rows: tuple[int, int, int]) -> npt.NDArray[np.void]:
    """OFFER array of (giver, energy, index)."""
    offers = np.zeros(len(rows), OFFER)
    for at, (giver, energy, index) in enumerate(rows):
        offers[at] = (giver, energy, index, 0, at)
    return offers


def rows_of(offers: npt.NDArray[np.void]) -> list[tuple[int, int, int]]:
    return [(int(o["giver"]), int(o["energy_wh"]), int(o["index"])) for o in offers]


def claims_of(claims: npt.NDArray[np.void]) -> list[Claim]:
    return [(int(c["giver"]), int(c["index"]), int(c["taker"]), int(c["energy_wh"])) for c in claims]


def whole(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


# the ring


def test_the_ring_starts_at_its_home_and_goes_round() -> None:
    """Five homes, start at index 3: homes 4, 5, 1, 2, 3 have the places 0 .. 4."""
    assert exchange.ring_positions(1, 5, 3, 5).tolist() == [2, 3, 4, 0, 1]
    assert exchange.ring_order(1, 5, 3, 5).tolist() == [3, 4, 0, 1, 2]


@pytest.mark.parametrize(
    ("first", "count", "start", "order"),
    [(1, 2, 3, [0, 1]), (3, 3, 3, [1, 2, 0]), (4, 2, 3, [0, 1]), (1, 3, 1, [1, 2, 0]), (2, 3, 0, [0, 1, 2])],
)
def test_a_range_is_cut_at_most_once_by_the_start(
    first: int, count: int, start: int, order: list[int]
) -> None:
    """A shard's homes in ring order: those from the start on, then those before it."""
    assert exchange.ring_order(first, count, start, 5).tolist() == order
    places = exchange.ring_positions(first, count, start, 5)[order]
    assert (np.diff(places) > 0).all()


def test_the_start_of_the_ring_depends_on_seed_and_slot() -> None:
    """The same seed and slot give the same start; over many slots every home starts about as often."""
    starts = [exchange.ring_start(7, slot, 4) for slot in range(4000)]
    assert starts == [exchange.ring_start(7, slot, 4) for slot in range(4000)]
    assert starts != [exchange.ring_start(8, slot, 4) for slot in range(4000)]
    counts = np.bincount(starts, minlength=4)
    assert (abs(counts - 1000) < 5 * 28).all()  # five standard deviations of a fair die


def test_offers_lie_in_ring_order_without_empty_ones() -> None:
    """Homes 1 .. 4 with 10, 0, 30, 40 Wh and the ring starting at home 3: 3, 4, 1."""
    offers = exchange.make_offers(whole(1, 2, 3, 4), whole(10, 0, 30, 40), whole(2, 3, 0, 1))
    assert rows_of(offers) == [(3, 30, 0), (4, 40, 0), (1, 10, 0)]
    assert offers["position"].tolist() == [0, 1, 2]


# one scene, six sharing models: homes 1 and 2 offer 40 and 50 Wh, homes 3 and 4 lack 60 and 45 Wh

SCENES: list[tuple[Sharing, list[Claim], list[int], list[int], list[tuple[int, int, int]]]] = [
    # 3 keeps its turn: 40 and 20; 4 takes the rest of 30
    (E_S, [(1, 0, 3, 40), (2, 0, 3, 20), (2, 1, 4, 30)], [60, 30], [0, 0], []),
    # 3 takes 40, 4 takes 45 of 50, 3 the 5 that are left
    (E_F, [(1, 0, 3, 40), (2, 0, 4, 45), (2, 1, 3, 5)], [45, 45], [0, 0], []),
    # 3 takes both whole: 30 more than it lacks
    (G_S_MEAN, [(1, 0, 3, 40), (2, 0, 3, 50)], [90, 0], [30, 0], []),
    # 3 takes both, and 30 go back to home 2
    (G_S_NEUTRAL, [(1, 0, 3, 40), (2, 0, 3, 20)], [60, 0], [0, 0], [(2, 30, 1)]),
    # one offer each: 4 has 5 too many, 3 lacks 20
    (G_F_MEAN, [(1, 0, 3, 40), (2, 0, 4, 50)], [40, 50], [0, 5], []),
    # one offer each, 5 go back to home 2
    (G_F_NEUTRAL, [(1, 0, 3, 40), (2, 0, 4, 45)], [40, 45], [0, 0], [(2, 5, 1)]),
]


@pytest.mark.parametrize(("sharing", "claims", "received", "excess", "back"), SCENES)
def test_each_sharing_model_ends_the_scene_its_own_way(
    sharing: Sharing,
    claims: list[Claim],
    received: list[int],
    excess: list[int],
    back: list[tuple[int, int, int]],
) -> None:
    """Two givers and two takers: six models, six outcomes, each worked out by hand."""
    served = exchange.serve(offers_of((1, 40, 0), (2, 50, 0)), whole(3, 4), whole(60, 45), sharing)
    assert claims_of(served.claims) == claims
    assert served.received_wh.tolist() == received
    assert served.excess_wh.tolist() == excess
    assert rows_of(served.neutral_rest) == back
    assert rows_of(served.rests) == []


@pytest.mark.parametrize("sharing", [E_S, E_F])
def test_a_split_offer_keeps_its_place(sharing: Sharing) -> None:
    """Of 100 Wh at the head a taker takes 30: the rest of 70 stays before the next offer, one index on."""
    served = exchange.serve(offers_of((1, 100, 4), (2, 50, 0)), whole(3), whole(30), sharing)
    assert claims_of(served.claims) == [(1, 4, 3, 30)]
    assert rows_of(served.rests) == [(1, 70, 5), (2, 50, 0)]


def test_turns_bound_the_rounds_of_the_fair() -> None:
    """Three offers of 10 Wh, two takers in need of 30: after one round each has 10 and one offer is left."""
    offers = offers_of((1, 10, 0), (2, 10, 0), (3, 10, 0))
    served = exchange.serve(offers, whole(8, 9), whole(30, 30), E_F, turns=1)
    assert served.received_wh.tolist() == [10, 10]
    assert rows_of(served.rests) == [(3, 10, 0)]


@pytest.mark.parametrize("sharing", MODELS)
def test_no_turn_moves_nothing(sharing: Sharing) -> None:
    """With no turns, no need, no taker or no offer, the offers stay as they are."""
    offers = offers_of((1, 10, 0))
    for served in (
        exchange.serve(offers, whole(8), whole(30), sharing, turns=0),
        exchange.serve(offers, whole(8), whole(0), sharing),
        exchange.serve(offers, whole(), whole(), sharing),
    ):
        assert rows_of(served.rests) == [(1, 10, 0)]
        assert len(served.claims) == 0
        assert served.received_wh.sum() == 0
    assert len(exchange.serve(offers[:0], whole(8), whole(5), sharing).claims) == 0


@pytest.mark.parametrize("sharing", [E_S, E_F])
def test_an_offer_runs_out_of_names_before_they_repeat(sharing: Sharing) -> None:
    """An offer split as often as its index can say is ended by its last taker; the rest goes back."""
    served = exchange.serve(
        offers_of((1, 100, INDEX_MAX - 1), (2, 5, 0)), whole(3, 4, 5), whole(10, 10, 10), sharing
    )
    assert claims_of(served.claims) == [(1, INDEX_MAX - 1, 3, 10), (1, INDEX_MAX, 4, 10), (2, 0, 5, 5)]
    assert rows_of(served.neutral_rest) == [(1, 80, INDEX_MAX)]


# against plain objects

energies = st.lists(st.integers(0, 40), max_size=12)


def queue_model(
    offers: list[tuple[int, int, int]],
    takers: list[tuple[int, int]],
    sharing: Sharing,
    turns: int | None = None,
    index_max: int = INDEX_MAX,
) -> tuple[list[Claim], list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """An unbounded queue and a ring of takers, one object at a time: claims, rests, given back."""
    queue = deque(offer for offer in offers if offer[1])
    ring = deque(taker for taker in takers if taker[1])
    claims: list[Claim] = []
    back = []
    done: set[int] = set()  # takers that have had their turn in this round
    while queue and ring:
        if ring[0][0] in done:
            done.clear()
            turns = None if turns is None else turns - 1
        if turns == 0:
            break
        taker, lack = ring.popleft()
        if sharing.turn is Turn.FAIR:
            done.add(taker)
        giver, energy, index = queue.popleft()
        greedy = sharing.take is Take.GREEDY
        taken = energy if greedy and sharing.excess is Excess.MEAN else min(energy, lack)
        claims.append((giver, index, taker, taken))
        if energy > taken and (greedy or index == index_max):
            back.append((giver, energy - taken, min(index + 1, index_max)))
        elif energy > taken:
            queue.appendleft((giver, energy - taken, index + 1))
        if lack > taken and sharing.turn is Turn.SELFISH:
            ring.appendleft((taker, lack - taken))
        elif lack > taken:
            ring.append((taker, lack - taken))
    return claims, list(queue), back


@pytest.mark.parametrize("sharing", MODELS)
@given(offered=energies, needs=energies)
def test_serving_equals_a_queue_of_objects(sharing: Sharing, offered: list[int], needs: list[int]) -> None:
    """Claims, rests and what goes back are those of a plain queue, for every sharing model."""
    offers = [(giver, energy, giver % 3) for giver, energy in enumerate(offered, 1)]
    takers = list(enumerate(needs, 100))
    served = exchange.serve(offers_of(*offers), whole(*(t for t, _ in takers)), whole(*needs), sharing)
    claims, rests, back = queue_model(offers, takers, sharing)
    assert claims_of(served.claims) == claims
    assert rows_of(served.rests) == rests
    assert rows_of(served.neutral_rest) == back
    received = [sum(c[3] for c in claims if c[2] == taker) for taker, _ in takers]
    assert served.received_wh.tolist() == received
    assert served.excess_wh.tolist() == [max(r - n, 0) for r, n in zip(received, needs, strict=True)]


size = st.one_of(st.integers(0, 4), st.integers(0, 60), st.just(900))
sizes = st.integers(0, 40).flatmap(lambda count: st.lists(size, min_size=count, max_size=count))


@pytest.mark.parametrize("sharing", MODELS)
@given(
    offered=sizes,
    needs=sizes,
    first=st.integers(0, 2),
    turns=st.none() | st.integers(0, 4),
    names=st.sampled_from([INDEX_MAX, 2, 5]),
    few=st.sampled_from([0, 3, 30]),
)
def test_serving_many_at_once_equals_serving_them_singly(
    sharing: Sharing,
    offered: list[int],
    needs: list[int],
    first: int,
    turns: int | None,
    names: int,
    few: int,
) -> None:
    """Whole rounds, rows of whole offers, bounded rounds and offers that run out of names, all as the queue.

    The sizes from which it pays to look at many claims at once are patched to be small.
    """
    offers = [(giver, energy, first) for giver, energy in enumerate(offered, 1)]
    takers = list(enumerate(needs, 100))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_LONG": few, "_FEW": few, "_CLAIMS": 5}.items():
            patch.setattr(serving, name, value)
        for module in (exchange, single_claims):
            patch.setattr(module, "INDEX_MAX", names)
        ids = whole(*(taker for taker, _ in takers))
        served = exchange.serve(offers_of(*offers), ids, whole(*needs), sharing, turns=turns)
    claims, rests, back = queue_model(offers, takers, sharing, turns, names)
    assert claims_of(served.claims) == claims
    assert rows_of(served.rests) == rests
    assert rows_of(served.neutral_rest) == back
    given = {
        giver: sum(claim[3] for claim in claims if claim[0] == giver) for giver, energy, _ in offers if energy
    }
    assert served.given_wh.tolist() == list(given.values())


homes_of = st.lists(
    st.tuples(st.integers(-40, 40), st.sampled_from(Policy)), min_size=1, max_size=14
)  # net energy: a need is below zero


def columns_of(homes: list[tuple[int, Policy]]) -> tuple[npt.NDArray[Any], ...]:
    net = np.array([net for net, _ in homes], np.int64)
    policies = np.array([policy for _, policy in homes], np.uint8)
    return np.arange(1, len(homes) + 1, dtype=np.uint32), np.maximum(net, 0), np.maximum(-net, 0), policies


@pytest.mark.parametrize("sharing", MODELS)
@given(homes=homes_of, seed=st.integers(0, 2**63), slot=st.integers(0, 10**7))
def test_the_outcome_is_that_of_the_ring_and_the_queue(
    sharing: Sharing, homes: list[tuple[int, Policy]], seed: int, slot: int
) -> None:
    """Givers put and takers are served in ring order; sellers never offer."""
    ids, surplus, need, policies = columns_of(homes)
    result = exchange.outcome(ids, surplus, need, policies, sharing, seed, slot)
    start = exchange.ring_start(seed, slot, len(homes))
    ring = [(home, *homes[home - 1]) for home in np.roll(ids, -start).tolist()]
    offers = [(home, net, 0) for home, net, policy in ring if net > 0 and policy is not Policy.SELL]
    takers = [(home, -net) for home, net, _ in ring if net < 0]
    assert claims_of(result.claims) == queue_model(offers, takers, sharing)[0]


@pytest.mark.parametrize("sharing", MODELS)
@given(homes=homes_of, seed=st.integers(0, 2**63))
def test_every_contract_of_the_outcome_is_the_net_load(
    sharing: Sharing, homes: list[tuple[int, Policy]], seed: int
) -> None:
    """Who does as agreed has no imbalance: given + expired − received + sold − bought = surplus − need."""
    ids, surplus, need, policies = columns_of(homes)
    result = exchange.outcome(ids, surplus, need, policies, sharing, seed, 3)
    contract = result.given_wh + result.expired_wh - result.received_wh + result.sold_wh - result.bought_wh
    assert contract.tolist() == (surplus - need).tolist()
    assert result.given_wh.sum() == result.received_wh.sum()
    assert (result.expired_wh[policies != Policy.GIVE] == 0).all()
    assert (result.offered_wh == result.given_wh + result.returned_wh + result.expired_wh).all()


def test_a_giver_lets_its_rest_expire_and_policy_three_sells_it() -> None:
    """100 Wh each of policies 1, 2 and 3 and nobody in need: expired, sold, returned and sold."""
    result = exchange.outcome(
        whole(1, 2, 3), whole(100, 100, 100), whole(0, 0, 0), whole(1, 2, 3), E_S, seed=1, slot=1
    )
    assert result.offered_wh.tolist() == [100, 0, 100]
    assert result.expired_wh.tolist() == [100, 0, 0]
    assert result.returned_wh.tolist() == [0, 0, 100]
    assert result.sold_wh.tolist() == [0, 100, 100]


@pytest.mark.parametrize(("policy", "sold", "expired"), [(1, 0, 30), (2, 30, 0), (3, 30, 0)])
def test_a_mean_excess_goes_by_the_policy_of_the_taker(policy: int, sold: int, expired: int) -> None:
    """Home 2 lacks 70 and takes a whole offer of 100: 30 are its own to sell, or expire under policy 1."""
    result = exchange.outcome(whole(1, 2), whole(100, 0), whole(0, 70), whole(1, policy), G_S_MEAN, 1, 1)
    assert result.received_wh.tolist() == [0, 100]
    assert (result.sold_wh[1], result.expired_wh[1], result.bought_wh[1]) == (sold, expired, 0)


def test_an_outcome_is_cut_into_batches_by_range() -> None:
    """Home 1 gives 100 to homes 2 (70) and 3 (40): the second batch has both claims and a purchase of 10."""
    result = exchange.outcome(whole(1, 2, 3), whole(100, 0, 0), whole(0, 70, 40), whole(1, 1, 1), E_S, 1, 1)
    columns, claims = exchange.batch_columns(result, 2, 2)
    assert sorted(c[3] for c in claims_of(claims)) in ([30, 70], [40, 60])
    assert sum(columns["bought_wh"].tolist()) == 10
    assert columns["policy"].dtype == np.uint8
    columns, claims = exchange.batch_columns(result, 1, 1)
    assert (columns["offered_wh"].tolist(), len(claims)) == ([100], 0)


def test_a_hundred_thousand_offers_are_carried() -> None:
    """100,000 offers of 3 Wh and as many needs of 2 Wh: two thirds of the energy are claimed."""
    count = 100_000
    offers = np.zeros(count, OFFER)
    offers["giver"] = np.arange(1, count + 1)
    offers["energy_wh"] = 3
    takers = np.arange(1, count + 1, dtype=np.uint32)
    for sharing in (E_S, E_F):
        served = exchange.serve(offers, takers, np.full(count, 2), sharing)
        assert served.received_wh.sum() == 2 * count
        assert served.claims["energy_wh"].sum() == 2 * count
        assert served.rests["energy_wh"].sum() == count

"""Every sharing rule through a market's slot, against a pencil, and against the formulas of its source."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.limits import INDEX_MAX
from energymarket.core.parameters import Rule
from energymarket.core.sharing import settling
from energymarket.core.sharing.flows import Flows
from energymarket.core.sharing.rules import GIFTS, RULES
from tests.unit.core.sharing.made_community import CALM, Community, E, P, R, whole

POLICIES = whole(3, 1, 3, 2)
NET = (300, 100, -500, -300)
COMPUTED = [rule for rule in Rule if rule is not Rule.QUEUE]

BY_HAND = {
    Rule.GRID_ONLY: (30_000, 10_000, -150_000, -90_000),
    Rule.PRO_RATA: (0, 0, -45_000, -27_000),
    Rule.NEED_FIRST: (0, 0, -36_000, -36_000),
    Rule.STATIC_KEY: (42_000, 14_000, -138_000, -78_000),
    Rule.DYNAMIC_KEY: (54_000, 18_000, -120_000, -72_000),
    Rule.MID_MARKET: (60_000, 20_000, -125_000, -75_000),
}


@pytest.mark.parametrize("rule", BY_HAND)
@pytest.mark.parametrize("cuts", [(), (1, 3)])
def test_a_slot_of_scarcity_is_settled_as_by_hand(rule: Rule, cuts: tuple[int, ...]) -> None:
    """Homes 1 and 2 have 300 and 100 Wh over, 3 and 4 lack 500 and 300; r, p, e = 0.30, 0.18, 0.10 €/kWh.

    Grid only: 300·e, 100·e, −500·r, −300·r. Pro rata: half of each need is given, the other half bought
    at p: 250·p, 150·p. Need first: from 500 and 300 down to 200 each, bought at p. Static, a quarter of
    400 each: 3 and 4 have 100 at p, 1 and 2 sell 150 and 50 of it and the rest at e, 3 and 4 buy 400 and
    200 at r. Dynamic: 250 and 150 at p, as much at r; 1 and 2 sell all at p. Mid-market: the same at
    (r + e)/2 = 0.20. The cut into batches does not matter.
    """
    closed = Community(rule, POLICIES).play(*NET, cuts=cuts)
    assert closed.settlement.columns["money_ueur"].tolist() == list(BY_HAND[rule])


def test_a_slot_of_plenty_is_settled_as_by_hand() -> None:
    """Homes 1 and 2 have 750 and 250 Wh over, 3 and 4 lack 100 and 200.

    Dynamic: 300 within, of it 225 and 75 from 1 and 2, which sell 525 and 175 at e: 225·0.18 + 525·0.10
    = 93 and 31 thousandths of a €; need 18 and 36. Static, a quarter of 1000 each: 250 for home 3 is
    more than its 100, 250 for home 4 more than its 200: the same here. Gifts: home 1 (policy 3) gives
    225 and sells 525 at p = 94.5; home 2 (policy 1) gives 75 and lets 175 expire.
    """
    net, expected = (750, 250, -100, -200), (93_000, 31_000, -18_000, -36_000)
    for rule in (Rule.DYNAMIC_KEY, Rule.STATIC_KEY):
        assert Community(rule, POLICIES).play(*net).settlement.columns["money_ueur"].tolist() == [*expected]
    for rule in (Rule.PRO_RATA, Rule.NEED_FIRST):
        closed = Community(rule, POLICIES).play(*net)
        assert closed.settlement.columns["money_ueur"].tolist() == [94_500, 0, 0, 0]
        assert closed.settlement.columns["expired_wh"].tolist() == [0, 175, 0, 0]
        assert closed.settlement.columns["rest_sold_wh"].tolist() == [525, 0, 0, 0]


def test_the_static_key_follows_its_weights() -> None:
    """Weights 0, 0, 3, 1 of 400 Wh: 300 and 100 within; 3 buys 200 and 4 buys 200 of the grid."""
    closed = Community(Rule.STATIC_KEY, POLICIES, weights=whole(0, 0, 3, 1)).play(*NET)
    assert closed.settlement.columns["bought_wh"].tolist() == [0, 0, 300, 100]
    assert closed.settlement.columns["sold_wh"].tolist() == [300, 100, 0, 0]
    assert closed.settlement.columns["money_ueur"].tolist() == [
        300 * 180, 100 * 180, -(300 * 180 + 200 * 300), -(100 * 180 + 200 * 300)
    ]  # fmt: skip


def test_a_receipt_says_what_a_home_got() -> None:
    """Gifts given and received, and what was left for the grid, stand in the registers of the ledger."""
    closed = Community(Rule.PRO_RATA, POLICIES).play(*NET)
    assert closed.settlement.columns["given_wh"].tolist() == [300, 100, 0, 0]
    assert closed.settlement.columns["received_wh"].tolist() == [0, 0, 250, 150]
    gifts = {name: column.tolist() for name, column in closed.settlement.gifts.items()}
    assert gifts == {
        "giver": [1, 1, 2], "index": [0, 1, 0], "taker": [3, 4, 4], "energy_wh": [250, 50, 100]
    }  # fmt: skip
    assert closed.settlement.void_claims == 0
    closed = Community(Rule.STATIC_KEY, POLICIES).play(*NET)
    assert closed.settlement.imbalance_wh.tolist() == [150, 50, -400, -200]


@pytest.mark.parametrize("rule", [Rule.DYNAMIC_KEY, Rule.STATIC_KEY, Rule.MID_MARKET])
def test_a_reading_of_several_slots_is_not_allocated(rule: Rule) -> None:
    """A home whose batch was missing is settled with the grid for both slots; from then on it is in again."""
    made = Community(rule, POLICIES)
    made.play(*NET)
    made.flow(whole(*NET))
    made.market.open_slot(made.slot, CALM)
    in_time = made.batches(whole(*NET), cuts=(2,))[0]
    assert made.market.hear_batch(in_time) == []
    made.close()  # without homes 3 and 4
    late = made.play(*NET).settlement
    assert late.columns["imported_wh"].tolist() == [0, 0, 1000, 600]
    assert late.columns["bought_wh"].tolist() == [0, 0, 0, 0]
    assert made.play(*NET).settlement.columns["bought_wh"].sum() > 0


def test_what_an_order_has_bought_is_not_allocated_again() -> None:
    """Home 3 orders 100 of its 500 Wh: 400 and 300 are left for 400 Wh, by running shares 228 and 172."""
    closed = Community(Rule.DYNAMIC_KEY, POLICIES).play(*NET, orders=((3, -100),))
    assert closed.settlement.columns["bought_wh"].tolist() == [0, 0, 100 + 228, 172]
    assert closed.settlement.imbalance_wh.tolist() == [0, 0, -172, -128]


def test_more_parts_than_names_end_a_gift() -> None:
    """One giver of a Wh to each of 70,000 homes: 65,536 have names, the others have nothing."""
    given = np.zeros(70_001, np.int64)
    given[0] = 70_000
    received = np.ones(70_001, np.int64)
    received[0] = 0
    claims = settling.pair(given, received)
    assert len(claims) == INDEX_MAX + 1
    assert (np.diff(claims["index"].astype(np.int64)) == 1).all()


# conservation and fairness

nets = st.lists(st.integers(-900, 900), min_size=1, max_size=9)


def flows_of(net: list[int], seed: int) -> Flows:
    """Policies and weights in turns that the seed shifts."""
    surplus, need = np.maximum(net, 0).astype(np.int64), np.maximum(-np.array(net), 0).astype(np.int64)
    at = np.arange(len(net))
    return Flows(surplus, need, (at + seed) % 3 + 1, (at * seed) % 5 + 1)


@pytest.mark.parametrize("rule", COMPUTED)
@given(net=nets, seed=st.integers(0, 30))
def test_what_some_give_others_get(rule: Rule, net: list[int], seed: int) -> None:
    """Both sides of every rule agree, and nobody gives or gets more than it has over or lacks."""
    flows = flows_of(net, seed)
    shares = RULES[rule](flows)
    assert shares.given_wh.sum() == shares.received_wh.sum()
    assert shares.sold_wh.sum() == shares.bought_wh.sum()
    for part, most in ((shares.given_wh, flows.offered_wh()), (shares.sold_wh, flows.surplus_wh)):
        assert ((part >= 0) & (part <= most)).all()
    for part in (shares.received_wh, shares.bought_wh):
        assert ((part >= 0) & (part <= flows.need_wh)).all()
    moved = shares.given_wh.sum() + shares.sold_wh.sum()
    if rule in {Rule.DYNAMIC_KEY, Rule.MID_MARKET}:
        assert moved == min(flows.surplus_wh.sum(), flows.need_wh.sum())
    if rule in GIFTS:
        assert moved == min(flows.offered_wh().sum(), flows.need_wh.sum())


@pytest.mark.parametrize("rule", [Rule.STATIC_KEY, Rule.DYNAMIC_KEY, Rule.MID_MARKET])
@given(net=nets, seed=st.integers(0, 30), prices=st.tuples(*[st.integers(0, 500_000)] * 3))
def test_nobody_is_worse_off_than_alone(
    rule: Rule, net: list[int], seed: int, prices: tuple[int, int, int]
) -> None:
    """With e <= p <= r every member pays at most what it would alone, but for rounding each leg to a µ€."""
    paid, price, asked = sorted(prices)
    policies = np.full(len(net), 3)
    weights = flows_of(net, seed).weights
    shared = Community(rule, policies, weights=weights, prices=(price, asked, paid)).play(*net)
    alone = Community(Rule.GRID_ONLY, policies, prices=(price, asked, paid)).play(*net)
    gain = shared.settlement.columns["money_ueur"] - alone.settlement.columns["money_ueur"]
    assert (gain >= -1).all()


# the paper


@given(net=nets, asked=st.integers(0, 300_000), paid=st.integers(0, 300_000))
def test_the_mid_market_rate_is_that_of_the_paper(net: list[int], asked: int, paid: int) -> None:
    """Long et al. 2017: mid, and the blended price of the side that is longer, in fractions.

    A home's bill may differ from its energy times the blended price by its energy's rounding to whole Wh
    (at most 1 Wh times the spread) and by 1 µ€ of rounding of each of two legs.
    """
    asked, paid = 2 * max(asked, paid), 2 * min(asked, paid)
    generation, demand = sum(n for n in net if n > 0), sum(-n for n in net if n < 0)
    mid = Fraction(asked + paid, 2)
    buy = sell = mid
    if generation > demand:
        sell = (demand * mid + (generation - demand) * paid) / generation
    elif generation < demand:
        buy = (generation * mid + (demand - generation) * asked) / demand
    closed = Community(Rule.MID_MARKET, np.full(len(net), 2), prices=(P, asked, paid)).play(*net)
    assert closed.head.price_ueur_per_kwh == mid
    off = 2 + Fraction(asked - paid, 2000)
    for energy, money in zip(net, closed.settlement.columns["money_ueur"].tolist(), strict=True):
        assert abs(money - Fraction(energy, 1000) * (sell if energy > 0 else buy)) <= off


def test_the_mid_price_is_two_terms_that_add_up() -> None:
    """With r = 0.30 and e = 0.10: inertia 0, half of each, 0.20; in the next slot the same."""
    made = Community(Rule.MID_MARKET, POLICIES)
    for _ in range(2):
        head = made.play(*NET).head
        assert head.terms == (("inertia", 0), ("import_price", R // 2), ("export_price", E // 2))
        assert head.price_ueur_per_kwh == head.unclipped_ueur_per_kwh == (R + E) // 2

"""What homes would pay under each rule: against ledgers of markets that have the rule, and a pencil."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.parameters import Excess, Rule, Sharing, Take, Turn
from energymarket.core.passage import Passage
from energymarket.core.sharing import comparison
from energymarket.core.sharing.comparison import Comparison, Terms
from tests.unit.core.sharing.made_community import SEED, Community, E, P, R, whole
from tests.unit.core.sharing.test_rules import BY_HAND, NET, POLICIES

FEE = 7_500
TIES = (180_500, 300_500, 100_500)
"""Prices p, r, e at which every odd number of Wh costs half a µ€ too much or too little to be whole."""
WEIGHTS = whole(1, 4, 2, 1, 3)
FIVE = whole(3, 1, 3, 2, 1)
slots_of_five = st.lists(st.tuples(*[st.integers(-700, 700)] * 5), min_size=1, max_size=6)


def passage_of(
    nets: Sequence[tuple[int, ...]], prices: tuple[int, int, int] = (P, R, E), first_slot: int = 100
) -> Passage:
    """Flows alone; the ledger's money is of another rule and is zero."""
    net = np.array(nets, np.int64)
    count = len(nets)
    columns: dict[str, Any] = {
        "exported_wh": np.maximum(net, 0).astype(np.int32),
        "imported_wh": np.maximum(-net, 0).astype(np.int16),
        "money_ueur": np.zeros_like(net),
    }
    price, asked, paid = (np.full(count, each) for each in prices)
    return Passage(first_slot, price, asked, paid, columns)


@pytest.mark.parametrize("rule", BY_HAND)
def test_a_slot_costs_what_a_pencil_says(rule: Rule) -> None:
    """The four homes of scarcity, under a scenario of another rule."""
    own = Rule.GRID_ONLY if rule is not Rule.GRID_ONLY else Rule.QUEUE
    made = Comparison(Terms(Sharing(rule=own), POLICIES, np.ones(4, np.int64), SEED))
    made.add(passage_of([NET]))
    assert made.money_ueur[rule].tolist() == list(BY_HAND[rule])


@pytest.mark.parametrize("doubles", [True, False])
@pytest.mark.parametrize("rule", Rule)
@given(nets=slots_of_five)
def test_it_is_what_a_market_with_the_rule_books(
    rule: Rule, doubles: bool, nets: list[tuple[int, ...]]
) -> None:
    """To the µ€, whether computed in doubles or in whole numbers, and for the own rule from its ledger."""
    made = Community(rule, FIVE, weights=WEIGHTS, fee=FEE, prices=TIES)
    for net in nets:
        made.play(*net)
    expected = made.passage().columns["money_ueur"].sum(axis=0).tolist()
    own = Terms(made.sharing, FIVE, WEIGHTS, SEED, FEE)
    other = Terms(Sharing(rule=Rule.QUEUE if rule is not Rule.QUEUE else Rule.GRID_ONLY), *_rest(own))
    with pytest.MonkeyPatch.context() as patch:
        if not doubles:
            patch.setattr(comparison, "EXACT", 0)
        for terms, passage in ((own, made.passage()), (other, passage_of(nets, TIES))):
            found = Comparison(terms)
            found.add(passage)
            assert found.money_ueur[rule].tolist() == expected


def _rest(terms: Terms) -> tuple[Any, ...]:
    return terms.policies, terms.weights, terms.seed, terms.gift_fee_ueur_per_kwh


@given(nets=slots_of_five, cut=st.integers(0, 6))
def test_passages_add_up_however_they_are_cut_and_kept(nets: list[tuple[int, ...]], cut: int) -> None:
    """Two passages with a rest on the disk between them equal one, and bytes are equal, too."""
    terms = Terms(Sharing(rule=Rule.DYNAMIC_KEY), FIVE, WEIGHTS, SEED, FEE)
    whole_one, parted = Comparison(terms), Comparison(terms)
    whole_one.add(passage_of(nets))
    parted.add(passage_of(nets[:cut])) if nets[:cut] else None
    parted = Comparison.unpack(parted.pack())
    parted.add(passage_of(nets[cut:], first_slot=100 + cut)) if nets[cut:] else None
    assert parted.pack() == whole_one.pack()
    assert parted.bills_ueur() == whole_one.bills_ueur()


def test_blocks_that_fit_the_cache_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slot at a time gives what all at once give."""
    nets = [NET, (0, 0, -5, -7), (750, 250, -100, -200), (9, 8, 7, 6)]
    terms = Terms(Sharing(rule=Rule.GRID_ONLY), POLICIES, np.ones(4, np.int64), SEED)
    large, small = Comparison(terms), Comparison(terms)
    large.add(passage_of(nets))
    monkeypatch.setattr(comparison, "_BLOCK", 1)
    small.add(passage_of(nets))
    assert small.pack() == large.pack()


def test_a_greedy_taker_sells_or_loses_what_it_did_not_need() -> None:
    """Home 2 lacks 100 and takes an offer of 400 whole. Policy 3 sells 300 at p, policy 1 none."""
    for policy, money in ((3, 300 * P // 1000), (1, 0)):
        sharing = Sharing(Take.GREEDY, Turn.SELFISH, Excess.MEAN, Rule.GRID_ONLY)
        made = Comparison(Terms(sharing, whole(1, policy), whole(1, 1), SEED))
        made.add(passage_of([(400, -100)]))
        assert made.money_ueur[Rule.QUEUE].tolist() == [0, money]


def test_who_is_worse_off_than_alone_is_named() -> None:
    """Who gives 100 Wh away would alone have had 10,000 µ€ for it, and is worse off; nobody else is."""
    made = Comparison(Terms(Sharing(rule=Rule.GRID_ONLY), whole(1, 3), whole(1, 1), SEED))
    passage = passage_of([(100, -100)])
    passage.columns["money_ueur"][:] = (10_000, -30_000)
    made.add(passage)
    assert made.worse_off(Rule.PRO_RATA).tolist() == [True, False]
    assert made.worse_off(Rule.DYNAMIC_KEY).tolist() == [False, False]
    assert made.bills_ueur()["dynamic_key"] == [-18_000, 18_000]


def test_rounding_is_not_being_worse_off() -> None:
    """1 µ€ a slot below is rounding, 2 are not."""
    made = Comparison(Terms(Sharing(), whole(1, 1), whole(1, 1), SEED))
    made.slots = 10
    made.money_ueur[Rule.QUEUE] = whole(-10, -11)
    assert made.worse_off(Rule.QUEUE).tolist() == [False, True]


@pytest.mark.parametrize("data", [b"", b"\x02\x00\x00\x00{}", b"\x05\x00\x00\x00hallo"])
def test_what_is_no_comparison_is_refused(data: bytes) -> None:
    """Cut off, without its facts, or no JSON."""
    with pytest.raises((ValueError, KeyError)):
        Comparison.unpack(data)

"""The checker computes every rule anew: a watt-hour in the wrong home's column is found."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.audit import shares
from energymarket.audit.findings import Findings, Kind
from energymarket.audit.opened import Notes, Opened
from energymarket.core import ledger
from energymarket.core.market import Closed
from energymarket.core.parameters import Rule, Sharing
from tests.unit.core.sharing.made_community import CALM, Community, whole

POLICIES = whole(3, 1, 3, 2, 1)
WEIGHTS = whole(2, 1, 3, 1, 1)
RULES = [rule for rule in Rule if rule is not Rule.QUEUE]
nets = st.lists(st.tuples(*[st.integers(-400, 400)] * 5), min_size=1, max_size=4)
SCARCE = (300, 100, -500, -300, 0)


def compiled(rule: Rule) -> Any:
    """What the checker reads of a compiled scenario."""
    return SimpleNamespace(sharing=Sharing(rule=rule), key_weights=lambda: WEIGHTS, homes_count=5)


def opened(closed: Closed) -> Opened:
    """The slot as the checker has it from its body."""
    head, columns, gifts, orders = ledger.unpack(closed.body)
    notes = Notes({}, {"batches": [list(batch) for batch in closed.batches]})
    row = cast("Any", SimpleNamespace(slot=closed.slot))
    return Opened(row, head, columns, gifts, orders, notes)


def found(rule: Rule, slots: Sequence[Opened]) -> Findings:
    findings = Findings()
    checker = shares.Shares(findings, compiled(rule))
    for slot in slots:
        checker.check(slot)
    return findings


@pytest.mark.parametrize("rule", RULES)
@given(slots=nets, order=st.integers(-200, 200))
def test_what_the_market_shares_is_what_the_checker_computes(
    rule: Rule, slots: list[tuple[int, ...]], order: int
) -> None:
    """Any flows, with and without a single order: nothing is found."""
    made = Community(rule, POLICIES, weights=WEIGHTS)
    for net in slots:
        made.play(*net, orders=((2, order),) if order else ())
    assert found(rule, [opened(closed) for closed in made.closed]).kept == []


@pytest.mark.parametrize("rule", RULES)
def test_a_watt_hour_in_the_wrong_column_is_found(rule: Rule) -> None:
    """Home 3 has one more and home 4 one less than the rule gives them, in the second of two slots."""
    made = Community(rule, POLICIES, weights=WEIGHTS)
    slots = [opened(made.play(*SCARCE)), opened(made.play(*SCARCE))]
    column = "received_wh" if rule in {Rule.PRO_RATA, Rule.NEED_FIRST} else "bought_wh"
    slots[1].columns[column] += np.array([0, 0, 1, -1, 0])
    if column == "received_wh":
        slots[1].columns["bought_wh"] -= np.array([0, 0, 1, -1, 0])
    findings = found(rule, slots)
    assert {(each.kind, each.slot) for each in findings.kept} == {(Kind.SHARING_WRONG, slots[1].slot)}
    assert {3, 4} <= {each.home for each in findings.kept}


@pytest.mark.parametrize("rule", RULES)
def test_another_rule_than_the_scenario_s_is_found(rule: Rule) -> None:
    """A ledger of gifts over the queue is none of any other rule."""
    closed = Community(Rule.QUEUE, POLICIES, weights=WEIGHTS).play(*SCARCE)
    assert len(found(rule, [opened(closed)])) > 0


@pytest.mark.parametrize("rule", [Rule.STATIC_KEY, Rule.DYNAMIC_KEY])
def test_a_home_that_was_late_is_not_expected_to_share(rule: Rule) -> None:
    """Homes 3 to 5 miss a slot; the next one, of which their reading holds two, is clean all the same."""
    made = Community(rule, POLICIES, weights=WEIGHTS)
    made.play(*SCARCE)
    made.flow(whole(*SCARCE))
    made.market.open_slot(made.slot, CALM)
    made.market.hear_batch(made.batches(whole(*SCARCE), cuts=(2,))[0])
    made.close()
    made.play(*SCARCE)
    made.play(*SCARCE)
    slots = [opened(closed) for closed in made.closed]
    assert slots[2].columns["bought_wh"].sum() == 0
    assert slots[3].columns["bought_wh"].sum() > 0
    assert found(rule, slots).kept == []


@given(total=st.integers(0, 10**14), weights=st.lists(st.integers(0, 10**7), min_size=1, max_size=6))
def test_large_parts_are_exact(total: int, weights: list[int]) -> None:
    """The running shares of whole numbers of any size."""
    ends = np.cumsum(weights).tolist()
    marks = [0, *(total * end // max(ends[-1], 1) for end in ends)]
    assert shares.parts(total, whole(*weights)).tolist() == np.diff(marks).tolist()

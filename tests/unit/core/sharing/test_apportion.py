"""Dividing whole watt-hours: against fractions, and against a hand that gives them out one by one."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.sharing import apportion
from tests.unit.core.sharing.made_community import whole

small = st.lists(st.integers(0, 60), min_size=1, max_size=12)
large = st.lists(st.integers(0, 10**10), min_size=1, max_size=8)


def exact(total: int, weights: list[int]) -> list[int]:
    """Differences of the floors of the running shares, as fractions."""
    most = max(sum(weights), 1)
    marks = [0, *(floor(Fraction(total * end, most)) for end in np.cumsum(weights).tolist())]
    return np.diff(marks).tolist()


def test_ten_by_one_one_and_one_are_three_three_and_four() -> None:
    """10 Wh to three equal members: the running shares 3⅓, 6⅔, 10 become 3, 6, 10."""
    assert apportion.apportion(whole(10), whole(1, 1, 1)).tolist() == [3, 3, 4]


@pytest.mark.parametrize("kind", [np.int64, np.float64])
@given(total=st.integers(0, 10**6), weights=small)
def test_parts_are_exact_shares_rounded_and_add_up(kind: type, total: int, weights: list[int]) -> None:
    """Each part is its share rounded up or down; the sum is the total; nobody without weight has any."""
    parts = apportion.apportion(np.array([total], kind), np.array(weights, kind))
    assert parts.dtype == kind
    assert parts.tolist() == exact(total, weights)
    if sum(weights):
        assert parts.sum() == total
        assert all(
            abs(part - Fraction(total * w, sum(weights))) < 1 for part, w in zip(parts, weights, strict=True)
        )


@given(total=st.integers(0, 4 * 10**15), weights=large)
def test_products_beyond_a_double_are_divided_digit_by_digit(total: int, weights: list[int]) -> None:
    """4e15 Wh by weights of 1e10 have products of 2**85: the same floors."""
    assert apportion.apportion(whole(total), whole(*weights)).tolist() == exact(total, weights)


@given(rows=st.lists(st.tuples(st.integers(0, 500), st.tuples(*[st.integers(0, 60)] * 5)), max_size=6))
def test_many_slots_at_once_are_each_by_itself(rows: list[tuple[int, tuple[int, ...]]]) -> None:
    """An array of slots gives the rows that each slot gives alone, for every function."""
    totals = np.array([[total] for total, _ in rows], np.int64).reshape(-1, 1)
    weights = np.array([row for _, row in rows], np.int64).reshape(-1, 5)
    capped = np.minimum(totals, weights.sum(axis=1, keepdims=True))
    many = apportion.apportion(totals, weights), apportion.fill(capped, weights)
    for at in range(len(rows)):
        assert many[0][at].tolist() == apportion.apportion(totals[at], weights[at]).tolist()
        assert many[1][at].tolist() == apportion.fill(capped[at], weights[at]).tolist()


def one_by_one(total: int, needs: list[int]) -> list[int]:
    """A watt-hour at a time to whoever lacks most; among equals to the first home."""
    left = list(needs)
    for _ in range(min(total, sum(needs))):
        most = max(range(len(left)), key=lambda home: left[home])
        left[most] -= 1
    return [need - rest for need, rest in zip(needs, left, strict=True)]


@pytest.mark.parametrize("kind", [np.int64, np.float64])
@given(total=st.integers(0, 400), needs=small)
def test_the_greatest_remaining_lack_is_served_first(kind: type, total: int, needs: list[int]) -> None:
    """The outcome of giving single watt-hours to whoever lacks most at that moment."""
    total = min(total, sum(needs))
    got = apportion.fill(np.array([total], kind), np.array(needs, kind))
    assert got.tolist() == one_by_one(total, needs)


@given(have=small, want=small)
def test_both_sides_of_a_match_move_the_same(have: list[int], want: list[int]) -> None:
    """T = min(both sums) on either side, and both sides as apportioned."""
    size = max(len(have), len(want))
    have, want = have + [0] * (size - len(have)), want + [0] * (size - len(want))
    moved = min(sum(have), sum(want))
    gives, gets = apportion.match_pro_rata(whole(*have), whole(*want))
    assert (gives.tolist(), gets.tolist()) == (exact(moved, have), exact(moved, want))

"""Runs of homes say of each home what a column with a number per home would."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.heard import NO_SLOT, Heard

HOMES = 9

SLOTS = st.lists(
    st.tuples(
        st.integers(0, 3), st.lists(st.tuples(st.integers(1, HOMES), st.integers(1, HOMES)), max_size=4)
    ),
    max_size=8,
)


@given(SLOTS)
def test_runs_say_what_a_column_says(slots: list[tuple[int, list[tuple[int, int]]]]) -> None:
    """Ranges in any order, side by side, one over the other, of slots that come again: nobody is mixed up."""
    heard, column = Heard(HOMES), [NO_SLOT] * HOMES
    for slot, drawn in slots:
        ranges = [(first, min(count, HOMES + 1 - first)) for first, count in drawn]
        heard.hear(slot, ranges)
        for first, count in ranges:
            column[first - 1 : first - 1 + count] = [slot] * count
        assert heard.column().tolist() == column
        assert Heard.of(heard.column()).slots_of(1, HOMES) == heard.slots_of(1, HOMES)
        for first in range(1, HOMES + 1):
            said = heard.slots_of(first, HOMES + 1 - first)
            assert set(said) == set(column[first - 1 :])
            assert all(one != other for one, other in pairwise(said))


def test_a_market_of_a_million_homes_in_two_halves_is_one_run() -> None:
    """Whoever is heard with all others takes no room of its own."""
    heard = Heard(1_000_000)
    before = heard.copy()
    heard.hear(7, [(500_001, 500_000), (1, 500_000)])
    assert heard.slots_of(1, 1_000_000) == [7]
    assert before.slots_of(1, 1_000_000) == [NO_SLOT]

"""The window: each sequence is new once, whatever the order and whatever is missing."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from energymarket.meters.limits import RANGES_MAX
from energymarket.meters.window import Verdict, Window


@given(st.lists(st.integers(0, 60), max_size=200))
def test_each_sequence_is_new_once(sequences: list[int]) -> None:
    """The verdicts are those of a set; the ranges are that set, apart and ascending; a copy is apart, too."""
    window, seen = Window(), set[int]()
    for sequence in sequences:
        twin = window.copy()
        assert (window.add(sequence) is Verdict.NEW) == (sequence not in seen)
        assert window.add(sequence) is Verdict.SEEN
        assert twin.last == max(seen, default=0)
        seen.add(sequence)
    ranges = window.ranges
    assert {n for first, last in ranges for n in range(first, last + 1)} == seen
    assert all(b > a + 1 for (_, a), (b, _) in pairwise(ranges))
    assert window.missing == (max(seen) - min(seen) + 1 - len(seen) if seen else 0)
    again = Window(ranges, window.closed)
    assert [again.add(n) for n in sorted(seen)] == [Verdict.SEEN] * len(seen)


def test_a_late_sample_is_new_however_late() -> None:
    """A gap stays open: what was missing is new a million sequences later, once."""
    window = Window([(1, 4), (6, 1_000_000)])
    assert window.missing == 1
    assert window.add(5) is Verdict.NEW
    assert window.add(5) is Verdict.SEEN
    assert window.ranges == [(1, 1_000_000)]


def test_the_oldest_gap_closes_when_there_are_too_many() -> None:
    """It is not known any more what was in it, and that is what is said; younger gaps are known."""
    window = Window()
    for at in range(RANGES_MAX + 1):
        assert window.add(1 + 2 * at) is Verdict.NEW
    assert len(window.ranges) == RANGES_MAX
    assert window.add(2) is Verdict.TOO_LATE
    assert window.add(1) is Verdict.TOO_LATE
    assert window.add(4) is Verdict.NEW

"""The window: each sequence is new once, whatever the order and whatever is missing."""

from __future__ import annotations

from itertools import pairwise
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from energymarket.meters import sidecar
from energymarket.meters.limits import RANGES_MAX, SEQUENCE_MAX
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


def test_ten_thousand_samples_are_taken_in_any_order() -> None:
    """As many publishers may deliver them: every late one is new, and a second time it is not."""
    sequences = sorted(range(1, 10_001), key=lambda each: crc32(b"%d" % each))
    window = Window()
    for at in range(0, len(sequences), 500):  # commit by commit
        assert {window.add(each) for each in sequences[at : at + 500]} == {Verdict.NEW}
        (written,) = sidecar.series_of({"attic": window})
        window = written.window()
    assert window.ranges == [(1, 10_000)]
    assert {window.add(each) for each in sequences} == {Verdict.SEEN}


def test_a_sidecar_has_room_for_whatever_is_missing() -> None:
    """Four series of the longest numbers: the youngest gaps stay open, and no old sample is new twice."""
    seen = [SEQUENCE_MAX - 4 * at for at in range(RANGES_MAX, 0, -1)]
    windows = {f"{name:->64}": Window([(each, each) for each in seen]) for name in "abcd"}
    slot = sidecar.pack(sidecar.Sidecar("Meter_0", sidecar.series_of(windows)), 1)
    found, _ = sidecar.unpack(slot)
    for series in found.series:
        window = series.window()
        assert len(window.ranges) > 200
        assert window.add(seen[-1]) is Verdict.SEEN
        assert window.add(seen[-1] - 1) is Verdict.NEW
        assert window.add(seen[1]) is not Verdict.NEW

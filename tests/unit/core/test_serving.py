"""Strides along marks: whichever way they are walked, each ends at the first mark that is far enough."""

from __future__ import annotations

import numpy as np
import pytest

from energymarket.core import serving


def walked(marks: list[int], lengths: list[int]) -> list[int]:
    """By definition: the first mark at least a length away from where the stride began, one by one."""
    at, last, ends = 0, len(marks) - 1, []
    for length in lengths:
        at = next((end for end in range(at + 1, last + 1) if marks[end] - marks[at] >= length), last + 1)
        ends.append(at)
        if at >= last:
            break
    return ends


@pytest.mark.parametrize("at_once", [2, 3, 64, 2_048])
@pytest.mark.parametrize(
    ("longest", "gap"),
    [(3, 50), (60, 40), (400, 40), (4_000, 20), (20_000, 9), (90_000, 2)],
    ids=["one mark", "two", "five", "a hundred", "a thousand", "all"],
)
def test_a_stride_ends_at_the_first_mark_that_is_far_enough(
    longest: int, gap: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short ones, long ones that leave the marks close by, and a few long ones among short ones."""
    monkeypatch.setattr(serving, "_MARKS", at_once)
    dice = np.random.default_rng(3)  # noqa: TID251 - a test's own numbers
    for marks_number in (1, 2, 90, 1_500):
        for few in (1.0, 0.02):
            marks = serving.line_of(dice.integers(1, gap, marks_number))
            lengths = dice.integers(1, longest, 700)
            lengths[dice.random(700) > few] = 5
            found = serving.strides(marks, lengths)
            assert found.tolist() == walked(marks.tolist(), lengths.tolist())


def test_a_walk_that_ends_on_the_last_mark_ends_there() -> None:
    """By hand: needs of 10, 20 and 30 Wh; nothing is walked beyond the last, and beyond it is said so."""
    marks = serving.line_of(np.array([10, 20, 30]))
    assert serving.strides(marks, np.array([30, 30, 30])).tolist() == [2, 3]
    assert serving.strides(marks, np.array([11, 31, 1])).tolist() == [2, 4]
    assert serving.strides(marks, np.array([61])).tolist() == [4]
    assert serving.strides(marks, np.array([10, 20])).tolist() == [1, 2]

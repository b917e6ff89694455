"""How the pool is cut: every home of it once, and a cut that was made stays but for those who left."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.home import ranges


def homes_of(cut: list[tuple[int, int]]) -> list[int]:
    return [home for first, count in cut for home in range(first, first + count)]


def pool(homes: int, *apart: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    found = np.ones(homes, np.bool_)
    found[np.array(apart, np.int64) - 1] = False
    return found


@pytest.mark.parametrize(
    ("homes", "cores", "slot_s", "shards"),
    [
        (1, 2, 0, 1),
        (10_000, 2, 0, 1),
        (16_384, 8, 0, 1),
        (16_385, 8, 0, 2),
        (100_000, 2, 0, 2),
        (1_000_000, 64, 0, 62),
        (16_385, 8, 0.001, 2),
        (100_000, 8, 0.1, 1),
        (100_001, 8, 0.1, 2),
        (1_000_000, 2, 1, 1),
        (1_000_000, 2, 0.999, 2),
        (1_000_000, 16, 0.1, 10),
        (1_000_000, 4, 0.1, 4),
        (1_000_000, 16, 900, 1),
    ],
)
def test_a_pool_has_as_few_processes_as_keep_up(homes: int, cores: int, slot_s: float, shards: int) -> None:
    """Where nobody says how many: 16,384 homes each, or a million per second of a slot; at most the cores."""
    assert ranges.wanted(homes, cores, slot_s) == shards


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.integers(1, 9))
def test_a_cut_has_every_home_of_the_pool_once(pooled: list[bool], shards: int) -> None:
    """In order, none twice, none that is a process of its own, and no shard larger than its share."""
    found = ranges.cut(np.array(pooled), shards)
    assert homes_of(found) == [at + 1 for at, flag in enumerate(pooled) if flag]
    assert all(count <= -(-sum(pooled) // shards) for _, count in found)


def test_a_home_that_leaves_cuts_its_own_range_only() -> None:
    """1,000 homes in two shards; home 7 leaves: 1 to 6 and 8 to 500 remain of the first, the second stays."""
    assert ranges.cut(pool(1000), 2) == [(1, 500), (501, 500)]
    assert ranges.refine(pool(1000, 7), [(1, 500), (501, 500)], 2) == [(1, 6), (8, 493), (501, 500)]


@pytest.mark.parametrize(
    ("left", "rest"),
    [
        ([], [(5, 6)]),
        ([4, 11], [(5, 6)]),
        ([7], [(5, 2), (8, 3)]),
        ([5, 6, 10], [(7, 3)]),
        ([5, 6, 7, 8, 9, 10], []),
    ],
)
def test_what_is_left_of_a_range_is_the_homes_between_those_that_left(
    left: list[int], rest: list[tuple[int, int]]
) -> None:
    """Homes 5 to 10: nobody of them left, one in the middle, both ends, all."""
    assert ranges.rest_of(5, 6, left) == rest


def test_the_cut_of_the_first_start_is_kept_on_a_machine_with_more_cores() -> None:
    """Two shards stay two, though four are asked for now; the first and the last home may leave."""
    kept = [(1, 500), (501, 500)]
    assert ranges.refine(pool(1000), kept, 4) == kept
    assert ranges.refine(pool(1000, 1, 1000), kept, 4) == [(2, 499), (501, 499)]


def test_homes_without_a_state_are_cut_as_if_new() -> None:
    """Of four shards only the first had written a state: the others are cut as they would have been."""
    assert ranges.refine(pool(1000), [(1, 250)], 4) == [(1, 250), (251, 250), (501, 250), (751, 250)]


@given(st.data())
def test_refining_loses_no_home_and_joins_no_ranges(data: st.DataObject) -> None:
    """Whoever leaves: the rest of the pool is there once, and each range lies in one of the old ranges."""
    homes, shards = data.draw(st.integers(1, 120)), data.draw(st.integers(1, 6))
    kept = ranges.cut(pool(homes), shards)
    gone = data.draw(st.sets(st.integers(1, homes)))
    found = ranges.refine(pool(homes, *gone), kept, data.draw(st.integers(1, 6)))
    assert homes_of(found) == [home for home in range(1, homes + 1) if home not in gone]
    for first, count in found:
        assert any(low <= first and first + count <= low + size for low, size in kept)
    assert set(found) >= {(low, size) for low, size in kept if not gone & set(range(low, low + size))}

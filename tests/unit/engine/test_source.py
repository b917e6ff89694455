"""Shares of the homes: equal in work, whole, and never empty."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.owned import SERIES_NONE
from energymarket.engine.source import balanced_ranges


def homes_of(roofs: int, count: int) -> dict[str, np.ndarray]:
    """So many homes, of which the first have a roof and a battery."""
    first = np.arange(count) < roofs
    return {
        "policy": np.zeros(count, np.uint8),
        "pv_kwp": first.astype(np.float32),
        "wind_kw": np.zeros(count, np.float32),
        "series": np.full(count, SERIES_NONE, np.uint16),
        "battery_capacity_wh": first.astype(np.int32),
        "heat_wh_per_k": np.zeros(count, np.float32),
    }


@given(st.integers(1, 200), st.integers(1, 12), st.floats(0, 1))
def test_every_home_is_in_one_share(count: int, shares: int, share_of_roofs: float) -> None:
    """However few they are: ranges follow each other, and none is empty."""
    ranges = balanced_ranges(homes_of(int(share_of_roofs * count), count), shares)
    assert len(ranges) == min(shares, count)
    assert [first for first, _ in ranges] == [
        sum(size for _, size in ranges[:at]) for at in range(len(ranges))
    ]
    assert sum(size for _, size in ranges) == count
    assert all(size > 0 for _, size in ranges)


def test_who_stands_with_batteries_has_fewer_homes() -> None:
    """By hand: 1,000 homes of 13 parts of work and 1,000 of 5 are 18,000; half is done with home 693."""
    assert balanced_ranges(homes_of(1_000, 2_000), 2) == [(0, 693), (693, 1_307)]
    assert balanced_ranges(homes_of(0, 2_000), 2) == [(0, 1_000), (1_000, 1_000)]

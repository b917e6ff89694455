"""A household's load: random, continuous, of its instant only."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from energymarket.meters.household import STEP_W_PER_S_MAX, Household

BERLIN = ZoneInfo("Europe/Berlin")
STEP_S = 2.0


def day(text: str, hours: int = 24) -> np.ndarray:
    begin = datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()
    return begin + np.arange(0.0, hours * 3600.0, STEP_S)


@pytest.mark.parametrize("text", ["2026-01-01", "2024-02-29", "2026-03-29", "2026-10-25"])
@pytest.mark.parametrize("number", range(4))
def test_a_day_is_within_range_continuous_and_uses_more_than_half_of_it(text: str, number: int) -> None:
    """At 2 s: within 0..9000 W, never a step above the stated bound, and a span of more than 4500 W."""
    load = Household(1, number, BERLIN).load_w(day(text, 25))
    assert load.min() >= 0
    assert load.max() <= 9_000
    assert np.abs(np.diff(load)).max() <= STEP_W_PER_S_MAX * STEP_S == 400
    assert load.max() - load.min() > 4_500


def test_the_load_is_a_function_of_its_instant() -> None:
    """Cut anywhere, asked one by one, by another object: the same; by another seed or number, another."""
    times = day("2026-07-01", 6)
    whole = Household(7, 3, BERLIN).load_w(times)
    again = Household(7, 3, BERLIN)
    pieces = [again.load_w(times[at : at + 777]) for at in range(0, len(times), 777)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert again.load_w(times[5_000:5_001])[0] == whole[5_000]
    for seed, number in ((8, 3), (7, 4)):
        other = Household(seed, number, BERLIN).load_w(times)
        assert (other != whole).mean() > 0.99


def test_people_live_by_their_own_clock() -> None:
    """Over a month, more is used between 6 and 9 than between 1 and 4, in Berlin and in Tokyo alike."""
    for name in ("Europe/Berlin", "Asia/Tokyo"):
        zone = ZoneInfo(name)
        times = datetime(2026, 5, 1, tzinfo=UTC).timestamp() + np.arange(0.0, 30 * 86_400.0, 60.0)
        load = Household(1, 0, zone).load_w(times)
        hours = np.array([datetime.fromtimestamp(t, zone).hour for t in times])
        night = load[(hours >= 1) & (hours < 4)].mean()
        assert load[(hours >= 6) & (hours < 9)].mean() > 2 * night
        # Between a thrifty flat and a large house: 2,000 to 6,000 kWh a year.
        assert 2_000 < load.mean() * 8.76 < 6_000

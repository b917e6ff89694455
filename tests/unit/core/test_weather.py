"""The weather's record, its limits, and what holds when none has come."""

from __future__ import annotations

import numpy as np
import pytest

from energymarket.core.weather import LIMITS, WEATHER, hold, impossible, moved, sample_of, standard


def test_a_sample_has_forty_bytes_without_padding() -> None:
    """The layout is the sum of its fields: 8 bytes of slot and eight fields of four."""
    assert WEATHER.itemsize == 8 + 8 * 4
    assert all(WEATHER[name].str in {"<u8", "<i4", "<u4"} for name in WEATHER.names or ())


def test_every_field_but_the_slot_has_limits() -> None:
    """A field without a limit could carry anything."""
    assert set(WEATHER.names or ()) - {"slot"} == set(LIMITS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature_mc", 56_700),  # Furnace Creek 1913, the highest on record
        ("temperature_mc", -89_200),  # Vostok 1983, the lowest
        ("wind_mm_per_s", 103_000),  # Mount Washington 1934, a gust; Barrow Island had 113.2 m/s
        ("dni_dw_per_m2", 14_120),  # the solar constant at perihelion
    ],
)
def test_records_of_the_world_are_possible(name: str, value: int) -> None:
    """What has been measured on Earth is inside the limits."""
    assert impossible(sample_of({name: value}, 1)) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature_mc", 61_000),
        ("cloud_permille", 1_001),
        ("ghi_dw_per_m2", 20_000),
        ("wind_mm_per_s", 400_000),
    ],
)
def test_what_cannot_be_is_named(name: str, value: int) -> None:
    """A value outside names its field, alone and within an array."""
    bad = sample_of({name: value}, 1)
    assert impossible(bad) == (name,)
    assert impossible(np.array([standard(0), bad], WEATHER)) == (name,)


def test_weather_of_the_slot_is_not_stale() -> None:
    """A sample made for the slot holds as it is."""
    held = hold(sample_of({"temperature_mc": 1_000}, 7), 7)
    assert not held.stale
    assert held.sample["temperature_mc"] == 1_000


def test_older_weather_holds_and_counts_its_slots() -> None:
    """Three slots after its own a sample is three slots stale, and still the best there is."""
    held = hold(sample_of({"temperature_mc": 1_000}, 7), 10)
    assert held.stale
    assert held.stale_slots == 3
    assert held.sample["temperature_mc"] == 1_000


def test_without_any_weather_nothing_is_produced() -> None:
    """Before the first sample there is neither sun nor wind, and it is stale."""
    held = hold(None, 5)
    assert held.stale
    assert held.sample["slot"] == 5
    assert (held.sample["ghi_dw_per_m2"], held.sample["wind_mm_per_s"]) == (0, 0)


def test_moved_weather_differs_in_the_slot_alone() -> None:
    """A table's row becomes another slot's sample with all its values."""
    sample = sample_of(dict.fromkeys(LIMITS, 3), 1)
    other = moved(sample, 99)
    assert other["slot"] == 99
    assert all(other[name] == 3 for name in LIMITS)

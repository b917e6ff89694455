"""Daylight from clouds alone, held against pvlib."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pvlib
import pytest

from energymarket.core.daylight import cos_zenith, under_clouds

LATITUDE, LONGITUDE = 49.5, 8.5


def test_the_sun_stands_where_pvlib_has_it() -> None:
    """Through a year the height of the sun agrees with NREL's algorithm to half a degree."""
    times = pd.date_range("2025-01-01", periods=1_000, freq="8h37min", tz="UTC")
    seconds = times.as_unit("s").astype(np.int64).to_numpy()
    found = [math.degrees(math.asin(cos_zenith(float(s), LATITUDE, LONGITUDE))) for s in seconds]
    expected = pvlib.solarposition.spa_python(times, LATITUDE, LONGITUDE)["elevation"].to_numpy()
    assert np.abs(np.array(found) - expected).max() < 0.5


def test_a_clear_noon_is_haurwitz() -> None:
    """Without clouds the global irradiance is that of pvlib's Haurwitz model."""
    noon = 1_750_420_800.0  # 2025-06-20 12:00 UTC
    zenith = math.degrees(math.acos(cos_zenith(noon, LATITUDE, LONGITUDE)))
    expected = pvlib.clearsky.haurwitz(pd.Series([zenith]))["ghi"].iloc[0]
    assert under_clouds(noon, LATITUDE, LONGITUDE, 0.0).global_w_per_m2 == pytest.approx(expected, rel=0.01)


def test_an_overcast_sky_lets_a_quarter_through() -> None:
    """Kasten and Czeplak: a covered sky passes 1 - 0.75 of the light, nearly all of it diffuse."""
    noon = 1_750_420_800.0
    clear = under_clouds(noon, LATITUDE, LONGITUDE, 0.0)
    grey = under_clouds(noon, LATITUDE, LONGITUDE, 1.0)
    assert grey.global_w_per_m2 == pytest.approx(0.25 * clear.global_w_per_m2)
    assert grey.diffuse_w_per_m2 > 0.95 * grey.global_w_per_m2


def test_at_night_there_is_no_light() -> None:
    """With the sun below the horizon all three are nothing."""
    light = under_clouds(1_750_377_600.0, LATITUDE, LONGITUDE, 0.0)  # 2025-06-20 00:00 UTC
    assert (light.global_w_per_m2, light.direct_w_per_m2, light.diffuse_w_per_m2) == (0, 0, 0)

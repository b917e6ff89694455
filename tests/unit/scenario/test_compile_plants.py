"""Roofs against pvlib, turbines against the certified curve."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pvlib
import pytest

from energymarket.core.parameters import Period
from energymarket.scenario.compile_hours import weather_of
from energymarket.scenario.compile_solar import Roof, roof_factors
from energymarket.scenario.compile_sources import reference_year
from energymarket.scenario.compile_sun import F64, hushed, steps_of, sun_of
from energymarket.scenario.compile_wind import (
    SPEED_STEP_M_PER_S,
    SPEEDS,
    Site,
    curve_w_per_kw,
    expected_power,
    hub_wind,
)

SOUTH, EAST, WEST = Roof(30, 180), Roof(30, 90), Roof(40, 255)
PERIOD = Period(900, 1_735_689_600 // 900, 365 * 96, 900.0, "UTC")


def our_poa() -> dict[Roof, F64]:
    """Light on three roofs through Mannheim's reference year as the fleet computes it."""
    year = reference_year(12)
    steps = steps_of(PERIOD)
    sun = sun_of(steps, year.place)
    weather = weather_of(year, PERIOD, steps, sun)
    roofs = (SOUTH, EAST, WEST)
    factors = roof_factors(roofs, steps, sun, PERIOD.slots)
    dni, dhi, ghi = (weather[f"{name}_dw_per_m2"] / 10.0 for name in ("dni", "dhi", "ghi"))
    return {
        roof: dni * factors.beam[:, column] + dhi * factors.sky[:, column] + ghi * factors.ground[column]
        for column, roof in enumerate(roofs)
    }


def pvlib_poa(roof: Roof, model: str) -> F64:
    """The same light by pvlib alone: at each slot's middle, with its angle-of-incidence losses."""
    year = reference_year(12)
    steps = steps_of(PERIOD)
    weather = weather_of(year, PERIOD, steps, sun_of(steps, year.place))
    times = pd.to_datetime(weather["slot"].astype(np.int64) * 900 + 450, unit="s", utc=True)
    place = year.place
    with hushed():
        sun = pvlib.solarposition.get_solarposition(
            times, place.latitude_deg, place.longitude_deg, place.altitude_m
        )
        dni, dhi, ghi = (weather[f"{name}_dw_per_m2"] / 10.0 for name in ("dni", "dhi", "ghi"))
        zenith, azimuth = sun["apparent_zenith"].to_numpy(), sun["azimuth"].to_numpy()
        light = pvlib.irradiance.get_total_irradiance(
            roof.tilt_deg, roof.azimuth_deg, zenith, azimuth, dni, ghi, dhi,
            dni_extra=np.asarray(pvlib.irradiance.get_extra_radiation(times)),
            airmass=pvlib.atmosphere.get_relative_airmass(zenith), albedo=0.2, model=model,
        )  # fmt: skip
    aoi = pvlib.irradiance.aoi(roof.tilt_deg, roof.azimuth_deg, zenith, azimuth)
    passed = pvlib.iam.marion_diffuse("physical", roof.tilt_deg)
    total = np.nan_to_num(light["poa_direct"]) * pvlib.iam.physical(aoi)
    total += np.nan_to_num(light["poa_sky_diffuse"]) * passed["sky"]
    return np.asarray(total + light["poa_ground_diffuse"] * passed["ground"])


@pytest.fixture(scope="module")
def ours() -> dict[Roof, F64]:
    """Light on three roofs."""
    return our_poa()


@pytest.mark.parametrize("roof", [SOUTH, EAST, WEST])
def test_a_roof_s_days_are_pvlib_s(ours: dict[Roof, F64], roof: Roof) -> None:
    """Under an isotropic sky each bright day agrees within 2 %, the year within 1 %, a slot within 30 W."""
    expected = pvlib_poa(roof, "isotropic")
    found = ours[roof]
    days, expected_days = (light.reshape(365, 96).sum(axis=1) / 4 for light in (found, expected))
    bright = expected_days > 1_000  # Wh/m²
    assert np.abs(days / np.maximum(expected_days, 1.0) - 1)[bright].max() < 0.02
    assert float(found.sum()) == pytest.approx(float(expected.sum()), rel=0.01)
    high = np.quantile(np.abs(found - expected), 0.999)
    assert high < 30


def test_the_isotropic_sky_costs_some_per_cent_against_perez(ours: dict[Roof, F64]) -> None:
    """Perez (1990) knows the bright ring round the sun: a south roof gets up to 6 % more in a year."""
    perez = float(pvlib_poa(SOUTH, "perez").sum())
    assert 0.94 < float(ours[SOUTH].sum()) / perez <= 1.0


def test_a_flat_roof_sees_no_ground() -> None:
    """At tilt 0 the ground's factor is nothing and the sky's is what glass lets through."""
    period = Period(900, PERIOD.first_slot, 96, 900.0, "UTC")
    steps = steps_of(period)
    factors = roof_factors((Roof(0, 180),), steps, sun_of(steps, reference_year(12).place), 96)
    assert factors.ground[0] == 0
    assert 0.9 < float(factors.sky[0, 0]) < 1.0


def test_less_light_arrives_behind_losses() -> None:
    """A roof with 900 permille of light has nine tenths of each factor."""
    period = Period(900, PERIOD.first_slot + 96 * 170, 96, 900.0, "UTC")
    steps = steps_of(period)
    roofs = (Roof(30, 180), Roof(30, 180, 900))
    factors = roof_factors(roofs, steps, sun_of(steps, reference_year(12).place), 96)
    assert np.allclose(factors.beam[:, 1], 0.9 * factors.beam[:, 0], atol=1e-4)
    assert np.allclose(factors.sky[:, 1], 0.9 * factors.sky[:, 0], atol=1e-4)


def test_the_turbine_has_its_certified_yield() -> None:
    """13,800 kWh a year at a Rayleigh mean of 5 m/s: AWEA rated annual energy of the Excel 10 (SWCC 2011)."""
    speed = np.arange(0.005, 40, 0.01)
    density = np.pi / 2 * speed / 25 * np.exp(-np.pi / 4 * (speed / 5) ** 2)
    annual_kwh = float((curve_w_per_kw(speed) * 8.9 / 1e3 * density).sum() * 0.01 * 8760)
    assert annual_kwh == pytest.approx(13_800, rel=0.02)


def test_the_turbine_has_its_rated_power() -> None:
    """8.9 kW at 11 m/s, that is 1 kW per kW rated to half a per cent; nothing in a calm and in a storm."""
    assert float(curve_w_per_kw(np.array([11.0]))[0]) == pytest.approx(1_000, rel=0.005)
    assert curve_w_per_kw(np.array([0.0, 2.0, 26.0])).tolist() == [0, 0, 0]


def test_wind_over_open_ground_follows_the_logarithmic_law() -> None:
    """From 10 m to 24 m over 0.03 m: 5 m/s become 5 ln(800) / ln(333.3) = 5.753 m/s, by hand."""
    assert float(hub_wind(np.array([5.0]), Site(24.0, 0.03))[0]) == pytest.approx(5.753, abs=0.001)


def test_rough_ground_takes_wind_away() -> None:
    """A hub at 15 m among houses (0.4 m) has ln(2000)/ln(333.3) · ln(37.5)/ln(150) = 0.9464 of it."""
    assert float(hub_wind(np.array([10.0]), Site(15.0, 0.4))[0]) == pytest.approx(9.464, abs=0.002)


def test_gusts_are_taken_through_the_curve() -> None:
    """Below the rated wind gusts add: the mean of cubes is above the cube of the mean.

    The mean over the gusts is found again by a plain sum over 20,001 equally likely winds.
    """
    site = Site(24.0, 0.03)
    table = expected_power((site,))[0]
    column = round(5.0 / SPEED_STEP_M_PER_S)
    hub = float(hub_wind(np.array([5.0]), site)[0])
    spread = hub / np.log(24.0 / 0.03)
    places = (np.arange(20_001) + 0.5) / 20_001
    normal = np.sqrt(2) * _erfinv(2 * places - 1)
    expected = float(curve_w_per_kw(np.maximum(hub + spread * normal, 0)).mean())
    assert float(table[column]) == pytest.approx(expected, rel=0.01)
    assert float(table[column]) > float(curve_w_per_kw(np.array([hub]))[0])
    assert len(table) == SPEEDS


def _erfinv(values: F64) -> F64:
    from scipy.special import erfinv

    return np.asarray(erfinv(values))

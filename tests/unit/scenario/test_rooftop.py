"""The physical roof against pvlib's own clear-sky chain, called by the test."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import pvlib
import pytest

from energymarket.core.parameters import Period
from energymarket.core.weather import WEATHER
from energymarket.exits import Exit, Failure
from energymarket.meters.rooftop_sun import RooftopSun
from energymarket.scenario import rooftop
from energymarket.scenario.compile_sun import Place
from energymarket.scenario.meters_schema import PvMode, PvRoof
from energymarket.scenario.rooftop import Roof, month_kw
from energymarket.scenario.schema import Place as PlaceTable

MANNHEIM = Place(49.49, 8.47, 96.0)


def chain_kw(roof: Roof, times: pd.DatetimeIndex) -> np.ndarray:
    """pvlib: position, Ineichen's clear sky, Hay and Davies, glass, Faiman, PVWatts."""
    place = roof.place
    site = pvlib.location.Location(place.latitude_deg, place.longitude_deg, "UTC", place.altitude_m)
    position = site.get_solarposition(times)
    clear = site.get_clearsky(times, model="ineichen")
    light = pvlib.irradiance.get_total_irradiance(
        roof.tilt_deg, roof.azimuth_deg, position["apparent_zenith"], position["azimuth"],
        clear["dni"], clear["ghi"], clear["dhi"],
        dni_extra=pvlib.irradiance.get_extra_radiation(times), albedo=0.2, model="haydavies",
    )  # fmt: skip
    angle = pvlib.irradiance.aoi(
        roof.tilt_deg, roof.azimuth_deg, position["apparent_zenith"], position["azimuth"]
    )
    effective = (light["poa_direct"] * pvlib.iam.physical(angle)).fillna(0) + light["poa_diffuse"].fillna(0)
    cell = pvlib.temperature.faiman(effective, 20.0, 1.0)
    dc = pvlib.pvsystem.pvwatts_dc(effective, cell, 1000.0, -0.0035) * 0.86
    ac = pvlib.inverter.pvwatts(dc, 1000.0 / 1.1 / 0.96, 0.96)
    return np.asarray(ac.fillna(0.0)) / 1000.0 * roof.peak_kw


@pytest.mark.parametrize(
    ("roof", "year", "month"),
    [
        (Roof(MANNHEIM, 35.0, 180.0, 3.5), 2026, 6),
        (Roof(MANNHEIM, 60.0, 90.0, 10.0), 2024, 2),
        (Roof(Place(-33.9, 151.2, 20.0), 20.0, 0.0, 1.0), 2038, 12),
    ],
    ids=["south in June", "east in February", "north in Sydney"],
)
def test_a_clear_month_is_that_of_pvlib_s_chain(roof: Roof, year: int, month: int) -> None:
    """Every tenth minute within 1 % of the peak, the month's energy within 0.5 %; zero without a sun."""
    found = month_kw(roof, year, month)
    times = pd.date_range(f"{year}-{month:02d}-01", periods=len(found), freq="1min", tz="UTC")[::10]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = chain_kw(roof, times)
        below = pvlib.solarposition.get_solarposition(
            times, roof.place.latitude_deg, roof.place.longitude_deg
        )
    assert np.abs(found[::10] - wanted).max() < 0.01 * roof.peak_kw
    assert found[::10].sum() == pytest.approx(wanted.sum(), rel=0.005)
    assert wanted.max() > 0.4 * roof.peak_kw
    assert found.min() == 0
    assert set(found[::10][np.asarray(below["apparent_zenith"]) > 90.5]) == {0.0}
    assert np.abs(np.diff(found)).max() < 0.05 * roof.peak_kw


@dataclass
class Weathered:
    """Of a compiled scenario what a roof asks for: the weather of each slot."""

    period: Period
    weather: np.ndarray

    def table_row(self, slot: int) -> int:
        """As of a compiled scenario."""
        return (slot - self.period.first_slot) % self.period.slots


def test_the_weather_of_a_scenario_dims_the_clear_sky() -> None:
    """The clear sky's own light gives the clear month; without beam a tenth is left, and no step appears."""
    roof = Roof(MANNHEIM, 35.0, 180.0, 3.5)
    first, slots, slot_s = 1_780_272_000 // 900, 30 * 96, 900  # June 2026
    middles = pd.to_datetime((np.arange(first, first + slots) + 0.5) * slot_s, unit="s", utc=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clear = pvlib.location.Location(49.49, 8.47, "UTC", 96.0).get_clearsky(middles, model="ineichen")
    weather = np.zeros(slots, WEATHER)
    weather["temperature_mc"], weather["wind_mm_per_s"] = 20_000, 1_379
    for name in ("dni", "dhi"):
        weather[f"{name}_dw_per_m2"] = np.rint(clear[name].to_numpy() * 10)
    compiled = Weathered(Period(slot_s, first, slots, 900.0, "UTC"), weather)
    bright = month_kw(roof, 2026, 6, compiled)  # type: ignore[arg-type]
    assert bright.sum() == pytest.approx(month_kw(roof, 2026, 6).sum(), rel=0.02)
    weather["dni_dw_per_m2"] = 0
    dim = month_kw(roof, 2026, 6, compiled)  # type: ignore[arg-type]
    assert 0.02 < dim.sum() / bright.sum() < 0.3
    weather["dni_dw_per_m2"][40:60] = 8_000  # five hours of sun between clouds
    assert np.abs(np.diff(month_kw(roof, 2026, 6, compiled))).max() < 0.3  # type: ignore[arg-type]


def test_power_between_two_minutes_lies_between_them(tmp_path: Path) -> None:
    """A service computes a month by a program beside it, keeps it, and goes over its end without a jump."""
    place = PlaceTable(latitude=49.49, longitude=8.47, altitude_m=96.0)
    roof = PvRoof(mode=PvMode.PHYSICAL, peak_kw=3.5)
    sun = RooftopSun(roof, place, None, tmp_path)
    table = month_kw(Roof(MANNHEIM, 35.0, 180.0, 3.5), 2026, 6)
    begin_s = 1_780_272_000  # 2026-06-01T00:00Z
    noon = 11 * 60
    low, high = sorted(table[noon : noon + 2])
    assert not sun.is_known(begin_s)
    done = Event()
    sun.prepare(begin_s + 60 * noon, done.set)
    assert not done.is_set()  # who asks is not kept
    assert done.wait(60)
    assert (sun.is_known(begin_s), sun.is_known(begin_s - 1)) == (True, False)
    assert low - 1e-6 <= sun.power_kw(begin_s + 60 * noon + 30, 7200) <= high + 1e-6
    assert sun.power_kw(begin_s, 7200) == 0
    (kept,) = tmp_path.iterdir()
    before = kept.stat().st_mtime_ns
    assert RooftopSun(roof, place, None, tmp_path).power_kw(begin_s + 60 * noon, 0) == pytest.approx(
        table[noon], abs=1e-6
    )
    assert kept.stat().st_mtime_ns == before


def test_a_roof_that_cannot_be_computed_is_told_to_who_asks_next(tmp_path: Path) -> None:
    """A scenario that is not there: the failure comes where the service sees it, once, and no draft stays."""
    place = PlaceTable(latitude=49.49, longitude=8.47, altitude_m=96.0)
    sun = RooftopSun(PvRoof(mode=PvMode.PHYSICAL), place, tmp_path / "nowhere", tmp_path / "cache")
    done = Event()
    sun.prepare(1_780_272_000, done.set)
    assert done.wait(60)
    with pytest.raises(Failure, match="nowhere") as refused:
        sun.is_known(1_780_272_000)
    assert refused.value.code is Exit.CONFIGURATION
    assert not sun.is_known(1_780_272_000)
    assert list((tmp_path / "cache").iterdir()) == []
    sun.prepare(1_780_272_000, done.clear)
    sun.close()  # at once, whatever it is at


def test_a_place_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A compiled scenario that is not there ends the program with 78 and a line."""
    words = [
        "--latitude=1",
        "--longitude=1",
        "--altitude=0",
        "--tilt=0",
        "--azimuth=0",
        "--peak-kw=1",
        "--year=2026",
        "--month=1",
    ]
    code = rooftop.main([*words, f"--compiled={tmp_path}/none", f"--out={tmp_path}/x"])
    assert code == Exit.CONFIGURATION
    assert capsys.readouterr().err.startswith("energy-rooftop: ")

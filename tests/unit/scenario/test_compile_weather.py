"""From hours to slots: clocks, energy, agreement of the irradiances; the synthetic year; files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pvlib
import pytest

from energymarket.core.parameters import Period
from energymarket.core.weather import impossible
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_hours import (
    Hours,
    irradiance_steps,
    readings_at,
    running_round,
    weather_of,
)
from energymarket.scenario.compile_sources import (
    american_year,
    energyplus_year,
    hourly_csv,
    reference_year,
)
from energymarket.scenario.compile_sun import Place, Steps, Sun, hushed, steps_of, sun_of
from energymarket.scenario.compile_weather import synthetic_year, written_weather
from energymarket.scenario.schema import Weather, WeatherSource

YEAR_2025_S = 1_735_689_600
PVLIB_DATA = Path(pvlib.__file__).parent / "data"


def quarter_hours(days: float = 365, begin_s: int = YEAR_2025_S) -> Period:
    """A period of quarter-hours."""
    return Period(900, begin_s // 900, round(days * 96), 900.0, "UTC")


@pytest.fixture(scope="module")
def mannheim() -> Hours:
    """The reference year of region 12."""
    return reference_year(12)


@pytest.fixture(scope="module")
def steps() -> Steps:
    """A year's steps."""
    return steps_of(quarter_hours())


@pytest.fixture(scope="module")
def sun(steps: Steps, mannheim: Hours) -> Sun:
    """The sun over Mannheim."""
    return sun_of(steps, mannheim.place)


def test_the_reference_year_is_mannheim_s(mannheim: Hours) -> None:
    """Place as in the file's head (49°31' N, 8°33' E, 96 m), 8,760 hours, first reading 6.5 °C at 4.5 m/s."""
    assert mannheim.place == Place(49 + 31 / 60, 8 + 33 / 60, 96.0)
    assert len(mannheim.temperature_c) == 8760
    assert (mannheim.temperature_c[0], mannheim.wind_m_per_s[0]) == (6.5, 4.5)
    assert mannheim.cloud[0] == 1.0  # eight eighths
    assert mannheim.rain_mm_per_h[4] > 0  # weather 80, a shower
    assert mannheim.rain_mm_per_h[0] == 0  # weather 2


def test_every_reference_year_of_germany_is_read() -> None:
    """All fifteen regions give possible places in Germany and a year of 900 to 1,200 kWh/m²."""
    for region in range(1, 16):
        year = reference_year(region)
        assert 47 < year.place.latitude_deg < 55
        assert 6 < year.place.longitude_deg < 15
        assert 900 < float((year.beam_w_per_m2 + year.diffuse_w_per_m2).sum()) / 1e3 < 1_200


def best_offset_min(hours: Hours, month: int) -> int:
    """Minutes from a row's begin on CET to the middle of its irradiance, as the sun of clear days tells."""
    ghi = hours.beam_w_per_m2 + hours.diffuse_w_per_m2
    begin = pd.date_range("2010-01-01", periods=8760, freq="h", tz="Etc/GMT-1")
    chosen = begin.month == month
    day = np.arange(8760) // 24
    clearest = np.argsort(np.bincount(day, np.where(chosen, ghi, 0.0)))[-6:]
    rows = np.flatnonzero(np.isin(day, clearest))
    offsets = range(0, 121, 5)
    quality = []
    for offset in offsets:
        clear = np.zeros(len(rows))
        for part in (-25, -15, -5, 5, 15, 25):
            with hushed():
                position = pvlib.solarposition.spa_python(
                    begin[rows] + pd.Timedelta(minutes=offset + part),
                    hours.place.latitude_deg,
                    hours.place.longitude_deg,
                )
            cosine = np.maximum(np.cos(np.radians(position["zenith"].to_numpy())), 0.0)
            clear += 1098 * cosine * np.exp(-0.057 / np.maximum(cosine, 0.01)) / 6
        quality.append(float(np.corrcoef(clear, ghi[rows])[0, 1]))
    return offsets[int(np.argmax(quality))]


@pytest.mark.parametrize("month", [3, 6, 8, 10, 12])
def test_irradiance_of_the_reference_year_is_in_true_solar_time(mannheim: Hours, month: int) -> None:
    """The hours' middle, found by pvlib's sun, is at solar half past: it wanders with the equation of time.

    On CET with hours that end at their label it would be 30 minutes after the row's begin all year.
    """
    equation_min = float(pvlib.solarposition.equation_of_time_spencer71(month * 30.4 - 15))
    solar_min = 30 + 4 * (15 - mannheim.place.longitude_deg) - equation_min
    assert best_offset_min(mannheim, month) == pytest.approx(solar_min, abs=12)


def test_the_energy_of_every_hour_is_preserved(mannheim: Hours, steps: Steps, sun: Sun) -> None:
    """Within each solar hour the steps' mean global irradiance is the source's."""
    light = irradiance_steps(mannheim, steps, sun)
    solar_s = steps.middle_s + 240 * mannheim.place.longitude_deg + 60 * sun.equation_of_time_min
    hour = np.floor(solar_s / 3600).astype(np.int64)
    index = hour - hour.min()
    means = np.bincount(index, light.ghi) / np.bincount(index)
    whole = np.bincount(index) >= 11  # the margin's outermost hours are cut
    rows = mannheim.row(np.arange(len(means)) + hour.min())
    expected = (mannheim.beam_w_per_m2 + mannheim.diffuse_w_per_m2)[rows]
    assert np.abs(means - expected)[whole].max() < 1e-6


def test_the_energy_of_every_clock_hour_survives_quantising() -> None:
    """Four slots in tenths of a watt are the source's hour to a quarter of a watt-hour."""
    year = american_year(PVLIB_DATA / "723170TYA.CSV")
    period = quarter_hours()
    grid = steps_of(period)
    samples = weather_of(year, period, grid, sun_of(grid, year.place))
    ghi = samples["ghi_dw_per_m2"].reshape(-1, 4).mean(axis=1) / 10
    hour = period.first_slot * 900 // 3600 + np.arange(8760) + year.utc_offset_s // 3600
    expected = (year.beam_w_per_m2 + year.diffuse_w_per_m2)[year.row(hour)]
    assert np.abs(ghi - expected).max() <= 0.25


def test_the_irradiances_agree_in_every_step(mannheim: Hours, steps: Steps, sun: Sun) -> None:
    """Global = direct normal × cos(zenith) + diffuse; none is negative; no beam beyond the sun's own."""
    light = irradiance_steps(mannheim, steps, sun)
    assert np.abs(light.dni * sun.cos_zenith + light.dhi - light.ghi).max() < 1e-9
    assert min(light.dni.min(), light.dhi.min(), light.ghi.min()) >= 0
    assert np.all(light.dni <= sun.extra_dni_w_per_m2)


def test_the_share_of_diffuse_light_stays_that_of_the_source(mannheim: Hours, steps: Steps, sun: Sun) -> None:
    """What the bound on the beam moves into the diffuse is less than 2 % of the year's light."""
    light = irradiance_steps(mannheim, steps, sun)
    source = float(
        mannheim.diffuse_w_per_m2.sum() / (mannheim.beam_w_per_m2 + mannheim.diffuse_w_per_m2).sum()
    )
    assert float(light.dhi.sum() / light.ghi.sum()) == pytest.approx(source, abs=0.02)


def test_a_reading_is_met_at_its_label(mannheim: Hours) -> None:
    """Row HH of the reference year is the reading at HH:00 CET; half way it is the mean of two."""
    at = np.array([YEAR_2025_S - 3600 + 3600.0, YEAR_2025_S - 3600 + 5400.0])  # 01:00 and 01:30 CET
    first, second = readings_at(mannheim, at, mannheim.temperature_c)
    assert first == mannheim.temperature_c[0]
    assert second == pytest.approx((mannheim.temperature_c[0] + mannheim.temperature_c[1]) / 2)


def test_29_february_repeats_the_28th(mannheim: Hours) -> None:
    """A typical year has 365 days; a leap year's extra day is the day before it."""
    noon_28 = int(pd.Timestamp("2024-02-28T12", tz="UTC").timestamp()) // 3600
    rows = mannheim.row(np.array([noon_28, noon_28 + 24, noon_28 + 48]))
    assert rows.tolist() == [58 * 24 + 12, 58 * 24 + 12, 59 * 24 + 12]
    last = int(pd.Timestamp("2024-12-31T23", tz="UTC").timestamp()) // 3600
    assert mannheim.row(np.array([last])).tolist() == [8759]


def test_running_rounds_never_stray() -> None:
    """The running sum of rounded values is within a half of that of the values."""
    values = np.abs(np.sin(np.arange(1_000.0))) * 7.3
    assert np.abs(np.cumsum(running_round(values)) - np.cumsum(values)).max() <= 0.5


def test_the_reference_year_makes_possible_samples(mannheim: Hours, steps: Steps, sun: Sun) -> None:
    """A year of slots: within the limits, mean temperature and light of the year as in the file."""
    samples = weather_of(mannheim, quarter_hours(), steps, sun)
    assert impossible(samples) == ()
    assert float(samples["temperature_mc"].mean()) / 1e3 == pytest.approx(
        mannheim.temperature_c.mean(), abs=0.01
    )
    total = float((mannheim.beam_w_per_m2 + mannheim.diffuse_w_per_m2).sum())
    assert float(samples["ghi_dw_per_m2"].sum()) / 40 == pytest.approx(total, rel=1e-4)


def test_the_trend_is_the_change_over_the_last_hour(mannheim: Hours, steps: Steps, sun: Sun) -> None:
    """Summed over a day's 24 hours, trends are the day's change of temperature."""
    samples = weather_of(mannheim, quarter_hours(), steps, sun)
    change = float(samples["trend_mc_per_h"][3:96:4].sum()) / 1e3
    ends = readings_at(mannheim, np.array([YEAR_2025_S, YEAR_2025_S + 86_400.0]), mannheim.temperature_c)
    assert change == pytest.approx(float(ends[1] - ends[0]), abs=0.02)


def test_both_american_years_are_read() -> None:
    """Pvlib carries Greensboro (36.1 N, UTC-5) and Sand Point (55.3 N, UTC-9)."""
    greensboro = american_year(PVLIB_DATA / "723170TYA.CSV")
    sand_point = american_year(PVLIB_DATA / "703165TY.csv")
    assert (greensboro.place.latitude_deg, greensboro.utc_offset_s) == (36.1, -5 * 3600)
    assert (sand_point.place.latitude_deg, sand_point.utc_offset_s) == (55.317, -9 * 3600)


def test_an_epw_file_is_read(tmp_path: Path) -> None:
    """A file in EnergyPlus' format, made from Greensboro's typical year: the same hours come out."""
    year = american_year(PVLIB_DATA / "723170TYA.CSV")
    head = ["LOCATION,Greensboro,NC,USA,TMY3,723170,36.1,-79.95,-5.0,273.0"]
    head += ["DESIGN CONDITIONS,0", "TYPICAL/EXTREME PERIODS,0", "GROUND TEMPERATURES,0"]
    head += ["HOLIDAYS/DAYLIGHT SAVINGS,No,0,0,0", "COMMENTS 1,", "COMMENTS 2,"]
    head += ["DATA PERIODS,1,1,Data,Sunday,1/1,12/31"]
    times = pd.date_range("1999-01-01", periods=8760, freq="h")
    rows = []
    for index, time in enumerate(times):
        values = ["0"] * 35
        values[0:5] = ["1999", str(time.month), str(time.day), str(time.hour + 1), "0"]
        values[5] = "?9"
        values[6] = f"{year.temperature_c[index]}"
        values[13] = f"{year.beam_w_per_m2[index] + year.diffuse_w_per_m2[index]}"
        values[15] = f"{year.diffuse_w_per_m2[index]}"
        values[21] = f"{year.wind_m_per_s[index]}"
        values[22] = "5"
        values[33] = "0"
        rows.append(",".join(values))
    path = tmp_path / "greensboro.epw"
    path.write_text("\n".join(head + rows) + "\n", encoding="utf-8")
    read = energyplus_year(path)
    assert read.place == year.place
    assert np.array_equal(read.temperature_c, year.temperature_c)
    assert np.allclose(read.beam_w_per_m2, year.beam_w_per_m2)
    assert np.all(read.cloud == 0.5)


def test_an_hourly_csv_is_read_with_its_clock(tmp_path: Path) -> None:
    """Rows begin at the hour they name, here on CEST; an absent diffuse part is split off by Erbs."""
    lines = ["time,temperature_c,ghi_w_per_m2"]
    lines += [
        f"2025-06-20T{hour:02d}:00+02:00,{10 + hour},{max(0, 600 - 10 * (hour - 13) ** 2)}"
        for hour in range(24)
    ]
    path = tmp_path / "day.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    hours = hourly_csv(path, Place(49.5, 8.5))
    assert hours.start_s == pd.Timestamp("2025-06-19T22:00", tz="UTC").timestamp()
    middle = readings_at(hours, np.array([hours.start_s + 1800.0]), hours.temperature_c)
    assert middle[0] == 10
    noon = hours.beam_w_per_m2[13] + hours.diffuse_w_per_m2[13]
    assert noon == 600
    assert 0 < hours.diffuse_w_per_m2[13] < 600


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["time,temperature_c", "2025-01-01T00:00+00:00,1"], "no column ghi_w_per_m2"),
        (["time,temperature_c,ghi_w_per_m2", "2025-01-01T00:00,1,0"], "w.csv:2: time .* has no offset"),
        (["time,temperature_c,ghi_w_per_m2", "2025-01-01T00:00Z,x,0"], "w.csv:2: temperature_c"),
        (["time,temperature_c,ghi_w_per_m2", "2025-01-01T00:00Z,1,0", "2025-01-01T02:00Z,1,0"], "w.csv:3"),
        (["time,temperature_c,ghi_w_per_m2", "2025-01-01T00:00Z,nan,0"], "not finite"),
        (["time"], "no rows"),
    ],
)
def test_a_bad_csv_is_refused_with_its_line(tmp_path: Path, lines: list[str], words: str) -> None:
    """The refusal names file, line and column."""
    path = tmp_path / "w.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(CompileError, match=words):
        hourly_csv(path, Place(49.5, 8.5))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A typical year that is not there is an error of the scenario, not a crash."""
    with pytest.raises(CompileError, match="cannot be read"):
        american_year(tmp_path / "nowhere.csv")


def test_the_synthetic_year_has_the_asked_means() -> None:
    """Temperature, wind, cloud have the asked means; wind is never negative and changes gradually."""
    asked = Weather(
        source=WeatherSource.SYNTHETIC,
        temperature_c=(9.0,),
        wind_m_per_s=(4.0,),
        cloud=(0.6,),
        rain_share=0.1,
    )
    year = synthetic_year(asked, Place(49.5, 8.5), seed=3)
    assert float(year.temperature_c.mean()) == pytest.approx(9.0, abs=0.6)
    assert float(year.wind_m_per_s.mean()) == pytest.approx(4.0, rel=0.1)
    assert float(year.wind_m_per_s.min()) > 0
    assert float(year.cloud.mean()) == pytest.approx(0.6, abs=0.01)
    assert float((year.rain_mm_per_h > 0).mean()) == pytest.approx(0.1, abs=0.01)
    wind = np.log(year.wind_m_per_s)
    assert float(np.corrcoef(wind[:-1], wind[1:])[0, 1]) > 0.9
    july, january = year.temperature_c[181 * 24 : 212 * 24], year.temperature_c[: 31 * 24]
    assert float(july.mean() - january.mean()) == pytest.approx(18, abs=4)  # twice the amplitude of 9 K


def test_the_synthetic_year_follows_the_seed() -> None:
    """The same seed makes the same year, another seed another."""
    asked = Weather(source=WeatherSource.SYNTHETIC)
    one, same, other = (synthetic_year(asked, Place(49.5, 8.5), seed) for seed in (1, 1, 2))
    assert np.array_equal(one.temperature_c, same.temperature_c)
    assert not np.array_equal(one.temperature_c, other.temperature_c)


def test_weather_by_hand_repeats_its_lists() -> None:
    """Two temperatures over four slots alternate; a single number holds everywhere."""
    weather = Weather(source=WeatherSource.CONSTANT, temperature_c=(5.0, 7.5), wind_m_per_s=(3.0,))
    samples = written_weather(weather, Period(900, 100, 4, 1.0, "UTC"))
    assert samples["slot"].tolist() == [100, 101, 102, 103]
    assert samples["temperature_mc"].tolist() == [5_000, 7_500, 5_000, 7_500]
    assert samples["wind_mm_per_s"].tolist() == [3_000] * 4

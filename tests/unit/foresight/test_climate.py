"""Weather that strays: what a year says of it, and whether sampled weather strays as it should."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from energymarket.core.chance import Purpose, draw_u32
from energymarket.core.parameters import Period
from energymarket.core.weather import LIMITS, WEATHER, Samples, impossible
from energymarket.foresight.climate import ELSEWHERE, STILL, Climate, Memory, climate_of, light_of
from energymarket.foresight.weather_paths import Deviation, WeatherPaths

DAY = 96
F64 = npt.NDArray[np.float64]


def period(days: int) -> Period:
    return Period(900, 0, days * DAY, 1.0, "UTC")


def normal(key: int, count: int) -> F64:
    """Sums of twelve uniform numbers: standard normal enough, and none of the code under test."""
    items = np.arange(count, dtype=np.uint32)
    drawn = [draw_u32(key, Purpose.HOME, at, items) / 2.0**32 for at in range(12)]
    return np.asarray(np.sum(drawn, axis=0) - 6.0)


def red(key: int, hours: int, memory: Memory) -> F64:
    """A first-order autoregressive course, an hour each."""
    fresh = normal(key, hours) * memory.deviation * np.sqrt(1 - memory.per_hour**2)
    course = [0.0]
    for each in fresh[1:]:
        course.append(memory.per_hour * course[-1] + each)
    return np.array(course)


def sunny(days: int, strayed_k: F64 | None = None, clearness: F64 | None = None) -> Samples:
    """15 °C, 4 m/s, and the sun of a spring day from six to six: 800 W/m² at noon, four fifths of it beam."""
    samples = np.zeros(days * DAY, WEATHER)
    hour = np.arange(len(samples)) % DAY / 4
    height = np.maximum(0.0, np.sin(np.pi * (hour - 6) / 12)) * 0.8
    whole = 1000.0 * height
    samples["temperature_mc"] = 15_000
    samples["wind_mm_per_s"] = 4_000
    if strayed_k is not None:
        samples["temperature_mc"] += np.rint(1000 * np.repeat(strayed_k, 4)).astype(np.int32)
    clear = np.ones(len(samples)) if clearness is None else np.repeat(clearness, 4)
    share = 1.0 - 0.8 * clear
    samples["ghi_dw_per_m2"] = np.rint(10 * whole * clear)
    samples["dhi_dw_per_m2"] = np.rint(10 * whole * clear * share)
    beam = np.divide(whole * clear * (1 - share), height, out=np.zeros(len(samples)), where=height > 0)
    samples["dni_dw_per_m2"] = np.rint(10 * beam)
    samples["cloud_permille"] = np.rint(1000 * (1 - clear))
    return samples


def test_a_year_of_known_memory_is_recognised() -> None:
    """Temperature made with a spread of 3 K and a memory of 0.97 an hour is found so, month by month."""
    made = sunny(365, red(7, 365 * 24, Memory(3.0, 0.97)))
    found = climate_of(made, period(365), light_of(made, period(365)))
    assert found.temperature.deviation == pytest.approx(3.0, rel=0.12)
    assert found.temperature.per_hour == pytest.approx(0.97, abs=0.01)
    assert found.clearness.deviation == pytest.approx(0.0, abs=1e-3)
    assert found.days == 365


def test_clouds_are_told_from_the_course_of_the_sun() -> None:
    """Clearness drawn anew each hour between 0.3 and 1 has its spread, 0.7 / sqrt(12), and no memory."""
    drawn = draw_u32(3, Purpose.HOME, 0, np.arange(365 * 24, dtype=np.uint32)) / 2.0**32
    made = sunny(365, clearness=0.3 + 0.7 * drawn)
    found = climate_of(made, period(365), light_of(made, period(365)))
    assert found.clearness.deviation == pytest.approx(0.7 / np.sqrt(12), rel=0.08)
    assert abs(found.clearness.per_hour) < 0.1


def test_weather_written_by_hand_is_what_it_says() -> None:
    """The same day again and again leaves nothing open; a few real days do, and show too little of it."""
    made = sunny(90)
    assert climate_of(made, period(90), light_of(made, period(90))) is STILL
    few = sunny(5, red(1, 5 * 24, Memory(3.0, 0.97)))
    assert climate_of(few, period(5), light_of(few, period(5))) is ELSEWHERE


def paths(part: float, climate: Climate, now: Deviation = Deviation()) -> tuple[WeatherPaths, Samples]:  # noqa: B008
    year = sunny(30, red(5, 30 * 24, Memory(2.0, 0.9)), np.full(30 * 24, 0.8))
    light = light_of(year, period(30))
    rows = np.arange(10 * DAY + 40, 11 * DAY + 40)
    return WeatherPaths(year[rows], light.of(rows), climate, 900, now, part), year[rows]


def test_with_nothing_unknown_the_weather_is_the_scenario_s() -> None:
    """To the last bit, whatever the climate."""
    made, base = paths(0.0, ELSEWHERE)
    assert made.is_certain
    assert made.path(1, 5).tobytes() == base.tobytes()


def test_paths_stray_as_the_process_says_and_begin_together() -> None:
    """After h hours the spread is s d sqrt(1 - m^2h): by the formula, over 2,000 paths."""
    climate = Climate(Memory(4.0, 0.95), Memory(0.0, 0.0), Memory(0.0, 0.0), 365)
    made, base = paths(0.5, climate)
    drawn = np.array([made.path(9, number)["temperature_mc"] for number in range(2_000)])
    strayed_k = (drawn - base["temperature_mc"]) / 1000
    assert not strayed_k[:, 0].any()
    for hours in (1, 6, 23):
        expected = 0.5 * 4.0 * np.sqrt(1 - 0.95 ** (2 * hours))
        assert float(strayed_k[:, 4 * hours].std()) == pytest.approx(expected, rel=0.06)
        assert abs(float(strayed_k[:, 4 * hours].mean())) < 0.15


def test_what_is_known_now_fades() -> None:
    """3 K above the scenario's weather is 3 × 0.95^10 K above it ten hours later, if nothing is unknown."""
    climate = Climate(Memory(4.0, 0.95), Memory(0.3, 0.9), Memory(0.4, 0.9), 365)
    made, base = paths(0.0, climate, Deviation(temperature=3.0))
    strayed = (made.path(1, 0)["temperature_mc"] - base["temperature_mc"]) / 1000
    assert strayed[0] == pytest.approx(3.0, abs=1e-3)
    assert strayed[40] == pytest.approx(3.0 * 0.95**10, abs=2e-3)


def test_sampled_weather_is_possible_and_its_light_adds_up() -> None:
    """Global = direct × cos(zenith) + diffuse, dark at night, and no brighter than the brightest days."""
    made, base = paths(2.0, ELSEWHERE)
    fields: dict[str, Any] = {name: [] for name in LIMITS}
    for number in range(50):
        path = made.path(4, number)
        assert not impossible(path)
        for name, values in fields.items():
            values.append(path[name].astype(np.float64))
    whole, beam, diffuse = (np.array(fields[f"{name}_dw_per_m2"]) for name in ("ghi", "dni", "dhi"))
    hour = (np.arange(DAY) + 40) % DAY / 4
    height = np.maximum(0.0, np.sin(np.pi * (hour - 6) / 12)) * 0.8
    assert not whole[:, height == 0].any()
    assert np.abs(whole - beam * height - diffuse)[:, height > 0.1].max() < 12  # 1.2 W/m², of rounding
    assert bool((whole <= np.maximum(base["ghi_dw_per_m2"], 8_000 * height / 0.8 + 1)).all())
    assert whole[:, 8].std() > 500  # at noon, 50 W/m² at the least: it does stray


def test_paths_are_a_function_of_seed_and_number() -> None:
    """The same again, and another for another number or seed."""
    made, _ = paths(1.0, ELSEWHERE)
    first = made.path(1, 2).tobytes()
    assert made.path(1, 2).tobytes() == first
    assert made.path(1, 3).tobytes() != first
    assert made.path(2, 2).tobytes() != first

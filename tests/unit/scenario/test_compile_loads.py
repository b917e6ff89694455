"""Household loads: energy, single-house look, diversity, self-consumption against published figures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from energymarket.core.assets import PvSystem, cell_temperature_c, pvwatts_ac_w, pvwatts_dc_w
from energymarket.core.parameters import Period
from energymarket.scenario.cache import source_hash
from energymarket.scenario.compile_days import house_days, local_year, slot_energy_wh, standard_profile
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_heat import heat_shape
from energymarket.scenario.compile_hours import weather_of
from energymarket.scenario.compile_loads import Archetypes, archetypes
from energymarket.scenario.compile_solar import Roof, roof_factors
from energymarket.scenario.compile_sources import reference_year
from energymarket.scenario.compile_sun import F64, steps_of, sun_of
from energymarket.scenario.compile_weather import Sky, sun_over
from energymarket.scenario.schema import LoadModel

PERIOD = Period(900, 1_735_686_000 // 900, 365 * 96, 900.0, "Europe/Berlin")  # 2025 on local clocks
MEAN_MWH = 3.5


@pytest.fixture(scope="module")
def sky() -> Sky:
    """Mannheim's reference year."""
    year = reference_year(12)
    steps = steps_of(PERIOD)
    sun = sun_of(steps, year.place)
    return Sky(weather_of(year, PERIOD, steps, sun), steps, sun, year.place, year, year.name, year.licence)


@pytest.fixture(scope="module")
def shapes(sky: Sky) -> Archetypes:
    """The default archetypes."""
    year = local_year(PERIOD)
    return archetypes(LoadModel(), house_days(year, sky, 12), year, PERIOD, seed=42)


def neighbourhood(shapes: Archetypes, homes: int) -> list[tuple[int, int]]:
    """Archetype and shift of each home: all archetypes in turn, a week further each round."""
    count = shapes.load_wh.shape[1]
    return [(home * 7 % count, (home // count) % 5 * 672 + home % 5 - 2) for home in range(homes)]


def peak_kw_per_home(shapes: Archetypes, homes: int, rounds: int) -> float:
    """Coincident quarter-hour peak of the year per home of 3.5 MWh, the mean over several neighbourhoods."""
    peaks = []
    for number in range(rounds):
        total = np.zeros(PERIOD.slots)
        for shape, shift in neighbourhood(shapes, homes + number)[number:]:
            total += np.roll(shapes.load_wh[:, shape], shift) * MEAN_MWH
        peaks.append(float(total.max()) * 4 / 1e3 / homes)
    return float(np.mean(peaks))


def test_every_archetype_has_its_annual_energy(shapes: Archetypes) -> None:
    """A year of each is 1,000 kWh; what the change of clocks moves is less than a thousandth."""
    assert shapes.load_wh.shape == (35_040, 48)
    assert np.abs(shapes.load_wh.sum(axis=0, dtype=np.float64) / 1e6 - 1).max() < 1e-3
    assert float(shapes.load_wh.min()) >= 0


def test_the_coincident_peak_falls_as_published(shapes: Archetypes) -> None:
    """Peak per home for 1, 10, 100, 1,000 homes of 3.5 MWh against Velander's formula.

    P = 0.29 W + 2.5 sqrt(W) in kW and MWh for domestic consumers (Lakervi and Holmes, "Electricity
    Distribution Network Design", 2nd ed. 1995): 5.7, 2.5, 1.5, 1.2 kW per home. It is a planner's
    bound for homes with electric kitchens in Finland, so ours lie below it, but by no more than a
    third. DIN 18015-1 (annex A, no electric hot water) wants room for 15 and 5.5 kVA per home with 1
    and 10 homes; Low Carbon London (2014) found 0.54 .. 1.78 kW per home for many, by kind of home.
    """
    found = [
        peak_kw_per_home(shapes, homes, rounds) for homes, rounds in ((1, 40), (10, 20), (100, 3), (1_000, 1))
    ]
    velander = [0.29 * MEAN_MWH + 2.5 * np.sqrt(MEAN_MWH / homes) for homes in (1, 10, 100, 1_000)]
    ratios = [ours / published for ours, published in zip(found, velander, strict=True)]
    assert all(0.66 < ratio < 1.2 for ratio in ratios), (found, velander)
    assert found == sorted(found, reverse=True)
    assert found[0] < 15
    assert found[1] < 5.5
    assert 0.54 < found[3] < 1.78


def test_many_homes_come_near_the_standard_profile(shapes: Archetypes) -> None:
    """The peak of 1,000 homes lies above that of BDEW's H0, which is smooth, by no more than half.

    It is below 1.5 kW, to which demand per home settled in the north of England (Customer-Led Network
    Revolution, report L217, 2015).
    """
    smooth_kw = float(standard_profile(local_year(PERIOD), "h0").max()) * 4 / 1e3 * MEAN_MWH
    ours_kw = peak_kw_per_home(shapes, 1_000, 1)
    assert smooth_kw < ours_kw < min(1.5 * smooth_kw, 1.5)


def test_a_single_home_remembers(shapes: Archetypes) -> None:
    """A household's load has a short memory and a daily rhythm.

    A quarter-hour resembles the one before it more than the one two hours before, and the same time
    yesterday more than twelve hours ago.
    """
    for column in range(0, 48, 5):
        load = shapes.load_wh[:, column].astype(np.float64)

        def alike(lag: int, load: npt.NDArray[np.float64] = load) -> float:
            return float(np.corrcoef(load[:-lag], load[lag:])[0, 1])

        assert 0.5 < alike(1) < 0.95
        assert alike(1) > alike(2) > alike(8)
        assert alike(96) > alike(48)


def test_a_single_home_is_no_scaled_down_average(shapes: Archetypes) -> None:
    """Its annual peak is more than ten times its mean; that of the standard profile less than three times."""
    single = shapes.load_wh.max(axis=0) / shapes.load_wh.mean(axis=0)
    smooth = standard_profile(local_year(PERIOD), "h0")
    assert float(single.min()) > 6
    assert float(np.mean(single)) > 10
    assert float(smooth.max() / smooth.mean()) < 3


def test_self_consumption_is_in_the_published_range(shapes: Archetypes, sky: Sky) -> None:
    """1 kWp per MWh on a south roof without a battery: 25 .. 40 % on average; HTW Berlin has 30 %.

    (Weniger, Tjaden, Quaschning: "Sizing of residential PV battery systems", Energy Procedia 46, 2014.)
    """
    factors = roof_factors((Roof(35, 180),), sky.steps, sun_over(sky), PERIOD.slots)
    weather = sky.samples
    dni, dhi, ghi = (weather[f"{name}_dw_per_m2"] / 10.0 for name in ("dni", "dhi", "ghi"))
    poa = dni * factors.beam[:, 0] + dhi * factors.sky[:, 0] + ghi * factors.ground[0]
    system = PvSystem()
    cells = cell_temperature_c(poa, weather["temperature_mc"], weather["wind_mm_per_s"])
    pv_wh = pvwatts_ac_w(pvwatts_dc_w(poa, cells, system) * (1 - system.losses), system) / 4
    assert 850_000 < float(pv_wh.sum()) < 1_100_000  # German roofs yield 900 .. 1,050 kWh/kWp
    shares = [float(np.minimum(pv_wh, shapes.load_wh[:, n]).sum() / pv_wh.sum()) for n in range(48)]
    assert 0.25 < float(np.mean(shares)) < 0.40, shares
    assert min(shares) > 0.2
    assert max(shares) < 0.45


def test_winter_days_take_more_than_summer_days(shapes: Archetypes) -> None:
    """VDI 4655 has more electricity on winter days: January against July, as in every German statistic."""
    january = float(shapes.load_wh[: 31 * 96].mean())
    july = float(shapes.load_wh[181 * 96 : 212 * 96].mean())
    assert 1.05 < january / july < 1.8


def test_a_leap_year_has_all_its_days(sky: Sky) -> None:
    """2024 has 366 days of load that sum to the annual energy, and the last repeats the same weekday's."""
    period = Period(900, 1_704_063_600 // 900, 366 * 96, 900.0, "Europe/Berlin")
    year = local_year(period)
    minutes = house_days(year, sky, 12).electricity_wh[3].reshape(-1, 1440)
    assert (year.days, len(minutes)) == (366, 366)
    assert float(minutes.sum()) == pytest.approx(1e6)
    assert np.array_equal(minutes[365], minutes[358])


def test_archetypes_follow_the_seed(sky: Sky) -> None:
    """The same seed makes the same houses, another seed others."""
    year, model = local_year(PERIOD), LoadModel(archetypes=2)
    days = house_days(year, sky, 12)
    one, same, other = (archetypes(model, days, year, PERIOD, seed).load_wh for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_h0_is_the_published_profile() -> None:
    """BDEW's H0 has its peak on winter evenings, and the nights below half of it."""
    year = local_year(PERIOD)
    profile = standard_profile(year, "h0").reshape(365, 96)
    assert float(profile.sum()) == pytest.approx(1e6)
    assert profile[8, 76] > profile[189, 76]  # a January evening and one in July
    assert profile[8, 76] > 2 * profile[8, 12]  # evening and night


def test_an_unknown_profile_is_refused() -> None:
    """The refusal names the known ones."""
    with pytest.raises(CompileError, match="h0, g0"):
        standard_profile(local_year(PERIOD), "x9")


@pytest.mark.parametrize("slot_s", [60, 300, 900, 3600])
def test_slots_of_any_length_carry_the_same_energy(slot_s: int) -> None:
    """A course by the minute summed into slots keeps its sum."""
    course = np.abs(np.sin(np.arange(1440.0)))
    begin = np.arange(0, 86_400, slot_s, dtype=np.float64)
    assert float(slot_energy_wh(course, 60, begin, slot_s).sum()) == pytest.approx(float(course.sum()))


def test_heat_over_the_day_has_mean_one(sky: Sky) -> None:
    """The shape of heating spreads the day's degrees; it takes nothing and adds nothing."""
    shape = heat_shape(house_days(local_year(PERIOD), sky, 12), PERIOD)
    assert len(shape) == 96
    assert float(shape.mean()) == pytest.approx(1.0, abs=1e-3)
    assert float(shape.min()) >= 0


def test_local_clocks_change_with_summer_time() -> None:
    """Noon on local clocks is 11:00 UTC in January, 10:00 in July; a year later weekdays are kept."""
    year = local_year(PERIOD)
    seconds: F64 = year.seconds_of(PERIOD)
    assert seconds[0] == 0
    assert seconds[12 * 4] == 12 * 3600
    july = (181 * 24 + 11) * 4  # 11:00 CET of 1 July, noon CEST
    assert seconds[july] % 86_400 == 12 * 3600
    later = Period(900, PERIOD.first_slot, PERIOD.slots + 96, 900.0, "Europe/Berlin")
    assert year.seconds_of(later)[-96] // 86_400 == 1  # 1 January 2026, a Thursday: 2 January 2025


def test_the_cache_s_name_is_a_hash() -> None:
    """Names of compiled directories are hexadecimal and depend on the seed."""
    from dataclasses import replace

    from energymarket.scenario import toml

    scenario, problems = toml.read("classic")
    assert scenario is not None, problems
    assert source_hash(scenario) != source_hash(replace(scenario, seed=scenario.seed + 1))
    assert len(bytes.fromhex(source_hash(scenario))) == 16

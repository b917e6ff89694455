"""The weather of a scenario: from its source to one sample for each slot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from energymarket.core.chance import Purpose
from energymarket.core.parameters import Period
from energymarket.core.weather import LIMITS, WEATHER, Samples
from energymarket.scenario import compile_sources
from energymarket.scenario.compile_chance import red
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_hours import HOUR_S, HOURS_PER_YEAR, Hours, weather_of
from energymarket.scenario.compile_sun import F64, Place, Steps, Sun, steps_of, sun_of
from energymarket.scenario.schema import Scenario, Weather, WeatherSource

_UNIX_2025_S: Final = 1_735_689_600  # 2025-01-01T00:00Z, any year without a 29 February would do


@dataclass(frozen=True, slots=True)
class Sky:
    """The samples of the period, and what else of the sky the compiler needs."""

    samples: Samples
    steps: Steps
    sun: Sun | None  # None: nobody has needed it yet, see sun_over
    place: Place
    hours: Hours | None  # None: weather written by hand
    source: str
    licence: str


def sun_over(sky: Sky) -> Sun:
    """The sun over the place; under weather by hand it is made for whoever has a roof."""
    return sun_of(sky.steps, sky.place) if sky.sun is None else sky.sun


def sky_of(scenario: Scenario, community: Hours | None) -> Sky:
    """The sky over a scenario. The sun shines where the weather was measured, so that both agree."""
    period = scenario.market.period
    steps = steps_of(period)
    here = Place(scenario.place.latitude, scenario.place.longitude, scenario.place.altitude_m)
    if community is None and scenario.weather.source is WeatherSource.CONSTANT:
        samples = written_weather(scenario.weather, period)
        return Sky(samples, steps, None, here, None, "as written in the scenario", "")
    hours = hours_of(scenario, here) if community is None else community
    sun = sun_of(steps, hours.place)
    return Sky(
        weather_of(hours, period, steps, sun), steps, sun, hours.place, hours, hours.name, hours.licence
    )


def hours_of(scenario: Scenario, here: Place) -> Hours:
    """The hourly weather of a source. Live weather has a synthetic year for climate and first slots."""
    weather = scenario.weather
    match weather.source:
        case WeatherSource.TRY:
            return compile_sources.reference_year(weather.region)
        case WeatherSource.TMY3:
            return compile_sources.american_year(weather_file(scenario))
        case WeatherSource.EPW:
            return compile_sources.energyplus_year(weather_file(scenario))
        case WeatherSource.CSV:
            return compile_sources.hourly_csv(weather_file(scenario), here)
        case WeatherSource.SYNTHETIC | WeatherSource.LIVE:
            return synthetic_year(weather, here, scenario.seed)
        case WeatherSource.CONSTANT:
            raise CompileError("constant weather has no hours")


def weather_file(scenario: Scenario) -> Path:
    """The file of the weather: beside the scenario, or one of the years that pvlib carries."""
    name = scenario.weather.file
    if name is None:
        raise CompileError(f"{scenario.path}: weather.source = {scenario.weather.source} needs weather.file")
    path = Path(scenario.path).parent / name
    if path.exists() or scenario.weather.source is not WeatherSource.TMY3:
        return path
    import pvlib

    carried = Path(pvlib.__file__).parent / "data" / name
    return carried if carried.exists() else path


def written_weather(weather: Weather, period: Period) -> Samples:
    """Weather by hand: one number for all slots, or a list that repeats."""
    samples = np.zeros(period.slots, WEATHER)
    samples["slot"] = period.first_slot + np.arange(period.slots)

    def put(name: str, values: tuple[float, ...], scale: float) -> None:
        repeated = np.resize(np.array(values), period.slots)
        samples[name] = np.rint(repeated * scale).astype(np.int64)

    put("temperature_mc", weather.temperature_c, 1e3)
    put("wind_mm_per_s", weather.wind_m_per_s, 1e3)
    put("ghi_dw_per_m2", weather.ghi_w_per_m2, 10.0)
    put("dni_dw_per_m2", weather.dni_w_per_m2, 10.0)
    put("dhi_dw_per_m2", weather.dhi_w_per_m2, 10.0)
    put("rain_um_per_h", weather.rain_mm_per_h, 1e3)
    put("cloud_permille", weather.cloud, 1e3)
    temperature = samples["temperature_mc"].astype(np.int64)
    back = max(1, HOUR_S // period.slot_s)
    low, high = LIMITS["trend_mc_per_h"]
    samples["trend_mc_per_h"] = np.clip(temperature - np.roll(temperature, back), low, high)
    return samples


def synthetic_year(weather: Weather, place: Place, seed: int) -> Hours:
    """A year from a model: daily and yearly cycles with noise that remembers.

    Temperature: two cosines (coldest in mid-January, warmest at 15:00 solar time) and AR(1) noise of
    2.5 K with a memory of a day and a half. Wind: a log-normal AR(1), so that it changes gradually
    and is never negative. Irradiance: the clear sky times 1 - 0.75 N**3.4 of the cloud cover N
    (Kasten and Czeplak 1980), its diffuse part by Erbs. It rains in the most clouded hours.
    """
    count = HOURS_PER_YEAR
    hour = np.arange(count)
    solar_hour = hour + place.longitude_deg / 15.0
    swing = -weather.year_amplitude_c * np.cos(2 * np.pi * (hour / 24 - 15) / 365)
    if place.latitude_deg < 0:
        swing = -swing
    day = weather.day_amplitude_c * np.cos(2 * np.pi * (solar_hour - 15) / 24)
    noise = red(seed, Purpose.WEATHER, 1, count, 0.972)
    gusts = red(seed, Purpose.WEATHER, 2, count, 0.94)
    clouds = red(seed, Purpose.WEATHER, 3, count, 0.90)
    spread = 0.5  # a log-normal of this spread has a shape near the Weibull with k = 2 of inland wind
    cover = _share_of(clouds, weather.cloud[0])
    wet = (
        clouds >= np.quantile(clouds, 1 - weather.rain_share)
        if weather.rain_share > 0
        else np.zeros(count, bool)
    )
    beam, diffuse = _clouded(cover, place)
    return Hours(
        name="synthetic year",
        licence="",
        place=place,
        utc_offset_s=0,
        temperature_c=weather.temperature_c[0] + swing + day + 2.5 * noise,
        wind_m_per_s=weather.wind_m_per_s[0] * np.exp(spread * gusts - spread * spread / 2),
        beam_w_per_m2=beam,
        diffuse_w_per_m2=diffuse,
        cloud=cover,
        rain_mm_per_h=np.where(wet, 0.3 + 1.5 * np.maximum(clouds - 1.0, 0.0), 0.0),
    )


def _share_of(noise: F64, mean: float) -> F64:
    """Cloud cover of a given mean: U-shaped as skies are, clear and overcast more often than half."""
    low, high = -6.0, 6.0
    for _ in range(50):  # bisection: the mean rises with the middle
        middle = (low + high) / 2
        if float(np.mean(1 / (1 + np.exp(-2.5 * (noise + middle))))) < mean:
            low = middle
        else:
            high = middle
    return np.asarray(1 / (1 + np.exp(-2.5 * (noise + (low + high) / 2))), dtype=np.float64)


def _clouded(cover: F64, place: Place) -> tuple[F64, F64]:
    hourly = Period(
        slot_s=HOUR_S, first_slot=_UNIX_2025_S // HOUR_S, slots=len(cover), speed=1.0, timezone="UTC"
    )
    steps = steps_of(hourly)
    sun = sun_of(steps, place)
    clear = steps.slot_means(sun.clear_bhi_w_per_m2 + sun.clear_dhi_w_per_m2)
    ghi = clear * (1.0 - 0.75 * cover**3.4)
    diffuse = np.minimum(compile_sources.diffuse_by_erbs(ghi, _UNIX_2025_S, place), ghi)
    return ghi - diffuse, diffuse

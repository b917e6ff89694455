"""Load archetypes: years of single houses, out of VDI 4655 days and appliance steps on top of them.

A single household is not a scaled-down average. Each archetype has a number of persons, a rhythm of
its own (its day is shifted against the norm's, by a fixed and a daily amount), good and lazy days
that remember each other, an absence, and appliances that switch on at times drawn from the day's own
course and stay on for a while. All chance is counted from the scenario's seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from energymarket.core.chance import Purpose
from energymarket.core.parameters import Period
from energymarket.core.units import WH_PER_KWH
from energymarket.scenario.compile_chance import normal, red, uniform
from energymarket.scenario.compile_days import (
    ANNUAL_KWH,
    MINUTE_S,
    MINUTES_PER_DAY,
    PERSONS_MAX,
    HouseDays,
    LocalYear,
    slot_energy_wh,
    smoothed,
)
from energymarket.scenario.compile_sun import F64, I64
from energymarket.scenario.schema import LoadModel

TYPICAL_KWH: Final = (2050.0, 3000.0, 3700.0, 4150.0, 5200.0, 5700.0)
"""Annual electricity by persons 1 .. 6: BDEW 2021, "Stromverbrauch nach Haushaltsgröße" (2,050, 3,440 with
flats and houses together for two; houses without electric water heating lie lower), 6 by its trend.
It says how many steps of an appliance's real power fit into the year of such a house."""

_RHYTHM_MIN: Final = 40.0  # spread of the fixed shift of a house's day
_DAY_SHIFT_MIN: Final = 25.0  # and of each day's own
_DAY_SPREAD: Final = 0.22  # log-normal spread of a day's energy
_DAY_MEMORY: Final = 0.5
_ABSENCE_DAYS: Final = (5.0, 16.0)
_ABSENCE_LEVEL: Final = 0.3  # refrigerator, standby
_WHEN_MINUTES: Final = 91  # the norm's day, smoothed, is the density of switching on
_ON_LONGEST: Final = 6.0  # times the mean; no appliance stays on for a day

_KEYS: Final = 16  # streams of draws per archetype


@dataclass(frozen=True, slots=True)
class Archetypes:
    """Load shapes: Wh per slot at ANNUAL_KWH; float32, rows = slots, columns = archetypes."""

    load_wh: npt.NDArray[np.float32]
    persons: I64  # per archetype


def archetypes(model: LoadModel, days: HouseDays, year: LocalYear, period: Period, seed: int) -> Archetypes:
    """As many shapes as the model says; persons 1 .. 6 take turns."""
    begin_s = year.seconds_of(period)
    table = np.empty((period.slots, model.archetypes), np.float32)
    persons = np.arange(model.archetypes) % PERSONS_MAX + 1
    for number in range(model.archetypes):
        minutes = house_minutes(model, days, int(persons[number]), seed, number)
        table[:, number] = quantised_wh(slot_energy_wh(minutes, MINUTE_S, begin_s, period.slot_s))
    return Archetypes(table, persons)


def house_minutes(model: LoadModel, days: HouseDays, persons: int, seed: int, number: int) -> F64:
    """Wh in each minute of the year of one house; the sum is ANNUAL_KWH."""
    norm = days.electricity_wh[persons].reshape(-1, MINUTES_PER_DAY)
    level = _day_level(len(norm), seed, number)
    background = _own_rhythm(norm * level[:, None], seed, number).ravel()
    steps = _steps(model, background, persons, seed, number)
    share = model.step_share if steps.any() else 0.0
    whole = ANNUAL_KWH * WH_PER_KWH
    mixed = background * ((1.0 - share) / background.sum())
    if share:
        mixed += steps * (share / steps.sum())
    return np.asarray(mixed * whole, dtype=np.float64)


def _key(number: int, stream: int) -> int:
    return number * _KEYS + stream


def _day_level(days: int, seed: int, number: int) -> F64:
    """How much a house consumes on each day, around 1: days remember the day before; once it is away."""
    level = np.exp(_DAY_SPREAD * red(seed, Purpose.APPLIANCE, _key(number, 0), days, _DAY_MEMORY))
    when, length = uniform(seed, Purpose.APPLIANCE, _key(number, 4), 2)
    shortest, longest = _ABSENCE_DAYS
    away = int(shortest + (longest - shortest) * length)
    begin = int(when * (days - away)) if days > away else 0
    level[begin : begin + away] = _ABSENCE_LEVEL
    return np.asarray(level, dtype=np.float64)


def _own_rhythm(days: F64, seed: int, number: int) -> F64:
    """Turn each day round the clock by the house's own shift and the day's."""
    fixed = _RHYTHM_MIN * normal(seed, Purpose.APPLIANCE, _key(number, 3), 1)[0]
    daily = _DAY_SHIFT_MIN * normal(seed, Purpose.APPLIANCE, _key(number, 4), len(days))
    shift = np.rint(fixed + daily).astype(np.int64)
    minute = (np.arange(MINUTES_PER_DAY)[None, :] - shift[:, None]) % MINUTES_PER_DAY
    return np.asarray(np.take_along_axis(days, minute, axis=1), dtype=np.float64)


def _steps(model: LoadModel, background: F64, persons: int, seed: int, number: int) -> F64:
    """Wh per minute of appliances: each comes when the day's course says, with its power, for a while."""
    mean_w = (model.step_w.low + model.step_w.high) / 2.0
    energy_wh = mean_w * model.step_duration_s / 3600.0
    annual_wh = TYPICAL_KWH[persons - 1] * WH_PER_KWH
    count = round(model.step_share * annual_wh / energy_wh)
    course = np.zeros(len(background) + 1)
    if count < 1:
        return course[:-1]
    density = np.cumsum(smoothed(background, _WHEN_MINUTES))
    drawn = [uniform(seed, Purpose.APPLIANCE, _key(number, stream), count) for stream in (12, 13, 14)]
    begin = np.searchsorted(density, drawn[0] * density[-1])
    power = model.step_w.low + (model.step_w.high - model.step_w.low) * drawn[1]
    mean_min = model.step_duration_s / MINUTE_S
    length = np.clip(-np.log(drawn[2]) * mean_min, 1.0, _ON_LONGEST * mean_min)
    end = np.minimum(begin + np.maximum(np.rint(length), 1.0).astype(np.int64), len(background))
    np.add.at(course, begin, power / 60.0)
    np.subtract.at(course, end, power / 60.0)
    return np.maximum(np.cumsum(course)[:-1], 0.0)


def quantised_wh(energy_wh: F64) -> npt.NDArray[np.float32]:
    """Whole multiples of 2**-10 Wh."""
    return np.asarray(np.rint(energy_wh * 1024.0) / 1024.0, dtype=np.float32)

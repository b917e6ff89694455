"""A household's load as a function of time: standard profile, appliances, a refrigerator, some unrest.

The load at an instant depends on seed, meter and that instant only, so a meter that was away goes on where
its house is, and a simulated day is the same however it is cut. It is continuous: appliances are switched
on and off over `RAMP_S`, everything else moves slowly, and `STEP_W_PER_S_MAX` bounds the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from energymarket.core import chance
from energymarket.meters.limits import LOAD_W_MAX

F64 = npt.NDArray[np.floating[Any]]

H0: Final = (
    0.59, 0.44, 0.39, 0.38, 0.39, 0.47, 0.83, 1.15, 1.22, 1.21, 1.18, 1.19,
    1.33, 1.30, 1.13, 1.01, 0.94, 1.04, 1.29, 1.53, 1.50, 1.39, 1.21, 0.89,
)  # fmt: skip
"""BDEW's standard load profile of households, H0, workday of the transition season: hourly means over the
day's mean (VDEW M-32/99, "Repräsentative VDEW-Lastprofile")."""

BASE_W: Final = 190.0
"""Mean of what is always on or often switched: light, screens, stand-by. 1,660 kWh a year."""
UNREST_W: Final = 45.0
UNREST_EVERY_S: Final = 40
"""What people do in a room, as steps between counted draws, drawn out to slopes."""
FRIDGE_W: Final = 90.0
FRIDGE_CYCLE_S: Final = 2_700
FRIDGE_ON_S: Final = 900
RAMP_S: Final = 120
"""An appliance is fully on after it: drawn out, so that a curve that is sampled at 2 s shows no step."""


@dataclass(frozen=True, slots=True)
class Appliance:
    """What it draws, how long it runs, between which local hours it starts, and how often it does."""

    name: str
    power_w: float
    runs_s: tuple[int, int]
    hours: tuple[float, float]
    per_mille: int  # of days


APPLIANCES: Final = (
    Appliance("shower, morning", 5_400.0, (360, 660), (6.0, 8.0), 1_000),
    Appliance("shower, evening", 5_400.0, (300, 600), (20.5, 22.5), 450),
    Appliance("kettle", 1_800.0, (180, 300), (6.5, 8.5), 900),
    Appliance("hob, noon", 1_500.0, (900, 2_400), (11.3, 12.5), 550),
    Appliance("hob, evening", 1_900.0, (1_200, 3_000), (17.8, 19.2), 950),
    Appliance("oven", 2_200.0, (1_800, 3_600), (17.3, 19.0), 500),
    Appliance("dishwasher", 1_900.0, (1_500, 2_100), (19.5, 23.0), 600),
    Appliance("washing machine", 2_000.0, (900, 1_500), (8.5, 16.0), 400),
    Appliance("vacuum cleaner", 800.0, (600, 1_500), (9.0, 18.0), 300),
    Appliance("television", 120.0, (5_400, 12_600), (18.5, 20.5), 900),
)
"""A house that heats its water as it flows (a 5.4 kW shower), cooks, washes. The hours are when people are
at it; energies are those of current labels, rounded."""

STEP_W_PER_S_MAX: Final = 200.0
"""No load changes faster: all appliances at once are 192 W/s, all else is 3."""


class Household:
    """The load of one meter's house."""

    def __init__(self, seed: int, number: int, zone: ZoneInfo) -> None:
        self._seed = chance.draw_u64(seed, chance.Purpose.APPLIANCE, number)
        self._zone = zone
        self._scale = 0.7 + 0.6 * self._unit(0, 0)
        self._days: dict[date, _Day] = {}

    def load_w(self, times_s: F64) -> F64:
        """Load in W at UTC seconds, in whole mW: shape of `times_s`, which ascend; within 0..9000."""
        load = self._scale * BASE_W * self._profile(times_s)
        load += _smooth(times_s / UNREST_EVERY_S, self._unrest) * UNREST_W
        load += self._fridge(times_s)
        for begin_s, end_s, power_w in self._runs(times_s):
            load += power_w * _trapezoid(times_s, begin_s, end_s)
        # The contract's limit: whoever is home switches something off.
        clipped: F64 = np.clip(np.rint(load * 1000.0) / 1000.0, 0.0, LOAD_W_MAX)
        return clipped

    def _unit(self, slot: int, item: int) -> float:
        """A draw in 0 .. 1."""
        return chance.draw_u64(self._seed, chance.Purpose.HOME, slot, item) / 2.0**64

    def _unrest(self, knots: npt.NDArray[np.int64]) -> F64:
        drawn = chance.draw_u64_of_slots(self._seed, chance.Purpose.LOAD_NOISE, knots.astype(np.uint64))
        units: F64 = drawn / 2.0**64
        return units

    def _fridge(self, times_s: F64) -> F64:
        """A compressor that runs a third of the time, with a phase of its own."""
        phase = (times_s + FRIDGE_CYCLE_S * self._unit(0, 1)) % FRIDGE_CYCLE_S
        return FRIDGE_W * _trapezoid(phase, 0.0, float(FRIDGE_ON_S))

    def _profile(self, times_s: F64) -> F64:
        """H0 by the local day, which is stretched over 23 or 25 hours where it has as many: no jump."""
        knots_s: list[float] = []
        values: list[float] = []
        for day in self._covering(times_s):
            knots_s += [day.begin_s + (hour + 0.5) / 24 * day.length_s for hour in range(24)]
            values += H0
        between: F64 = np.interp(times_s, np.array(knots_s), np.array(values))
        return between

    def _runs(self, times_s: F64) -> list[tuple[float, float, float]]:
        first, last = float(times_s[0]), float(times_s[-1])
        runs = [run for day in self._covering(times_s) for run in day.runs]
        return [run for run in runs if run[0] <= last and run[1] >= first]

    def _covering(self, times_s: F64) -> list[_Day]:
        """The local days of the times, and one before and after: runs go over midnight."""
        first = _local_date(float(times_s[0]), self._zone) - timedelta(days=1)
        last = _local_date(float(times_s[-1]), self._zone) + timedelta(days=1)
        return [self._day(first + timedelta(days=at)) for at in range((last - first).days + 1)]

    def _day(self, day: date) -> _Day:
        known = self._days.get(day)
        if known is None:
            if len(self._days) > 8:
                self._days.clear()
            known = self._days[day] = self._planned(day)
        return known

    def _planned(self, day: date) -> _Day:
        begin_s, end_s = (_midnight_s(each, self._zone) for each in (day, day + timedelta(days=1)))
        runs = []
        for at, each in enumerate(APPLIANCES):
            used, when, long = (self._unit(day.toordinal(), 3 * at + part + 2) for part in range(3))
            if used * 1000 < each.per_mille:
                start = begin_s + 3600 * (each.hours[0] + when * (each.hours[1] - each.hours[0]))
                shortest, longest = each.runs_s
                runs.append((start, start + shortest + long * (longest - shortest), each.power_w))
        return _Day(begin_s, end_s - begin_s, tuple(runs))


@dataclass(frozen=True, slots=True)
class _Day:
    """A local day: when it begins, how long it is, and what runs in it: (begin, end, W)."""

    begin_s: float
    length_s: float
    runs: tuple[tuple[float, float, float], ...]


def _local_date(utc_s: float, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(utc_s, zone).date()


def _midnight_s(day: date, zone: ZoneInfo) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def _trapezoid(times_s: F64, begin_s: float, end_s: float) -> F64:
    """0 before, 1 within, 0 after; the ramps lie within, at both ends."""
    rise = (times_s - begin_s) / RAMP_S
    fall = (end_s - times_s) / RAMP_S
    inside: F64 = np.clip(np.minimum(rise, fall), 0.0, 1.0)
    return inside


def _smooth(position: F64, drawn: Any) -> F64:  # noqa: ANN401 a function of knots
    """Between knots that are drawn, along a curve that is flat at each."""
    knot = np.floor(position).astype(np.int64)
    t = position - knot
    rise = t * t * (3.0 - 2.0 * t)
    between: F64 = drawn(knot) * (1.0 - rise) + drawn(knot + 1) * rise
    return between

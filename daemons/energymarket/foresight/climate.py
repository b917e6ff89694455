"""What the scenario's own weather says of weather: how far it strays from its normal, and for how long.

Three quantities are looked at: temperature, clearness (global irradiance over that of the brightest of the
days around, at the same time of day) and the logarithm of the wind. Of each, the normal is the mean over the
days around (at the same time of day for temperature and wind, of the day's light for clearness); what is left
is taken for a first-order autoregressive process, as the residuals of Richardson's weather generator are
(Water Resources Research 17, 1981), with an hour as its step and the three independent of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from energymarket.core.parameters import Period
    from energymarket.core.units import I64
    from energymarket.core.weather import Samples

F64 = npt.NDArray[np.float64]

HOUR_S: Final = 3_600
DAY_S: Final = 86_400

NORMAL_DAYS: Final = 15
"""Before and after a day, whose mean is its normal: a month, as climate is told."""

BRIGHT_DAYS: Final = 10
"""Before and after a day, among which one is taken to be clear: the sun hardly moves in three weeks."""

DAYS_MIN: Final = 60
"""Fewer days than these do not show how weather strays; then `ELSEWHERE` holds."""

DARK: Final = 0.05
"""Of the brightest moment: below, light is twilight, and clearness a quotient of small numbers."""

CALM_M_PER_S: Final = 0.5
"""Added to the wind, so that a calm has a logarithm."""

_BINS: Final = 20


@dataclass(frozen=True, slots=True)
class Memory:
    """A first-order autoregressive process: its spread, and what is left of a deviation after an hour."""

    deviation: float
    per_hour: float


@dataclass(frozen=True, slots=True)
class Climate:
    """How the three quantities stray: temperature in K, clearness as a share, wind in logarithms."""

    temperature: Memory
    clearness: Memory
    wind: Memory
    days: int  # of weather that it was found in; 0: it was taken from elsewhere


ELSEWHERE: Final = Climate(Memory(3.7, 0.98), Memory(0.29, 0.85), Memory(0.56, 0.79), 0)
"""Where a scenario has too few days: those of the test reference year of the upper Rhine, rounded."""

STILL: Final = Climate(Memory(0.0, 0.0), Memory(0.0, 0.0), Memory(0.0, 0.0), 0)
"""Weather that never changes but with the time of day: it was written by hand, and is what it says."""


class Days:
    """The weather of a period as days of so many slots, the last one filled up from the first."""

    def __init__(self, weather: Samples, period: Period) -> None:
        self.per_day = max(1, DAY_S // period.slot_s)
        self.count = -(-len(weather) // self.per_day)
        self._length = len(weather)
        self._rows = np.arange(self.count * self.per_day) % len(weather)
        self._weather = weather
        self._is_year = self.count >= 365

    def of(self, name: str) -> F64:
        """A field of the samples as (days, slots of a day)."""
        return self._weather[name][self._rows].astype(np.float64).reshape(self.count, self.per_day)

    def highest_around(self, values: F64, days: int) -> F64:
        """For each day the highest of the days around it, along the first axis."""
        return self._around(values, days, np.maximum)[0]

    def mean_around(self, values: F64, days: int) -> F64:
        """For each day the mean of the days around it."""
        found, count = self._around(values, days, np.add)
        return found / count

    def _around(self, values: F64, days: int, how: np.ufunc) -> tuple[F64, int]:
        reach = min(days, self.count - 1)
        mode: Any = "wrap" if self._is_year else "reflect"
        padded = np.pad(values, [(reach, reach), *[(0, 0)] * (values.ndim - 1)], mode=mode)
        found = padded[: self.count].copy()
        for later in range(1, 2 * reach + 1):  # whole rows at once: a window per value would be far slower
            how(found, padded[later : later + self.count], out=found)
        return found, 2 * reach + 1

    @property
    def is_always_the_same(self) -> bool:
        """Weather that changes with the time of day only; of one day, not even that."""
        for name in ("temperature_mc", "wind_mm_per_s", "ghi_dw_per_m2"):
            values = self.of(name)
            if not bool((values == values[:1]).all()):
                return False
        temperature = self.of("temperature_mc")
        return self.count > 1 or bool((temperature == temperature[:, :1]).all())

    def flat(self, values: F64) -> F64:
        """Days as slots again."""
        return values.reshape(-1)[: self._length]


@dataclass(frozen=True, slots=True)
class Light:
    """The light of consecutive slots, against the brightest days around."""

    clear_w_per_m2: F64  # global irradiance of the brightest of them, at the same time of day
    beam_max_w_per_m2: F64  # likewise the direct normal irradiance
    cos_zenith: F64  # as their beams say; 0 where none was seen
    clearness: F64  # 0 where it is dark
    is_day: npt.NDArray[np.bool_]
    diffuse_of_clearness: F64  # mean diffuse share in bins of clearness, 0 to 1

    def of(self, rows: I64) -> Light:
        """That of these slots."""
        return Light(
            self.clear_w_per_m2[rows],
            self.beam_max_w_per_m2[rows],
            self.cos_zenith[rows],
            self.clearness[rows],
            self.is_day[rows],
            self.diffuse_of_clearness,
        )

    def diffuse_share(self, clearness: F64) -> F64:
        """The diffuse share of global irradiance that is usual at a clearness."""
        centres = (np.arange(_BINS) + 0.5) / _BINS
        found: F64 = np.interp(clearness, centres, self.diffuse_of_clearness)
        return found


def light_of(weather: Samples, period: Period) -> Light:
    """What the samples themselves say of the clear sky: no place is asked for, no sun computed."""
    days = Days(weather, period)
    whole, beam, diffuse = (days.of(f"{name}_dw_per_m2") / 10.0 for name in ("ghi", "dni", "dhi"))
    clear = days.highest_around(whole, BRIGHT_DAYS)
    height = np.divide(whole - diffuse, beam, out=np.zeros_like(whole), where=beam > 1.0)
    is_day = clear > DARK * max(float(clear.max(initial=0.0)), 1.0)
    clearness = np.divide(whole, clear, out=np.zeros_like(whole), where=is_day)
    share = np.divide(diffuse, whole, out=np.ones_like(whole), where=whole > 0)
    return Light(
        clear_w_per_m2=days.flat(clear),
        beam_max_w_per_m2=days.flat(days.highest_around(beam, BRIGHT_DAYS)),
        cos_zenith=np.clip(days.flat(days.highest_around(height, BRIGHT_DAYS)), 0.0, 1.0),
        clearness=days.flat(clearness),
        is_day=days.flat(is_day.astype(np.float64)) > 0,
        diffuse_of_clearness=_binned(clearness[is_day], share[is_day]),
    )


def _binned(clearness: F64, share: F64) -> F64:
    """Mean share per bin; a bin that nothing fell into has what lies between its neighbours."""
    bins = np.minimum((clearness * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    seen = np.flatnonzero(counts)
    if not seen.size:
        return np.ones(_BINS)
    means = np.bincount(bins, share, minlength=_BINS)[seen] / counts[seen]
    found: F64 = np.interp(np.arange(_BINS), seen, means)
    return found


def climate_of(weather: Samples, period: Period, light: Light) -> Climate:
    """How this weather strays from its normal, hour by hour."""
    days = Days(weather, period)
    temperature_k = days.of("temperature_mc") / 1000.0
    wind = np.log(days.of("wind_mm_per_s") / 1000.0 + CALM_M_PER_S)
    if days.is_always_the_same:
        return STILL
    if days.count < DAYS_MIN:
        return ELSEWHERE
    step = max(1, HOUR_S // period.slot_s)
    hours = max(1.0, period.slot_s / HOUR_S)
    found = [
        _memory(days.flat(values - days.mean_around(values, NORMAL_DAYS))[::step], hours)
        for values in (temperature_k, wind)
    ]
    lit = light.is_day
    index = np.arange(len(lit)) // days.per_day
    sums, counts = (np.bincount(index, each, minlength=days.count) for each in (light.clearness, lit))
    windowed = [days.mean_around(each.astype(np.float64), NORMAL_DAYS) for each in (sums, counts)]
    normal = np.divide(windowed[0], windowed[1], out=np.zeros(days.count), where=windowed[1] > 0)
    clearness = _memory((light.clearness - normal[index])[::step], hours, lit[::step])
    return Climate(found[0], clearness, found[1], days.count)


def _memory(strayed: F64, hours: float, known: npt.NDArray[np.bool_] | None = None) -> Memory:
    """Spread, and correlation from one hour to the next (Yule and Walker), where both are known."""
    known = np.ones(len(strayed), np.bool_) if known is None else known
    deviation = float(np.sqrt(np.mean(strayed[known] ** 2))) if known.any() else 0.0
    both = known[1:] & known[:-1]
    if deviation == 0.0 or not both.any():
        return Memory(deviation, 0.0)
    per_step = float(np.mean(strayed[1:][both] * strayed[:-1][both])) / deviation**2
    return Memory(deviation, min(max(per_step, 0.0), 0.9999) ** (1.0 / hours))

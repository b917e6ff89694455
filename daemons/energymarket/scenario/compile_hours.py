"""From a source's hours to the slots of a period: irradiance by clear-sky index, the rest linearly.

The energy of each hour and of each component is preserved: within an hour the beam has the shape of
the clear sky's beam, the diffuse that of its diffuse. Where the beam would need more than a clear
sky gives (low sun, clocks that disagree by minutes) the excess goes to the diffuse, so that the
global irradiance keeps the hour's energy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from energymarket.core.parameters import Period
from energymarket.core.weather import LIMITS, WEATHER, Samples
from energymarket.scenario.compile_sun import F64, I64, Place, Steps, Sun

HOUR_S: Final = 3600
HOURS_PER_YEAR: Final = 8760
CLEAR_DNI_SHARE_MAX: Final = 0.85
"""Of the extraterrestrial beam: the clearest, driest air at noon lets about this much through."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Hourly weather of a source. All columns have one value per hour.

    A typical year has 8,760 rows from 1 January 00:00 to 01:00 of its own clock and is laid on every
    calendar year (29 February repeats the 28th); a measured series begins at `start_s` and repeats
    from its beginning. Irradiances are means of the hour; temperature, wind and cloud are readings
    taken `reading_at_s` after the hour began, and the course between them is linear.
    """

    name: str
    licence: str
    place: Place
    utc_offset_s: int
    temperature_c: F64
    wind_m_per_s: F64
    beam_w_per_m2: F64  # on the horizontal
    diffuse_w_per_m2: F64
    cloud: F64  # 0 .. 1
    rain_mm_per_h: F64
    reading_at_s: int = HOUR_S
    solar_time: bool = False  # irradiance hours are those of true solar time
    start_s: int | None = None  # UTC; None: a typical year

    def row(self, hour: I64) -> I64:
        """The row of an hour, given as hours since 1970 of the source's clock."""
        if self.start_s is not None:
            begin = (self.start_s + self.utc_offset_s) // HOUR_S
            return (hour - begin) % len(self.temperature_c)
        day = (hour // 24).astype("datetime64[D]")
        year = day.astype("datetime64[Y]")
        day_of_year = (day - year.astype("datetime64[D]")).astype(np.int64)
        months = day.astype("datetime64[M]").astype(np.int64) % 12
        years = year.astype(np.int64) + 1970
        leap = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
        day_of_month = (day - day.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) + 1
        after = leap & ((months > 1) | ((months == 1) & (day_of_month == 29)))
        row: I64 = (day_of_year - after) * 24 + hour % 24
        return row


@dataclass(frozen=True, slots=True)
class Irradiance:
    """Irradiance of each step in W/m²; ghi = dni·cos(zenith) + dhi."""

    ghi: F64
    dni: F64
    dhi: F64


def irradiance_steps(hours: Hours, steps: Steps, sun: Sun) -> Irradiance:
    """Spread each hour's beam and diffuse over the steps, see the head of this file."""
    local_s = _irradiance_clock_s(hours, steps, sun)
    hour = np.floor(local_s / HOUR_S).astype(np.int64)
    first = int(hour.min())
    index = hour - first
    rows = hours.row(hour)
    counts = np.maximum(np.bincount(index), 1)

    def spread(energy: F64, shape: F64) -> tuple[F64, F64]:
        mean = (np.bincount(index, shape) / counts)[index]
        shaped = np.divide(energy[rows] * shape, mean, out=np.zeros_like(shape), where=mean > 0)
        return shaped, np.where(mean > 0, 0.0, energy[rows])

    beam, beam_rest = spread(hours.beam_w_per_m2, sun.clear_bhi_w_per_m2)
    diffuse, diffuse_rest = spread(hours.diffuse_w_per_m2, sun.clear_dhi_w_per_m2)
    # Twilight that the source saw with the sun below our horizon: spread flat, as diffuse.
    diffuse = diffuse + diffuse_rest + beam_rest
    dni = np.divide(beam, sun.cos_zenith, out=np.zeros_like(beam), where=sun.cos_zenith > 0)
    most = np.minimum(sun.extra_dni_w_per_m2 * CLEAR_DNI_SHARE_MAX, 1.5 * sun.clear_dni_w_per_m2 + 100.0)
    capped = np.where(sun.cos_zenith > 0, np.minimum(dni, most), 0.0)
    kept = capped * sun.cos_zenith
    diffuse = diffuse + (beam - kept)
    return Irradiance(ghi=kept + diffuse, dni=capped, dhi=diffuse)


def _irradiance_clock_s(hours: Hours, steps: Steps, sun: Sun) -> F64:
    if hours.solar_time:
        # True solar time: 240 s for each degree of longitude, and the equation of time.
        return steps.middle_s + 240.0 * hours.place.longitude_deg + 60.0 * sun.equation_of_time_min
    return steps.middle_s + hours.utc_offset_s


def readings_at(hours: Hours, utc_s: F64, column: F64) -> F64:
    """A column's value at moments: linear between the readings."""
    clock = utc_s + hours.utc_offset_s - hours.reading_at_s
    hour = np.floor(clock / HOUR_S).astype(np.int64)
    part = clock / HOUR_S - hour
    return column[hours.row(hour)] * (1.0 - part) + column[hours.row(hour + 1)] * part


def weather_of(hours: Hours, period: Period, steps: Steps, sun: Sun) -> Samples:
    """The samples of a period's slots.

    Temperature, wind and cloud are the values in the slot's middle, which on a straight line are the
    slot's means; the trend is the change over the hour that ends with the slot.
    """
    light = irradiance_steps(hours, steps, sun)
    slot = period.first_slot + np.arange(period.slots, dtype=np.int64)
    end_s = (slot + 1) * float(period.slot_s)
    middle_s = end_s - period.slot_s / 2

    def course(column: F64) -> Callable[[F64], F64]:
        return lambda utc_s: readings_at(hours, utc_s, column)

    temperature = course(hours.temperature_c)
    hour = np.floor((middle_s + hours.utc_offset_s) / HOUR_S).astype(np.int64)
    samples = np.zeros(period.slots, WEATHER)
    samples["slot"] = slot
    _put(samples, "temperature_mc", temperature(middle_s) * 1e3)
    _put(samples, "trend_mc_per_h", (temperature(end_s) - temperature(end_s - HOUR_S)) * 1e3)
    _put(samples, "wind_mm_per_s", course(hours.wind_m_per_s)(middle_s) * 1e3)
    for name, values in (
        ("ghi_dw_per_m2", light.ghi),
        ("dni_dw_per_m2", light.dni),
        ("dhi_dw_per_m2", light.dhi),
    ):
        _put(samples, name, running_round(steps.slot_means(values) * 10.0))
    _put(samples, "rain_um_per_h", hours.rain_mm_per_h[hours.row(hour)] * 1e3)
    _put(samples, "cloud_permille", course(hours.cloud)(middle_s) * 1e3)
    return samples


def running_round(values: F64) -> F64:
    """Whole numbers whose running sum never strays more than a half from that of the values.

    Rounding each slot on its own would lose up to two units in an hour of four slots.
    """
    return np.diff(np.rint(np.cumsum(values)), prepend=0.0)


def _put(samples: Samples, name: str, values: F64) -> None:
    low, high = LIMITS[name]
    whole = np.rint(values)
    if not np.all(np.isfinite(whole)):
        raise ValueError(f"the weather has gaps in {name}")
    samples[name] = np.clip(whole, low, high).astype(np.int64)

"""Reference days of houses: VDI 4655 by the minute and BDEW's standard profiles, both by demandlib."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from energymarket.core.parameters import Period
from energymarket.core.units import WH_PER_KWH
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_hours import HOUR_S, readings_at
from energymarket.scenario.compile_sun import F64
from energymarket.scenario.compile_weather import Sky

if TYPE_CHECKING:
    import pandas as pd

ANNUAL_KWH: Final = 1000.0
"""Every load shape is of a house with this consumption; `load_scale` of a home multiplies it."""

PERSONS_MAX: Final = 6
MINUTES_PER_DAY: Final = 1440
MINUTE_S: Final = 60
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class LocalYear:
    """The calendar year, by the clocks of the place, in which a period begins."""

    year: int
    days: int
    timezone: str

    @property
    def common_year(self) -> int:
        """A year of 365 days that begins with the same weekday: demandlib's tables end after 365 days."""
        first = datetime(self.year, 1, 1, tzinfo=UTC).weekday()
        years = (year for year in range(2001, 2029) if year % 4)
        return next(year for year in years if datetime(year, 1, 1, tzinfo=UTC).weekday() == first)

    def seconds_of(self, period: Period) -> F64:
        """Where each slot begins, in seconds of the year's own clock.

        Slots of other years come from the day of this year that is a whole number of weeks away, so
        that weekdays stay weekdays.
        """
        import pandas as pd

        slots = period.first_slot + np.arange(period.slots)
        begin = pd.to_datetime(slots * period.slot_s, unit="s", utc=True)
        local = begin.tz_convert(self.timezone).tz_localize(None)
        seconds = (local - pd.Timestamp(self.year, 1, 1)).total_seconds().to_numpy(dtype=np.float64)
        day = np.floor(seconds / _DAY_S)
        outside = (day < 0) | (day >= self.days)
        return np.asarray(np.where(outside, day % 364, day) * _DAY_S + seconds % _DAY_S, dtype=np.float64)


def local_year(period: Period) -> LocalYear:
    """The year in which most of a period of up to a year lies, judged by its first local noon."""
    import pandas as pd

    zone = ZoneInfo(period.timezone)
    first = datetime.fromtimestamp(period.first_slot * period.slot_s, tz=UTC).astimezone(zone)
    leap = pd.Timestamp(first.year, 1, 1).is_leap_year
    return LocalYear(first.year, 366 if leap else 365, period.timezone)


@dataclass(frozen=True, slots=True)
class HouseDays:
    """A year of single-family houses by the minute, in the year's own clock."""

    electricity_wh: dict[int, F64]  # by number of persons; each sums to ANNUAL_KWH
    heat_of_day: F64  # share of a winter day's heat in each minute


def house_days(year: LocalYear, sky: Sky, region: int) -> HouseDays:
    """VDI 4655 (2008) reference days, chosen by season, cloud and weekday of each day of the year.

    The season is the daily mean's (winter below 5 °C, summer above 15 °C), a day is cloudy with a
    mean cover of five eighths or more. The energy of a day follows the norm's factors of the region.
    """
    import pandas as pd
    from demandlib import vdi

    temperature_c, cloud = _daily(year, sky)
    climate = vdi.Climate(
        temperature=pd.Series(temperature_c[:365]),
        cloud_coverage=pd.Series(np.where(cloud[:365] >= 5 / 8, "B", "H")),
        energy_factors=_energy_factors(region),
    )
    houses = [
        {
            "name": f"{persons}", "house_type": "EFH", "N_Pers": persons, "N_WE": 1,
            "Q_Heiz_a": 1.0, "Q_TWW_a": 0.0, "W_a": ANNUAL_KWH,
            "summer_temperature_limit": 15, "winter_temperature_limit": 5,
        }
        for persons in range(1, PERSONS_MAX + 1)
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' future, and days that the norm sets to the mean
        curves = vdi.Region(year.common_year, climate, houses=houses).get_load_curve_houses()
    minutes = year.days * MINUTES_PER_DAY
    electricity = {}
    for persons in range(1, PERSONS_MAX + 1):
        column = curves[str(persons), "EFH", "W_TT"].to_numpy(dtype=np.float64)[:minutes]
        if len(column) < minutes:  # the 366th day is that of a week before
            week, day = 7 * MINUTES_PER_DAY, minutes - len(column)
            column = np.concatenate([column, column[len(column) - week :][:day]])
        electricity[persons] = column * (ANNUAL_KWH * WH_PER_KWH / column.sum())
    return HouseDays(electricity, _heat_of_day())


def _daily(year: LocalYear, sky: Sky) -> tuple[F64, F64]:
    offset_s = datetime(year.year, 1, 1, tzinfo=ZoneInfo(year.timezone)).timestamp()
    utc_s = offset_s + HOUR_S * (np.arange(year.days * 24) + 0.5)
    if sky.hours is not None:
        hours = sky.hours
        columns = [readings_at(hours, utc_s, values) for values in (hours.temperature_c, hours.cloud)]
    else:
        samples = sky.samples[np.arange(year.days * 24) % len(sky.samples)]
        columns = [samples["temperature_mc"] / 1e3, samples["cloud_permille"] / 1e3]
    temperature_c, cloud = (column.reshape(year.days, 24).mean(axis=1) for column in columns)
    return temperature_c, cloud


def _energy_factors(region: int) -> pd.DataFrame:
    import pandas as pd

    path = resources.files("demandlib").joinpath("vdi", "vdi_data", "VDI_4655_Typtag-Faktoren.csv")
    with path.open() as file:
        factors = pd.read_csv(file, index_col=[0, 1, 2])
    return factors.loc[[region]].droplevel(0)


def _heat_of_day() -> F64:
    """The mean of the norm's winter workdays, cloudy and clear, smoothed over an hour.

    Single houses differ in when their boiler fires; a heat pump runs long and evenly.
    """
    import pandas as pd

    path = resources.files("demandlib").joinpath("vdi", "vdi_data", "VDI_4655_Typtage.csv")
    with path.open() as file:
        table = pd.read_csv(file)
    winter = table[(table["Haus"] == "EFH") & table["typtag"].isin(["WWB", "WWH"])]
    mean = winter["F_Heiz_n_TT"].to_numpy(dtype=np.float64).reshape(2, MINUTES_PER_DAY).mean(axis=0)
    return np.asarray(smoothed(mean, 61) / mean.sum(), dtype=np.float64)


def smoothed(day: F64, width: int) -> F64:
    """A running mean round the clock."""
    padded = np.concatenate([day[-(width // 2) :], day, day[: width // 2]])
    return np.convolve(padded, np.full(width, 1.0 / width), mode="valid")


def standard_profile(year: LocalYear, name: str) -> F64:
    """BDEW's standard load profile of a group of customers, Wh per quarter-hour at ANNUAL_KWH.

    The table of typical days (winter, summer, transition; workday, Saturday, Sunday) and the dynamic
    factor of households (h0) are demandlib's. Its class that joins them turns warnings into errors
    for the whole process, so they are joined here.
    """
    import pandas as pd
    from demandlib import bdew

    path = resources.files("demandlib").joinpath("bdew", "bdew_data", "selp_series.csv")
    with path.open() as file:
        table = pd.read_csv(file, index_col=0, parse_dates=True)
    if name not in table.columns[2:]:
        known = ", ".join(table.columns[2:])
        raise CompileError(f'BDEW has no standard load profile "{name}"; known: {known}')
    quarter = pd.date_range(f"{year.year}-01-01", periods=year.days * 96, freq="15min")
    day = quarter.month * 100 + quarter.day
    summer, winter = (day >= 515) & (day <= 914), (day <= 320) | (day >= 1101)
    season = np.where(summer, "summer", np.where(winter, "winter", "transition"))
    by_day = {
        (period, weekday): table[name][(table["period"] == period) & (table["weekday"] == weekday)].to_numpy(
            dtype=np.float64
        )
        for period in ("winter", "summer", "transition")
        for weekday in range(1, 8)
    }
    weekday = quarter.day_of_week.to_numpy() + 1
    days = range(0, len(quarter), 96)
    values = np.concatenate([by_day[str(season[first]), int(weekday[first])] for first in days])
    if name == "h0":
        values = values * bdew.elec_slp.dynamisation_function(quarter).to_numpy(dtype=np.float64)
    return np.asarray(values * (ANNUAL_KWH * WH_PER_KWH / values.sum()), dtype=np.float64)


def slot_energy_wh(course_wh: F64, step_s: float, begin_s: F64, slot_s: int) -> F64:
    """Energy of slots that begin at `begin_s`, out of a course in equal steps that repeats after its end."""
    total = np.concatenate([[0.0], np.cumsum(course_wh)])
    edges = np.arange(len(total)) * step_s
    span = edges[-1]

    def until(second: F64) -> F64:
        rounds = np.floor(second / span)
        passed: F64 = np.interp(second - rounds * span, edges, total) + rounds * total[-1]
        return passed

    return until(begin_s + slot_s) - until(begin_s)

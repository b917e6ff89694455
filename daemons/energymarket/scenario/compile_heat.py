"""Heat pumps: a year's heat as electricity per kelvin below the heating limit, and its shape over the day."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from energymarket.core.parameters import Period
from energymarket.scenario.compile_days import MINUTE_S, HouseDays, slot_energy_wh
from energymarket.scenario.compile_hours import HOURS_PER_YEAR
from energymarket.scenario.compile_sun import F64
from energymarket.scenario.compile_weather import Sky
from energymarket.scenario.homes_schema import HeatPump

HEATING_LIMIT_C: Final = 15.0  # VDI 4655's upper bound of days with heating, and VDI 2067's limit
COOLING_LIMIT_C: Final = 24.0
_DAY_S: Final = 86_400


class Heat:
    """What a scenario's climate asks of heating.

    Electricity is taken as proportional to the degrees below the limit; the factor is such that the
    year's electricity is right: sum of heat / COP(T) over the hours of the year. (On the coldest days
    the COP is below its mean, so their peak comes out low by the same part.)
    """

    def __init__(self, sky: Sky, period: Period) -> None:
        self._temperature_c = _year_of(sky)
        self._slot_h = period.slot_s / 3600.0

    def wh_per_k_and_kwh(self, heat_pump: HeatPump) -> float:
        """Electricity in Wh per slot and kelvin for each kWh of heat in a year."""
        degrees = np.maximum(HEATING_LIMIT_C - self._temperature_c, 0.0)
        total_kh = float(degrees.sum())
        if total_kh < 1.0:
            return 0.0  # it is never cold: nothing to heat
        linear = heat_pump.cop_at_7c + heat_pump.cop_per_k * (self._temperature_c - 7.0)
        cop = np.maximum(linear, heat_pump.cop_min)
        electric_share = float((degrees / cop).sum()) / total_kh
        return 1e3 * electric_share / total_kh * self._slot_h


def _year_of(sky: Sky) -> F64:
    """Temperatures of a year's hours; weather by hand, or a shorter series, stands for the whole year."""
    known = sky.hours.temperature_c if sky.hours is not None else sky.samples["temperature_mc"] / 1e3
    return np.asarray(np.resize(known, HOURS_PER_YEAR), dtype=np.float64)


def heat_shape(days: HouseDays, period: Period) -> npt.NDArray[np.float32]:
    """Heating over the day, mean 1, one value per slot from midnight UTC, after winter's local clock."""
    first = datetime.fromtimestamp(period.first_slot * period.slot_s, tz=ZoneInfo(period.timezone))
    offset = datetime(first.year, 1, 15, tzinfo=ZoneInfo(period.timezone)).utcoffset()
    count = _DAY_S // period.slot_s
    begin_s = np.arange(count) * float(period.slot_s) + (0.0 if offset is None else offset.total_seconds())
    share = slot_energy_wh(days.heat_of_day, MINUTE_S, begin_s, period.slot_s)
    return np.asarray(np.rint(share * count * 4096.0) / 4096.0, dtype=np.float32)

"""What CityLearn calls its columns, and where in a year without dates its rows begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.scenario.compile_errors import CompileError

F64 = npt.NDArray[np.floating[Any]]

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "month": ("month", "Month"),
    "hour": ("hour", "Hour"),
    "load": ("non_shiftable_load", "Equipment Electric Power (kWh)"),
    "solar": ("solar_generation", "Solar Generation (W/kW)"),
    "temperature": ("outdoor_dry_bulb_temperature", "Outdoor Drybulb Temperature (C)"),
    "diffuse": ("diffuse_solar_irradiance", "Diffuse Solar Radiation (W/m2)"),
    "direct": ("direct_solar_irradiance", "Direct Solar Radiation (W/m2)"),
    "carbon": ("carbon_intensity", "kg_CO2/kWh"),
    "price": ("electricity_pricing", "Electricity Pricing [$]", "Electricity Pricing [$/kWh]"),
}
"""Names of CityLearn's columns, as of version 2 and as in the data sets of 2022."""
_MONTH_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def hour_of_year(path: Path, month: int, hour: int, months: F64, hours: F64) -> int:
    """Where in the year the first row begins. Its day follows from the rows that are left of its month."""
    left = int(np.argmax(months != month)) if np.any(months != month) else 0
    if left == 0 or not 1 <= month <= 12 or not 1 <= hour <= 24:
        raise CompileError(f"{path}: the months and hours of its rows do not tell where the year begins")
    days_left = (left + int(hours[0]) - 1) // 24
    day = _MONTH_DAYS[month - 1] - days_left
    return (sum(_MONTH_DAYS[: month - 1]) + day) * 24 + hour - 1

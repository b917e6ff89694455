"""The columns of homes: names, types, units; and how values are drawn for them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.scenario.compile_sun import F64, I64
from energymarket.scenario.kinds import Range

Column = npt.NDArray[Any]

COLUMNS: Final[dict[str, str]] = {
    "policy": "u1",  # core.records.Policy
    "load_class": "<u2",  # column of load_wh
    "load_scale": "<f4",  # annual MWh; 0: no load of a class
    "load_shift": "<i2",  # slots: the home lives that much later than its class
    "load_response": "u1",  # 0 none, 1 heating and cooling degrees, 2 U curve
    "heat_wh_per_k": "<f4",  # electricity per slot and kelvin below the heating limit
    "cool_wh_per_k": "<f4",  # electricity per slot and kelvin above the cooling limit
    "noise_permille": "<u2",  # amplitude of the load's own noise
    "series": "<u2",  # column of series_*_wh; 65535: none
    "pv_roof": "<u2",  # column of pv_*
    "pv_kwp": "<f4",  # 0: none
    "wind_site": "<u2",  # row of wind_curve_w
    "wind_kw": "<f4",  # rated; 0: none
    "battery_capacity_wh": "<i4",  # usable; 0: none
    "battery_charge_w": "<i4",
    "battery_discharge_w": "<i4",
    "battery_charge_efficiency": "<f4",
    "battery_discharge_efficiency": "<f4",
    "battery_initial_wh": "<i4",
    "battery_standby_w": "<f4",
    "elasticity_class": "u1",  # 0: does not answer; k: settings["elasticity"][k - 1]
    "single": "u1",  # 1: lives in a process of its own
}
"""One value per home in each; little-endian."""


def drawn_between(span: Range, draws: F64, grain: float) -> F64:
    """A value of the range for each draw in (0, 1), in whole multiples of `grain` (0: as drawn)."""
    values: F64 = span.low + (span.high - span.low) * draws
    if grain <= 0 or span.low == span.high:
        return values
    grains: F64 = np.clip(np.rint(values / grain) * grain, span.low, span.high)
    return grains


def shared_out(shares: tuple[float, ...], draws: F64) -> I64:
    """The number of a share for each draw; each share gets its part of the places, exact to half a place."""
    places = np.argsort(np.argsort(draws, kind="stable"), kind="stable")
    bounds = np.rint(np.cumsum(shares) * len(draws))
    return np.searchsorted(bounds[:-1], places, side="right")

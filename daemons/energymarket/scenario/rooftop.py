"""A roof through a month: its PV power at every minute, by pvlib; a program that leaves it in a file.

The sun and the clear sky are those of the scenario compiler (`compile_sun.py`), the plane is Hay and Davies'
(1980) with the glass of `pvlib.iam.physical`, module and inverter are PVWatts' (`core/assets.py`). With a
compiled scenario its weather dims the clear sky: each slot's direct and diffuse light over the clear sky's,
drawn out between the middles of the slots, so that a cloud comes without a jump.
"""

from __future__ import annotations

import argparse
import sys
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pvlib

from energymarket import once
from energymarket.core import assets
from energymarket.core.assets import PvSystem
from energymarket.exits import ConfigError, Exit
from energymarket.scenario.compile_sun import F64, Place, Steps, Sun, sun_of
from energymarket.scenario.compiled import Compiled, CompiledError, load

PROGRAM: Final = "energy-rooftop"
STEP_S: Final = 60
CLEAR_C: Final = 20.0
CLEAR_M_PER_S: Final = 1.0
"""Air where no weather is named: the temperature of pvlib's model chain and a light air."""
DIRECT_INDEX_MAX: Final = 1.3
DIFFUSE_INDEX_MAX: Final = 6.0
"""Of a slot's light over the clear sky's: beyond them the sun is so low that the ratio says nothing."""
SYSTEM: Final = PvSystem()


@dataclass(frozen=True, slots=True)
class Roof:
    """A plane with modules."""

    place: Place
    tilt_deg: float
    azimuth_deg: float
    peak_kw: float


def month_kw(roof: Roof, year: int, month: int, compiled: Compiled | None = None) -> F64:
    """PV power in kW at each minute of a month of UTC, and at its end: shape (minutes + 1,)."""
    begin_s = datetime(year, month, 1, tzinfo=UTC).timestamp()
    minutes = monthrange(year, month)[1] * 24 * 60 + 1
    at_s = begin_s + STEP_S * np.arange(minutes)
    sun = sun_of(Steps(STEP_S, 1, 0, at_s), roof.place)
    dni, dhi = sun.clear_dni_w_per_m2, sun.clear_dhi_w_per_m2
    temperature_c = np.full(minutes, CLEAR_C)
    wind_m_per_s = np.full(minutes, CLEAR_M_PER_S / 0.725)  # at 10 m: core/assets.py brings it down
    if compiled is not None:
        direct, diffuse, temperature_c, wind_m_per_s = _weather(at_s, roof.place, compiled)
        dni, dhi = dni * direct, dhi * diffuse
    poa = _on_plane(roof, sun, dni, dhi)
    cell_c = assets.cell_temperature_c(poa, temperature_c * 1000.0, wind_m_per_s * 1000.0)
    dc_w = assets.pvwatts_dc_w(poa, cell_c, SYSTEM) * (1.0 - SYSTEM.losses)
    power_kw: F64 = assets.pvwatts_ac_w(dc_w, SYSTEM) / 1000.0 * roof.peak_kw
    return np.where(sun.cos_zenith > 0, power_kw, 0.0)


def _on_plane(roof: Roof, sun: Sun, dni: F64, dhi: F64) -> assets.F64:
    """Light through the glass of the modules, in W/m²."""
    parts = pvlib.irradiance.get_total_irradiance(
        roof.tilt_deg,
        roof.azimuth_deg,
        sun.zenith_deg,
        sun.azimuth_deg,
        dni,
        dni * sun.cos_zenith + dhi,
        dhi,
        dni_extra=sun.extra_dni_w_per_m2,
        albedo=0.2,
        model="haydavies",
    )
    angle = pvlib.irradiance.aoi(roof.tilt_deg, roof.azimuth_deg, sun.zenith_deg, sun.azimuth_deg)
    passed = np.nan_to_num(pvlib.iam.physical(angle))
    poa = np.nan_to_num(parts["poa_direct"]) * passed + np.nan_to_num(parts["poa_diffuse"])
    return np.maximum(np.asarray(poa, np.float64), 0.0)


def _weather(at_s: F64, place: Place, compiled: Compiled) -> tuple[F64, F64, F64, F64]:
    """Direct and diffuse index, temperature in °C and wind at 10 m in m/s, at each instant."""
    slot_s = compiled.period.slot_s
    first, last = int(at_s[0] // slot_s) - 1, int(at_s[-1] // slot_s) + 1
    slots = np.arange(first, last + 1)
    rows = np.array([compiled.table_row(int(slot)) for slot in slots])
    weather = compiled.weather[rows]
    per_slot = max(1, slot_s // 300)
    step_s = slot_s / per_slot
    within_s = first * slot_s + (np.arange(len(slots) * per_slot) + 0.5) * step_s
    steps = Steps(slot_s, per_slot, 0, within_s)
    clear = sun_of(steps, place)
    middle_s = (slots + 0.5) * slot_s

    def index(name: str, clear_w: F64, most: float) -> F64:
        mean_w = clear_w.reshape(-1, per_slot).mean(axis=1)
        measured_w = weather[name] / 10.0
        found = np.divide(measured_w, mean_w, out=np.zeros_like(mean_w), where=mean_w > 1.0)
        between: F64 = np.interp(at_s, middle_s, np.minimum(found, most))
        return between

    return (
        index("dni_dw_per_m2", clear.clear_dni_w_per_m2, DIRECT_INDEX_MAX),
        index("dhi_dw_per_m2", clear.clear_dhi_w_per_m2, DIFFUSE_INDEX_MAX),
        np.interp(at_s, middle_s, weather["temperature_mc"] / 1000.0),
        np.interp(at_s, middle_s, weather["wind_mm_per_s"] / 1000.0),
    )


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__.partition("\n")[0])
    for name in ("latitude", "longitude", "altitude", "tilt", "azimuth", "peak-kw"):
        parser.add_argument(f"--{name}", type=float, required=True)
    parser.add_argument("--year", type=int, required=True)
    parser.add_argument("--month", type=int, required=True)
    parser.add_argument("--compiled", type=Path, help="take its weather")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the month; the exit code."""
    given = _words(arguments)

    def act() -> int:
        place = Place(given.latitude, given.longitude, given.altitude)
        roof = Roof(place, given.tilt, given.azimuth, given.peak_kw)
        try:
            compiled = None if given.compiled is None else load(given.compiled)
        except CompiledError as problem:
            raise ConfigError(str(problem)) from problem
        with given.out.open("wb") as file:
            np.save(file, month_kw(roof, given.year, given.month, compiled))
        return Exit.OK

    return once.run(PROGRAM, act, as_json=False)


if __name__ == "__main__":
    sys.exit(main())

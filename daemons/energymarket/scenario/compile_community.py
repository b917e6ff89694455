"""A community's measured year: the compact CSV form, and the directory layout of CityLearn's data sets.

Both hold 8,760 hours of loads and PV generation per home, of weather, and of a price. CityLearn
(Vázquez-Canteli et al. 2019; data of the 2022 challenge: doi 10.18738/T8/0YLJ6Q) starts its year at
any hour; here it is turned round to begin on 1 January, on the clock of the place without summer
time. Row labels are the end of the hour.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from energymarket.core.parameters import Period
from energymarket.scenario import citylearn
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_hours import HOUR_S, HOURS_PER_YEAR, Hours
from energymarket.scenario.compile_sun import F64, I64, Place, steps_of, sun_of
from energymarket.scenario.schema import DataLayout, Scenario

_2025_S: Final = 1_735_689_600


@dataclass(frozen=True, slots=True)
class Community:
    """A community's year from 1 January on; columns of loads and PV are homes, in Wh per hour."""

    hours: Hours | None  # None: the set carries no weather
    load_wh: F64
    production_wh: F64
    price_eur_per_kwh: F64 | None
    co2_g_per_kwh: F64 | None
    export_eur_per_kwh: F64 | None = None

    def rows(self, period: Period) -> I64:
        """The hour of each slot of a period."""
        assert self.hours is not None  # noqa: S101 - sets of a year carry weather
        begin_s = (period.first_slot + np.arange(period.slots)) * period.slot_s + period.slot_s / 2
        return self.hours.row(((begin_s + self.hours.utc_offset_s) // HOUR_S).astype(np.int64))

    def energy_wh(self, period: Period, column: int) -> tuple[F64, F64]:
        """Production and consumption of a home in each slot of a period."""
        rows, part = self.rows(period), period.slot_s / HOUR_S
        return self.production_wh[rows, column] * part, self.load_wh[rows, column] * part


def community_of(scenario: Scenario) -> Community | None:
    """The data set of a scenario, or None."""
    if scenario.data is None:
        return None
    path = Path(scenario.path).parent / scenario.data.file
    if scenario.data.layout is DataLayout.METERS:
        from energymarket.scenario.compile_meters import meters_of

        return meters_of(path, scenario.data.homes, scenario.data.exclude)
    winter = datetime(scenario.time.start.year, 1, 1, 12, tzinfo=ZoneInfo(scenario.time.timezone)).utcoffset()
    offset_s = 0 if winter is None else round(winter.total_seconds())
    here = Place(scenario.place.latitude, scenario.place.longitude, scenario.place.altitude_m)
    table = _compact(path) if scenario.data.layout is DataLayout.COMMUNITY else _citylearn(path)
    found = table["load"].shape[1]
    if found != scenario.data.homes:
        raise CompileError(f"{path} has {found} homes, data.homes says {scenario.data.homes}")
    keep = [n - 1 for n in range(1, scenario.data.homes + 1) if n not in scenario.data.exclude]
    begin = citylearn.hour_of_year(
        path, int(table["month"][0]), int(table["hour"][0]), table["month"], table["hour"]
    )
    turned = {name: np.roll(column, begin, axis=0) for name, column in table.items()}
    beam = np.maximum(turned["direct"], 0.0) * _cos_zenith(here, offset_s)
    hours = Hours(
        name=f"measured year of {path.name}",
        licence="as the data set says (CityLearn Challenge 2022: doi 10.18738/T8/0YLJ6Q)",
        place=here,
        utc_offset_s=offset_s,
        temperature_c=turned["temperature"],
        wind_m_per_s=np.zeros(HOURS_PER_YEAR),  # the sets carry none
        beam_w_per_m2=beam,
        diffuse_w_per_m2=np.maximum(turned["diffuse"], 0.0),
        cloud=np.full(HOURS_PER_YEAR, 0.5),
        rain_mm_per_h=np.zeros(HOURS_PER_YEAR),
    )
    return Community(
        hours,
        np.maximum(turned["load"][:, keep], 0.0) * 1e3,
        np.maximum(turned["pv"][:, keep], 0.0) * 1e3,
        turned.get("price"),
        turned["carbon"] * 1e3 if "carbon" in turned else None,
    )


def _cos_zenith(place: Place, utc_offset_s: int) -> F64:
    """The cosine that turns direct normal irradiance into horizontal, in each hour of a year."""
    steps = steps_of(Period(HOUR_S, (_2025_S - utc_offset_s) // HOUR_S, HOURS_PER_YEAR, 1.0, "UTC"))
    sun = sun_of(steps, place)
    beam, normal = steps.slot_means(sun.clear_bhi_w_per_m2), steps.slot_means(sun.clear_dni_w_per_m2)
    return np.divide(beam, normal, out=np.zeros_like(beam), where=normal > 0)


def _compact(path: Path) -> dict[str, F64]:
    rows = _rows(path)
    homes = 0
    while f"load{homes + 1}_kwh" in rows[0]:
        homes += 1
    if homes == 0:
        raise CompileError(f"{path} has no column load1_kwh: it is no community file")

    def column(name: str) -> F64:
        return _column(path, rows, (name,))

    table = {
        "month": column("month"),
        "hour": column("hour"),
        "temperature": column("temp_c"),
        "diffuse": column("dhi_w_m2"),
        "direct": column("dni_w_m2"),
        "price": column("price_usd_kwh"),
        "load": np.stack([column(f"load{n + 1}_kwh") for n in range(homes)], axis=1),
        "pv": np.stack([column(f"pv{n + 1}_kwh") for n in range(homes)], axis=1),
    }
    return table | ({"carbon": column("co2_kg_kwh")} if "co2_kg_kwh" in rows[0] else {})


def _citylearn(directory: Path) -> dict[str, F64]:
    path = directory / "schema.json"
    try:
        schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        buildings = [each for each in schema["buildings"].values() if each.get("include", True)]
        first = buildings[0]
    except (OSError, ValueError, KeyError, IndexError, AttributeError) as problem:
        raise CompileError(f"{path} is no schema of CityLearn: {problem!r}") from problem
    loads, plants = [], []
    for building in buildings:
        file = directory / str(building["energy_simulation"])
        rows = _rows(file)
        loads.append(_column(file, rows, citylearn.NAMES["load"]))
        nominal_kw = float(((building.get("pv") or {}).get("attributes") or {}).get("nominal_power") or 0.0)
        plants.append(_column(file, rows, citylearn.NAMES["solar"]) * nominal_kw / 1e3)
    file = directory / str(first["energy_simulation"])
    clock = _rows(file)
    sky_file = directory / str(first["weather"])
    sky = _rows(sky_file)
    table = {
        "month": _column(file, clock, citylearn.NAMES["month"]),
        "hour": _column(file, clock, citylearn.NAMES["hour"]),
        "load": np.stack(loads, axis=1),
        "pv": np.stack(plants, axis=1),
    }
    table |= {
        name: _column(sky_file, sky, citylearn.NAMES[name]) for name in ("temperature", "diffuse", "direct")
    }
    for name, key in (("price", "pricing"), ("carbon", "carbon_intensity")):
        if first.get(key):
            file = directory / str(first[key])
            table[name] = _column(file, _rows(file), citylearn.NAMES[name])
    return table


def _rows(path: Path) -> list[dict[str, str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise CompileError(f"{path} cannot be read: {problem}") from problem
    if len(rows) != HOURS_PER_YEAR:
        raise CompileError(f"{path} has {len(rows)} rows, a year has {HOURS_PER_YEAR} hours")
    return rows


def _column(path: Path, rows: list[dict[str, str]], names: tuple[str, ...]) -> F64:
    name = next((name for name in names if name in rows[0]), None)
    if name is None:
        raise CompileError(f"{path} has no column {' or '.join(names)}")
    try:
        values = np.array([float(row[name]) for row in rows])
    except (TypeError, ValueError) as problem:
        raise CompileError(f"{path}: column {name}: {problem}") from None
    if not np.all(np.isfinite(values)):
        raise CompileError(f"{path}: column {name} has values that are not finite")
    return values

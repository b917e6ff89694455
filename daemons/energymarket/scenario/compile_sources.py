"""Readers of hourly weather: the DWD's test reference years, American typical years, EPW and CSV files."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_hours import HOUR_S, HOURS_PER_YEAR, Hours
from energymarket.scenario.compile_sun import F64, Place, hushed

if TYPE_CHECKING:
    import pandas as pd

TRY_LICENCE: Final = (
    "Deutscher Wetterdienst and Bundesamt für Bauwesen und Raumordnung, Testreferenzjahre 2010; "
    "terms of the DWD: GeoNutzV (use with source named); copy in demandlib (MIT)"
)
TMY3_LICENCE: Final = "NREL/DOE National Solar Radiation Data Base TMY3, public; copy in pvlib (BSD-3-Clause)"

Station = dict[str, Any]

# WMO code table 4677 "present weather": liquid precipitation by intensity. The table gives words,
# the WMO's guide to instruments (No. 8, annex 14.A) bounds: rain is slight below 2.5 mm/h and heavy
# from 10 mm/h, drizzle slight below 0.1 mm/h and heavy from 0.5 mm/h. We take amounts inside them.
_RAIN_MM_PER_H: Final[dict[int, float]] = (
    dict.fromkeys((50, 51, 56), 0.05)
    | dict.fromkeys((52, 53, 57, 58), 0.3)
    | dict.fromkeys((54, 55, 59), 0.6)
    | dict.fromkeys((60, 61, 66, 68, 80, 83, 91), 1.0)
    | dict.fromkeys((62, 63, 67, 69, 81, 84, 92, 95), 4.0)
    | dict.fromkeys((64, 65, 82, 97), 12.0)
)


def reference_year(region: int) -> Hours:
    """A test reference year of the DWD (TRY 2010) as demandlib carries it.

    Its clock is CET and row HH is the reading at HH:00. The irradiances, though, are hours of *true
    solar time*, as DWD's radiation network books them: of all clocks only that one puts the sun's
    course where the data have it in every month (a test holds this against pvlib).
    """
    name = f"TRY2010_{region:02d}_Jahr.dat"
    path = resources.files("demandlib").joinpath("vdi", "resources_weather", name)
    lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
    rules = next((index for index, line in enumerate(lines) if line.startswith("***")), None)
    place = next((line for line in lines[:8] if line.startswith("Lage:")), "")
    if rules is None or not place:
        raise CompileError(f"{name} in demandlib is no test reference year")
    table = np.array([line.split() for line in lines[rules + 1 :] if line.strip()], dtype=np.float64)
    if table.shape != (HOURS_PER_YEAR, 19):
        raise CompileError(f"{name} has shape {table.shape}, expected 8760 rows of 19")
    return Hours(
        name=f"DWD test reference year 2010, region {region}",
        licence=TRY_LICENCE,
        place=_place_of_try(place),
        utc_offset_s=HOUR_S,
        temperature_c=table[:, 8],
        wind_m_per_s=table[:, 7],
        beam_w_per_m2=np.maximum(table[:, 13], 0.0),
        diffuse_w_per_m2=np.maximum(table[:, 14], 0.0),
        cloud=np.minimum(table[:, 5], 8.0) / 8.0,  # 9: the sky cannot be seen
        rain_mm_per_h=np.array([_RAIN_MM_PER_H.get(int(code), 0.0) for code in table[:, 12]]),
        solar_time=True,
    )


def _place_of_try(line: str) -> Place:
    """From "Lage: 49°31'N <- B.   8°33'O <- L.    96 Meter über NN"."""
    words = line.replace("°", " ").replace("'", " ").split()
    return Place(
        latitude_deg=int(words[1]) + int(words[2]) / 60,
        longitude_deg=int(words[6]) + int(words[7]) / 60,
        altitude_m=float(words[11]),
    )


def american_year(path: Path) -> Hours:
    """A TMY3 file, by pvlib: hours end at their label, local standard time; readings at the label."""
    import pvlib

    table, station = _read(partial(pvlib.iotools.read_tmy3, map_variables=True), path)
    rain = np.maximum(_column(table, "Lprecip depth (mm)", 0.0), 0.0)
    return _typical(
        table, name=f"TMY3 {station['Name'].strip(chr(34))}", licence=TMY3_LICENCE,
        place=Place(station["latitude"], station["longitude"], station["altitude"]),
        utc_offset_h=station["TZ"], cloud=_column(table, "TotCld (tenths)", 5.0) / 10.0, rain_mm_per_h=rain,
    )  # fmt: skip


def energyplus_year(path: Path) -> Hours:
    """An EnergyPlus weather file (EPW), by pvlib: clock and labels as in TMY3."""
    import pvlib

    table, station = _read(pvlib.iotools.read_epw, path)
    depth = _column(table, "liquid_precipitation_depth", 0.0)
    return _typical(
        table, name=f"EPW {station['city']}", licence="as the file says",
        place=Place(station["latitude"], station["longitude"], station["altitude"]),
        utc_offset_h=station["TZ"], cloud=_column(table, "total_sky_cover", 5.0) / 10.0,
        rain_mm_per_h=np.where(depth < 900, np.maximum(depth, 0.0), 0.0),  # 999 says missing
    )  # fmt: skip


def _read(reader: Callable[[Path], tuple[pd.DataFrame, Station]], path: Path) -> tuple[pd.DataFrame, Station]:
    try:
        with hushed():
            table, station = reader(path)
    except (OSError, ValueError, KeyError, IndexError) as problem:
        raise CompileError(f"{path} cannot be read as a typical year: {problem}") from problem
    if len(table) != HOURS_PER_YEAR:
        raise CompileError(f"{path} has {len(table)} hours, a typical year has {HOURS_PER_YEAR}")
    return table, station


def _column(table: pd.DataFrame, name: str, otherwise: float) -> F64:
    if name not in table:
        return np.full(len(table), otherwise)
    return np.asarray(table[name].to_numpy(dtype=np.float64))


def _typical(
    table: pd.DataFrame,
    *,
    name: str,
    licence: str,
    place: Place,
    utc_offset_h: float,
    cloud: F64,
    rain_mm_per_h: F64,
) -> Hours:
    ghi, dhi = (np.maximum(_column(table, key, 0.0), 0.0) for key in ("ghi", "dhi"))
    dhi = np.minimum(dhi, ghi)  # the beam on the horizontal is what is left of the global irradiance
    return Hours(
        name=name,
        licence=licence,
        place=place,
        utc_offset_s=round(utc_offset_h * HOUR_S),
        temperature_c=_column(table, "temp_air", 15.0),
        wind_m_per_s=np.maximum(_column(table, "wind_speed", 0.0), 0.0),
        beam_w_per_m2=ghi - dhi,
        diffuse_w_per_m2=dhi,
        cloud=np.clip(cloud, 0.0, 1.0),
        rain_mm_per_h=rain_mm_per_h,
    )


_CSV_COLUMNS: Final[dict[str, float | None]] = {
    "temperature_c": None,  # must be there
    "wind_m_per_s": 0.0,
    "ghi_w_per_m2": None,
    "dhi_w_per_m2": np.nan,  # absent: split off by Erbs' correlation
    "cloud": 0.5,
    "rain_mm_per_h": 0.0,
}


def hourly_csv(path: Path, place: Place) -> Hours:
    """A CSV file with a header: `time` (begin of the hour, ISO 8601 with offset), then _CSV_COLUMNS.

    Rows are consecutive hours; their values are means of the hour. The series repeats from its
    beginning.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise CompileError(f"{path} cannot be read: {problem}") from problem
    if not rows:
        raise CompileError(f"{path} has no rows")
    start_s = _consecutive(path, rows)
    columns = {name: _numbers(path, rows, name, otherwise) for name, otherwise in _CSV_COLUMNS.items()}
    ghi = np.maximum(columns["ghi_w_per_m2"], 0.0)
    given = columns["dhi_w_per_m2"]
    diffuse = np.where(np.isnan(given), diffuse_by_erbs(ghi, start_s, place), np.maximum(given, 0.0))
    diffuse = np.minimum(diffuse, ghi)
    return Hours(
        name=path.name,
        licence="as the file says",
        place=place,
        utc_offset_s=-(start_s % HOUR_S),
        temperature_c=columns["temperature_c"],
        wind_m_per_s=np.maximum(columns["wind_m_per_s"], 0.0),
        beam_w_per_m2=ghi - diffuse,
        diffuse_w_per_m2=diffuse,
        cloud=np.clip(columns["cloud"], 0.0, 1.0),
        rain_mm_per_h=np.maximum(columns["rain_mm_per_h"], 0.0),
        reading_at_s=HOUR_S // 2,
        start_s=start_s,
    )


@hushed()
def diffuse_by_erbs(ghi_w_per_m2: F64, start_s: int, place: Place) -> F64:
    """The diffuse part of global irradiance by Erbs, Klein and Duffie (1982), by pvlib, per hour."""
    import pandas as pd
    import pvlib

    times = pd.to_datetime(start_s + HOUR_S // 2 + HOUR_S * np.arange(len(ghi_w_per_m2)), unit="s", utc=True)
    sun = pvlib.solarposition.spa_python(times, place.latitude_deg, place.longitude_deg, place.altitude_m)
    split = pvlib.irradiance.erbs(ghi_w_per_m2, sun["zenith"].to_numpy(), times)
    return np.nan_to_num(np.asarray(split["dhi"], dtype=np.float64))


def _consecutive(path: Path, rows: list[dict[str, str]]) -> int:
    first_s = 0
    for index, row in enumerate(rows):
        text = row.get("time") or ""
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            raise CompileError(
                f'{path}:{index + 2}: time "{text}" is not as in 2025-01-31T23:00+00:00'
            ) from None
        if time.tzinfo is None:
            raise CompileError(f'{path}:{index + 2}: time "{text}" has no offset from UTC')
        seconds = round(time.timestamp())
        first_s = seconds if index == 0 else first_s
        if seconds != first_s + index * HOUR_S:
            raise CompileError(f'{path}:{index + 2}: time "{text}" is not one hour after the row before')
    return first_s


def _numbers(path: Path, rows: list[dict[str, str]], name: str, otherwise: float | None) -> F64:
    if rows[0].get(name) is None:
        if otherwise is None:
            raise CompileError(f"{path} has no column {name}")
        return np.full(len(rows), otherwise)
    values = np.empty(len(rows))
    for index, row in enumerate(rows):
        try:
            values[index] = float(row[name])
        except (TypeError, ValueError):
            raise CompileError(f'{path}:{index + 2}: {name} is "{row[name]}", not a number') from None
    if not np.all(np.isfinite(values)):
        raise CompileError(f"{path}: {name} has values that are not finite")
    return values

"""Years without dates: rows with a month and an hour, as in community files and in CityLearn's data sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from energymarket.exits import ConfigError, Failure, NoSuchObject
from energymarket.intake.columns import Unit
from energymarket.intake.dialect import Dialect, dialect_of, numbers_of
from energymarket.intake.faults import F64, I64
from energymarket.intake.quantities import Role
from energymarket.intake.reading import Series, Sheet, Told, chunks
from energymarket.scenario import citylearn
from energymarket.scenario.compile_errors import CompileError

_HOUR_S: Final = 3_600
_LAST_YEAR: Final = 2025  # whose days of the week are tried first when the year is not said
_YEARS: Final = 28  # after which they repeat


@dataclass(frozen=True, slots=True)
class Calendar:
    """Rows of months, hours (1 .. 24, the end of the row) and, if known, days of the week (1 is Monday)."""

    path: Path
    months: F64
    hours: F64
    days: F64 | None
    lines: I64


def begin_s(rows: Calendar, year: int | None) -> tuple[int, int]:
    """First second of the first row on the calendar's own clock, and the year that it begins in.

    Without a year it is the latest in which the days of the week agree and no 29 February comes between.
    """
    months, hours = rows.months, rows.hours
    if len(months) < 2 or not np.all(np.isfinite(months)) or not np.all(np.isfinite(hours)):
        raise Failure(f"{rows.path}: months and hours have gaps", "each line needs both")
    broken = np.flatnonzero(hours[1:] != hours[:-1] % 24 + 1)
    if broken.size:
        line = int(rows.lines[broken[0] + 1])
        raise Failure(
            f"{rows.path}:{line}: hour {hours[broken[0] + 1]:g} comes after hour {hours[broken[0]]:g}",
            "lines without dates have to be hours without gaps",
        )
    try:
        first = citylearn.hour_of_year(rows.path, int(months[0]), int(hours[0]), months, hours)
    except CompileError as problem:
        raise Failure(str(problem), "write a column of times instead") from problem
    tried = [year] if year is not None else range(_LAST_YEAR, _LAST_YEAR - _YEARS, -1)
    for each in tried:
        if (begin := _fits(each, first, rows)) is not None and (
            year is not None or _agrees(begin, rows.days)
        ):
            return round(begin.timestamp()), each
    raise ConfigError(
        f"{rows.path}: in {tried[0]} a 29 February lies among its {len(months):,} hours, the file has none",
        "--year names one without",
    )


def _fits(year: int, first_hour: int, rows: Calendar) -> datetime | None:
    """When the rows begin in that year; None if a 29 February lies among them."""
    day = date(2001, 1, 1) + timedelta(hours=first_hour) if first_hour < 0 else date(2001, 1, 1) + timedelta(
        days=first_hour // 24
    )  # fmt: skip
    begin = datetime(year, day.month, day.day, first_hour % 24, tzinfo=UTC)
    end = begin + timedelta(hours=len(rows.months))
    leap = [
        datetime(y, 2, 29, tzinfo=UTC)
        for y in (begin.year, end.year)
        if y % 4 == 0 and (y % 100 or not y % 400)
    ]
    return None if any(begin - timedelta(days=1) < each < end for each in leap) else begin


def _agrees(begin: datetime, days: F64 | None) -> bool:
    return days is None or not 1 <= days[0] <= 7 or begin.isoweekday() == int(days[0])


def calendar_of(
    path: Path, dialect: Dialect, places: tuple[int, int], day: int | None, told: Told
) -> Calendar:
    """The calendar columns of a file."""
    wanted = [*places, *(() if day is None else (day,))]
    columns, lines = numbers_from(path, dialect, wanted, told)
    return Calendar(path, columns[0][0], columns[1][0], None if day is None else columns[2][0], lines)


def numbers_from(
    path: Path, dialect: Dialect, places: Sequence[int], told: Told
) -> tuple[list[tuple[F64, dict[int, str]]], I64]:
    """Columns of numbers with what could not be read of them, and the lines they stand in."""
    parts: list[list[F64]] = [[] for _ in places]
    bad: list[dict[int, str]] = [{} for _ in places]
    lines: list[I64] = []
    rows = 0
    for numbers, cells in chunks(path, dialect, told):
        for place, index in enumerate(places):
            values, unreadable = numbers_of(cells[index], dialect.decimal)
            parts[place].append(values)
            bad[place].update({rows + row: text for row, text in unreadable.items()})
        rows += len(numbers)
        lines.append(numbers)
    if not lines:
        raise Failure(f"{path}: no lines after the header", "each line is an hour with its values")
    return [(np.concatenate(values), odd) for values, odd in zip(parts, bad, strict=True)], np.concatenate(
        lines
    )


@dataclass(frozen=True, slots=True)
class Set:
    """A data set of CityLearn: its sheets, one per building, and its calendar."""

    sheets: tuple[Sheet, ...]
    begin_s: int
    year: int
    files: tuple[str, ...]


def read_citylearn(path: Path, year: int | None, told: Told) -> Set:
    """The buildings of a schema.json with their files; PV is W per kW of the plant, times its kW."""
    directory = path if path.is_dir() else path.parent
    buildings = _buildings(directory / "schema.json")
    sheets: list[Sheet] = []
    calendar: Calendar | None = None
    begin, files = (0, 0), []
    for name, building in buildings.items():
        file = directory / str(building["energy_simulation"])
        files.append(file.name)
        kw = _nominal_kw(directory / "schema.json", name, building)
        dialect = dialect_of(file, ",", ".")
        places = [_place(file, dialect, what) for what in ("month", "hour", "load")]
        solar = _place(file, dialect, "solar") if kw else None
        columns, lines = numbers_from(file, dialect, [*places, *(() if solar is None else (solar,))], told)
        if calendar is None:
            days = dialect.header.index("day_type") if "day_type" in dialect.header else None
            kinds = None if days is None else numbers_from(file, dialect, [days], told)[0][0][0]
            calendar = Calendar(file, columns[0][0], columns[1][0], kinds, lines)
            begin = begin_s(calendar, year)
        if len(lines) != len(calendar.months):
            raise Failure(
                f"{file} has {len(lines):,} hours, {calendar.path.name} has {len(calendar.months):,}",
                "all buildings of a set need the same hours",
            )
        stamps = begin[0] + _HOUR_S * np.arange(len(lines))
        series = [Series(name, Role.LOAD, dialect.header[places[2]], Unit.KWH, *columns[2])]
        if solar is not None:
            values, bad = columns[3]
            series.append(Series(name, Role.PV, dialect.header[solar], Unit.WH, values * kw, bad))
        if not sheets:
            series += _of_the_place(directory, building, len(lines), told)
        sheets.append(Sheet(name, stamps, lines, is_utc=False, series=tuple(series)))
    return Set(tuple(sheets), *begin, tuple(files))


def _buildings(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise NoSuchObject(
            f"{path}: no such file", "name a CSV file, or a data set of CityLearn with its schema"
        )
    try:
        schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = {name: each for name, each in schema["buildings"].items() if each.get("include", True)}
    except (ValueError, KeyError, AttributeError, TypeError) as problem:
        raise Failure(f"{path} is no schema of CityLearn: {problem!r}", "it needs buildings") from problem
    broken = [name for name, each in found.items() if not each.get("energy_simulation")]
    if broken or not found:
        raise Failure(
            f"{path}: {broken[0] if broken else 'buildings'}: no energy_simulation", "name its CSV file"
        )
    return found


def _nominal_kw(path: Path, name: str, building: dict[str, Any]) -> float:
    given = ((building.get("pv") or {}).get("attributes") or {}).get("nominal_power") or 0.0
    try:
        return float(given)
    except (TypeError, ValueError):
        raise Failure(f"{path}: {name}: pv.attributes.nominal_power is {given!r}", "write it in kW") from None


def _place(file: Path, dialect: Dialect, what: str) -> int:
    for name in citylearn.NAMES[what]:
        if name in dialect.header:
            return dialect.header.index(name)
    raise Failure(f"{file} has no column {' or '.join(citylearn.NAMES[what])}", "is it CityLearn's?")


def _of_the_place(directory: Path, building: dict[str, Any], hours: int, told: Told) -> list[Series]:
    """Price and carbon intensity of the set, as far as its first building names their files."""
    wanted = (
        ("pricing", "price", Role.TARIFF, 1.0),
        ("carbon_intensity", "carbon", Role.CARBON, 1e3),  # kg to g
    )
    series = []
    for key, what, role, scale in wanted:
        if not building.get(key):
            continue
        file = directory / str(building[key])
        dialect = dialect_of(file, ",", ".")
        place = _place(file, dialect, what)
        ((values, bad),), lines = numbers_from(file, dialect, [place], told)
        if len(lines) < hours:
            raise Failure(
                f"{file} has {len(lines):,} hours, the buildings have {hours:,}", "they need as many"
            )
        odd = {row: text for row, text in bad.items() if row < hours}
        series.append(Series("", role, dialect.header[place], None, values[:hours] * scale, odd))
    return series

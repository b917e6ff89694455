"""The way of a file through the import: read, put on a grid, judged, repaired, made into homes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from energymarket.exits import ConfigError, Failure
from energymarket.intake import calendar_year, checks, clock, registers, repair
from energymarket.intake.columns import Layout, Unit, Wishes, layout_of
from energymarket.intake.dialect import Dialect, dialect_of
from energymarket.intake.faults import I64, Fault, Finding, Quality
from energymarket.intake.framing import frame_of
from energymarket.intake.gridding import courses_of
from energymarket.intake.households import Households, households_of, slots_of, whole_wh
from energymarket.intake.limits import INTERPOLATE_S_MAX, POWER_KW_MAX
from energymarket.intake.quantities import Role
from energymarket.intake.reading import Series, Sheet, Told, read_sheets

NAMES_SHOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the command line says."""

    zone: str | None = None
    unit: Unit | None = None
    wishes: Wishes = field(default_factory=Wishes)
    registers: bool = False
    ends: bool = False
    slot_s: int | None = None
    exclude: tuple[str, ...] = ()
    delimiter: str | None = None
    decimal: str | None = None
    time_format: str | None = None
    year: int | None = None
    interpolate_s: int = INTERPOLATE_S_MAX
    power_max_kw: float = POWER_KW_MAX


@dataclass(frozen=True, slots=True)
class Survey:
    """A file that has been taken in: its homes, whole Wh, and all that was found and changed."""

    path: Path
    zone: ZoneInfo
    homes: Households
    load_wh: I64
    pv_wh: I64
    quality: Quality
    step_s: int  # of the file


def survey(path: Path, choice: Choice, told: Told) -> Survey:
    """Take a file in. A Failure says what cannot be read or understood, and what to do."""
    quality = Quality()
    zone = clock.zone_of(choice.zone) if choice.zone is not None else None
    citylearn = path.is_dir() or path.name == "schema.json"
    taken = (_citylearn if citylearn else _table)(path, choice, zone, quality, told)
    if choice.exclude:
        quality.note(f"left out: {_listed(list(choice.exclude))} (--exclude)")
    sheets, zone = _without(taken.sheets, choice.exclude, path), taken.zone
    told("judging", 0, 4)
    frame, placed = frame_of(path, sheets, zone, quality, ends=taken.ends)
    courses = courses_of(placed, frame, quality, registers=choice.registers)
    if not any(course.role in {Role.LOAD, Role.PV, Role.NET, Role.IMPORT, Role.EXPORT} for course in courses):
        raise Failure(f"{path}: no home has a single value", "are the right columns named?")
    told("judging", 1, 4)
    if choice.registers:
        courses, frame = registers.differenced(courses, frame, quality)
    checks.check_values(courses, frame, quality, choice.power_max_kw * 1e3)
    told("judging", 2, 4)
    repair.fill(courses, frame, zone, quality, choice.interpolate_s)
    homes = households_of(courses, frame, quality)
    checks.check_follows_pv(list(homes.names), homes.load_wh, homes.pv_wh, quality)
    told("judging", 3, 4)
    slotted = slots_of(homes, choice.slot_s)
    load, pv = whole_wh(slotted.load_wh), whole_wh(slotted.pv_wh)
    told("judging", 4, 4)
    return Survey(path, zone, slotted, load, pv, quality, frame.step_s)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What has been read: rows, the zone of the place, and whether times are ends of intervals."""

    sheets: tuple[Sheet, ...]
    zone: ZoneInfo
    ends: bool


def _table(path: Path, choice: Choice, zone: ZoneInfo | None, quality: Quality, told: Told) -> _Taken:
    dialect = dialect_of(path, choice.delimiter, choice.decimal)
    layout = layout_of(str(path), dialect.header, choice.wishes)
    if dialect.header_line > 1:
        quality.note(f"the {dialect.header_line - 1} lines above the header were not read")
    quality.note(
        f"columns are parted by {_mark(dialect.delimiter)}, the decimal mark is {_mark(dialect.decimal)}, "
        f"the text is {dialect.encoding}"
    )
    _note_columns(layout, quality)
    if layout.calendar is not None:
        return _calendar(path, dialect, layout, layout.calendar, _needed(path, zone), choice, quality, told)
    sheets, reader = read_sheets(path, dialect, layout, choice.time_format, told)
    if zone is None and not reader.has_offset:
        raise ConfigError(
            f"{path}: its times have no offset from UTC, so they do not say which clock they are of",
            "--tz Europe/Berlin (its wall clock), --tz +01:00 (winter time all year), or --tz UTC",
        )
    zone = zone or ZoneInfo("UTC")
    if reader.has_offset:
        quality.note(
            f"times are {reader.style} with an offset from UTC, no hour is doubtful; local days: {zone.key}"
        )
    else:
        quality.note(f"times are {reader.style} on the clock of {zone.key}")
    if choice.registers:
        quality.note(
            "values are registers: the energy from each reading to the next; the last reading ends it"
        )
    else:
        quality.note(f"a time is the {'end' if choice.ends else 'begin'} of its interval (--stamp)")
    return _Taken(sheets, zone, choice.ends and not choice.registers)


def _mark(mark: str) -> str:
    return {"\t": "tabs"}.get(mark, f'"{mark}"')


def _note_columns(layout: Layout, quality: Quality) -> None:
    for role in Role:
        mine = [column for column in layout.columns if column.role is role]
        if mine:
            units = sorted({str(column.unit) for column in mine if column.unit is not None})
            unit = f" in {' and '.join(units)}" if units else ""
            quality.note(f"{role}{unit}: {_listed([column.name for column in mine])}")
    if layout.ignored:
        quality.note(f"not needed: {_listed(list(layout.ignored))}")
    if layout.unknown:
        quality.found(
            Finding(
                Fault.COLUMN, "", "", len(layout.unknown), (), f"not used: {_listed(list(layout.unknown))}"
            )
        )


def _listed(names: list[str]) -> str:
    if len(names) > NAMES_SHOWN:
        return f"{', '.join(names[:3])}, .. {names[-1]} ({len(names)} columns)"
    return ", ".join(names)


def _calendar(
    path: Path, dialect: Dialect, layout: Layout, places: tuple[int, int], zone: ZoneInfo, choice: Choice,
    quality: Quality, told: Told,
) -> _Taken:  # fmt: skip
    rows = calendar_year.calendar_of(path, dialect, places, layout.day_type, told)
    begin, year = calendar_year.begin_s(rows, choice.year)
    columns, lines = calendar_year.numbers_from(path, dialect, [c.index for c in layout.columns], told)
    series = tuple(
        Series(column.home, column.role, column.name, column.unit, values * column.scale, bad)
        for column, (values, bad) in zip(layout.columns, columns, strict=True)
    )
    _note_calendar(year, zone, choice, quality)
    stamps = begin + 3600 * np.arange(len(lines)) - _winter_s(zone, year)
    return _Taken((Sheet("", stamps, lines, is_utc=True, series=series),), zone, ends=False)


def _citylearn(path: Path, choice: Choice, zone: ZoneInfo | None, quality: Quality, told: Told) -> _Taken:
    found = calendar_year.read_citylearn(path, choice.year, told)
    zone = _needed(path, zone)
    quality.note(f"data set of CityLearn: {_listed(list(found.files))}; PV is W per kW times the plant's kW")
    _note_calendar(found.year, zone, choice, quality)
    winter = _winter_s(zone, found.year)
    sheets = tuple(
        Sheet(each.home, each.stamp_s - winter, each.line, is_utc=True, series=each.series)
        for each in found.sheets
    )
    return _Taken(sheets, zone, ends=False)


def _needed(path: Path, zone: ZoneInfo | None) -> ZoneInfo:
    if zone is None:
        raise ConfigError(f"{path} has hours without a clock", "--tz America/Los_Angeles says where it is")
    return zone


def _winter_s(zone: ZoneInfo, year: int) -> int:
    begin = int(
        (np.datetime64(f"{year}-01-01") - np.datetime64("1970-01-01")).astype("timedelta64[s]").astype(int)
    )
    return min(clock.offset_s(zone, begin), clock.offset_s(zone, begin + 182 * 86_400))


def _note_calendar(year: int, zone: ZoneInfo, choice: Choice, quality: Quality) -> None:
    how = (
        "as --year says"
        if choice.year is not None
        else "chosen so that the days of the week agree; --year says another"
    )
    quality.note(
        f"hours without dates: the first is put into {year} ({how}), on the clock of {zone.key} without "
        "summer time; hour 1 is 00:00 to 01:00"
    )


def _without(sheets: tuple[Sheet, ...], exclude: tuple[str, ...], path: Path) -> tuple[Sheet, ...]:
    """The sheets without some homes. ConfigError if there is no such home, or none is left."""
    homes = {each.home for sheet in sheets for each in sheet.series}
    for name in exclude:
        if name not in homes:
            listed = _listed(sorted(home for home in homes if home))
            raise ConfigError(f'{path} has no home "{name}" (--exclude)', f"it has {listed}")
    kept = [
        Sheet(sheet.home, sheet.stamp_s, sheet.line, sheet.is_utc,
              tuple(each for each in sheet.series if each.home not in exclude))
        for sheet in sheets
    ]  # fmt: skip
    left = tuple(sheet for sheet in kept if sheet.series)
    if (
        not any(each.home in homes - set(exclude) - {""} for sheet in left for each in sheet.series)
        and exclude
    ):
        raise ConfigError(f"{path}: --exclude leaves no home", "name fewer")
    return left

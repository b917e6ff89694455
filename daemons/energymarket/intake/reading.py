"""Reads a CSV file into sheets: rows with their times as written, and a column of numbers per quantity."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from energymarket.exits import Failure
from energymarket.intake.columns import Column, Layout, Unit
from energymarket.intake.dialect import Dialect, numbers_of, opened
from energymarket.intake.faults import F64, I64
from energymarket.intake.limits import CELLS_MAX, CHUNK_LINES, HOMES_MAX
from energymarket.intake.quantities import HOME_ROLES, Role
from energymarket.intake.stamps import StampError, StampReader, reader_for

Told = Callable[[str, int, int], None]
"""What is done, how much of it, of how much."""


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity of one home as the file has it; NaN where there is no number, in the rows of its sheet."""

    home: str
    role: Role
    column: str
    unit: Unit | None
    values: F64
    unreadable: dict[int, str]  # row -> text


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows that share a clock: the whole file in the wide form, the rows of one home in the long one.

    `stamp_s` are seconds since 1970, UTC if `is_utc`, else on the file's clock. `line` is that of the file.
    """

    home: str
    stamp_s: I64
    line: I64
    is_utc: bool
    series: tuple[Series, ...]


@dataclass(slots=True)
class _Gathered:
    """What the chunks of a file have brought so far."""

    stamps: list[I64] = field(default_factory=list)
    lines: list[I64] = field(default_factory=list)
    homes: list[I64] = field(default_factory=list)
    values: list[list[F64]] = field(default_factory=list)
    unreadable: list[dict[int, str]] = field(default_factory=list)
    rows: int = 0


def chunks(path: Path, dialect: Dialect, told: Told) -> Iterator[tuple[I64, tuple[tuple[str, ...], ...]]]:
    """Line numbers and columns of cells, a chunk at a time. A Failure names the line that does not fit."""
    width = len(dialect.header)
    with opened(path, dialect.encoding) as source:
        for _ in range(dialect.header_line):
            source.text.readline()
        reader = csv.reader(source.text, delimiter=dialect.delimiter)
        rows: list[list[str]] = []
        lines: list[int] = []
        before = dialect.header_line
        try:
            for row in reader:
                line = reader.line_num + dialect.header_line
                if line != before + 1 and any("\n" in cell for cell in row):
                    raise Failure(
                        f"{path}:{before + 1}: a cell goes on over {line - before} lines",
                        "a quotation mark is left open there",
                    )
                before = line
                if len(row) != width:
                    if not any(cell.strip() for cell in row):
                        continue
                    row = _fitted(path, dialect, row, line)  # noqa: PLW2901
                rows.append(row)
                lines.append(line)
                if len(rows) == CHUNK_LINES:
                    told(f"reading {path.name}", source.done(), source.size)
                    yield np.array(lines, np.int64), tuple(zip(*rows, strict=True))
                    rows, lines = [], []
        except csv.Error as error:
            where = f"{path}:{reader.line_num + dialect.header_line}"
            raise Failure(f"{where}: {error}", "is a quotation mark left open?") from error
        if rows:
            yield np.array(lines, np.int64), tuple(zip(*rows, strict=True))


def _fitted(path: Path, dialect: Dialect, row: list[str], line: int) -> list[str]:
    width = len(dialect.header)
    if len(row) > width and not any(cell.strip() for cell in row[width:]):
        return row[:width]
    raise Failure(
        f"{path}:{line}: {len(row)} cells, the header in line {dialect.header_line} has {width}",
        "mend or remove that line",
    )


def read_sheets(
    path: Path, dialect: Dialect, layout: Layout, time_format: str | None, told: Told
) -> tuple[tuple[Sheet, ...], StampReader]:
    """All rows of a file with times. A Failure names line and column of what cannot be read."""
    names = [dialect.header[index] for index in layout.time]
    reader: StampReader | None = None
    got = _Gathered([], [], [], [[] for _ in layout.columns], [{} for _ in layout.columns])
    numbers: dict[str, int] = {}
    for lines, cells in chunks(path, dialect, told):
        texts = _texts(cells, layout.time)
        if reader is None:
            reader = reader_for(f'{path}, column "{"+".join(names)}"', list(texts), time_format)
        try:
            got.stamps.append(reader.read(texts))
        except StampError as error:
            raise _unreadable_time(path, int(lines[error.index]), "+".join(names), error, reader) from error
        got.lines.append(lines)
        if layout.home is not None:
            got.homes.append(_numbered(path, cells[layout.home], numbers, lines, dialect.header[layout.home]))
        _take_numbers(path, got, layout.columns, cells, dialect.decimal)
    if reader is None:
        raise Failure(f"{path}: no lines after the header", "each line is a time with its values")
    return _sheets(got, layout, list(numbers), is_utc=bool(reader.has_offset)), reader


def _texts(cells: tuple[tuple[str, ...], ...], time: tuple[int, ...]) -> tuple[str, ...]:
    if len(time) == 1:
        return cells[time[0]]
    return tuple(
        f"{date.strip()} {clock.strip()}" for date, clock in zip(*(cells[i] for i in time), strict=True)
    )


def _unreadable_time(path: Path, line: int, column: str, error: StampError, reader: StampReader) -> Failure:
    return Failure(
        f'{path}:{line}: {column} is "{error.text}": {error} (the times before are {reader.style})',
        "mend or remove that line; --time-format '%Y-%m-%d %H:%M' names another form",
    )


def _numbered(path: Path, cells: tuple[str, ...], numbers: dict[str, int], lines: I64, column: str) -> I64:
    found = [numbers.setdefault(cell.strip(), len(numbers)) for cell in cells]
    if "" in numbers:
        line = int(lines[next(index for index, cell in enumerate(cells) if not cell.strip())])
        raise Failure(f"{path}:{line}: {column} is empty", "each line needs its home")
    if len(numbers) > HOMES_MAX:
        raise Failure(
            f"{path}: more than {HOMES_MAX:,} different homes in column {column}",
            "--home-column names the right one",
        )
    return np.array(found, np.int64)


def _take_numbers(
    path: Path, got: _Gathered, columns: tuple[Column, ...], cells: tuple[tuple[str, ...], ...], decimal: str
) -> None:
    for place, column in enumerate(columns):
        values, bad = numbers_of(cells[column.index], decimal)
        got.values[place].append(values * column.scale if column.scale != 1.0 else values)
        got.unreadable[place].update({got.rows + row: text for row, text in bad.items()})
    got.rows += len(cells[0])
    if got.rows * len(columns) > CELLS_MAX:
        raise Failure(
            f"{path} has more than {CELLS_MAX:,} values", "cut it into parts, or name fewer columns"
        )


def _sheets(got: _Gathered, layout: Layout, homes: list[str], *, is_utc: bool) -> tuple[Sheet, ...]:
    stamps, lines = np.concatenate(got.stamps), np.concatenate(got.lines)
    values = [np.concatenate(parts) for parts in got.values]
    if layout.home is None:
        series = tuple(
            Series(column.home, column.role, column.name, column.unit, values[place], got.unreadable[place])
            for place, column in enumerate(layout.columns)
        )
        return (_in_order(Sheet("", stamps, lines, is_utc, series)),)
    owner = np.concatenate(got.homes)
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(len(homes) + 1))
    sheets = []
    for number, home in enumerate(homes):
        rows = order[bounds[number] : bounds[number + 1]]
        place_of = {int(row): place for place, row in enumerate(rows)} if any(got.unreadable) else {}
        series = tuple(
            Series(
                home if column.role in HOME_ROLES else "",
                column.role, column.name, column.unit, values[place][rows],
                {place_of[row]: text for row, text in got.unreadable[place].items() if row in place_of},
            )
            for place, column in enumerate(layout.columns)
            if number == 0 or column.role in HOME_ROLES
        )  # fmt: skip
        sheets.append(_in_order(Sheet(home, stamps[rows], lines[rows], is_utc, series)))
    return tuple(sheets)


def _in_order(sheet: Sheet) -> Sheet:
    """The newest line first is turned round, so that of two equal times the first is the earlier one."""
    steps = np.diff(sheet.stamp_s)
    if np.count_nonzero(steps < 0) <= np.count_nonzero(steps > 0) or len(steps) < 2:
        return sheet
    last = len(sheet.stamp_s) - 1
    series = tuple(
        Series(each.home, each.role, each.column, each.unit, each.values[::-1],
               {last - row: text for row, text in each.unreadable.items()})
        for each in sheet.series
    )  # fmt: skip
    return Sheet(sheet.home, sheet.stamp_s[::-1], sheet.line[::-1], sheet.is_utc, series)

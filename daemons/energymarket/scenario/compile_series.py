"""Series of homes: production and consumption per slot, by hand, constant, or from a column of a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from energymarket.core.parameters import Period
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_sun import F64

SERIES_NONE: Final = 65_535
SERIES_CELLS_MAX: Final = 1 << 29  # 2 GiB of float32


class SeriesBook:
    """The distinct series of a scenario; a home names its own by number."""

    def __init__(self, period: Period) -> None:
        self._period = period
        self._numbers: dict[bytes, int] = {}
        self._columns: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
        self._files: dict[tuple[Path, str], F64] = {}

    def add(self, production_wh: F64 | None, consumption_wh: F64 | None) -> int:
        """The number of a pair of series. Short ones repeat from their beginning; None is nothing."""
        pair = (self._column(production_wh), self._column(consumption_wh))
        key = pair[0].tobytes() + pair[1].tobytes()
        number = self._numbers.get(key)
        if number is None:
            number = len(self._columns)
            if number >= SERIES_NONE or (number + 1) * self._period.slots * 2 > SERIES_CELLS_MAX:
                raise CompileError(f"{number} different series of {self._period.slots} slots are too many")
            self._numbers[key] = number
            self._columns.append(pair)
        return number

    def _column(self, energy_wh: F64 | None) -> npt.NDArray[np.float32]:
        if energy_wh is None:
            return np.zeros(1, np.float32)
        return np.asarray(energy_wh, np.float32)

    def energy_wh(self, power_w: F64) -> F64:
        """Energy per slot of mean powers per slot."""
        return power_w * (self._period.slot_s / 3600.0)

    def from_file(self, path: Path, column: str, scale_w: float) -> F64:
        """Energy per slot of a CSV column in units of `scale_w` watts, one row per slot or per hour.

        A file with as many rows as the period has slots is read as slots; any other as hours from the
        first slot on, repeated. An hour's slots have its mean power, so its energy is kept.
        """
        values = self._files.get((path, column))
        if values is None:
            values = read_column(path, column)
            self._files[path, column] = values
        return self.energy_wh(scale_w * per_slot(values, self._period))

    def tables(self) -> dict[str, npt.NDArray[np.float32]]:
        """`series_production_wh` and `series_consumption_wh`: rows = slots, columns = series."""
        slots, count = self._period.slots, len(self._columns)
        tables = {}
        for index, name in enumerate(("series_production_wh", "series_consumption_wh")):
            table = np.zeros((slots, count), np.float32)
            for number, pair in enumerate(self._columns):
                table[:, number] = np.resize(pair[index], slots)
            tables[name] = table
        return tables


def per_slot(values: F64, period: Period) -> F64:
    """Values per slot or per hour as one value per slot, see `SeriesBook.from_file`."""
    if len(values) == period.slots:
        return values
    hour = (np.arange(period.slots) * period.slot_s) // 3600
    return values[hour % len(values)]


def read_column(path: Path, column: str) -> F64:
    """A column of numbers from a CSV file with a header."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if column not in (reader.fieldnames or ()):
                known = ", ".join(reader.fieldnames or ())
                raise CompileError(f'{path} has no column "{column}"; it has {known}')
            values = [_number(path, reader.line_num, column, row[column]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise CompileError(f"{path} cannot be read: {problem}") from problem
    if not values:
        raise CompileError(f"{path} has no rows")
    return np.array(values)


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise CompileError(f'{path}:{line}: {column} is "{text}", not a number') from None
    if not np.isfinite(value):
        raise CompileError(f"{path}:{line}: {column} is {value}")
    return value

"""Meters as `energyctl import` writes them: homes.csv, a row per interval from its begin in UTC, whole Wh."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

from energymarket.core.parameters import Period
from energymarket.scenario.compile_community import Community
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_sun import F64, I64

TIME: Final = "time"
LOAD: Final = "load{home}_wh"
PV: Final = "pv{home}_wh"
PRICE: Final = "import_eur_per_kwh"
EXPORT_PRICE: Final = "export_eur_per_kwh"
CARBON: Final = "co2_g_per_kwh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters(Community):
    """Measured homes from `start_s` (UTC) on, in intervals of `step_s`; beyond their end they repeat."""

    start_s: int
    step_s: int

    def rows(self, period: Period) -> I64:
        """The interval in which the middle of each slot lies."""
        middle_s = (period.first_slot + np.arange(period.slots)) * period.slot_s + period.slot_s // 2
        found: I64 = (middle_s - self.start_s) // self.step_s % len(self.load_wh)
        return found

    def energy_wh(self, period: Period, column: int) -> tuple[F64, F64]:
        """Production and consumption of a home in each slot: parts of an interval have its mean power.

        Nothing is lost or made: over whole rounds of the data the sums are the data's.
        """
        return self._laid_on(period, self.production_wh[:, column]), self._laid_on(
            period, self.load_wh[:, column]
        )

    def _laid_on(self, period: Period, energy_wh: F64) -> F64:
        first_s = period.first_slot * period.slot_s - self.start_s
        if period.slot_s == self.step_s and first_s % self.step_s == 0:
            return energy_wh[(first_s // self.step_s + np.arange(period.slots)) % len(energy_wh)]
        edges_s = first_s + period.slot_s * np.arange(period.slots + 1, dtype=np.int64)
        rounds, inside_s = np.divmod(edges_s, len(energy_wh) * self.step_s)
        row, rest_s = np.divmod(inside_s, self.step_s)
        before = np.concatenate([[0.0], np.cumsum(energy_wh)])
        total = rounds * before[-1] + before[row] + energy_wh[row] * (rest_s / self.step_s)
        laid: F64 = np.maximum(np.diff(total), 0.0)
        return laid


def meters_of(path: Path, homes: int, exclude: tuple[int, ...]) -> Meters:
    """The homes of a file but those left out. CompileError names the line that does not fit."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise CompileError(f"{path} cannot be read: {problem}") from problem
    _check_shape(path, header, rows, homes)
    start_s, step_s = _clock(path, [row[0] for row in rows])
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    keep = [number for number in range(1, homes + 1) if number not in exclude]

    def energy(pattern: str, number: int) -> F64:
        name = pattern.format(home=number)
        values = _column(path, name, columns[name]) if name in columns else np.zeros(len(rows))
        if np.any(values < 0):
            line = int(np.argmax(values < 0)) + 2
            raise CompileError(f"{path}:{line}: {name} is below zero")
        return values

    def given(name: str) -> F64 | None:
        return _column(path, name, columns[name]) if name in columns else None

    return Meters(
        hours=None,
        load_wh=np.stack([energy(LOAD, number) for number in keep], axis=1),
        production_wh=np.stack([energy(PV, number) for number in keep], axis=1),
        price_eur_per_kwh=given(PRICE),
        co2_g_per_kwh=given(CARBON),
        export_eur_per_kwh=given(EXPORT_PRICE),
        start_s=start_s,
        step_s=step_s,
    )


def _check_shape(path: Path, header: list[str], rows: list[list[str]], homes: int) -> None:
    if not header or header[0] != TIME or LOAD.format(home=1) not in header:
        raise CompileError(
            f"{path}: its columns are not time, load1_wh, ..: energyctl import writes such a file"
        )
    found = sum(name == LOAD.format(home=number) for number, name in enumerate(_loads(header), 1))
    if found != homes:
        raise CompileError(f"{path} has {found} homes, data.homes says {homes}")
    if len(rows) < 2:
        raise CompileError(f"{path} has {len(rows)} rows: that is no series")
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise CompileError(f"{path}:{line}: {len(row)} cells, the header has {len(header)}")


def _loads(header: list[str]) -> list[str]:
    return [name for name in header if name.startswith("load") and name.endswith("_wh")]


def _clock(path: Path, times: list[str]) -> tuple[int, int]:
    """First second and step of times that follow each other without gaps."""
    seconds = np.empty(len(times), np.int64)
    for index, text in enumerate(times):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise CompileError(f'{path}:{index + 2}: time "{text}" is not as in 2025-01-31T23:00Z') from None
        if moment.tzinfo is None:
            raise CompileError(f'{path}:{index + 2}: time "{text}" has no offset from UTC')
        seconds[index] = round(moment.timestamp())
    step = int(seconds[1] - seconds[0])
    broken = np.flatnonzero(np.diff(seconds) != step)
    if step <= 0 or broken.size:
        line = int(broken[0]) + 3 if broken.size else 3
        raise CompileError(
            f"{path}:{line}: time {times[line - 2]} does not follow the one before in the same step"
        )
    return int(seconds[0]), step


def _column(path: Path, name: str, cells: tuple[str, ...]) -> F64:
    try:
        values = np.array(list(map(float, cells)))
    except ValueError:
        for line, cell in enumerate(cells, 2):
            try:
                float(cell)
            except ValueError:
                raise CompileError(f'{path}:{line}: {name} is "{cell}", not a number') from None
        raise
    if not np.all(np.isfinite(values)):
        raise CompileError(f"{path}: column {name} has values that are not finite")
    return values

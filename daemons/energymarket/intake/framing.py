"""The grid of equal intervals that the lines of a file lie on, and which line lies where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from energymarket.exits import ConfigError, Failure
from energymarket.intake import clock
from energymarket.intake.faults import F64, I64, Cause, Fault, Finding, Mask, Quality, stretches
from energymarket.intake.limits import CELLS_MAX, GAP_SNAP_SHARE, STEP_S_MAX
from energymarket.intake.quantities import HOME_ROLES
from energymarket.intake.reading import Sheet

_DAY_S = 86_400
_SPARSE = 20
"""More intervals than lines by this factor: a single stray date, not a gap."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`count` intervals of `step_s` from `start_s` (UTC) on. Of registers: the moments of reading."""

    start_s: int
    step_s: int
    count: int

    def times_s(self) -> I64:
        """The begin of each interval."""
        return self.start_s + self.step_s * np.arange(self.count, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Placed:
    """A sheet whose rows are at home on the grid: `place` is the interval of a row, -1 if it has none."""

    sheet: Sheet
    place: I64
    begin_s: I64


def utc_text(second: int) -> str:
    """A moment for people and files: 2025-01-31T23:00Z."""
    moment = datetime.fromtimestamp(second, UTC)
    return moment.strftime("%Y-%m-%dT%H:%MZ" if second % 60 == 0 else "%Y-%m-%dT%H:%M:%SZ")


def frame_of(
    path: Path, sheets: tuple[Sheet, ...], zone: ZoneInfo, quality: Quality, *, ends: bool
) -> tuple[Frame, tuple[Placed, ...]]:
    """Put every row on one grid. A Failure says why that cannot be done; what was moved is noted.

    `ends`: the times are ends of intervals. Registers have moments and never ends.
    """
    reads = [_read(path, sheet, zone, quality, ends=ends) for sheet in sheets]
    step_s = _common_step(path, sheets, [read.utc_s for read in reads])
    begins = [read.utc_s - step_s if ends else read.utc_s for read in reads]
    phase = clock.phase_of(np.concatenate(begins), step_s)
    rows = [np.rint((begin - phase) / step_s).astype(np.int64) for begin in begins]
    kept = [_on_grid(sheet, begin, row, step_s, phase, quality) & ~read.skipped
            for sheet, begin, row, read in zip(sheets, begins, rows, reads, strict=True)]  # fmt: skip
    used = np.concatenate([row[keep] for row, keep in zip(rows, kept, strict=True)])
    if used.size == 0:
        raise Failure(f"{path}: no line lies on its own grid of {step_s} s", "are the times right?")
    frame = Frame(int(used.min()) * step_s + phase, step_s, int(used.max() - used.min()) + 1)
    _check_density(path, frame, sheets, begins)
    placed = tuple(
        Placed(sheet, np.where(keep, row - used.min(), -1), begin)
        for sheet, row, keep, begin in zip(sheets, rows, kept, begins, strict=True)
    )
    for sheet, read in zip(placed, reads, strict=True):
        _autumn(sheet, read, frame, quality)
    return frame, placed


def _read(path: Path, sheet: Sheet, zone: ZoneInfo, quality: Quality, *, ends: bool) -> clock.Read:
    none = np.zeros(len(sheet.stamp_s), bool)
    if sheet.is_utc:
        return clock.Read(sheet.stamp_s, none, none, ())
    read = clock.utc_of(sheet.stamp_s, zone, ends=ends)
    if np.any(read.skipped):
        _spring(path, sheet, read, zone, quality)
    return read


def _spring(path: Path, sheet: Sheet, read: clock.Read, zone: ZoneInfo, quality: Quality) -> None:
    """Lines of an hour that no clock showed: empty ones are left out, with energy it is another clock."""
    rows = np.flatnonzero(read.skipped)
    full = rows[[any(np.nan_to_num(each.values[row]) != 0 for each in sheet.series) for row in rows]]
    if full.size:
        line, first = int(sheet.line[full[0]]), datetime.fromtimestamp(int(sheet.stamp_s[full[0]]), UTC)
        winter = min(clock.offset_s(zone, int(read.utc_s[0])), clock.offset_s(zone, int(read.utc_s[-1])))
        raise ConfigError(
            f"{path}:{line}: there was no {first:%Y-%m-%d %H:%M} in {zone.key}: clocks were put forward, "
            f"but the line has energy ({len(full)} such lines)",
            f"--tz {winter / 3600:+03.0f}:00 if the meter keeps winter time all year; else mend the lines",
        )
    for each in sheet.series:
        if each.role in HOME_ROLES:
            was, none = each.values[rows], np.full(len(rows), np.nan)
            quality.changed(each.home, str(each.role), Cause.DROPPED, read.utc_s[rows], was, none)
    quality.found(
        Finding(
            Fault.DST_SPRING, sheet.home, "", len(rows), ((int(read.utc_s[rows[0]]), len(rows)),),
            "empty lines of an hour that there was not: left out", int(sheet.line[rows[0]]),
        )
    )  # fmt: skip


def _autumn(placed: Placed, read: clock.Read, frame: Frame, quality: Quality) -> None:
    """An hour that the clock shows twice and the file once is taken as the first; the second is missing."""
    for change in read.changes:
        length = abs(change.after_s - change.before_s)
        slots = max(1, length // frame.step_s)
        at = (change.at_s - frame.start_s) // frame.step_s
        if change.skips or not 0 < at < frame.count - slots:
            continue
        present = np.zeros(frame.count, bool)
        present[placed.place[placed.place >= 0]] = True
        if np.any(present[max(0, at - slots) : at]) and not np.any(present[at : at + slots]):
            quality.found(
                Finding(
                    Fault.DST_AUTUMN, placed.sheet.home, "", slots, ((change.at_s, slots),),
                    "the file has the repeated hour once: it is taken as the earlier one (summer time), "
                    "and the later one is filled; if the file has added both up, halve it there",
                )
            )  # fmt: skip


def _common_step(path: Path, sheets: tuple[Sheet, ...], times: list[I64]) -> int:
    steps = [clock.step_of(each) for each in times]
    step = max(set(steps), key=steps.count)
    if step == 0:
        raise Failure(f"{path}: a single time is no series", "each home needs at least two times")
    for sheet, own in zip(sheets, steps, strict=True):
        if own not in {0, step}:
            raise Failure(
                f'{path}: home "{sheet.home}" has a value every {own} s, others every {step} s',
                "import them apart, or bring them to one resolution",
            )
    if step > STEP_S_MAX:
        raise Failure(
            f"{path} has one value every {step / 3600:g} hours: that does not say when in them",
            "values have to be at most an hour apart",
        )
    if _DAY_S % step:
        raise Failure(f"{path}: a value every {step} s", "a day has to be a whole number of intervals")
    return step


def _on_grid(sheet: Sheet, begin_s: I64, row: I64, step_s: int, phase_s: int, quality: Quality) -> Mask:
    """Which rows lie on the grid, or so near that they are meant to; both kinds of others are noted."""
    grid_s = row * step_s + phase_s
    away = np.abs(begin_s - grid_s)
    dropped = away > GAP_SNAP_SHARE * step_s
    for mask, cause, what in (
        ((away > 0) & ~dropped, Cause.SNAPPED, "moved to the nearest interval"),
        (dropped, Cause.DROPPED, "between two intervals: left out"),
    ):
        rows = np.flatnonzero(mask)
        if rows.size == 0:
            continue
        spans = tuple((int(begin_s[row]), 1) for row in rows[:100])
        quality.found(
            Finding(Fault.OFF_GRID, sheet.home, "", len(rows), spans, what, int(sheet.line[rows[0]]))
        )
        for each in sheet.series:
            values: F64 = each.values[rows] * (each.unit.wh(step_s) if each.unit is not None else 1.0)
            now = values if cause is Cause.SNAPPED else np.full(len(rows), np.nan)
            quality.changed(each.home, str(each.role), cause, begin_s[rows], values, now)
    kept: Mask = ~dropped
    return kept


def _check_density(path: Path, frame: Frame, sheets: tuple[Sheet, ...], begins: list[I64]) -> None:
    lines = max(len(sheet.line) for sheet in sheets)
    series = sum(len(sheet.series) for sheet in sheets)
    if frame.count <= _SPARSE * lines and frame.count * series <= CELLS_MAX:
        return
    first = min(range(len(sheets)), key=lambda index: int(begins[index].min()))
    row = int(np.argmin(begins[first]))
    raise Failure(
        f"{path}:{int(sheets[first].line[row])}: the times reach from {utc_text(frame.start_s)} to "
        f"{utc_text(frame.start_s + frame.count * frame.step_s)}, {frame.count:,} slots with {lines:,} lines",
        "is there a stray date, or a wrong --time-format?",
    )


def spans_of(mask: Mask, frame: Frame) -> tuple[tuple[int, int], ...]:
    """The stretches of a mask over the frame as (UTC second, intervals)."""
    return tuple((frame.start_s + first * frame.step_s, length) for first, length in stretches(mask))

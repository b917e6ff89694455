"""From rows to one value per interval: what comes twice, what is blank, what is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energymarket.exits import ConfigError
from energymarket.intake.faults import F64, SPANS_MAX, Cause, Fault, Finding, Mask, Quality
from energymarket.intake.framing import Frame, Placed, spans_of
from energymarket.intake.quantities import HOME_ROLES, Role
from energymarket.intake.reading import Series


@dataclass(slots=True)
class Course:
    """One quantity of one home over the frame, in Wh per interval (or per reading); NaN where there is none.

    `was` holds what the file has, also where it is taken out as impossible; `absent` where it has no line.
    """

    home: str
    role: Role
    column: str
    scale: float  # Wh per unit of the file
    values: F64
    was: F64
    absent: Mask


def courses_of(
    placed: tuple[Placed, ...], frame: Frame, quality: Quality, *, registers: bool
) -> list[Course]:
    """All quantities on the grid. A Failure says which column has no unit."""
    courses = []
    for sheet in placed:
        autumn = _autumn_hours(sheet, frame, quality)
        made = [_course(each, sheet, frame, quality, registers=registers) for each in sheet.sheet.series]
        kept = [course for course in made if course is not None]
        _merge(sheet, frame, kept, quality)
        absent = kept[0].absent & ~autumn if kept else np.zeros(frame.count, bool)
        if np.any(absent):
            for home in dict.fromkeys(course.home for course in kept if course.role in HOME_ROLES):
                text = "no line in the file"
                quality.found(_finding(Fault.GAP, home, "", absent, frame, text))
        for course in kept:
            blank = np.isnan(course.values) & ~course.absent
            known = [int(second) for home, quantity, second in quality.texts
                     if home == course.home and quantity == course.role]  # fmt: skip
            if known:
                blank[(np.array(known) - frame.start_s) // frame.step_s] = False
            if np.any(blank):
                text = f"no value in column {course.column}"
                quality.found(_finding(Fault.BLANK, course.home, str(course.role), blank, frame, text))
        courses += kept
    return courses


def _finding(fault: Fault, home: str, quantity: str, mask: Mask, frame: Frame, text: str) -> Finding:
    spans = spans_of(mask, frame)
    return Finding(fault, home, quantity, int(np.count_nonzero(mask)), spans[:SPANS_MAX], text)


def _autumn_hours(placed: Placed, frame: Frame, quality: Quality) -> Mask:
    """The repeated hours that the file lacks: told by a fault of their own, and not as a gap."""
    mask = np.zeros(frame.count, bool)
    for finding in quality.findings:
        if finding.fault is Fault.DST_AUTUMN and finding.home == placed.sheet.home:
            for begin_s, length in finding.spans:
                first = (begin_s - frame.start_s) // frame.step_s
                mask[first : first + length] = True
    return mask


def _course(
    series: Series, placed: Placed, frame: Frame, quality: Quality, *, registers: bool
) -> Course | None:
    """The series on the grid, the last of a time winning; None for one that is blank throughout."""
    if np.all(np.isnan(series.values)) and not series.unreadable:
        whose = f" of home {series.home}" if series.home else ""
        quality.note(f"column {series.column}{whose} is blank throughout: there is no {series.role}")
        return None
    scale = 1.0
    if series.role in HOME_ROLES:
        if series.unit is None:
            raise ConfigError(
                f'the unit of column "{series.column}" is not in its name',
                "--unit kWh, Wh, kW or W says it; kW and W are mean power over the interval",
            )
        if registers and series.unit.is_power:
            raise ConfigError(
                f'column "{series.column}" is in {series.unit}: a register counts energy', "--unit kWh or Wh"
            )
        scale = series.unit.wh(frame.step_s)
    values = np.full(frame.count, np.nan)
    rows = np.flatnonzero((placed.place >= 0) & ~np.isnan(series.values))
    values[placed.place[rows]] = series.values[rows] * scale
    absent = np.ones(frame.count, bool)
    absent[placed.place[placed.place >= 0]] = False
    _note_unreadable(series, placed, frame, quality)
    return Course(series.home, series.role, series.column, scale, values, values.copy(), absent)


def _note_unreadable(series: Series, placed: Placed, frame: Frame, quality: Quality) -> None:
    rows = [row for row in sorted(series.unreadable) if placed.place[row] >= 0]
    if not rows:
        return
    seconds = [frame.start_s + int(placed.place[row]) * frame.step_s for row in rows]
    for row, second in zip(rows, seconds, strict=True):
        quality.texts[series.home, str(series.role), second] = series.unreadable[row]
    text = f'column {series.column} holds "{series.unreadable[rows[0]]}": taken as missing'
    spans = tuple((second, 1) for second in seconds[:SPANS_MAX])
    line = int(placed.sheet.line[rows[0]])
    quality.found(Finding(Fault.UNREADABLE, series.home, str(series.role), len(rows), spans, text, line))


def _merge(placed: Placed, frame: Frame, courses: list[Course], quality: Quality) -> None:
    """Times that come twice: told as duplicates or contradictions, with the line of the first."""
    rows = np.flatnonzero(placed.place >= 0)
    order = rows[np.argsort(placed.place[rows], kind="stable")]
    place = placed.place[order]
    again = np.flatnonzero(np.diff(place) == 0)  # order[again + 1] repeats order[again]
    if again.size == 0:
        return
    earlier, later = order[again], order[again + 1]
    by_key = {(each.home, each.role): each for each in placed.sheet.series}
    for course in courses:
        values = by_key[course.home, course.role].values
        first, second = values[earlier], values[later]
        apart = (first != second) & ~np.isnan(first) & ~np.isnan(second)
        same = (first == second) | (np.isnan(first) != np.isnan(second))
        for mask, fault, cause, text in (
            (same, Fault.DUPLICATE, Cause.DUPLICATE_MERGED, "the same value twice: kept once"),
            (apart, Fault.CONTRADICTION, Cause.LAST_WINS, "the value further down in the file was kept"),
        ):
            if not np.any(mask):
                continue
            times = frame.start_s + frame.step_s * place[again][mask]
            lines = placed.sheet.line[later[mask]]
            spans = tuple((int(each), 1) for each in times[:SPANS_MAX])
            quality.found(
                Finding(fault, course.home, str(course.role), len(times), spans, text, int(lines[0]))
            )
            now = course.values[place[again][mask]]
            quality.changed(course.home, str(course.role), cause, times, first[mask] * course.scale, now)

"""Cumulative counters become energy per interval; resets, rollovers and odd readings are told."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from energymarket.exits import Failure
from energymarket.intake.faults import F64, I64, SPANS_MAX, Cause, Fault, Finding, Quality
from energymarket.intake.framing import Frame
from energymarket.intake.gridding import Course
from energymarket.intake.quantities import HOME_ROLES

_NEAR_THE_END: Final = 0.9
_NEAR_THE_BEGIN: Final = 0.1


def differenced(courses: list[Course], frame: Frame, quality: Quality) -> tuple[list[Course], Frame]:
    """Energy per interval of all counters: from each reading to the next. There is one interval fewer."""
    shorter = Frame(frame.start_s, frame.step_s, frame.count - 1)
    return [_course(course, frame, quality) for course in courses], shorter


def _course(course: Course, frame: Frame, quality: Quality) -> Course:
    if course.role not in HOME_ROLES:
        return Course(course.home, course.role, course.column, course.scale, course.values[:-1],
                      course.was[:-1], course.absent[:-1])  # fmt: skip
    at = np.flatnonzero(~np.isnan(course.values))
    if len(at) < 2:
        raise Failure(
            f'column "{course.column}" of home "{course.home}" has {len(at)} reading', "a register needs two"
        )
    at = _without_glitches(course, at, frame, quality)
    reading: F64 = course.values[at]
    rise = np.diff(reading)
    for index in np.flatnonzero(rise < 0).tolist():
        rise[index] = _anew(course, frame, int(at[index]), reading[index], reading[index + 1], quality)
    length = np.diff(at)
    energy = np.full(frame.count - 1, np.nan)
    energy[at[0] : at[-1]] = np.repeat(rise / length, length)
    _note_spread(course, frame, at, energy, quality)
    was = np.where(np.isnan(course.values[:-1]) | np.isnan(course.values[1:]), np.nan, energy)
    return Course(course.home, course.role, course.column, course.scale, energy, was, course.absent[:-1])


def _without_glitches(course: Course, at: I64, frame: Frame, quality: Quality) -> I64:
    """Readings but those that stand alone: below or above both neighbours, which agree with each other."""
    reading: F64 = course.values[at]
    before, here, after = reading[:-2], reading[1:-1], reading[2:]
    alone = (after >= before) & ((here < before) | (here > after))
    if not np.any(alone):
        return at
    out = at[1:-1][alone]
    times = frame.start_s + frame.step_s * out
    low, odd, high = (float(each[alone][0]) / 1e3 for each in (before, here, after))
    first = f"{odd:,.3f} kWh between {low:,.3f} and {high:,.3f}"
    quality.found(
        Finding(
            Fault.REGISTER_GLITCH, course.home, str(course.role), len(out),
            tuple((int(second), 1) for second in times[:SPANS_MAX]), f"{first}: taken as not read",
        )
    )  # fmt: skip
    kept: I64 = at[np.concatenate([[True], ~alone, [True]])]
    return kept


def _anew(course: Course, frame: Frame, row: int, before: float, after: float, quality: Quality) -> float:
    """Energy from a reading to a smaller one: over the last digit, or from zero again."""
    second = frame.start_s + row * frame.step_s
    digits = 10.0 ** math.ceil(math.log10(max(before / course.scale, 1.0))) * course.scale
    over = before >= _NEAR_THE_END * digits and after <= _NEAR_THE_BEGIN * digits
    energy = after + digits - before if over else after
    fault = Fault.REGISTER_ROLLOVER if over else Fault.REGISTER_RESET
    how = f"one round of {digits / 1e3:,.0f} kWh added" if over else "counted from zero"
    text = f"from {before / 1e3:,.3f} to {after / 1e3:,.3f} kWh: {how}"
    quality.found(Finding(fault, course.home, str(course.role), 1, ((second, 1),), text))
    cause = Cause.REGISTER_ROLLOVER if over else Cause.REGISTER_RESTART
    quality.changed(
        course.home,
        str(course.role),
        cause,
        np.array([second]),
        np.array([after - before]),
        np.array([energy]),
    )
    return energy


def _note_spread(course: Course, frame: Frame, at: I64, energy: F64, quality: Quality) -> None:
    """Intervals between two readings that are further apart than one."""
    between = np.ones(frame.count - 1, bool)
    between[at[:-1][np.diff(at) == 1]] = False
    between[: at[0]] = False
    between[at[-1] :] = False
    rows = np.flatnonzero(between)
    times = frame.start_s + frame.step_s * rows
    quality.changed(
        course.home, str(course.role), Cause.REGISTER_SPREAD, times, np.full(len(rows), np.nan), energy[rows]
    )

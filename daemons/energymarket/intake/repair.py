"""Fills what is missing: short gaps by a straight line, longer ones by the weeks around; all noted."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np

from energymarket.exits import Failure
from energymarket.intake import clock
from energymarket.intake.faults import F64, I64, Cause, Mask, Quality, stretches
from energymarket.intake.framing import Frame
from energymarket.intake.gridding import Course
from energymarket.intake.limits import WEEKS_AROUND

_DAY_S = 86_400


def fill(courses: list[Course], frame: Frame, zone: ZoneInfo, quality: Quality, interpolate_s: int) -> None:
    """Give every interval a value. Only values that are there take part in those that are made.

    A gap of at most `interpolate_s` with neighbours on both sides lies on the line between them. A longer
    one, or one at either end, takes the mean of the same time of the local day on the same day of the
    weeks around, of the nearest up to WEEKS_AROUND that have it; else of the days around; else the mean
    of the column. Prices and weather are never made up but by the same rule, and told likewise.
    """
    times = frame.times_s()
    offsets = clock.offsets_of(zone, times)
    for course in courses:
        missing = np.isnan(course.values)
        if not np.any(missing):
            continue
        if np.all(missing):
            raise Failure(f'column "{course.column}" has not one usable value', "leave it, or its home, out")
        left = _interpolate(course, missing, frame, quality, interpolate_s)
        for cause, days in (
            (Cause.NEIGHBOUR_WEEKS, [7 * week for week in range(1, WEEKS_AROUND + 1)]),
            (Cause.NEIGHBOUR_DAYS, list(range(1, 7))),
        ):
            left = _from_around(course, missing, left, frame, offsets, cause, days, quality)
        if left.size:
            mean = float(course.values[~missing].mean())
            _put(course, left, np.full(len(left), mean), Cause.NOT_MEASURED, frame, quality)


def _interpolate(course: Course, missing: Mask, frame: Frame, quality: Quality, limit_s: int) -> I64:
    """Bridge the short gaps; the places of what is left."""
    short = np.zeros(frame.count, bool)
    for first, length in stretches(missing):
        inside = first > 0 and first + length < frame.count
        short[first : first + length] = inside and length * frame.step_s <= limit_s
    rows, known = np.flatnonzero(short), np.flatnonzero(~missing)
    made: F64 = np.interp(rows, known, course.values[known])
    _put(course, rows, made, Cause.INTERPOLATED, frame, quality)
    return np.flatnonzero(missing & ~short)


def _from_around(
    course: Course, missing: Mask, left: I64, frame: Frame, offsets: I64, cause: Cause, days: list[int],
    quality: Quality,
) -> I64:  # fmt: skip
    """The mean of the two nearest days on either side that have the same time measured; what is left."""
    total, count = np.zeros(len(left)), np.zeros(len(left))
    for distance in days:
        open_ = count == 0
        for sign in (-1, 1):
            there = _same_time(left, sign * distance, frame, offsets)
            inside = open_ & (there >= 0) & (there < frame.count)
            usable = inside.copy()
            usable[inside] = ~missing[there[inside]]
            total[usable] += course.values[there[usable]]
            count[usable] += 1
    found = count > 0
    _put(course, left[found], total[found] / count[found], cause, frame, quality)
    return left[~found]


def _same_time(rows: I64, days: int, frame: Frame, offsets: I64) -> I64:
    """The interval at the same time of the local clock so many days away."""
    there = rows + days * _DAY_S // frame.step_s
    inside = np.clip(there, 0, frame.count - 1)
    moved: I64 = there + (offsets[rows] - offsets[inside]) // frame.step_s
    return moved


def _put(course: Course, rows: I64, values: F64, cause: Cause, frame: Frame, quality: Quality) -> None:
    course.values[rows] = values
    times = frame.times_s()[rows]
    quality.changed(course.home, str(course.role), cause, times, course.was[rows], values)

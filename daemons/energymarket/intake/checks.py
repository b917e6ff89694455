"""Looks for what measured values cannot be: one function per fault. What is impossible becomes missing."""

from __future__ import annotations

from typing import Final

import numpy as np

from energymarket.exits import ConfigError
from energymarket.intake.faults import F64, SPANS_MAX, Cause, Fault, Finding, Mask, Quality, stretches
from energymarket.intake.framing import Frame, spans_of, utc_text
from energymarket.intake.gridding import Course
from energymarket.intake.limits import (
    FOLLOWS_CORRELATION,
    FOLLOWS_NIGHT_SHARE,
    MEAN_W_RANGE,
    PLAUSIBLE,
    SCALE_RATIO,
    SILENT_S,
    STUCK_S,
)
from energymarket.intake.quantities import HOME_ROLES, Role

_TURNED_SHARE: Final = 0.99  # of the values that are not zero
_NET_SHARE: Final = 0.05
_STANDBY_SHARE: Final = 0.02  # of the plant's largest power: what an inverter takes by night
_SPIKES_SHARE: Final = 0.01  # more than that are no accidents: the unit is wrong
_DARK_SHARE: Final = 0.01  # of the brightest interval: less is night


def check_values(courses: list[Course], frame: Frame, quality: Quality, power_max_w: float) -> None:
    """All checks of single columns, in an order in which none hides another."""
    check_place(courses, quality)
    measured = [course for course in courses if course.role in HOME_ROLES]
    for course in measured:
        check_sign(course, frame, quality)
        check_negative(course, frame, quality)
        check_stuck(course, frame, quality)
        check_missing(course, frame, quality)
    check_scale(measured, frame, quality, power_max_w)
    for course in measured:
        check_spikes(course, frame, quality, power_max_w)


def check_place(courses: list[Course], quality: Quality) -> None:
    """Prices and carbon intensities that look like another unit. Told, not changed."""
    for course in courses:
        bounds, known = PLAUSIBLE.get(course.role), np.abs(course.values[~np.isnan(course.values)])
        middle = float(np.median(known)) if known.size else 0.0
        if bounds is None or middle == 0 or bounds[0] <= middle <= bounds[1]:
            continue
        text = f"half of column {course.column} is above {middle:,.4g}, taken as {bounds[2]}: nothing changed"
        quality.found(Finding(Fault.SCALE, "", str(course.role), len(course.values), (), text))


def check_sign(course: Course, frame: Frame, quality: Quality) -> None:
    """A column below zero throughout is turned round; one that changes its sign is left as it is."""
    busy = np.nan_to_num(course.values) != 0
    below = np.nan_to_num(course.values) < 0
    if course.role is Role.NET or int(below.sum()) < _TURNED_SHARE * max(1, int(busy.sum())):
        return
    rows = np.flatnonzero(busy)
    was = course.values[rows].copy()
    course.values[rows] *= -1
    quality.changed(
        course.home, str(course.role), Cause.SIGN_TURNED, frame.times_s()[rows], was, course.values[rows]
    )
    course.was[rows] *= -1
    text = f"{len(rows):,} values of column {course.column} are below zero: turned round"
    spans = spans_of(below, frame)[:1]
    quality.found(Finding(Fault.SIGN, course.home, str(course.role), len(rows), spans, text))


def check_negative(course: Course, frame: Frame, quality: Quality) -> None:
    """Below zero by night and a little: a plant's standby, set to zero. Else impossible, so missing."""
    below = np.nan_to_num(course.values) < 0
    if course.role is Role.NET or not np.any(below):
        return
    share = int(below.sum()) / max(1, int(np.sum(~np.isnan(course.values))))
    if course.role is Role.LOAD and share > _NET_SHARE:
        when = spans_of(below, frame)[0][0]
        raise ConfigError(
            f'column "{course.column}" is below zero in {share:.0%} of its values, first at '
            f"{utc_text(when)}: a load is never",
            f"if it is load minus generation: --net '{course.column}' (or a pattern with {{home}})",
        )
    small = below & (course.values >= -_STANDBY_SHARE * float(np.nanmax(course.values)))
    standby = small if course.role is Role.PV else np.zeros_like(small)
    rows = np.flatnonzero(standby)
    zero = np.zeros(len(rows))
    times = frame.times_s()[rows]
    quality.changed(course.home, str(course.role), Cause.NEGATIVE_TO_ZERO, times, course.values[rows], zero)
    course.values[rows] = 0.0
    course.values[below & ~standby] = np.nan
    least = float(np.nanmin(course.was))
    text = f"down to {least:,.1f} Wh: " + _how(int(standby.sum()), int(below.sum()))
    _found(Fault.NEGATIVE, course, below, frame, text, quality)


def _how(standby: int, all_of_them: int) -> str:
    if standby == all_of_them:
        return "an inverter's own use by night, set to zero"
    return (
        "taken as missing" if standby == 0 else f"{standby:,} small ones set to zero, others taken as missing"
    )


def check_stuck(course: Course, frame: Frame, quality: Quality) -> None:
    """The same value for a day, or nothing at all for a fortnight. Told, not changed: it may be true."""
    if course.role in {Role.PV, Role.EXPORT} and not np.any(np.nan_to_num(course.values)):
        quality.note(f"column {course.column} is zero throughout: there is no {course.role}")
        return
    values = np.nan_to_num(course.values, nan=-1.0)
    same = np.concatenate([[False], values[1:] == values[:-1]]) & ~np.isnan(course.values)
    stuck = np.zeros(frame.count, bool)
    for first, length in stretches(same):
        limit_s = SILENT_S if values[first] == 0 else STUCK_S
        if (length + 1) * frame.step_s >= limit_s:
            stuck[first - 1 : first + length] = True
    if np.any(stuck):
        first = int(np.argmax(stuck))
        text = f"{course.values[first]:,.1f} Wh in each of {stretches(stuck)[0][1]:,} intervals: kept"
        _found(Fault.STUCK, course, stuck, frame, text, quality)


def check_missing(course: Course, frame: Frame, quality: Quality) -> None:
    """More is missing than there is."""
    missing = np.isnan(course.values)
    share = np.count_nonzero(missing) / frame.count
    if share > 0.5:
        text = f"{share:.0%} of its values are missing: better leave the home out (--exclude '{course.home}')"
        quality.found(
            Finding(
                Fault.MOSTLY_MISSING, course.home, str(course.role), int(np.count_nonzero(missing)), (), text
            )
        )


def check_scale(courses: list[Course], frame: Frame, quality: Quality, power_max_w: float) -> None:
    """Mean powers that no home has, or that are far from those of the other homes. Told, not changed."""
    loads = [course for course in courses if course.role in {Role.LOAD, Role.IMPORT}]
    means_w = np.array([_mean_w(course.values, frame) for course in loads])
    if means_w.size == 0:
        return
    middle_w = float(np.median(means_w))
    low_w, high_w = MEAN_W_RANGE[0], max(MEAN_W_RANGE[1], power_max_w)
    for course, mean_w in zip(loads, means_w.tolist(), strict=True):
        if mean_w == 0:
            continue
        far = len(loads) > 2 and not 1 / SCALE_RATIO < mean_w / middle_w < SCALE_RATIO if middle_w else False
        if low_w <= mean_w <= high_w and not far:
            continue
        others = f", the middle home {_power(middle_w)}" if len(loads) > 1 else ""
        quality.found(
            Finding(
                Fault.SCALE, course.home, str(course.role), int(np.sum(~np.isnan(course.values))), (),
                f"its mean power is {_power(mean_w)}{others}: is column {course.column} in another unit? "
                "nothing changed",
            )
        )  # fmt: skip


def check_spikes(course: Course, frame: Frame, quality: Quality, power_max_w: float) -> None:
    """Mean powers above what a house connection carries: missing, unless they are too many for accidents."""
    most_wh = power_max_w * frame.step_s / 3600.0
    high = np.abs(np.nan_to_num(course.values)) > most_wh
    if not np.any(high):
        return
    peak_w = float(np.nanmax(np.abs(course.values))) * 3600.0 / frame.step_s
    bound = f"above {_power(power_max_w)} (--limit-kw)"
    if np.count_nonzero(high) > _SPIKES_SHARE * np.count_nonzero(~np.isnan(course.values)):
        if not any(each.fault is Fault.SCALE and each.home == course.home for each in quality.findings):
            text = (
                f"up to {_power(peak_w)}, {bound}, too often for an accident: kept; wrong unit, or no house?"
            )
            _found(Fault.SCALE, course, high, frame, text, quality)
        return
    course.values[high] = np.nan
    _found(Fault.SPIKE, course, high, frame, f"up to {_power(peak_w)}, {bound}: taken as missing", quality)


def check_follows_pv(homes: list[str], load_wh: F64, pv_wh: F64, quality: Quality) -> None:
    """A load that runs with the sun and hardly by night: told, not changed, since nobody knows what it is.

    Columns are homes. Night is when no plant of the community makes a hundredth of its best. In the
    community of Fontana (CityLearn Challenge 2022) sound homes have a correlation of at most 0.48 and use
    at least 0.66 of their mean load by night; the two miswired ones 0.97 and 0.91, 0.001 and 0.08.
    """
    total = pv_wh.sum(axis=1)
    if total.max(initial=0.0) <= 0:
        return
    night = total < _DARK_SHARE * total.max()
    plants = np.flatnonzero(pv_wh.std(axis=0) > 0)
    if not np.any(night):
        return
    sun = _standard(pv_wh[:, plants])
    for number, home in enumerate(homes):
        load = load_wh[:, number]
        if load.std() == 0:
            continue
        share = float(load[night].mean() / load.mean())
        alike = sun.T @ _standard(load[:, None])[:, 0] / len(load)
        best = int(np.argmax(alike))
        if float(alike[best]) < FOLLOWS_CORRELATION or share > FOLLOWS_NIGHT_SHARE:
            continue
        own = float(pv_wh[:, number].sum())
        hint = "; load and PV may be exchanged" if own < 0.1 * float(load.sum()) else ""
        quality.found(
            Finding(
                Fault.FOLLOWS_PV, home, str(Role.LOAD), len(load), (),
                f"correlation {alike[best]:.2f} with the PV of home {homes[int(plants[best])]}, by night "
                f"{share:.1%} of its mean load{hint}: nothing changed; --exclude {home} leaves it out",
            )
        )  # fmt: skip


def _standard(columns: F64) -> F64:
    standard: F64 = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return standard


def _found(fault: Fault, course: Course, mask: Mask, frame: Frame, text: str, quality: Quality) -> None:
    spans = spans_of(mask, frame)[:SPANS_MAX]
    quality.found(Finding(fault, course.home, str(course.role), int(np.count_nonzero(mask)), spans, text))


def _mean_w(values_wh: F64, frame: Frame) -> float:
    there = values_wh[~np.isnan(values_wh)]
    return float(np.abs(there).mean()) * 3600.0 / frame.step_s if there.size else 0.0


def _power(power_w: float) -> str:
    return f"{power_w / 1e3:,.1f} kW" if power_w >= 1e3 else f"{power_w:,.2f} W"

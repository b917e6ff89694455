"""From the clock of a file to UTC: time zones, the hour that is missing in spring and doubled in autumn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from energymarket.exits import ConfigError
from energymarket.intake.faults import I64, Mask
from energymarket.scenario.problems import did_you_mean

_DAY_S: Final = 86_400
_HOUR_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the offset from UTC: from `at_s` (UTC) on it is `after_s` instead of `before_s`."""

    at_s: int
    before_s: int
    after_s: int

    @property
    def skips(self) -> bool:
        """Whether clocks are put forward: spring."""
        return self.after_s > self.before_s


@dataclass(frozen=True, slots=True)
class Read:
    """Times as UTC seconds, and which of them were on the clock that day only once or not at all."""

    utc_s: I64
    skipped: Mask  # stood on no clock
    repeated: Mask  # came a second time, and is the later one
    changes: tuple[Change, ...]


def zone_of(name: str) -> ZoneInfo:
    """A zone by its IANA name, or a whole-hour offset as +01:00. ConfigError if there is none such."""
    fixed = re.fullmatch(r"(?:UTC)?([+-])(\d{1,2})(?::?00)?", name)
    if fixed is not None:
        sign = "-" if fixed[1] == "+" else "+"  # POSIX counts to the west
        name = f"Etc/GMT{sign}{int(fixed[2])}" if int(fixed[2]) else "UTC"
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = (
            "Europe/Berlin",
            "Europe/Paris",
            "Europe/London",
            "America/New_York",
            "America/Los_Angeles",
            "UTC",
        )
        hint = did_you_mean(name, near) or "as Europe/Berlin, UTC, or +01:00 for a clock without summer time"
        raise ConfigError(f'there is no time zone "{name}"', hint) from None


def offset_s(zone: ZoneInfo, utc_s: int) -> int:
    """Of the zone's clock from UTC at a moment."""
    found = datetime.fromtimestamp(utc_s, UTC).astimezone(zone).utcoffset()
    return 0 if found is None else round(found.total_seconds())


def changes_of(zone: ZoneInfo, first_s: int, last_s: int) -> tuple[Change, ...]:
    """All changes of the offset between two UTC seconds, found by halving the days that differ."""
    changes = []
    day = range(first_s - _DAY_S, last_s + 2 * _DAY_S, _DAY_S)
    offsets = [offset_s(zone, second) for second in day]
    for begin, before, after in zip(day, offsets, offsets[1:], strict=False):
        if before == after:
            continue
        low, high = begin, begin + _DAY_S
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if offset_s(zone, middle) != before else (middle, high)
        changes.append(Change(high, before, after))
    return tuple(changes)


def offsets_of(zone: ZoneInfo, utc_s: I64) -> I64:
    """The clock's offset at each of some moments."""
    changes = changes_of(zone, int(utc_s.min()), int(utc_s.max()))
    at = np.array([change.at_s for change in changes], np.int64)
    first = changes[0].before_s if changes else offset_s(zone, int(utc_s.min()))
    steps = np.array([first, *(change.after_s for change in changes)], np.int64)
    return steps[np.searchsorted(at, utc_s, side="right")]


def utc_of(local_s: I64, zone: ZoneInfo, *, ends: bool) -> Read:
    """UTC of times on a zone's clock, in the order of the file.

    Of an hour that the clock repeats, the first time of each reading of the clock is the earlier one
    (summer time), any further one the later. A time that the clock skips is counted on as if it had not
    been put forward; where times are ends of intervals, the moment of the change itself is none of these:
    it is the end of the last interval before it.
    """
    changes = changes_of(zone, int(local_s.min()) - _DAY_S, int(local_s.max()) + _DAY_S)
    until = np.array([change.at_s + max(change.before_s, change.after_s) for change in changes], np.int64)
    first = changes[0].before_s if changes else offset_s(zone, int(local_s.min()))
    offsets = np.array([first, *(change.after_s for change in changes)], np.int64)
    utc_s = local_s - offsets[np.searchsorted(until, local_s, side="right")]
    skipped, repeated = np.zeros(len(local_s), bool), np.zeros(len(local_s), bool)
    for change in changes:
        low, high = sorted((change.at_s + change.before_s, change.at_s + change.after_s))
        inside = (local_s >= low) & (local_s < high)
        if change.skips:
            skipped |= inside & ~((local_s == low) & ends)
            continue
        where = np.flatnonzero(inside)
        _, places, inverse = np.unique(local_s[where], return_index=True, return_inverse=True)
        again = where[np.arange(len(where)) != places[inverse]]
        repeated[again] = True
        utc_s[again] = local_s[again] - change.after_s
    return Read(utc_s, skipped, repeated, changes)


def step_of(utc_s: I64) -> int:
    """The most frequent distance of neighbouring times in seconds; 0 if there is none."""
    gaps = np.diff(np.unique(utc_s))
    if gaps.size == 0:
        return 0
    found, counts = np.unique(gaps, return_counts=True)
    return int(found[np.argmax(counts)])


def phase_of(utc_s: I64, step_s: int) -> int:
    """Where in a whole step of UTC the intervals begin; a part of a minute is a clock that is not exact."""
    found, counts = np.unique(utc_s % step_s, return_counts=True)
    phase = int(found[np.argmax(counts)])
    return phase if phase % 60 == 0 or step_s < 60 else 0

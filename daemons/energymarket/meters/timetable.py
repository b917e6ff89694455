"""When a meter reads: instants on a grid, of the world's time or of a simulated one. It reads no clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

SLEPT_MS: Final = 600_000
"""A meter that comes back to itself after longer than this (a suspended machine) does not invent the time
between; up to it, it reads what it was late for."""
SET_BACK_MS: Final = 60_000
"""A clock that is set back by more makes the meter go on at the new time; by less, it waits."""
_QUARTER_S: Final = 900


class Timetable:
    """Instants in ms since 1970, `interval_ms` apart, from `first_ms` on, before `end_ms`."""

    def __init__(self, interval_ms: int, first_ms: int, end_ms: int | None = None, *, live: bool) -> None:
        self.interval_ms = interval_ms
        self.next_ms = first_ms
        self.end_ms = end_ms
        self.live = live

    @property
    def is_over(self) -> bool:
        """Whether all instants have passed."""
        return self.end_ms is not None and self.next_ms >= self.end_ms

    def take(self, now_ms: float, count_max: int) -> list[int]:
        """The next instants up to now, at most so many; they are not answered again."""
        if self.live and not -SET_BACK_MS <= now_ms - self.next_ms <= SLEPT_MS:
            self.next_ms = on_grid(now_ms, self.interval_ms)
        until = now_ms if self.end_ms is None else min(now_ms, self.end_ms - 1)
        count = max(0, min(count_max, int((until - self.next_ms) // self.interval_ms) + 1))
        found = [self.next_ms + at * self.interval_ms for at in range(count)]
        self.next_ms += count * self.interval_ms
        return found


def on_grid(now_ms: float, interval_ms: int) -> int:
    """The first instant at or after now."""
    return -int(-now_ms // interval_ms) * interval_ms


def offsets_of(zone: ZoneInfo) -> Callable[[int], int]:
    """What a zone's clock is ahead of UTC in s, at an instant in ms. Zones change at quarter-hours of UTC."""
    known: dict[int, int] = {}

    def offset_s(time_ms: int) -> int:
        quarter = time_ms // (1000 * _QUARTER_S)
        found = known.get(quarter)
        if found is None:
            if len(known) > 1000:
                known.clear()
            moment = datetime.fromtimestamp(quarter * _QUARTER_S, UTC).astimezone(zone)
            found = known[quarter] = int((moment.utcoffset() or timedelta()).total_seconds())
        return found

    return offset_s

"""The frame of a picture: scales, ticks and grid lines, in numbers and in time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from energymarket.daybook.markup import Markup, joined, number, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from energymarket.daybook.local_days import Calendar

WIDE: Final = 860
NARROW: Final = 360
"""Pixels across on a desk and on a phone: drawn twice, so that letters keep their size."""

LETTER: Final = 6.6
"""Pixels that a letter of the axes takes in width, on the safe side."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle with two linear scales; y grows upwards."""

    left: float
    right: float
    top: float
    bottom: float
    x_from: float
    x_to: float
    y_from: float
    y_to: float

    def x(self, value: float) -> float:
        """Where a value stands across."""
        span = self.x_to - self.x_from or 1
        return self.left + (value - self.x_from) / span * (self.right - self.left)

    def y(self, value: float) -> float:
        """Where a value stands in height."""
        span = self.y_to - self.y_from or 1
        return self.bottom - (value - self.y_from) / span * (self.bottom - self.top)


def is_narrow(width: int) -> bool:
    """Whether the picture is the one for a phone."""
    return width < (WIDE + NARROW) // 2


def nice_step(span: float, count: int) -> float:
    """1, 2 or 5 times a power of ten, so that about `count` steps make the span."""
    if span <= 0:
        return 1.0
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from low to high, both included where they are round."""
    step = nice_step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [at * step for at in range(first, last + 1)]


def bounds(values: Iterable[float], *, zero: bool = False) -> tuple[float, float]:
    """Lowest and highest with a little air; never equal. With `zero` it is inside."""
    found = [*values, *([0.0] if zero else [])] or [0.0]
    low, high = min(found), max(found)
    if low == high:
        air = abs(low) * 0.1 or 1.0
        return (0.0, high + air) if zero and low == 0 else (low - air, high + air)
    air = (high - low) * 0.06
    return low if zero and low == 0 else low - air, high if zero and high == 0 else high + air


def label(value: float, step: float) -> str:
    """A number of an axis with the digits that its step needs."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    text = f"{value:,.{digits}f}"
    return "0" if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def y_axis(frame: Frame, unit: str, count: int = 5, shown: Callable[[float], float] = float) -> Markup:
    """Grid lines with numbers at the left, the unit above them, a stronger line at zero."""
    at = ticks(frame.y_from, frame.y_to, count)
    step = nice_step(frame.y_to - frame.y_from, count)
    parts: list[str] = []
    for value in at:
        y = frame.y(value)
        kind = "zero" if abs(value) < step / 1e6 else "gridline"
        parts.append(tag("line", class_=kind, x1=frame.left, x2=frame.right, y1=y, y2=y))
        text = label(shown(value), step)
        parts.append(tag("text", text, class_="tick", x=frame.left - 6, y=y + 4, text_anchor="end"))
    parts.append(tag("text", unit, class_="unit", x=0, y=frame.top - 8))
    return joined(parts)


def x_axis(frame: Frame, marks: Sequence[tuple[float, str]]) -> Markup:
    """Numbers or dates below, each with its little line; those that would overlap are left out."""
    parts: list[str] = []
    free = -math.inf
    for value, text in marks:
        x = frame.x(value)
        if not frame.left - 0.5 <= x <= frame.right + 0.5:
            continue
        parts.append(tag("line", class_="mark", x1=x, x2=x, y1=frame.bottom, y2=frame.bottom + 4))
        half = len(text) * LETTER / 2
        if x - half > free and x + half < frame.right + 18:
            parts.append(tag("text", text, class_="tick", x=x, y=frame.bottom + 17, text_anchor="middle"))
            free = x + half + 6
    return joined(parts)


def step_line(frame: Frame, edges: Sequence[float], values: Sequence[float]) -> str:
    """The path of a value that holds from an edge to the next."""
    parts = [f"M{number(frame.x(edges[0]))} {number(frame.y(values[0]))}"]
    for at, value in enumerate(values):
        if at and value != values[at - 1]:
            parts.append(f"V{number(frame.y(value))}")
        if at + 1 == len(values) or values[at + 1] != value:
            parts.append(f"H{number(frame.x(edges[at + 1]))}")
    return "".join(parts)


def step_area(
    frame: Frame, edges: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> str:  # fmt: skip
    """The path round the area between two such values."""
    there = step_line(frame, edges, high)
    back = step_line(frame, list(reversed(edges)), list(reversed(low)))
    return f"{there}L{back.removeprefix('M')}Z"


def hover(frame: Frame, edges: Sequence[float], titles: Sequence[str]) -> Markup:
    """A strip per value over the whole height that tells its numbers to who points at it."""
    strips = [
        tag(
            "rect",
            [tag("title", title)],
            x=frame.x(edges[at]),
            y=frame.top,
            width=max(frame.x(edges[at + 1]) - frame.x(edges[at]), 0.5),
            height=frame.bottom - frame.top,
        )
        for at, title in enumerate(titles)
    ]
    return tag("g", strips, class_="hover")


# ---- time

_HOUR: Final = timedelta(hours=1)


def time_marks(calendar: Calendar | None, first: float, last: float, room: int) -> list[tuple[float, str]]:
    """Round moments between two slots as (slot, text), at most about `room` of them.

    Without a calendar, round numbers of slots.
    """
    if calendar is None:
        return [(at, f"{at:.0f}") for at in ticks(first, last, room) if at == round(at)]
    begin, end = calendar.begins(math.floor(first)), calendar.begins(math.ceil(last))
    hours = (last - first) * calendar.slot_s / 3600
    for step in (1, 2, 3, 6, 12):
        if hours / step <= room:
            return [(_slot(at, calendar), _clock(at)) for at in _hours(begin, end, step)]
    for step in (1, 2, 7, 14):
        if hours / 24 / step <= room:
            return [(_slot(at, calendar), f"{at.day} {at:%b}") for at in _days(begin, end, step)]
    months = hours / 24 / 30.4
    step = next((each for each in (1, 2, 3, 6, 12, 24, 60) if months / each <= room), 120)
    years = months > 24
    shown = "%Y" if step >= 12 else "%b %Y" if years else "%b"
    return [(_slot(at, calendar), at.strftime(shown)) for at in _months(begin, end, step)]


def _slot(at: datetime, calendar: Calendar) -> float:
    return at.timestamp() / calendar.slot_s


def _clock(at: datetime) -> str:
    return f"{at.day} {at:%b}" if at.hour == 0 and at.minute == 0 else f"{at:%H:%M}"


def _hours(begin: datetime, end: datetime, step: int) -> Iterable[datetime]:
    """Whole hours of local clocks that the step divides; each exists, also where clocks are changed."""
    zone = begin.tzinfo
    stamp = begin.replace(minute=0, second=0, microsecond=0).timestamp()
    while stamp <= end.timestamp():
        at = datetime.fromtimestamp(stamp, tz=zone)
        if at.hour % step == 0 and at >= begin:
            yield at
        stamp += _HOUR.total_seconds()


def _days(begin: datetime, end: datetime, step: int) -> Iterable[datetime]:
    at = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    while at <= end:
        if at >= begin and at.toordinal() % step == (1 if step == 7 else 0) % step:
            yield at
        at = (at + timedelta(days=1)).replace(hour=0)


def _months(begin: datetime, end: datetime, step: int) -> Iterable[datetime]:
    year, month = begin.year, begin.month
    while True:
        at = datetime(year, month, 1, tzinfo=begin.tzinfo)
        if at > end:
            return
        if at >= begin and (year * 12 + month - 1) % step == 0:
            yield at
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)

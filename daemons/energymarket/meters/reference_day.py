"""The reference day: PV power of a clear day by the local clock, through 17 measured points and the peak.

Between the points runs a monotone cubic (Fritsch and Carlson, "Monotone Piecewise Cubic Interpolation",
SIAM Journal on Numerical Analysis 17, 1980, with the harmonic means of Fritsch and Butland, 1984), so that
the curve rises to its peak and falls from it without a wave in between. It knows no date and no zone.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

DAY_S: Final = 86_400

POINTS: Final = (
    ("05:30", 0.02), ("06:00", 0.10), ("07:00", 0.20), ("08:00", 0.33), ("09:00", 0.92),
    ("10:00", 1.70), ("11:00", 2.34), ("12:00", 2.83), ("13:00", 3.12), ("14:00", 3.24), ("14:09", 3.27),
    ("15:00", 3.14), ("16:00", 2.97), ("17:00", 2.56), ("18:00", 1.91), ("19:00", 1.12), ("20:00", 0.17),
    ("20:30", 0.04),
)  # fmt: skip
"""Local clock and kW. Before the first and after the last it is night: exactly 0."""


def power_kw(second: float) -> float:
    """PV power in kW at a second of the local day, in whole mW; 0 at night. ValueError outside the day."""
    if not 0 <= second < DAY_S:
        raise ValueError(f"a day has no second {second}")
    if not _FIRST_S <= second <= _LAST_S:
        return 0.0
    at = int(second)
    first = _BY_SECOND[at]
    return round(first + (second - at) * (_BY_SECOND[at + 1] - first), 6)


def _second(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 3600 + int(minute) * 60


def _slopes(xs: list[int], ys: list[float]) -> list[float]:
    """The slope at each point: the weighted harmonic mean of its neighbours', 0 at peaks and at the ends."""
    steps = [b - a for a, b in pairwise(xs)]
    secants = [(d - c) / h for (c, d), h in zip(pairwise(ys), steps, strict=True)]
    slopes = [0.0]
    for (before, after), (left, right) in zip(pairwise(secants), pairwise(steps), strict=True):
        if before * after <= 0:
            slopes.append(0.0)
            continue
        near, far = 2 * right + left, right + 2 * left
        slopes.append((near + far) / (near / before + far / after))
    return [*slopes, 0.0]


def _table() -> tuple[float, ...]:
    """Power in kW at each second of the day, and at its end."""
    xs, ys = [_second(clock) for clock, _ in POINTS], [power for _, power in POINTS]
    slopes = _slopes(xs, ys)
    values = [0.0] * (DAY_S + 1)
    values[xs[-1]] = ys[-1]
    for at, (first, last) in enumerate(pairwise(xs)):
        width = last - first
        for second in range(first, last):
            t = (second - first) / width
            rise = t * t * (3 - 2 * t)
            values[second] = (
                ys[at] * (1 - rise)
                + ys[at + 1] * rise
                + width * t * (1 - t) * (slopes[at] * (1 - t) - slopes[at + 1] * t)
            )
    return tuple(values)


_FIRST_S, _LAST_S = _second(POINTS[0][0]), _second(POINTS[-1][0])
_BY_SECOND: Final = _table()

"""A band over time as lines of text: shaded between P10 and P90, the median in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

MEDIAN: Final = "●"
INSIDE: Final = "░"
_LABEL: Final = 9
_TIMES_APART: Final = 12


class Axis:
    """Values down the left: the highest above, a line for each of `height` steps."""

    __slots__ = ("height", "high", "low")

    def __init__(self, low: float, high: float, height: int) -> None:
        if high <= low:  # nothing moves: a step about the value
            low, high = low - 0.5, high + 0.5
        self.low = low
        self.high = high
        self.height = height

    def line(self, value: float) -> int:
        """The line of a value, 0 at the top."""
        share = (self.high - value) / (self.high - self.low)
        return min(self.height - 1, max(0, int(share * self.height)))

    def value(self, line: int) -> float:
        """The value in the middle of a line."""
        return self.high - (line + 0.5) * (self.high - self.low) / self.height


def plot(
    band: Mapping[str, Sequence[float]], times: Sequence[str], width: int, height: int, form: str
) -> list[str]:
    """Lines of a band that has `p10`, `p50` and `p90`, with the clock below; `form` writes a value.

    Where there are more slots than columns, a column shows the lowest P10, the highest P90 and the median of
    its middle slot.
    """
    count = len(band["p50"])
    columns = max(1, min(count, width - _LABEL - 2))
    spans = [range(count * at // columns, count * (at + 1) // columns) for at in range(columns)]
    low = [min(band["p10"][at] for at in span) for span in spans]
    high = [max(band["p90"][at] for at in span) for span in spans]
    middle = [band["p50"][span[len(span) // 2]] for span in spans]
    axis = Axis(min(low), max(high), height)
    lines = []
    for line in range(height):
        cells = (
            MEDIAN if line == axis.line(m) else INSIDE if axis.line(h) <= line <= axis.line(l_) else " "
            for l_, m, h in zip(low, middle, high, strict=True)
        )
        lines.append(f"{form.format(axis.value(line)):>{_LABEL}} │{''.join(cells)}".rstrip())
    return [*lines, *_clock([times[span[0]] for span in spans])]


def _clock(times: Sequence[str]) -> list[str]:
    """Marks and times below the columns: of RFC 3339 the hour is shown, and the day where it is new."""
    marks, words, day = ["─"] * len(times), "", ""
    for at in range(0, len(times), _TIMES_APART):
        if at < len(words):
            continue
        marks[at] = "┴"
        text = times[at][11:16] if times[at][:10] == day else f"{times[at][5:10]} {times[at][11:16]}"
        day = times[at][:10]
        words = f"{words:<{at}}{text} "
    return [f"{'':>{_LABEL}} └{''.join(marks)}", f"{'':>{_LABEL}}  {words}".rstrip()]

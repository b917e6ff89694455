"""The heat map of net load: a column per day, a row per time of day; blue feeds in, orange draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.daybook import amounts, axes
from energymarket.daybook.axes import Frame
from energymarket.daybook.colours import STEPS
from energymarket.daybook.duration import net_load_wh
from energymarket.daybook.local_days import DAY_S, date_of
from energymarket.daybook.markup import Markup, joined, number, tag
from energymarket.daybook.plate import Drawing, Plate, Rows

if TYPE_CHECKING:
    from energymarket.audit.figures import F64, Figures
    from energymarket.core.units import I64
    from energymarket.daybook.local_days import Calendar

ROW_S_MIN: Final = 900
COLUMNS_MAX: Final = 372
COLUMNS_MAX_NARROW: Final = 124


@dataclass(frozen=True, slots=True)
class Heat:
    """R rows of a time of day each, C columns of `days` days each; NaN where no slot was."""

    first_day: int
    days: int
    row_s: int
    power_kw: F64  # (R, C): mean of the slots that lie in the cell


def heat_of(net_wh: I64, slot: I64, calendar: Calendar, columns_max: int = COLUMNS_MAX) -> Heat:
    """Means per cell, by local clocks.

    An hour that is left out in spring is empty, the one that comes twice in autumn is the mean of both.
    """
    day, second = calendar.local(slot)
    first = int(day[0])
    days = -(-(int(day[-1]) - first + 1) // columns_max)
    row_s = max(ROW_S_MIN, calendar.slot_s)
    rows, columns = -(-DAY_S // row_s), (int(day[-1]) - first) // days + 1
    cell = second // row_s * columns + (day - first) // days
    counts = np.bincount(cell, minlength=rows * columns)
    sums = np.bincount(cell, calendar.power_kw(net_wh), rows * columns)
    with np.errstate(invalid="ignore"):
        mean = np.where(counts > 0, sums / counts, np.nan)
    return Heat(first, days, row_s, mean.reshape(rows, columns))


def span_of(heat: Heat) -> float:
    """Where the colours end: the strongest percent of the cells lies beyond and has the last colour."""
    known = np.abs(heat.power_kw[~np.isnan(heat.power_kw)])
    return float(np.quantile(known, 0.99)) or float(known.max()) or 1.0


def classes_of(heat: Heat, span: float) -> I64:
    """Class of each cell, 0 .. 2 × STEPS with nothing in the middle; −1 where no slot was.

    Classes grow with the square of the power, so that a winter's draw is seen beside a summer's feed-in.
    """
    power = np.nan_to_num(heat.power_kw)
    scaled = np.sign(power) * np.sqrt(np.abs(power) / span) * (STEPS + 0.5)
    found = np.clip(np.rint(scaled), -STEPS, STEPS).astype(np.int64) + STEPS
    return np.where(np.isnan(heat.power_kw), -1, found)


def plate(slots: Figures, calendar: Calendar) -> Plate:
    """Net load of a whole run. Wants two days at least: `is_worth_it` says so."""
    net_wh = net_load_wh(slots)
    heat = heat_of(net_wh, slots.slot, calendar)
    by_time = np.nanmean(heat.power_kw, axis=1)
    low, high = int(np.nanargmin(by_time)), int(np.nanargmax(by_time))
    says = (
        f"By time of day the neighbourhood drew most at {_time(high, heat)} "
        f"({amounts.power(float(by_time[high]))} in the mean) and "
        f"{'fed in most' if by_time[low] < 0 else 'drew least'} at {_time(low, heat)} "
        f"({amounts.power(abs(float(by_time[low])))})."
    )
    each = "a day" if heat.days == 1 else f"{heat.days} days"
    return Plate(
        "heat",
        "Net load by day and time of day",
        says,
        lambda width: _draw(net_wh, slots.slot, calendar, width),
        _rows(heat),
        note=f"Local time ({calendar.timezone}). A column is {each}, a cell the mean of its slots.",
    )


def is_worth_it(slots: Figures, calendar: Calendar) -> bool:
    """Whether there are at least two days to compare."""
    return len(slots) * calendar.slot_s >= 2 * DAY_S


def _time(row: int, heat: Heat) -> str:
    minutes = row * heat.row_s // 60
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _draw(net_wh: I64, slot: I64, calendar: Calendar, width: int) -> Drawing:
    narrow = axes.is_narrow(width)
    heat = heat_of(net_wh, slot, calendar, COLUMNS_MAX_NARROW if narrow else COLUMNS_MAX)
    rows, columns = heat.power_kw.shape
    span = span_of(heat)
    frame = Frame(46, width - 8, 12, 12 + (240 if narrow else 290), 0, columns, 24, 0)
    across, down = (frame.right - frame.left) / columns, (frame.bottom - frame.top) / rows
    place = f"translate({number(frame.left)} {number(frame.top)})"
    scale = f"{place} scale({across:.5f} {down:.5f})"
    found = classes_of(heat, span)
    cells = [
        tag("path", class_=f"h{kind}", d=_runs(found, kind))
        for kind in range(2 * STEPS + 1)
        if (found == kind).any()
    ]
    hours = [
        tag("text", f"{hour:02d}:00", class_="tick", x=frame.left - 6, y=frame.y(hour) + 4, text_anchor="end")
        for hour in (0, 6, 12, 18, 24)
    ]
    first = calendar.begins(int(slot[0])).toordinal()
    marks = axes.time_marks(calendar, float(slot[0]), float(slot[-1]) + 1, 5 if narrow else 12)
    placed = [((calendar.begins(int(at)).toordinal() - first) / heat.days, text) for at, text in marks]
    parts = [
        tag(
            "rect",
            class_="nothing",
            x=frame.left,
            y=frame.top,
            width=frame.right - frame.left,
            height=frame.bottom - frame.top,
        ),
        tag("g", cells, transform=scale, shape_rendering="crispEdges"),
        *hours,
        axes.x_axis(frame, placed),
        axes.hover(frame, list(range(columns + 1)), _titles(heat)),
        _key(frame, span, width),
    ]
    return Drawing(frame.bottom + 70, joined(parts))


def _runs(found: I64, kind: int) -> str:
    """Cells of a class as rectangles, each as long as the class goes on down its column."""
    parts: list[str] = []
    mask = np.zeros((found.shape[0] + 2, found.shape[1]), np.int8)
    mask[1:-1] = found == kind
    change = np.diff(mask, axis=0)
    for column in np.flatnonzero(mask.any(axis=0)).tolist():
        starts = np.flatnonzero(change[:, column] == 1).tolist()
        stops = np.flatnonzero(change[:, column] == -1).tolist()
        parts += [
            f"M{column} {start}h1v{stop - start}h-1z" for start, stop in zip(starts, stops, strict=True)
        ]
    return "".join(parts)


def _titles(heat: Heat) -> list[str]:
    """Per column: when, its mean, its extremes and when they were."""
    titles = []
    for column in range(heat.power_kw.shape[1]):
        power = heat.power_kw[:, column]
        day = date_of(heat.first_day + column * heat.days)
        low, high = int(np.nanargmin(power)), int(np.nanargmax(power))
        titles.append(
            f"{day.isoformat()}{'' if heat.days == 1 else f' and {heat.days - 1} more'}\n"
            f"mean {amounts.power(float(np.nanmean(power)))}\n"
            f"highest {amounts.power(float(power[high]))} at {_time(high, heat)}\n"
            f"lowest {amounts.power(float(power[low]))} at {_time(low, heat)}"
        )
    return titles


def _key(frame: Frame, span: float, width: int) -> Markup:
    """The colours from the strongest feed-in to the strongest draw, with their powers."""
    count = 2 * STEPS + 1
    size = 17 if axes.is_narrow(width) else 30
    left = frame.left + (frame.right - frame.left - count * size) / 2
    y = frame.bottom + 34
    boxes = [
        tag("rect", class_=f"h{kind}", x=left + kind * size, y=y, width=size, height=10)
        for kind in range(count)
    ]
    texts = [tag("text", "0", class_="tick", x=left + count * size / 2, y=y + 25, text_anchor="middle")]
    for step in (STEPS // 2 + 1, STEPS):
        edge = amounts.power(span * ((step - 0.5) / (STEPS + 0.5)) ** 2)
        text = f"> {edge}" if step == STEPS else edge
        for sign in (-1, 1):
            # the inner edge of the class: from there on it is at least so much
            x = left + (STEPS + 0.5 + sign * (step - 0.5)) * size
            texts.append(tag("text", text, class_="tick", x=x, y=y + 25, text_anchor="middle"))
    names = [
        tag("text", "feeds in", class_="tick", x=left - 8, y=y + 9, text_anchor="end"),
        tag("text", "draws", class_="tick", x=left + count * size + 8, y=y + 9),
    ]
    return joined([*boxes, *texts, *names])


def _rows(heat: Heat) -> Rows:
    """Mean, lowest and highest by hour of the day."""
    rows = []
    per_hour = max(1, 3600 // heat.row_s)
    for first in range(0, heat.power_kw.shape[0], per_hour):
        power = heat.power_kw[first : first + per_hour]
        values = [float(np.nanmean(power)), float(np.nanmin(power)), float(np.nanmax(power))]
        rows.append([_time(first, heat), *(f"{value:,.2f}".replace("-", "−") for value in values)])
    return Rows(["from", "mean kW", "lowest", "highest"], rows, "Above zero: drawn from the grid.")

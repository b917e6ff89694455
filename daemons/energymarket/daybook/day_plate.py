"""A day's flows: where consumption came from and what went to the grid, slot by slot, above its price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.daybook import amounts, axes
from energymarket.daybook.axes import Frame
from energymarket.daybook.local_days import date_of
from energymarket.daybook.markup import Markup, joined, tag
from energymarket.daybook.plate import Drawing, Plate, Rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energymarket.audit.figures import F64, Figures
    from energymarket.daybook.local_days import Calendar

POINTS_MAX: Final = 300
CAME: Final = (
    ("own", "own roof and battery"),
    ("given", "gifts"),
    ("traded", "bought from neighbours"),
    ("import", "from the grid"),
)
WENT: Final = (
    ("sold", "sold to the grid"),
    ("unpaid", "gifts nobody took"),
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A day to show and why."""

    day: int  # since 1970-01-01
    why: tuple[str, ...]


def chosen_days(slots: Figures, calendar: Calendar, wanted: int | None = None) -> list[Chosen]:
    """The day that was asked for, the last, the sunniest and the dearest; one that is two of them once.

    Whole days only, where there is one: half a day has less sun than it had.
    """
    day, _ = calendar.local(slots.slot)
    days, at, counts = np.unique(day, return_inverse=True, return_counts=True)
    whole = np.array(
        [count >= calendar.slots_of(int(each)) for each, count in zip(days, counts, strict=True)]
    )
    eligible = whole if whole.any() else np.ones(len(days), np.bool_)
    produced = np.bincount(at, slots.of("produced_wh"), len(days))
    mean = np.bincount(at, slots.price_ueur_per_kwh, len(days)) / counts
    reasons: dict[int, list[str]] = {}
    if wanted is not None and wanted in days:
        reasons.setdefault(wanted, []).append("asked for")
    reasons.setdefault(int(days[eligible][-1]), []).append("the last day")
    if produced.any():
        best = int(np.where(eligible, produced, -1).argmax())
        reasons.setdefault(int(days[best]), []).append("most production")
    dearest = int(np.where(eligible, mean, -np.inf).argmax())
    reasons.setdefault(int(days[dearest]), []).append("the dearest")
    return [Chosen(each, tuple(why)) for each, why in reasons.items()]


@dataclass(frozen=True, slots=True)
class Flows:
    """K stretches of a day: mean power in kW by where it came from and went, and the price."""

    edges: list[float]  # (K + 1,) slots
    power_kw: Mapping[str, F64]
    produced_kw: F64
    price_eur_per_kwh: F64


def flows_of(slots: Figures, calendar: Calendar, most: int = POINTS_MAX) -> Flows:
    """Energies over time; what a stretch has more slots, it is longer."""
    size = -(-len(slots) // most)
    starts = np.arange(0, len(slots), size, dtype=np.int64)
    counts = np.diff(np.append(starts, len(slots)))
    energies = {
        "own": np.maximum(slots.of("consumed_wh") - slots.of("imported_wh"), 0),
        "given": slots.of("taken_wh"),
        "traded": slots.traded_wh,
        "import": slots.bought_from_grid_wh + slots.of("short_wh"),
        "sold": slots.sold_to_grid_wh + slots.of("long_wh"),
        "unpaid": slots.of("expired_wh"),
    }

    def mean(values: F64) -> F64:
        found: F64 = np.add.reduceat(values, starts) / counts
        return found

    return Flows(
        [*slots.slot[starts].tolist(), int(slots.slot[-1]) + 1],
        {name: mean(calendar.power_kw(column)) for name, column in energies.items()},
        mean(calendar.power_kw(slots.of("produced_wh"))),
        mean(slots.price_ueur_per_kwh / 1e6),
    )


def plate(slots: Figures, calendar: Calendar, chosen: Chosen) -> Plate:
    """`slots` are those of the day."""
    flows = flows_of(slots, calendar)
    date = date_of(chosen.day)
    shown = [(name, text) for name, text in (*CAME, *WENT) if flows.power_kw[name].any()]
    sums = {name: int(slots.of(f"{name}_wh").sum()) for name in ("produced", "consumed", "taken")}
    says = (
        f"The homes produced {amounts.energy(sums['produced'])}, consumed {amounts.energy(sums['consumed'])} "
        f"and gave each other {amounts.energy(sums['taken'])}; the mean price was "
        f"{amounts.price(slots.price_ueur_per_kwh.mean())}."
    )
    return Plate(
        f"day-{date.isoformat()}",
        f"{date:%A}, {date.day} {date:%B %Y}",
        says,
        lambda width: _draw(flows, calendar, width),
        _rows(slots, calendar),
        [
            *((f"fill {name}", text) for name, text in shown),
            ("line dotted", "production"),
            ("line ink", "local price"),
        ],
        "Above zero: what met consumption. Below zero: what the neighbourhood gave to the grid.",
    )


def _draw(flows: Flows, calendar: Calendar, width: int) -> Drawing:
    narrow = axes.is_narrow(width)
    edges, left, right = flows.edges, 46.0, width - 8.0
    price = flows.price_eur_per_kwh.tolist()
    above = Frame(left, right, 24, 94, edges[0], edges[-1], *axes.bounds(price))
    came = np.sum([flows.power_kw[name] for name, _ in CAME], axis=0)
    went = np.sum([flows.power_kw[name] for name, _ in WENT], axis=0)
    low, high = axes.bounds([came.max(), flows.produced_kw.max(), -went.max()], zero=True)
    below = Frame(left, right, 132, 132 + (240 if narrow else 280), edges[0], edges[-1], low, high)
    marks = axes.time_marks(calendar, edges[0], edges[-1], 5 if narrow else 13)
    parts = [
        axes.y_axis(above, "€/kWh", 3),
        tag("path", class_="line ink", d=axes.step_line(above, edges, price)),
        axes.y_axis(below, "kW, mean of the slot", 6, abs),
        _stacked(below, flows, CAME, 1),
        _stacked(below, flows, WENT, -1),
        tag("path", class_="line dotted", d=axes.step_line(below, edges, flows.produced_kw.tolist())),
        tag("line", class_="zero", x1=left, x2=right, y1=below.y(0), y2=below.y(0)),
        axes.x_axis(below, marks),
        axes.hover(
            Frame(left, right, above.top, below.bottom, edges[0], edges[-1], 0, 1),
            edges,
            _titles(flows, calendar),
        ),
    ]
    return Drawing(below.bottom + 26, joined(parts))


def _stacked(frame: Frame, flows: Flows, names: Sequence[tuple[str, str]], sign: int) -> Markup:
    parts: list[str] = []
    start = np.zeros(len(flows.produced_kw))
    for name, _ in names:
        end = start + sign * flows.power_kw[name]
        if (end != start).any():
            path = axes.step_area(frame, flows.edges, start.tolist(), end.tolist())
            parts.append(tag("path", class_=f"fill {name}", d=path))
        start = end
    return joined(parts)


def _titles(flows: Flows, calendar: Calendar) -> list[str]:
    titles = []
    for at, price in enumerate(flows.price_eur_per_kwh.tolist()):
        begin = calendar.begins(int(flows.edges[at]))
        told = [
            f"{begin:%H:%M}, {price:.4f} €/kWh",
            f"production {amounts.power(float(flows.produced_kw[at]))}",
        ]
        for name, text in (*CAME, *WENT):
            value = float(flows.power_kw[name][at])
            if value:
                told.append(f"{text} {amounts.power(value)}")
        titles.append("\n".join(told))
    return titles


def _rows(slots: Figures, calendar: Calendar) -> Rows:
    """By hour of local clocks, in kWh: sums, so that the columns add up to the day."""
    # Hours of UTC beside those of local clocks: the hour that is repeated in autumn has two rows.
    key = slots.slot * calendar.slot_s // 3600
    starts = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    columns = {
        "produced": slots.of("produced_wh"),
        "consumed": slots.of("consumed_wh"),
        "gifts": slots.of("taken_wh"),
        "traded": slots.traded_wh,
        "from the grid": slots.bought_from_grid_wh + slots.of("short_wh"),
        "to the grid": slots.sold_to_grid_wh + slots.of("long_wh") + slots.of("expired_wh"),
    }
    sums = {name: np.add.reduceat(column, starts) / 1e3 for name, column in columns.items()}
    counts = np.diff(np.append(starts, len(slots)))
    price = np.add.reduceat(slots.price_ueur_per_kwh, starts) / counts / 1e6
    rows = [
        [
            f"{calendar.begins(int(slots.slot[first])):%H:%M}",
            f"{price[at]:.4f}",
            *(f"{column[at]:,.2f}" for column in sums.values()),
        ]
        for at, first in enumerate(starts.tolist())
    ]
    return Rows(["from", "€/kWh", *columns], rows, "Energy in kWh per hour.")

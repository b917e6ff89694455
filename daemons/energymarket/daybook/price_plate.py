"""The price over time: what it was, and which cause moved it away from its base by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.daybook import amounts, axes, causes
from energymarket.daybook.axes import Frame
from energymarket.daybook.colours import CAUSE
from energymarket.daybook.markup import Markup, joined, tag
from energymarket.daybook.plate import Drawing, Plate, Rows
from energymarket.daybook.words import spells_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energymarket.audit.figures import F64, Figures
    from energymarket.core.units import I64
    from energymarket.daybook.local_days import Calendar

POINTS_MAX: Final = 760
"""More points than this nobody can tell apart on a screen: hours or days are taken together."""

MOVERS: Final = tuple(name for name in causes.CAUSES if name != causes.BASE)
_THIN_UEUR_PER_KWH: Final = 50.0


@dataclass(frozen=True, slots=True)
class Stretches:
    """K stretches of slots, each taken together: means, extremes, and the price's parts by cause."""

    what: str  # slot, hour, day, ...
    first: I64  # (K,): slot; the one after the last closes
    stop: int
    mean: F64  # µ€/kWh, likewise all that follow
    low: F64
    high: F64
    parts: Mapping[str, F64]

    @property
    def edges(self) -> list[float]:
        """K + 1 slots between which the stretches lie."""
        return [*self.first.tolist(), self.stop]


def stretches_of(slots: Figures, calendar: Calendar | None, most: int = POINTS_MAX) -> Stretches:
    """As many as can be told apart: slots, else hours, else days, else more days."""
    what, starts = _starts(slots.slot, calendar, most)
    counts = np.diff(np.append(starts, len(slots)))
    price = slots.price_ueur_per_kwh.astype(np.float64)
    parts = causes.causes_of(slots)
    return Stretches(
        what,
        slots.slot[starts],
        int(slots.slot[-1]) + 1,
        np.add.reduceat(price, starts) / counts,
        np.minimum.reduceat(price, starts),
        np.maximum.reduceat(price, starts),
        {name: np.add.reduceat(part, starts) / counts for name, part in parts.items()},
    )


def _starts(slot: I64, calendar: Calendar | None, most: int) -> tuple[str, I64]:
    """Where stretches begin (indices), and what one is."""
    if len(slot) <= most:
        return "slot", np.arange(len(slot), dtype=np.int64)
    if calendar is not None:
        day, second = calendar.local(slot)
        first = int(day[0])
        for what, key in (
            ("hour", day * 24 + second // 3600),
            ("6 hours", day * 4 + second // 21_600),
            ("day", day),
            *((f"{days} days", (day - first) // days) for days in (7, 14, 28, 56, 112)),
        ):
            # An hour that clocks repeat is one stretch of twice the length.
            starts = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
            if len(starts) <= most:
                return what, starts
    size = -(-len(slot) // most)
    return f"{size} slots", np.arange(0, len(slot), size, dtype=np.int64)


def plate(slots: Figures, calendar: Calendar | None, limits: tuple[int, int] | None) -> Plate:
    """`limits` are floor and cap in µ€/kWh, where they are known."""
    found = stretches_of(slots, calendar)
    shown = [name for name in MOVERS if np.abs(found.parts[name]).max() > _THIN_UEUR_PER_KWH]
    per = "" if found.what == "slot" else f", mean of each {found.what}"
    return Plate(
        "price",
        "The price and what moved it",
        _says(slots, found, shown),
        lambda width: _draw(slots, found, shown, calendar, limits, width),
        _rows(found, shown, calendar),
        [
            ("line ink", f"local price{per}"),
            *([("band", f"lowest to highest within each {found.what}")] if found.what != "slot" else []),
            ("line dashed", "import and export price"),
            *((f"fill {CAUSE[name]}", _named(name)) for name in shown),
        ],
        "Below: by how much each cause lifts or lowers the price against its base. Effects fade with the"
        " price's half-life, and the part of a cause includes what is left of its past. Base and parts"
        " add up to the price."
        + ("" if slots.detailed.all() else " Old slots are compacted: their causes are gone, all is base."),
    )


def _named(cause: str) -> str:
    return "events; bars in between: while one acts" if cause == causes.EVENTS else cause


def _says(slots: Figures, found: Stretches, shown: Sequence[str]) -> str:
    price = slots.price_ueur_per_kwh
    told = (
        f"The local price was {amounts.price(price.mean())} in the mean of the slots, "
        f"between {amounts.price(int(price.min()))} and {amounts.price(int(price.max()))}."
    )
    if not shown:
        return f"{told} Nothing moved it away from its base."
    strongest = max(shown, key=lambda name: float(np.abs(found.parts[name]).mean()))
    return f"{told} What moved it most was {strongest}."


def _rows(found: Stretches, shown: Sequence[str], calendar: Calendar | None) -> Rows:
    rows = [
        [
            when(int(found.first[at]), calendar),
            *(f"{column[at] / 1e6:.4f}" for column in (found.mean, found.low, found.high)),
            *(f"{found.parts[name][at] / 1e6:+.4f}" for name in (causes.BASE, *shown)),
        ]
        for at in range(len(found.first))
    ]
    head = [found.what, "mean €/kWh", "lowest", "highest", causes.BASE, *shown]
    return Rows(head, rows, "€/kWh. The parts add up to the mean.")


def when(slot: int, calendar: Calendar | None) -> str:
    """Local time of a slot; its number where there is no calendar."""
    return f"slot {slot}" if calendar is None else calendar.begins(slot).strftime("%Y-%m-%d %H:%M")


def _draw(
    slots: Figures,
    found: Stretches,
    shown: Sequence[str],
    calendar: Calendar | None,
    limits: tuple[int, int] | None,
    width: int,
) -> Drawing:
    narrow = axes.is_narrow(width)
    above_px, below_px, lane_px = (190, 130, 14) if narrow else (230, 150, 16)
    edges = found.edges
    tariff = [np.unique(getattr(slots, f"{name}_ueur_per_kwh")) for name in ("import", "export")]
    held = [] if limits is None else [limit / 1e6 for limit in limits if _is_near(limit, slots)]
    levels = [float(each) / 1e6 for pair in tariff for each in pair]
    low, high = axes.bounds([found.low.min() / 1e6, found.high.max() / 1e6, *levels, *held])
    left, right = 46.0, width - 8.0
    above = Frame(left, right, 24, 24 + above_px, edges[0], edges[-1], low, high)
    top = above.bottom + lane_px + 34
    reach = [
        sum(np.maximum(found.parts[name], 0) for name in shown),
        sum(np.minimum(found.parts[name], 0) for name in shown),
    ]
    low, high = (
        axes.bounds([float(np.max(reach[0])) / 1e6, float(np.min(reach[1])) / 1e6], zero=True)
        if shown
        else (-0.01, 0.01)
    )
    below = Frame(left, right, top, top + below_px, edges[0], edges[-1], low, high)
    marks = axes.time_marks(calendar, edges[0], edges[-1], 5 if narrow else 12)
    parts = [
        axes.y_axis(above, "€/kWh"),
        _limits(above, held),
        _tariff(above, slots, found),
        _band(above, found),
        tag("path", class_="line ink", d=axes.step_line(above, edges, (found.mean / 1e6).tolist())),
        _events(above, slots, calendar, lane_px),
        axes.y_axis(below, "€/kWh away from the base", 4),
        _movers(below, found, shown),
        axes.x_axis(below, marks),
        axes.hover(
            Frame(left, right, above.top, below.bottom, edges[0], edges[-1], 0, 1),
            edges,
            _titles(found, shown, calendar),
        ),
    ]
    return Drawing(below.bottom + 26, joined(parts))


def _is_near(limit: int, slots: Figures) -> bool:
    """A floor or cap far from every price would only squeeze the picture."""
    price = slots.price_ueur_per_kwh
    span = max(int(price.max()) - int(price.min()), 20_000)
    return int(price.min()) - span <= limit <= int(price.max()) + span


def _limits(frame: Frame, held: Sequence[float]) -> Markup:
    parts: list[str] = []
    for level in held:
        y = frame.y(level)
        parts.append(tag("line", class_="limit", x1=frame.left, x2=frame.right, y1=y, y2=y))
    names = ("floor", "cap") if len(held) == 2 else ("limit",)
    for level, name in zip(held, names, strict=False):
        parts.append(
            tag(
                "text",
                name,
                class_="tick",
                x=frame.right - 2,
                y=frame.y(level) + (-4 if name == "floor" else 13),
                text_anchor="end",
            )
        )
    return joined(parts)


def _tariff(frame: Frame, slots: Figures, found: Stretches) -> Markup:
    parts: list[str] = []
    starts = np.searchsorted(slots.slot, found.first)
    counts = np.diff(np.append(starts, len(slots)))
    for name in ("import", "export"):
        column = getattr(slots, f"{name}_ueur_per_kwh").astype(np.float64)
        if (column == slots.price_ueur_per_kwh).all():
            continue  # the tariff follows the price: the same line
        mean = np.add.reduceat(column, starts) / counts / 1e6
        parts.append(tag("path", class_="line dashed", d=axes.step_line(frame, found.edges, mean.tolist())))
        at = frame.y(float(mean[0])) + (-5 if name == "import" else 13)
        parts.append(tag("text", f"{name} price", class_="tick", x=frame.left + 4, y=at))
    return joined(parts)


def _band(frame: Frame, found: Stretches) -> Markup:
    if found.what == "slot":
        return Markup()
    low, high = (found.low / 1e6).tolist(), (found.high / 1e6).tolist()
    return tag("path", class_="band", d=axes.step_area(frame, found.edges, low, high))


def _movers(frame: Frame, found: Stretches, shown: Sequence[str]) -> Markup:
    """What lifts stands on the base, what lowers hangs from it."""
    parts: list[str] = []
    for sign in (1, -1):
        start = np.zeros(len(found.first))
        for name in shown:
            part = found.parts[name] / 1e6
            end = start + (np.maximum(part, 0) if sign > 0 else np.minimum(part, 0))
            if (end != start).any():
                path = axes.step_area(frame, found.edges, start.tolist(), end.tolist())
                parts.append(tag("path", class_=f"fill {CAUSE[name]}", d=path))
            start = end
    y = frame.y(0)
    return joined([*parts, tag("line", class_="zero", x1=frame.left, x2=frame.right, y1=y, y2=y)])


def _events(above: Frame, slots: Figures, calendar: Calendar | None, lane_px: float) -> Markup:
    """A lane between the two frames: a bar for as long as an event acts."""
    bars: list[str] = []
    y = above.bottom + 6
    for name, first, last in spells_of(slots):
        x, end = above.x(first), above.x(last + 1)
        told = f"{name.replace('_', ' ')}: {when(first, calendar)} to {when(last + 1, calendar)}"
        bars.append(
            tag(
                "rect",
                [tag("title", told)],
                class_="events-lane",
                x=x,
                y=y,
                width=max(end - x, 2),
                height=lane_px - 4,
            )
        )
    if not bars:
        return Markup()
    label = tag("text", "events", class_="tick", x=above.left - 6, y=y + lane_px - 6, text_anchor="end")
    return joined([label, *bars])


def _titles(found: Stretches, shown: Sequence[str], calendar: Calendar | None) -> list[str]:
    titles = []
    for at in range(len(found.first)):
        parts = ", ".join(f"{name} {found.parts[name][at] / 1e6:+.4f}" for name in (causes.BASE, *shown))
        titles.append(f"{when(int(found.first[at]), calendar)}\n{amounts.price(found.mean[at])}\n{parts}")
    return titles

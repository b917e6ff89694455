"""The duration curve: for how much of the time the neighbourhood drew how much from the grid, or fed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.daybook import amounts, axes
from energymarket.daybook.axes import Frame
from energymarket.daybook.markup import joined, tag
from energymarket.daybook.plate import Drawing, Plate, Rows

if TYPE_CHECKING:
    from energymarket.audit.figures import F64, Figures
    from energymarket.core.units import I64
    from energymarket.daybook.local_days import Calendar

STEPS_MAX: Final = 240
"""Steps on each side of zero; each is the mean of its slots, so that the area stays the energy."""


@dataclass(frozen=True, slots=True)
class Curve:
    """K steps: how many slots each lasts, and their mean power in kW, highest first."""

    slots: I64  # (K,)
    power_kw: F64  # (K,)


def net_load_wh(slots: Figures) -> I64:
    """What the neighbourhood as a whole drew from the grid (above zero) or fed in, by its meters."""
    return slots.of("imported_wh") - slots.of("exported_wh")


def curve_of(net_wh: I64, calendar: Calendar, most: int = STEPS_MAX) -> Curve:
    """Slots sorted by power. Each side of zero is cut by itself; its highest and lowest slot stand alone."""
    ordered = np.sort(net_wh)[::-1]
    drawn = int(np.count_nonzero(ordered > 0))
    starts = np.unique(np.concatenate([_cuts(0, drawn, most), _cuts(drawn, len(ordered), most)]))
    counts = np.diff(np.append(starts, len(ordered)))
    return Curve(counts, calendar.power_kw(np.add.reduceat(ordered, starts)) / counts)


def _cuts(first: int, stop: int, most: int) -> I64:
    if stop - first <= most:
        return np.arange(first, stop, dtype=np.int64)
    inner = np.linspace(first + 1, stop - 1, most - 1).astype(np.int64)
    return np.concatenate([np.array([first], np.int64), inner])


def plate(slots: Figures, calendar: Calendar) -> Plate:
    """The curve of a whole run."""
    net_wh = net_load_wh(slots)
    curve = curve_of(net_wh, calendar)
    power = calendar.power_kw(net_wh)
    drawn, fed = int(net_wh[net_wh > 0].sum()), -int(net_wh[net_wh < 0].sum())
    share = float(np.count_nonzero(net_wh > 0)) / len(net_wh)
    says = (
        f"The neighbourhood drew power from the grid in {amounts.share(share)} of the slots, "
        f"{amounts.power(max(float(power.max()), 0))} at most and {amounts.energy(drawn)} in all; it fed in "
        f"{amounts.power(max(-float(power.min()), 0))} at most and {amounts.energy(fed)} in all."
    )
    return Plate(
        "duration",
        "For how long how much power",
        says,
        lambda width: _draw(curve, width),
        _rows(power, calendar),
        [
            ("fill import", f"from the grid: {amounts.energy(drawn)}"),
            ("fill sold", f"to the grid: {amounts.energy(fed)}"),
        ],
        "All slots, sorted by the net load of the neighbourhood: the areas are the energies.",
    )


def _draw(curve: Curve, width: int) -> Drawing:
    total = int(curve.slots.sum())
    edges = np.concatenate([[0.0], np.cumsum(curve.slots) / total * 100]).tolist()
    power = curve.power_kw.tolist()
    frame = Frame(
        46,
        width - 14,
        24,
        24 + (220 if axes.is_narrow(width) else 260),
        0,
        100,
        *axes.bounds(power, zero=True),
    )
    zero = [0.0] * len(power)
    parts = [axes.y_axis(frame, "kW net load, mean of the slot", 6)]
    for kind, values in (("import", np.maximum(curve.power_kw, 0)), ("sold", np.minimum(curve.power_kw, 0))):
        if values.any():
            parts.append(
                tag("path", class_=f"fill {kind}", d=axes.step_area(frame, edges, zero, values.tolist()))
            )
    marks = [(float(at), f"{at} %") for at in range(0, 101, 25 if axes.is_narrow(width) else 10)]
    titles = [
        f"{edges[at]:.1f} to {edges[at + 1]:.1f} % of the time\n{amounts.power(each)}"
        for at, each in enumerate(power)
    ]
    parts += [
        tag("path", class_="line ink", d=axes.step_line(frame, edges, power)),
        axes.x_axis(frame, marks),
        tag("text", "of the time", class_="unit", x=frame.right, y=frame.bottom + 33, text_anchor="end"),
        axes.hover(frame, edges, titles),
    ]
    return Drawing(frame.bottom + 40, joined(parts))


def _rows(power_kw: F64, calendar: Calendar) -> Rows:
    shares = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
    found = np.quantile(power_kw, [1 - share / 100 for share in shares])
    hours = len(power_kw) * calendar.slot_s / 3600
    rows = [
        [f"{share} %", f"{share / 100 * hours:,.0f}", f"{value:,.3f}".replace("-", "−")]
        for share, value in zip(shares, found.tolist(), strict=True)
    ]
    return Rows(["of the time", "hours", "at least, kW"], rows)

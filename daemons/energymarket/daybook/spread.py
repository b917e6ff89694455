"""How often the price was where: its distribution over the slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.daybook import amounts, axes
from energymarket.daybook.axes import Frame
from energymarket.daybook.markup import joined, tag
from energymarket.daybook.plate import Drawing, Plate, Rows

if TYPE_CHECKING:
    from energymarket.audit.figures import F64, Figures
    from energymarket.core.units import I64

BINS: Final = 40


def bins_of(price_ueur_per_kwh: I64, bins: int = BINS) -> tuple[I64, F64]:
    """Slots per bin, shape (bins,), and the bins' edges in µ€/kWh, at round prices."""
    low, high = int(price_ueur_per_kwh.min()), int(price_ueur_per_kwh.max())
    step = max(axes.nice_step(high - low, bins), 1.0)
    first = np.floor(low / step)
    count = int(np.floor(high / step) - first) + 1
    edges = (first + np.arange(count + 1)) * step
    return np.histogram(price_ueur_per_kwh, edges)[0].astype(np.int64), edges


def plate(slots: Figures) -> Plate:
    """The distribution of all slots' prices."""
    price = slots.price_ueur_per_kwh
    counts, edges = bins_of(price)
    p5, p50, p95 = (float(each) for each in np.quantile(price, (0.05, 0.5, 0.95)))
    says = (
        f"Half of the slots were below {amounts.price(p50)}, nine in ten lay between {amounts.price(p5)} and "
        f"{amounts.price(p95)}; floor or cap held in {int(slots.clipped.sum())} of {len(slots):,} slots."
    )
    shares = counts / len(slots)
    rows = [
        [
            f"{edges[at] / 1e6:.4f} to {edges[at + 1] / 1e6:.4f}",
            f"{count:,}",
            amounts.share(float(shares[at])),
        ]
        for at, count in enumerate(counts.tolist())
    ]
    return Plate(
        "spread",
        "How often the price was where",
        says,
        lambda width: _draw(shares, edges / 1e6, float(price.mean()) / 1e6, width),
        Rows(["€/kWh", "slots", "share"], rows),
    )


def _draw(shares: F64, edges: F64, mean: float, width: int) -> Drawing:
    frame = Frame(46, width - 14, 24, 194, float(edges[0]), float(edges[-1]), 0, float(shares.max()) * 110)
    bars = []
    for at, share in enumerate(shares.tolist()):
        x, end, y = frame.x(float(edges[at])), frame.x(float(edges[at + 1])), frame.y(share * 100)
        told = f"{edges[at]:.4f} to {edges[at + 1]:.4f} €/kWh: {amounts.share(share)} of the slots"
        bars.append(
            tag(
                "rect",
                [tag("title", told)],
                class_="fill imbalance",
                x=x,
                y=y,
                width=max(end - x - 1, 0.5),
                height=frame.bottom - y,
            )
        )
    middle = frame.x(mean)
    room = 4 if axes.is_narrow(width) else 8
    step = axes.nice_step(frame.x_to - frame.x_from, room)
    marks = [(value, axes.label(value, step)) for value in axes.ticks(frame.x_from, frame.x_to, room)]
    away, side = (5, "start") if middle < (frame.left + frame.right) / 2 else (-5, "end")
    text = f"mean {mean:.4f}"
    parts = [
        axes.y_axis(frame, "% of the slots", 4),
        *bars,
        tag("line", class_="line ink", x1=middle, x2=middle, y1=frame.top, y2=frame.bottom),
        tag("text", text, class_="tick", x=middle + away, y=frame.top + 4, text_anchor=side),
        axes.x_axis(frame, marks),
        tag("text", "€/kWh", class_="unit", x=frame.right, y=frame.bottom + 33, text_anchor="end"),
    ]
    return Drawing(frame.bottom + 40, joined(parts))

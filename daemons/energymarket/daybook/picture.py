"""One picture of a day: the price and its causes above, where the energy came from and went below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from energymarket.core import clock
from energymarket.daybook import causes
from energymarket.daybook.words import spells_of
from energymarket.exits import Exit, Failure

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.audit.figures import Figures
    from energymarket.core.units import I64
    from energymarket.daybook.balance import Balance
    from energymarket.scenario.compiled import Compiled

# Okabe and Ito's colours, which people who see fewer colours can tell apart
_CAUSE_COLOURS: Final = {
    causes.BASE: "#d9d9d9",
    causes.TEMPERATURE: "#E69F00",
    causes.IMBALANCE: "#56B4E9",
    causes.EVENTS: "#D55E00",
    causes.LIMITS: "#999999",
}
_OWN, _GIVEN, _TRADED, _GRID, _SOLD, _UNPAID = (
    "#F0E442",
    "#009E73",
    "#CC79A7",
    "#a6a6a6",
    "#0072B2",
    "#9cc9e3",
)
_EVENT: Final = "#D55E00"
_INK: Final = "#222222"
_THIN_EUR_PER_KWH: Final = 5e-5  # less than the width of a line

Axes = Any


def draw(directory: Path, slots: Figures, balance: Balance, compiled: Compiled) -> list[Path]:
    """Write day.png and day.svg; the answer is their paths. Raises Failure where matplotlib is missing."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 only who wants a picture needs it

        mpl.use("Agg")
        from matplotlib import pyplot as plt  # noqa: PLC0415
    except ImportError as error:
        raise Failure(
            str(error), "pip install 'energy-market[report]' adds the picture", Exit.CONFIGURATION
        ) from error
    style: Any = {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "none",
    }
    with mpl.rc_context(style):
        figure, (above, below) = plt.subplots(
            2, 1, figsize=(12, 8.2), sharex=True, height_ratios=(1, 1.15), layout="constrained"
        )
        edges = _edges(slots, compiled)
        _draw_price(above, edges, slots)
        _draw_flows(below, edges, slots, compiled.period.slot_s)
        for axes in (above, below):
            _draw_events(axes, slots, compiled, named=axes is above)
        _finish(figure, (above, below), edges, compiled)
        figure.suptitle(
            _title(slots, compiled), x=0.01, ha="left", fontsize=14, fontweight="bold", color=_INK
        )
        above.set_title(_figures(slots, balance), loc="left", fontsize=10, color="#555555")
        paths = [directory / "day.png", directory / "day.svg"]
        for path in paths:
            figure.savefig(path, dpi=130)
        plt.close(figure)
    return paths


def _edges(slots: Figures, compiled: Compiled) -> list[Any]:
    """When each slot begins, and when the last one ends."""
    return [_time(slot, compiled) for slot in (*slots.slot.tolist(), int(slots.slot[-1]) + 1)]


def _time(slot: int, compiled: Compiled) -> Any:  # noqa: ANN401 matplotlib takes datetimes
    return clock.begins(slot, compiled.period.slot_s)


def _steps(values: Any) -> Any:  # noqa: ANN401 an array
    """The last value once more: a slot lasts until the next begins."""
    return np.append(values, values[-1:])


def _draw_price(axes: Axes, edges: list[Any], slots: Figures) -> None:
    """Causes that raise the price stand on each other; those that lower it hang, hatched, from their top."""
    parts = {name: part / 1e6 for name, part in causes.causes_of(slots).items()}
    shown = [name for name in causes.CAUSES if np.abs(parts[name]).max() > _THIN_EUR_PER_KWH]
    top = np.zeros(len(slots))
    for name in shown:
        end = top + np.maximum(parts[name], 0)
        axes.fill_between(
            edges, _steps(top), _steps(end), step="post", color=_CAUSE_COLOURS[name], label=name, linewidth=0
        )
        top = end
    for name in shown:
        end = top + np.minimum(parts[name], 0)
        if (end < top).any():
            axes.fill_between(
                edges,
                _steps(end),
                _steps(top),
                step="post",
                facecolor="white",
                edgecolor=_CAUSE_COLOURS[name],
                hatch="////",
                linewidth=0,
            )
        top = end
    prices = slots.price_ueur_per_kwh / 1e6
    axes.step(edges, _steps(prices), where="post", color=_INK, linewidth=2, label="local price")
    for name, text in (("import_ueur_per_kwh", "import price"), ("export_ueur_per_kwh", "export price")):
        level = getattr(slots, name) / 1e6
        axes.step(edges, _steps(level), where="post", color="#777777", linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            text, (edges[0], level[0]), xytext=(4, 3), textcoords="offset points", color="#555555", fontsize=9
        )
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.set_ylabel("€/kWh")
    axes.margins(y=0.08)
    _legend(axes, "price and its causes\n(hatched: lowers it)")


def _draw_flows(axes: Axes, edges: list[Any], slots: Figures, slot_s: int) -> None:
    """Average power in the slot: above zero where consumption came from, below what the grid took."""

    def power(energy_wh: I64) -> Any:  # noqa: ANN401 an array
        return energy_wh * 3.6 / slot_s

    own = power(slots.of("consumed_wh") - slots.of("imported_wh"))
    came = (
        ("own roof and battery", _OWN, np.maximum(own, 0)),
        ("gifts", _GIVEN, power(slots.of("taken_wh"))),
        ("bought from neighbours", _TRADED, power(slots.traded_wh)),
        ("from the grid", _GRID, power(slots.bought_from_grid_wh + slots.of("short_wh"))),
    )
    went = (
        ("sold to the grid", _SOLD, power(slots.sold_to_grid_wh + slots.of("long_wh"))),
        ("gifts nobody took", _UNPAID, power(slots.of("expired_wh"))),
    )
    for parts, sign in ((came, 1), (went, -1)):
        start = np.zeros(len(slots))
        for label, colour, part in parts:
            if part.any():
                end = start + sign * part
                axes.fill_between(
                    edges, _steps(start), _steps(end), step="post", color=colour, label=label, linewidth=0
                )
                start = end
    produced = power(slots.of("produced_wh"))
    if produced.any():
        axes.step(
            edges,
            _steps(produced),
            where="post",
            color=_INK,
            linewidth=1.2,
            linestyle=":",
            label="production",
        )
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.set_ylabel("kW, mean of the slot")
    axes.yaxis.set_major_formatter(_without_sign)
    _legend(axes, "consumption met by (above),\ngiven to the grid (below)")


def _without_sign(value: float, _place: int) -> str:
    return f"{abs(value):,.0f}" if abs(value) >= 10 else f"{abs(value):g}"


def _legend(axes: Axes, title: str) -> None:
    legend = axes.legend(
        loc="upper left", bbox_to_anchor=(1.005, 1), frameon=False, fontsize=9, title=title, alignment="left"
    )
    legend.get_title().set_fontsize(9)
    legend.get_title().set_fontweight("bold")


def _draw_events(axes: Axes, slots: Figures, compiled: Compiled, *, named: bool) -> None:
    for number, (name, first, last) in enumerate(spells_of(slots)):
        begin, end = _time(first, compiled), _time(last + 1, compiled)
        axes.axvspan(begin, end, color=_EVENT, alpha=0.14, linewidth=0, zorder=0)
        if named:
            axes.annotate(
                name.replace("_", " "),
                (begin, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -4 - 12 * (number % 3)),
                textcoords="offset points",
                va="top",
                fontsize=9,
                color=_EVENT,
            )


def _finish(figure: Any, both: tuple[Axes, Axes], edges: list[Any], compiled: Compiled) -> None:  # noqa: ANN401
    from matplotlib import dates as typeless  # noqa: PLC0415

    dates: Any = typeless

    zone = ZoneInfo(compiled.period.timezone)
    locator = dates.AutoDateLocator(tz=zone, minticks=5, maxticks=13)
    hours = (edges[-1] - edges[0]).total_seconds() / 3600
    below = both[1]
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(dates.DateFormatter("%H:%M" if hours <= 36 else "%a %H:%M", tz=zone))
    below.set_xlim(edges[0], edges[-1])
    below.set_xlabel(f"local time ({compiled.period.timezone})")
    for axes in both:
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
    figure.align_ylabels()


def _title(slots: Figures, compiled: Compiled) -> str:
    begin = clock.begins(int(slots.slot[0]), compiled.period.slot_s, compiled.period.timezone)
    return f"{compiled.title} · {begin:%A} {begin.day} {begin:%B %Y}"


def _figures(slots: Figures, balance: Balance) -> str:
    homes = int(slots.of("homes").max())
    mean = slots.price_ueur_per_kwh.mean() / 1e6
    return (
        f"{homes:,} homes produced {balance.produced_wh / 1e3:,.0f} kWh, "
        f"consumed {balance.consumed_wh / 1e3:,.0f} kWh, "
        f"given {balance.given_wh / 1e3:,.0f} kWh ({balance.gifts_share:.1%} of what was exchanged), "
        f"mean price {mean:.3f} €/kWh"
    )

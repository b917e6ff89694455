"""What each home pays under each sharing rule, against what it would pay alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core.parameters import Rule
from energymarket.core.sharing.comparison import ALONE
from energymarket.core.units import UEUR_PER_EUR
from energymarket.daybook import amounts, axes
from energymarket.daybook.axes import Frame
from energymarket.daybook.markup import Markup, joined, tag
from energymarket.daybook.plate import Drawing, Plate, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.audit.figures import F64
    from energymarket.core.sharing.comparison import Comparison

DOTS_MAX: Final = 200
"""More homes than this are counted in bars, a dot for each would be a cloud."""

HOMES_LISTED_MAX: Final = 60
BINS: Final = 60
NAMES: Final = {
    Rule.QUEUE: "gifts by queue",
    Rule.PRO_RATA: "gifts pro rata",
    Rule.NEED_FIRST: "gifts to the neediest first",
    Rule.STATIC_KEY: "static key",
    Rule.DYNAMIC_KEY: "dynamic key, pro rata",
    Rule.MID_MARKET: "mid-market rate",
    Rule.GRID_ONLY: "alone with the grid",
}
"""What people call the rules."""


@dataclass(frozen=True, slots=True)
class Bills:
    """H homes under R rules. Above zero a home pays, below it is paid."""

    rules: Sequence[str]
    cost_eur: F64  # (H, R)
    alone: int  # which of the rules is each home by itself with the grid
    own: int | None = None  # which of them the run has had
    rounding_eur: float = 0.0  # who has less by no more than this is not worse off

    @property
    def saved_eur(self) -> F64:
        """What each home has more under each rule than alone, shape (H, R)."""
        saved: F64 = self.cost_eur[:, [self.alone]] - self.cost_eur
        return saved

    @property
    def compared(self) -> list[int]:
        """The rules but the one that is the measure."""
        return [at for at in range(len(self.rules)) if at != self.alone]

    def worse_off(self, rule: int) -> int:
        """How many homes have less than alone, by more than rounding."""
        return int(np.count_nonzero(self.saved_eur[:, rule] < -self.rounding_eur))


def of_comparison(comparison: Comparison) -> Bills:
    """What has been added up for every home under every rule; a µ€ a slot is rounding."""
    rules = list(comparison.money_ueur)
    own = comparison.terms.sharing.rule
    names = [f"{NAMES[rule]} (this run)" if rule is own else NAMES[rule] for rule in rules]
    cost = np.stack([-money for money in comparison.money_ueur.values()], axis=1) / UEUR_PER_EUR
    # a hundredth of a µ€ more, so that the quotients of whole µ€ fall on the right side
    rounding = (comparison.slots + 0.01) / UEUR_PER_EUR
    return Bills(names, cost, rules.index(ALONE), rules.index(own), rounding)


def plate(bills: Bills, left_out: int = 0, operator_ueur: int = 0) -> Plate:
    """All rules side by side. `left_out` slots have been compacted: nobody can tell their bills.

    `operator_ueur` is what the run has left to the operator: what homes save, somebody may have paid.
    """
    homes = len(bills.cost_eur)
    note = (
        f"A row is a rule, {'a dot a home' if homes <= DOTS_MAX else 'a bar a number of homes'}, placed by "
        "what it saves in the whole run against being alone with the grid. The stroke across is the median. "
        "The same meters and prices under every rule: nobody is made to behave otherwise."
    )
    if operator_ueur:
        note += (
            " Where homes trade at the local price with the operator, its gain or loss is no home's: in this "
            f"run it came to {amounts.money(operator_ueur / UEUR_PER_EUR)}."
        )
    if left_out:
        note += f" {left_out:,} old slots are compacted and not in these bills."
    return Plate(
        "bills",
        "Bills by sharing rule",
        _says(bills),
        lambda width: _draw(bills, width),
        _rows(bills),
        [("fill given", "better off than alone, or equal"), ("fill bad", "worse off than alone")],
        note,
        [_by_home(bills)] if homes <= HOMES_LISTED_MAX else [],
    )


def _says(bills: Bills) -> str:
    if not bills.compared or not len(bills.cost_eur):
        return "There is no rule to compare with."
    totals = bills.cost_eur.sum(axis=0)
    best = min(bills.compared, key=lambda at: float(totals[at]))
    told = (
        f"Alone with the grid all homes together pay {amounts.money(float(totals[bills.alone]))}; "
        f"least they pay under {bills.rules[best]}: {amounts.money(float(totals[best]))}."
    )
    losers = {bills.rules[at]: bills.worse_off(at) for at in bills.compared if bills.worse_off(at)}
    if not losers:
        return f"{told} No home is worse off than alone under any rule."
    counts = ", ".join(f"{count:,} under {rule}" for rule, count in losers.items())
    others = "" if len(losers) == len(bills.compared) else ", none under the others"
    return f"{told} Of {len(bills.cost_eur):,} homes, worse off than alone: {counts}{others}."


def _rows(bills: Bills) -> Rows:
    rows = []
    for at, rule in enumerate(bills.rules):
        cost, saved = bills.cost_eur[:, at], bills.saved_eur[:, at]
        quantiles = np.quantile(cost, (0.1, 0.5, 0.9)) if len(cost) else np.zeros(3)
        row = [rule, _eur(float(cost.sum())), *(_eur(float(each)) for each in quantiles)]
        if at == bills.alone:
            rows.append([*row, "–", "–"])
        else:
            lowest = float(saved.min()) if len(saved) else 0.0
            rows.append([*row, f"{bills.worse_off(at):,}", _eur(min(lowest, 0.0))])
    head = ["rule", "all homes pay €", "P10", "median", "P90", "worse off", "the worst loses €"]
    return Rows(head, rows, "€ per home and run; below zero a home is paid.")


def _by_home(bills: Bills) -> Rows:
    rows = [
        [f"home {home}", *(f"{_eur(cost)}{_mark(bills, home - 1, at)}" for at, cost in enumerate(costs))]
        for home, costs in enumerate(bills.cost_eur.tolist(), 1)
    ]
    return Rows(["€", *bills.rules], rows, "▼ worse off than alone.")


def _mark(bills: Bills, home: int, rule: int) -> str:
    return " ▼" if float(bills.saved_eur[home, rule]) < -bills.rounding_eur else ""


def _eur(value: float) -> str:
    return amounts.money(value).removesuffix(" €")


ROW_PX: Final = 74


def _draw(bills: Bills, width: int) -> Drawing:
    saved = bills.saved_eur[:, bills.compared]
    narrow = axes.is_narrow(width)
    low, high = axes.bounds(saved.ravel().tolist(), zero=True)
    bottom = 20.0 + ROW_PX * len(bills.compared)
    frame = Frame(10, width - 10, 20, bottom, low, high, 0, 1)
    step = axes.nice_step(high - low, 4 if narrow else 8)
    marks = [(value, axes.label(value, step)) for value in axes.ticks(low, high, 4 if narrow else 8)]
    grid = [
        tag("line", class_="gridline", x1=frame.x(value), x2=frame.x(value), y1=frame.top, y2=bottom)
        for value, _ in marks
    ]
    zero = frame.x(0)
    rows = [
        _row(bills, rule, Frame(frame.left, frame.right, y + 24, y + ROW_PX - 6, low, high, 0, 1))
        for rule, y in ((rule, frame.top + at * ROW_PX) for at, rule in enumerate(bills.compared))
    ]
    unit = "€ saved against being alone"
    parts = [
        *grid,
        tag("line", class_="zero", x1=zero, x2=zero, y1=frame.top, y2=bottom),
        *rows,
        axes.x_axis(frame, marks),
        tag("text", unit, class_="unit", x=frame.right, y=bottom + 33, text_anchor="end"),
    ]
    return Drawing(bottom + 40, joined(parts))


def _row(bills: Bills, rule: int, frame: Frame) -> Markup:
    """One rule: its name, its homes, the median, and how many are worse off."""
    saved = bills.saved_eur[:, rule]
    count = bills.worse_off(rule)
    homes = len(saved)
    told = "nobody worse off" if not count else f"{count:,} of {homes:,} worse off"
    kind = "tick bad-text" if count else "tick"
    parts = [
        tag("text", bills.rules[rule], class_="label", x=frame.left, y=frame.top - 8),
        tag("text", told, class_=kind, x=frame.right, y=frame.top - 8, text_anchor="end"),
        (_dots if homes <= DOTS_MAX else _bars)(saved, frame, bills.rounding_eur),
    ]
    if homes:
        x = frame.x(float(np.median(saved)))
        median = tag("title", f"median {amounts.money(float(np.median(saved)))}")
        parts.append(tag("line", [median], class_="median", x1=x, x2=x, y1=frame.top, y2=frame.bottom))
    return joined(parts)


def _dots(saved: F64, frame: Frame, rounding_eur: float) -> Markup:
    """A dot per home, upwards where several would lie on each other; who loses is a triangle."""
    size = 3.5
    stacks: dict[int, int] = {}
    order = np.argsort(saved, kind="stable").tolist()
    places = {home: round(frame.x(float(saved[home])) / (2 * size)) for home in order}
    highest = max(np.bincount(list(places.values())).tolist(), default=1)
    rise = min(2 * size, (frame.bottom - frame.top - 2 * size) / max(highest - 1, 1))
    dots = []
    for home in order:
        nth = stacks.get(places[home], 0)
        stacks[places[home]] = nth + 1
        x, y = frame.x(float(saved[home])), frame.bottom - size - nth * rise
        told = tag("title", f"home {home + 1}: {amounts.money(float(saved[home]))}")
        if saved[home] < -rounding_eur:
            path = f"M{x - 4:.1f} {y - 3.5:.1f}h8l-4 7z"
            dots.append(tag("path", [told], class_="fill bad", d=path))
        else:
            dots.append(tag("circle", [told], class_="fill given", cx=x, cy=y, r=size))
    return joined(dots)


def _bars(saved: F64, frame: Frame, rounding_eur: float) -> Markup:
    """Homes counted in bins that have zero as an edge, so that no bar mixes who gains and who loses."""
    step = axes.nice_step(frame.x_to - frame.x_from, BINS)
    places = np.floor(np.where(np.abs(saved) <= rounding_eur, 0.0, saved) / step).astype(np.int64)
    first = int(places.min())
    counts = np.bincount(places - first)
    bars = []
    for at, count in enumerate(counts.tolist()):
        if count:
            low = (first + at) * step
            x, end = frame.x(low), frame.x(low + step)
            height = count / int(counts.max()) * (frame.bottom - frame.top)
            told = f"{amounts.money(low)} to {amounts.money(low + step)}: {count:,} homes"
            kind = "fill bad" if low < 0 else "fill given"
            y = frame.bottom - max(height, 1)
            bars.append(
                tag(
                    "rect",
                    [tag("title", told)],
                    class_=kind,
                    x=x,
                    y=y,
                    width=max(end - x - 0.5, 0.5),
                    height=max(height, 1),
                )
            )
    return joined(bars)

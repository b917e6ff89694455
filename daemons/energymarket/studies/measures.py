"""The figures that a study's page shows of every case, and what a parameter does to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Final, TypeAlias

from energymarket.daybook import amounts
from energymarket.studies.columns import COST, MEASURED

if TYPE_CHECKING:
    from energymarket.studies.axes import Axis
    from energymarket.studies.outcome import Value

Row: TypeAlias = "Mapping[str, Value]"


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: its column, how it is shown, and which end of it is wanted, if one is."""

    name: str
    brief: str  # of two words at most, for a phone
    column: str
    shown: Callable[[float], str]
    unit: str  # of the axis
    scale: float = 1.0  # from the column to the axis
    better: str = ""  # "high", "low", or "": neither

    @property
    def meaning(self) -> str:
        """As the table's metadata have it."""
        found = next(column.meaning for column in MEASURED if column.name == self.column)
        return found[:1].upper() + found[1:] + "."

    def of(self, row: Row) -> float | None:
        """The value of a case on the axis."""
        value = row[self.column]
        return value * self.scale if isinstance(value, (int, float)) else None

    def words(self, value: float) -> str:
        """A value of the axis with its unit."""
        return self.shown(value / self.scale)

    def span(self, low: float, high: float) -> str:
        """Two values of the axis with their unit once; one, if they look alike."""
        first, last = self.words(low), self.words(high)
        unit = last[last.rindex(" ") :] if " " in last else ""
        return last if first == last else f"{first.removesuffix(unit)} to {last}"


def _index(value: float) -> str:
    return f"{value:.3f}"


def _kg(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1
    return f"{value:,.{digits}f} kg".replace("-", "−")


def _price(value: float) -> str:
    return amounts.price(value * 1e6)


MEASURES: Final = (
    Measure(
        "self-sufficiency", "self suffic.", "self_sufficiency_community", amounts.share, "%", 100.0, "high"
    ),
    Measure("mean price", "mean price", "price_mean_eur_per_kwh", _price, "€/kWh"),
    Measure("cost per home", "cost", COST, amounts.money, "€", better="low"),
    Measure("Jain's index", "Jain's index", "spread_jain_eur_per_kwh", _index, "1 is equal", better="high"),
    Measure("largest draw", "largest draw", "peaks_line_import_kw", amounts.power, "kW", better="low"),
    Measure("CO₂ of the line", "CO₂", "co2_line_import_average_kg", _kg, "kg", better="low"),
)

BINS: Final = 6
"""Groups that a parameter with many values is cut into, of equally many cases each."""

LEVELS_MAX: Final = 12
"""Up to so many different values are groups of their own."""


@dataclass(frozen=True, slots=True)
class Group:
    """Cases in which a parameter has one value, or lies in one part of its span."""

    name: str
    middle: float  # of the parameter; its number where it is no number
    rows: Sequence[Row]

    def mean(self, measure: Measure) -> float | None:
        """Of the cases in which the figure is known."""
        known = [value for value in map(measure.of, self.rows) if value is not None]
        return fmean(known) if known else None


def groups_of(axis: Axis, rows: Sequence[Row]) -> list[Group]:
    """The cases by what the parameter is in them, lowest first; categories in the order of the study."""
    if not axis.is_numeric:
        names = [str(choice.shown) for choice in axis.choices]
        of = {name: [row for row in rows if row[axis.column] == name] for name in names}
        return [Group(name, float(at), of[name]) for at, name in enumerate(names) if of[name]]
    ordered = sorted(rows, key=lambda row: number(row[axis.column]))
    values = list(dict.fromkeys(number(row[axis.column]) for row in ordered))
    if len(values) <= LEVELS_MAX:
        of_value = {value: [row for row in ordered if row[axis.column] == value] for value in values}
        return [Group(short(value), value, found) for value, found in of_value.items()]
    cuts = [round(at * len(ordered) / BINS) for at in range(BINS + 1)]
    parts = [ordered[first:last] for first, last in pairwise(cuts) if last > first]
    return [_part(axis, part) for part in parts]


def _part(axis: Axis, rows: Sequence[Row]) -> Group:
    values = [number(row[axis.column]) for row in rows]
    return Group(f"{short(values[0])} to {short(values[-1])}", fmean(values), rows)


def number(value: Value) -> float:
    """A value of a numeric column."""
    return float(value) if isinstance(value, (int, float)) else math.nan


def short(value: float) -> str:
    """A value of a parameter as axes and tables have it."""
    return f"{value:.4g}".replace("-", "−")


def explained(groups: Sequence[Group], measure: Measure) -> float | None:
    """The part of a figure's variance over all cases that lies between the groups, 0 to 1.

    The correlation ratio (Pearson 1905); in a full grid the first-order index of Sobol. None where the
    figure does not vary.
    """
    known = [[value for value in map(measure.of, group.rows) if value is not None] for group in groups]
    every = [value for values in known for value in values]
    if len(every) < 2:
        return None
    middle = fmean(every)
    total = sum((value - middle) ** 2 for value in every)
    between = sum(len(values) * (fmean(values) - middle) ** 2 for values in known if values)
    return between / total if total > 1e-12 * max(middle * middle, 1e-12) * len(every) else None


def best(rows: Sequence[Row], measure: Measure) -> Row | None:
    """The case with the best value of a figure; the first of several alike."""
    known = [(value, row) for row in rows if (value := measure.of(row)) is not None]
    if not known or not measure.better:
        return None
    pick = max if measure.better == "high" else min
    return pick(known, key=lambda pair: pair[0])[1]

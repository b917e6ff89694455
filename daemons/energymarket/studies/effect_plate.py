"""What one parameter does: a small picture per figure; lines and dots for numbers, boxes for words."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING, Final

from energymarket.daybook import axes
from energymarket.daybook.axes import Frame
from energymarket.daybook.markup import Markup, joined, number, tag
from energymarket.daybook.plate import Drawing, Plate, Rows
from energymarket.studies import measures
from energymarket.studies.measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.studies.axes import Axis
    from energymarket.studies.measures import Group, Measure, Row

COLOURS: Final = ("sold", "own", "given", "traded", "unpaid", "long")
"""Of the lines of another parameter; more values than these are shown as dots and their mean."""

DOTS_MAX: Final = 400
"""Dots of one picture: with more cases every so-manieth is shown."""

_GAP: Final = 26
_TOP: Final = 40  # a panel's name and its unit stand above
_HEIGHT: Final = 130
_ROW: Final = 24  # a category


@dataclass(frozen=True, slots=True)
class _Lines:
    """The other parameter of a grid of two: one line for each of its values."""

    axis: Axis
    groups: Sequence[Group]


def plate(axis: Axis, at: int, rows: Sequence[Row], others: Sequence[Axis], *, is_grid: bool) -> Plate:
    """Of a parameter over all figures; `rows` are the cases that were played."""
    groups = measures.groups_of(axis, rows)
    known = [each for each in MEASURES if any(each.of(row) is not None for row in rows)]
    lines = _lines(axis, rows, others) if is_grid else None
    return Plate(
        f"effect{at}",
        axis.name[:1].upper() + axis.name[1:],
        _says(axis, groups, known),
        lambda width: _draw(axis, groups, known, lines, width),
        _numbers(axis, groups, known),
        _legend(axis, lines),
        _note(axis, rows, known),
    )


def _lines(axis: Axis, rows: Sequence[Row], others: Sequence[Axis]) -> _Lines | None:
    if len(others) != 1 or not axis.is_numeric:
        return None
    groups = measures.groups_of(others[0], rows)
    return _Lines(others[0], groups) if 1 < len(groups) <= len(COLOURS) else None


def _says(axis: Axis, groups: Sequence[Group], known: Sequence[Measure]) -> str:
    """What the pictures show, in a sentence per figure."""
    if len(groups) < 2:
        return "The parameter has one value in all cases that were played."
    told = [text for measure in known if (text := _told(axis, groups, measure))]
    if not told:
        return "No figure is known of more than one of its values."
    whole = f"From {groups[0].name} to {groups[-1].name}, on" if axis.is_numeric else "On"
    return f"{whole} the mean of all cases: {'; '.join(told)}."


def _told(axis: Axis, groups: Sequence[Group], measure: Measure) -> str:
    found = [(mean, group) for group in groups if (mean := group.mean(measure)) is not None]
    if len(found) < 2:
        return ""
    if axis.is_numeric:
        first, last = found[0][0], found[-1][0]
        if measure.words(first) == measure.words(last):
            return f"{measure.name} stays at {measure.words(first)}"
        verb = "rises" if last > first else "falls"
        return f"{measure.name} {verb} from {measure.words(first)} to {measure.words(last)}"
    (low, lowest), (high, highest) = min(found, key=_mean), max(found, key=_mean)
    return (
        f"{measure.name} is lowest with {lowest.name} ({measure.words(low)}) and highest with "
        f"{highest.name} ({measure.words(high)})"
    )


def _mean(pair: tuple[float, Group]) -> float:
    return pair[0]


def _numbers(axis: Axis, groups: Sequence[Group], known: Sequence[Measure]) -> Rows:
    """The mean of each figure by the parameter, and which part of its variance that explains."""

    def shown(measure: Measure, mean: float | None) -> str:
        return "–" if mean is None else measure.words(mean)

    rows = [
        [group.name, f"{len(group.rows):,}", *(shown(each, group.mean(each)) for each in known)]
        for group in groups
    ]
    return Rows([axis.name, "cases", *(each.name for each in known)], rows, "Means of the cases.")


def _legend(axis: Axis, lines: _Lines | None) -> list[tuple[str, str]]:
    if lines is not None:
        return [
            (f"fill {kind}", f"{lines.axis.name} {group.name}")
            for kind, group in zip(COLOURS, lines.groups, strict=False)
        ]
    if axis.is_numeric:
        return [("fill sold", "a case"), ("line", "mean")]
    return [("fill sold", "half of the cases"), ("line", "median; thin: lowest to highest")]


def _note(axis: Axis, rows: Sequence[Row], known: Sequence[Measure]) -> str:
    notes = []
    if axis.is_numeric and len(rows) > DOTS_MAX:
        notes.append(f"One of {-(-len(rows) // DOTS_MAX)} cases has a dot; means are of all.")
    notes += [f"{each.name} is not known of any case." for each in MEASURES if each not in known]
    return " ".join(note[:1].upper() + note[1:] for note in notes)


# ---- drawing


def _draw(
    axis: Axis, groups: Sequence[Group], known: Sequence[Measure], lines: _Lines | None, width: int
) -> Drawing:
    columns = 1 if axes.is_narrow(width) else 3
    across = (width - _GAP * (columns - 1)) / columns
    height = _TOP + (_HEIGHT if axis.is_numeric else _ROW * len(groups)) + 46
    panels = []
    for at, measure in enumerate(known):
        x, y = (at % columns) * (across + _GAP), (at // columns) * height
        inside = (
            _of_numbers(axis, groups, measure, lines, across)
            if axis.is_numeric
            else _of_words(groups, measure, across)
        )
        title = tag("text", measure.name, class_="label", x=0, y=13)
        panels.append(tag("g", [title, inside], transform=f"translate({number(x)} {number(y)})"))
    return Drawing(height * -(-len(known) // columns), joined(panels))


def _of_numbers(
    axis: Axis, groups: Sequence[Group], measure: Measure, lines: _Lines | None, width: float
) -> Markup:
    points = [
        (measures.number(row[axis.column]), value, row)
        for group in groups
        for row in group.rows
        if (value := measure.of(row)) is not None
    ]
    low, high = axes.bounds([x for x, _, _ in points])
    frame = Frame(46, width - 8, _TOP, _TOP + _HEIGHT, low, high, *axes.bounds([y for _, y, _ in points]))
    step = axes.nice_step(high - low, 4)
    marks = [(value, axes.label(value, step)) for value in axes.ticks(low, high, 4)]
    parts = [axes.y_axis(frame, measure.unit, 5), axes.x_axis(frame, marks)]
    if lines is None:
        every = -(-len(points) // DOTS_MAX)
        parts += [_dot(frame, measure, x, y, row, "sold") for x, y, row in points[::every]]
        means = [(group.middle, mean) for group in groups if (mean := group.mean(measure)) is not None]
        parts.append(_path(frame, means, "line ink"))
    else:
        for kind, group in zip(COLOURS, lines.groups, strict=False):
            inside = [point for point in points if any(point[2] is row for row in group.rows)]
            parts.append(_path(frame, [(x, y) for x, y, _ in inside], f"line of {kind}"))
            parts += [_dot(frame, measure, x, y, row, kind) for x, y, row in inside]
    parts.append(tag("text", axis.name, class_="unit", x=frame.right, y=frame.bottom + 32, text_anchor="end"))
    return joined(parts)


def _path(frame: Frame, points: Sequence[tuple[float, float]], kind: str) -> Markup:
    at = [f"{number(frame.x(x))} {number(frame.y(y))}" for x, y in points]
    return tag("path", class_=kind, d="M" + "L".join(at)) if at else Markup()


def _dot(frame: Frame, measure: Measure, x: float, y: float, row: Row, kind: str) -> Markup:
    told = f"case {row['case']}: {measures.short(x)} → {measure.words(y)}"
    return tag(
        "circle", [tag("title", told)], class_=f"dot fill {kind}", cx=frame.x(x), cy=frame.y(y), r=3
    )  # fmt: skip


def _of_words(groups: Sequence[Group], measure: Measure, width: float) -> Markup:
    """A row per category: lowest to highest as a thin line, the middle half as a box, the median in it."""
    every = [value for group in groups for row in group.rows if (value := measure.of(row)) is not None]
    left = min(max(len(group.name) for group in groups) * axes.LETTER + 8, width * 0.45)
    bottom = _TOP - 12 + _ROW * len(groups)
    low, high = axes.bounds(every)
    frame = Frame(left, width - 12, _TOP - 12, bottom, low, high, 0, 1)
    count = max(3, int((frame.right - frame.left) / 48))
    step = axes.nice_step(high - low, count)
    marks = [(value, axes.label(value, step)) for value in axes.ticks(low, high, count)]
    parts: list[str] = [
        tag("line", class_="gridline", x1=frame.x(value), x2=frame.x(value), y1=frame.top, y2=frame.bottom)
        for value, _ in marks
    ]
    for at, group in enumerate(groups):
        y = frame.top + _ROW * (at + 0.5)
        name = group.name if len(group.name) * axes.LETTER + 8 <= left else group.name[: int(left / 7)] + "…"
        parts.append(tag("text", name, class_="tick", x=0, y=y + 4))
        values = sorted(value for row in group.rows if (value := measure.of(row)) is not None)
        if values:
            parts.append(_box(frame, y, values, f"{group.name}: {_summary(values, measure)}"))
    parts.append(axes.x_axis(frame, marks))
    parts.append(tag("text", measure.unit, class_="unit", x=frame.right, y=bottom + 32, text_anchor="end"))
    return joined(parts)


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    first, middle, third = quantiles(values, n=4, method="inclusive")
    return first, middle, third


def _summary(values: Sequence[float], measure: Measure) -> str:
    middle = _quartiles(values)[1]
    return (
        f"median {measure.words(middle)}, {measure.words(values[0])} to {measure.words(values[-1])}, "
        f"{len(values)} cases"
    )


def _box(frame: Frame, y: float, values: Sequence[float], told: str) -> Markup:
    first, middle, third = map(frame.x, _quartiles(values))
    low, high = frame.x(values[0]), frame.x(values[-1])
    parts = [
        tag("title", told),
        tag("line", class_="whisker", x1=low, x2=high, y1=y, y2=y),
        tag("rect", class_="fill sold box", x=first, y=y - 6, width=max(third - first, 1.5), height=12),
        tag("line", class_="median", x1=middle, x2=middle, y1=y - 7, y2=y + 7),
    ]
    return tag("g", parts)

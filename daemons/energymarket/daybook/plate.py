"""A plate of the report: a picture drawn for desk and phone, what it says in words, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from energymarket.daybook.axes import NARROW, WIDE
from energymarket.daybook.markup import Markup, joined, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROWS_MAX: Final = 400
"""Rows of a table on the page; prices.csv and homes.csv have all."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A table: the first column names the row, the others are numbers as people read them."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture at one width: its height and what is in it."""

    height: float
    content: Markup


@dataclass(frozen=True, slots=True)
class Plate:
    """What `draw` paints is for eyes, `says` for everybody, `rows` for who wants the numbers."""

    name: str
    title: str
    says: str
    draw: Callable[[int], Drawing]
    rows: Rows
    legend: Sequence[tuple[str, str]] = field(default_factory=tuple)  # (class of the mark, what it is)
    note: str = ""
    more: Sequence[Rows] = ()


def shown(plate: Plate, level: str = "h2") -> Markup:
    """The plate as a figure: heading, words, legend, both drawings, table."""
    figure = tag(
        "figure",
        [
            tag("figcaption", plate.says),
            _legend(plate.legend),
            *(_svg(plate, width) for width in (WIDE, NARROW)),
            tag("p", plate.note, class_="note") if plate.note else Markup(),
            _numbers([plate.rows, *plate.more]),
        ],
    )
    heading = tag(level, plate.title, id=f"{plate.name}-title")
    return tag("section", [heading, figure], class_="plate", aria_labelledby=f"{plate.name}-title")


def _svg(plate: Plate, width: int) -> Markup:
    drawing = plate.draw(width)
    return tag(
        "svg",
        drawing.content,
        class_="wide" if width == WIDE else "narrow",
        viewBox=f"0 0 {width} {round(drawing.height)}",
        role="img",
        aria_label=f"{plate.title}. {plate.says} The table below has the numbers.",
    )


def _legend(entries: Sequence[tuple[str, str]]) -> Markup:
    if not entries:
        return Markup()
    items = [
        tag("li", [tag("span", "", class_=f"key {kind}", aria_hidden="true"), name]) for kind, name in entries
    ]
    return tag("ul", items, class_="legend")


def _numbers(tables: Sequence[Rows]) -> Markup:
    known = [rows for rows in tables if rows.rows]
    return tag("details", [tag("summary", "Numbers"), *map(table, known)]) if known else Markup()


def table(rows: Rows) -> Markup:
    """A table that scrolls by itself on a narrow screen, also by keys."""
    head = tag("tr", [tag("th", name, scope="col") for name in rows.head])
    body = [
        tag("tr", [tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])])
        for row in rows.rows[:ROWS_MAX]
    ]
    left_out = len(rows.rows) - ROWS_MAX
    notes = [rows.note] if rows.note else []
    notes += [f"{left_out} more rows are left out here."] if left_out > 0 else []
    return joined(
        [
            tag(
                "div",
                [tag("table", [tag("thead", [head]), tag("tbody", body)])],
                class_="scroll",
                tabindex="0",
                role="region",
                aria_label="table of numbers",
            ),
            *(tag("p", note, class_="note") for note in notes),
        ]
    )

"""Which parameter moves which figure: the part of a figure's variance that each parameter explains alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from energymarket.daybook import amounts, axes
from energymarket.daybook.markup import joined, tag
from energymarket.daybook.plate import Drawing, Plate, Rows
from energymarket.studies import measures
from energymarket.studies.measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.studies.axes import Axis
    from energymarket.studies.measures import Measure, Row

_ROW: Final = 30
_HEAD: Final = 26  # a line of names; of two on a phone


def plate(varied: Sequence[Axis], rows: Sequence[Row]) -> Plate:
    """A row per parameter, a column per figure."""
    known = [each for each in MEASURES if any(each.of(row) is not None for row in rows)]
    groups = [measures.groups_of(axis, rows) for axis in varied]
    parts = [[measures.explained(of_axis, each) for each in known] for of_axis in groups]
    shown = [["–" if part is None else amounts.share(part) for part in line] for line in parts]
    return Plate(
        "weight",
        "Which parameter moves what",
        _says(varied, known, parts),
        lambda width: _draw(varied, known, parts, width),
        Rows(
            ["parameter", *(each.name for each in known)],
            [[axis.name, *line] for axis, line in zip(varied, shown, strict=True)],
        ),
        note="The part of a figure's variance over all cases that lies between the values of one parameter "
        "(correlation ratio, Pearson 1905). What is missing to 100 % comes of parameters together and, in a "
        "sample, of chance.",
    )


def _says(varied: Sequence[Axis], known: Sequence[Measure], parts: Sequence[Sequence[float | None]]) -> str:
    found = []
    for at, measure in enumerate(known):
        ranked = [(line[at] or 0.0, axis.name) for axis, line in zip(varied, parts, strict=True)]
        part, name = max(ranked, key=lambda pair: pair[0])
        found.append(f"{measure.name} with {name} ({amounts.share(part)})" if part else "")
    words = "; ".join(text for text in found if text)
    return f"What differs most with what: {words}." if words else "No figure differs between the cases."


def _draw(
    varied: Sequence[Axis],
    known: Sequence[Measure],
    parts: Sequence[Sequence[float | None]],
    width: int,
) -> Drawing:
    """Circles whose area is the part."""
    narrow = axes.is_narrow(width)
    head = _HEAD + 12 if narrow else _HEAD
    left = min(max(len(axis.name) for axis in varied) * axes.LETTER + 12, width * (0.36 if narrow else 0.3))
    across = (width - left) / len(known)
    marks: list[str] = []
    for at, measure in enumerate(known):
        x = left + across * (at + 0.5)
        for line, word in enumerate(measure.brief.split() if narrow else [measure.name]):
            marks.append(tag("text", word, class_="tick", x=x, y=14 + 13 * line, text_anchor="middle"))
    for row, (axis, line_of) in enumerate(zip(varied, parts, strict=True)):
        y = head + _ROW * (row + 0.5)
        fits = int(left / axes.LETTER)
        name = axis.name if len(axis.name) <= fits else axis.name[: fits - 1] + "…"
        marks.append(tag("line", class_="gridline", x1=0, x2=width, y1=y + _ROW / 2, y2=y + _ROW / 2))
        marks.append(tag("text", name, class_="label", x=0, y=y + 4))
        for at, (measure, part) in enumerate(zip(known, line_of, strict=True)):
            x = left + across * (at + 0.5)
            if part is None:
                continue
            told = f"{axis.name} explains {amounts.share(part)} of the variance of {measure.name}"
            offset = 0 if narrow else -18
            marks.append(
                tag("circle", [tag("title", told)], class_="fill sold", cx=x + offset, cy=y, r=11 * part**0.5)
            )
            if not narrow:
                marks.append(tag("text", amounts.share(part), class_="tick", x=x + 2, y=y + 4))
    return Drawing(head + _ROW * len(varied) + 8, joined(marks))

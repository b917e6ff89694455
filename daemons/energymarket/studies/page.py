"""A study as one page: no network, no script; what each parameter does, and the best cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from energymarket.daybook import plate, style, tiles
from energymarket.daybook.markup import Markup, tag
from energymarket.daybook.page import POLICY
from energymarket.daybook.plate import Rows
from energymarket.daybook.tiles import Tile
from energymarket.studies import effect_plate, measures, weight_plate
from energymarket.studies.document import Method
from energymarket.studies.measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.studies.measures import Measure, Row
    from energymarket.studies.outcome import Value
    from energymarket.studies.reading import Plan

_RULES: Final = (
    ".spans .tiles{grid-template-columns:repeat(auto-fill,minmax(205px,1fr))}"
    ".spans .tile .value{font-size:1.02rem;white-space:normal}"
    "@media (max-width:700px){.spans .tiles{grid-template-columns:repeat(2,minmax(0,1fr))}}"
    ".dot{opacity:.62}.dot:hover{opacity:1}"
    ".box{opacity:.6}.whisker{stroke:var(--soft);stroke-width:1.2}"
    + "".join(f"path.line.of.{kind}{{stroke:var(--{kind})}}" for kind in effect_plate.COLOURS)
)
FAILED_SHOWN_MAX: Final = 50


def page(plan: Plan, rows: Sequence[Row]) -> str:
    """The whole document: well-formed XML after its first line. `rows` are those of the table."""
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>'),
        tag("title", plan.study.title),
        Markup(f"<style>{style.sheet(0)}{_RULES}</style>"),
    ]
    body = [_header(plan, rows), tag("main", _sections(plan, rows)), _footer(plan)]
    return f"<!DOCTYPE html>\n{tag('html', [tag('head', head), tag('body', body)], lang='en')}\n"


def _sections(plan: Plan, rows: Sequence[Row]) -> list[Markup]:
    done = [row for row in rows if row["status"] == "done"]
    found = []
    if done:
        varied = [axis for axis in plan.axes if len({row[axis.column] for row in done}) > 1]
        found.append(_ranges(done))
        if varied and len(done) > 2:
            found.append(plate.shown(weight_plate.plate(varied, done)))
        is_grid = plan.study.sampling.method is Method.GRID
        for at, axis in enumerate(varied):
            others = [each for each in varied if each is not axis]
            found.append(plate.shown(effect_plate.plate(axis, at, done, others, is_grid=is_grid)))
        found += [_best(plan, done), _all(plan, done)]
    return [*found, *_failed(plan, rows)]


def _header(plan: Plan, rows: Sequence[Row]) -> Markup:
    failed = sum(row["status"] == "failed" for row in rows)
    missing = len(plan.cases) - len(rows)
    sub = f"{plan.base.name}: {plan.base.title} · {len(plan.cases):,} cases · {_sampling(plan)}"
    sub += f" · {plan.study.duration} each" if plan.study.duration else ""
    said = f" {len(rows) - failed:,} of {len(plan.cases):,} cases were played to their end."
    if failed:
        said += f" {failed:,} failed: they are listed at the end of this page."
    if missing:
        said += f" {missing:,} have not been played: the study was interrupted."
    good = not failed and not missing
    verdict = [tag("b", "Complete." if good else "Not complete."), said]
    parts = [
        tag("h1", plan.study.title),
        tag("p", sub, class_="sub"),
        tag("p", verdict, class_=f"verdict {'good' if good else 'bad'}"),
    ]
    return tag("header", parts)


def _sampling(plan: Plan) -> str:
    sampling = plan.study.sampling
    words = {
        Method.GRID: "every value with every other",
        Method.RANDOM: f"independent draws, seed {sampling.seed}",
        Method.LATIN_HYPERCUBE: f"Latin hypercube, seed {sampling.seed}",
    }
    return words[sampling.method]


def _ranges(done: Sequence[Row]) -> Markup:
    """From the lowest to the highest case of each figure."""
    found = []
    for measure in MEASURES:
        known = [value for row in done if (value := measure.of(row)) is not None]
        if known:
            found.append(Tile(measure.name, measure.span(min(known), max(known)), measure.meaning))
    parts = [tag("h2", "The span of the cases"), tiles.shown(found)]
    return tag("section", parts, class_="keys spans", aria_label="span of the cases")


def _best(plan: Plan, done: Sequence[Row]) -> Markup:
    """For each figure with a wanted end, the case that comes nearest to it, with its other figures."""
    known = [measure for measure in MEASURES if any(measure.of(row) is not None for row in done)]
    rows = []
    for measure in known:
        found = measures.best(done, measure)
        if found is not None:
            name = f"{'highest' if measure.better == 'high' else 'lowest'} {measure.name}"
            rows.append([name, *_cells(plan, found, known)])
    head = ["best by", "case", *(axis.name for axis in plan.axes), *(each.name for each in known)]
    note = "Of several cases that are alike the first. The mean price has no better end."
    parts = [tag("h2", "The best cases"), plate.table(Rows(head, rows, note))]
    return tag("section", parts, class_="card")


def _cells(plan: Plan, row: Row, known: Sequence[Measure]) -> list[str]:
    return [
        str(row["case"]),
        *(_shown(row[axis.column]) for axis in plan.axes),
        *("–" if (value := each.of(row)) is None else each.words(value) for each in known),
    ]


def _shown(value: Value) -> str:
    return measures.short(value) if isinstance(value, (int, float)) else str(value)


def _all(plan: Plan, done: Sequence[Row]) -> Markup:
    known = [measure for measure in MEASURES if any(measure.of(row) is not None for row in done)]
    head = ["case", *(axis.name for axis in plan.axes), *(each.name for each in known)]
    listed = plate.table(Rows(head, [_cells(plan, row, known) for row in done]))
    summary = tag("summary", f"All {len(done):,} cases; the table beside this page has every figure")
    parts = [tag("h2", "The cases"), tag("details", [summary, listed])]
    return tag("section", parts, class_="card")


def _failed(plan: Plan, rows: Sequence[Row]) -> list[Markup]:
    failed = [row for row in rows if row["status"] == "failed"]
    if not failed:
        return []
    lines = [
        f"case {row['case']} ("
        + ", ".join(f"{axis.name} = {_shown(row[axis.column])}" for axis in plan.axes)
        + f"): {row['error']}"
        for row in failed[:FAILED_SHOWN_MAX]
    ]
    if len(failed) > FAILED_SHOWN_MAX:
        lines.append(f"and {len(failed) - FAILED_SHOWN_MAX:,} more; the table has all")
    parts = [tag("h2", "Cases that failed"), tag("ul", [tag("li", line) for line in lines])]
    return [tag("section", parts, class_="card")]


def _footer(plan: Plan) -> Markup:
    common = ", ".join(f"{path} = {value}" for path, value in plan.common)
    lines = [f"In all cases: {common}."] if common else []
    lines.append("Made by energyctl study. The page holds no script and asks no network for anything.")
    return tag("footer", [tag("p", line) for line in lines])

"""What a study says: its cases before they are played, how far it is, and what it came to."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from energymarket.exits import Exit
from energymarket.scenario import toml
from energymarket.studies.reading import plan_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from energymarket.scenario.schema import Scenario
    from energymarket.studies.outcome import Outcome
    from energymarket.studies.reading import Plan

CASES_SHOWN_MAX: Final = 200
"""Lines of cases for eyes; with --json all of them."""

FAILED_SHOWN_MAX: Final = 20


class Answer:
    """The same as lines and as a document."""

    def __init__(self, lines: Sequence[str], document: Mapping[str, Any]) -> None:
        self.lines = lines
        self.document = document


def answer(said: Answer, *, as_json: bool, code: int = Exit.OK) -> int:
    """Print it; the exit code."""
    text = json.dumps(said.document, ensure_ascii=False) if as_json else "\n".join(said.lines)
    sys.stdout.write(text + "\n")
    return code


def listed(names: Sequence[str]) -> Answer:
    """The shipped studies."""
    plans = [(name, plan_of(name)) for name in names]
    width = max((len(name) for name in names), default=0)
    lines = [f"{name:{width}}  {len(plan.cases):5} cases  {plan.study.title}" for name, plan in plans]
    found = [{"name": name, "cases": len(plan.cases), "title": plan.study.title} for name, plan in plans]
    return Answer(lines, {"type": "studies", "studies": found})


def cases(plan: Plan) -> Answer:
    """What would be played."""
    head = ("case", *(axis.name for axis in plan.axes))
    rows = [(str(case.number), *map(str, case.shown)) for case in plan.cases]
    shown = rows[:CASES_SHOWN_MAX]
    widths = [max(len(row[at]) for row in (head, *shown)) for at in range(len(head))]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in (head, *shown)]  # fmt: skip
    if len(rows) > len(shown):
        lines.append(f"and {len(rows) - len(shown):,} more; --json lists all")
    lines.append(f"{len(rows):,} cases of {plan.base.name}, {sampling_words(plan)}; nothing was played")
    document = {
        "type": "study_cases",
        "study": plan.name,
        "title": plan.study.title,
        "scenario": plan.base.name,
        "sampling": str(plan.study.sampling.method),
        "cases": [
            {
                "case": case.number,
                "parameters": dict(zip((axis.name for axis in plan.axes), case.shown, strict=True)),
            }
            for case in plan.cases
        ],
    }
    return Answer(lines, document)


def sampling_words(plan: Plan) -> str:
    """How the cases were chosen."""
    sampling = plan.study.sampling
    method = str(sampling.method).replace("_", " ").replace("latin", "Latin")
    return "full grid" if sampling.method == "grid" else f"{method}, seed {sampling.seed}"


def toml_of(scenario: Scenario) -> str:
    """A scenario as a file says it."""
    return toml.show(scenario)


@contextmanager
def bar(name: str, total: int, *, quiet: bool) -> Iterator[Callable[[Mapping[int, Outcome]], None]]:
    """A bar on standard error, if people look at it. It has no thread: workers are forked beside it."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _outcomes: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
    )
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, auto_refresh=False
    ) as progress:
        task = progress.add_task(name, total=total, failed="")

        def told(outcomes: Mapping[int, Outcome]) -> None:
            failed = sum(not outcome.is_done for outcome in outcomes.values())
            words = f"{failed} failed" if failed else ""
            progress.update(task, completed=len(outcomes), failed=words, refresh=True)

        yield told


def result(plan: Plan, outcomes: Mapping[int, Outcome], facts: Mapping[str, Any], place: str) -> Answer:
    """What a study came to."""
    failed = [(case, outcomes[case.number]) for case in plan.cases
              if case.number in outcomes and not outcomes[case.number].is_done]  # fmt: skip
    of = "" if facts["complete"] else f" of {facts['cases']:,}"
    rest = "" if facts["complete"] else " (interrupted; --resume goes on)"
    lines = [
        f"{plan.study.title}",
        f"{facts['done']:,}{of} cases of {plan.base.name} played, {sampling_words(plan)}{rest}",
    ]
    for case, outcome in failed[:FAILED_SHOWN_MAX]:
        parameters = ", ".join(
            f"{axis.name} = {value}" for axis, value in zip(plan.axes, case.shown, strict=True)
        )
        lines.append(f"case {case.number} failed ({parameters}): {outcome.error.splitlines()[0]}")
    if len(failed) > FAILED_SHOWN_MAX:
        lines.append(f"and {len(failed) - FAILED_SHOWN_MAX:,} more failed; the table has all")
    lines += [f"written: {path}" for path in facts["files"]]
    document = {name: value for name, value in facts.items() if name != "identity"}
    document |= {
        "folder": place,
        "failures": [
            {
                "case": case.number,
                "parameters": dict(zip((axis.name for axis in plan.axes), case.shown, strict=True)),
                "error": outcome.error,
            }
            for case, outcome in failed
        ],
    }
    return Answer(lines, document)

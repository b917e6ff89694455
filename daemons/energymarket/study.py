"""energy-study: plays a scenario with other parameters again and again; one table, one page of pictures."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energymarket.engine.api import cores
from energymarket.exits import Exit, Failure
from energymarket.runtime import service
from energymarket.runtime.clock import boottime_ns
from energymarket.studies import folder as folders
from energymarket.studies import identity, reading, shipped, table, telling
from energymarket.studies.cases import Order, scenario_of
from energymarket.studies.folder import Folder
from energymarket.studies.journal import Journal
from energymarket.studies.page import page
from energymarket.studies.playing import Player
from energymarket.studies.pool import LocalPool, play_all
from energymarket.studies.ray_pool import RayPool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from energymarket.runtime.service import StopFlag
    from energymarket.studies.outcome import Outcome
    from energymarket.studies.pool import Pool
    from energymarket.studies.reading import Plan

PROGRAM: Final = "energy-study"
ENGINES: Final = ("local", "ray")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


_count.__name__ = "number above 0"


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=__doc__,
        epilog="exit: 0 all cases played, 5 some have failed (the table says which), 1 all have, "
        "78 something is wrong with study or scenario, 130 interrupted (--resume goes on)",
    )
    parser.add_argument("study", nargs="?", metavar="STUDY", help="a file, or the name of a shipped study")
    parser.add_argument("--list", action="store_true", help="name the shipped studies")
    parser.add_argument("--show", action="store_true", help="print the study's file")
    parser.add_argument("--dry-run", action="store_true", help="print the cases, play none")
    parser.add_argument("--case", type=_count, metavar="N", help="print the scenario of a case, play none")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the results go")
    parser.add_argument("--engine", choices=ENGINES, default="local", help="the cores (default), or Ray")
    parser.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster that runs")
    parser.add_argument("--workers", type=_count, metavar="N", help="cases at a time (default: cores)")
    parser.add_argument("--csv", action="store_true", help="the table also as CSV")
    parser.add_argument("--keep", action="store_true", help="keep the ledger of every case")
    parser.add_argument("--resume", action="store_true", help="play what is missing or has failed")
    parser.add_argument("--anew", action="store_true", help="remove the study that lies there, and begin")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    given = parser.parse_args(arguments)
    if given.study is None and not given.list:
        parser.error("name a study, or --list")
    if given.resume and given.anew:
        parser.error("--resume goes on, --anew begins: one of them")
    if given.address is not None and given.engine != "ray":
        parser.error("--address is of a Ray cluster: --engine ray")
    return given


def study(given: argparse.Namespace, stop: StopFlag) -> int:
    """Read the study, then do with it what was asked for."""
    if given.list:
        return telling.answer(telling.listed(shipped.names()), as_json=given.json)
    plan = reading.plan_of(given.study)
    if given.show:
        sys.stdout.write(Path(plan.path).read_text(encoding="utf-8"))
        return Exit.OK
    if given.case is not None:
        return _print_case(plan, given.case)
    if given.dry_run:
        return telling.answer(telling.cases(plan), as_json=given.json)
    return _play(given, plan, stop)


def _print_case(plan: Plan, number: int) -> int:
    if number > len(plan.cases):
        what = f"{plan.name} has {len(plan.cases)} cases, there is no case {number}"
        raise Failure(what, "--dry-run lists them", Exit.NO_SUCH_OBJECT)
    scenario = scenario_of(plan.base, plan.common + plan.cases[number - 1].settings)
    sys.stdout.write(telling.toml_of(scenario))
    return Exit.OK


def _play(given: argparse.Namespace, plan: Plan, stop: StopFlag) -> int:
    if given.out is None:
        raise Failure("--out DIR is missing", "where the results go", Exit.USAGE)
    if not given.csv:
        table.require_parquet()
    place = Folder(given.out.absolute())
    began_ns = boottime_ns()
    who = identity.identity_of(plan)
    with ExitStack() as stack:
        stack.enter_context(place.held())
        place.take(who, resume=given.resume, anew=given.anew)
        facts = {"type": "study", **identity.facts_of(plan), "identity": who, **_counts(plan, {})}
        place.write_document(facts)
        journal = Journal(place.path)
        outcomes = journal.open()
        stack.callback(journal.close)
        missing = [case for case in plan.cases if not _is_done(outcomes, case.number)]
        orders = [
            Order(
                case.number,
                plan.base,
                plan.common + case.settings,
                plan.study.duration,
                str(place.scratch),
                str(place.path / folders.LEDGERS / f"{case.number:06}") if given.keep else None,
            )
            for case in missing
        ]
        with telling.bar(plan.name, len(plan.cases), quiet=given.json) as told:
            told(outcomes)

            def heard(outcome: Outcome) -> None:
                journal.add(outcome)
                outcomes[outcome.number] = outcome
                told(outcomes)

            if orders:
                _play_orders(given, orders, heard, stop)
        facts |= _counts(plan, outcomes) | {"wall_s": round((boottime_ns() - began_ns) / 1e9, 3)}
        _write(given, place, plan, outcomes, facts)
    said = telling.result(plan, outcomes, facts, str(place.path))
    return telling.answer(said, as_json=given.json, code=_code(facts))


def _play_orders(
    given: argparse.Namespace, orders: list[Order], heard: Callable[[Outcome], None], stop: StopFlag
) -> None:
    pool = _pool(given, orders)
    try:
        play_all(pool, orders, heard, stop)
    finally:
        pool.close()


def _pool(given: argparse.Namespace, orders: list[Order]) -> Pool:
    if given.engine == "ray":
        return RayPool(given.address, given.workers)
    player = Player()
    with suppress(Failure):  # it fails again when it is played, and is told then
        player.warm(orders[0])
    return LocalPool(min(given.workers or cores(), len(orders)), player)


def _is_done(outcomes: Mapping[int, Outcome], number: int) -> bool:
    return number in outcomes and outcomes[number].is_done


def _counts(plan: Plan, outcomes: Mapping[int, Outcome]) -> dict[str, Any]:
    done = sum(outcome.is_done for outcome in outcomes.values())
    return {
        "cases": len(plan.cases),
        "done": done,
        "failed": len(outcomes) - done,
        "complete": len(outcomes) == len(plan.cases),
    }


def _write(
    given: argparse.Namespace,
    place: Folder,
    plan: Plan,
    outcomes: Mapping[int, Outcome],
    facts: dict[str, Any],
) -> None:
    """Table, page and document: of all cases, or of those that there are."""
    rows = table.rows_of(plan, outcomes)
    about = {name: value for name, value in facts.items() if name != "wall_s"}
    written = []
    if not given.csv or table.has_parquet():
        written.append(place.write(folders.PARQUET, table.parquet(plan, rows, about)))
    if given.csv:
        written.append(place.write(folders.CSV, table.as_csv(plan, rows)))
    written.append(place.write(folders.REPORT, page(plan, rows).encode()))
    facts["files"] = [str(path) for path in written]
    place.write_document(facts)


def _code(facts: Mapping[str, Any]) -> Exit:
    if not facts["complete"]:
        return Exit.INTERRUPTED
    if not facts["failed"]:
        return Exit.OK
    return Exit.DEGRADED if facts["done"] else Exit.FAILED


def main() -> int:
    """Play a study; the answer is an exit code."""
    given = _words(None)
    return service.run_once(PROGRAM, lambda stop: study(given, stop), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

"""energy-scenario: list, show and compile scenarios."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from typing import Any, Final

from energymarket import once
from energymarket.exits import ConfigError, Exit
from energymarket.scenario import toml
from energymarket.scenario.cache import locate
from energymarket.scenario.compile import CompileError, Progress, compile_scenario, silent, with_overrides
from energymarket.scenario.compile_memo import Memo
from energymarket.scenario.compiled import CompiledError, load
from energymarket.scenario.continued import begun_with
from energymarket.scenario.schema import Scenario

PROGRAM: Final = "energy-scenario"


def read(name: str, homes: int | None, seed: int | None) -> Scenario:
    """A scenario by name or file, with what the command line changes. ConfigError with all that is wrong."""
    scenario, problems = toml.read(name)
    if scenario is None:
        raise ConfigError(toml.render_problems(problems))
    try:
        return with_overrides(scenario, homes, seed)
    except CompileError as problem:
        raise ConfigError(str(problem)) from problem


def compile_them(given: argparse.Namespace) -> dict[str, Any] | list[dict[str, Any]]:
    """Compile (or find) scenarios, what they share once: of one, what it holds, of more, a row each."""
    memo = Memo()
    found = [compile_it(given, name, memo) for name in (given.scenario, *given.more)]
    if not given.more:
        return found[0]
    return [each | {"compiled": True} for each in found]


def compile_it(given: argparse.Namespace, name: str, memo: Memo) -> dict[str, Any]:
    """Compile (or find) a scenario; where it lies and what it holds."""
    scenario = read(name, given.homes, given.seed)
    with ExitStack() as stack:
        try:
            kept = None if given.begun_with is None else begun_with(given.begun_with, scenario)
            directory = kept or compile_scenario(scenario, _progress(stack, scenario.name), memo)
            compiled = load(directory)
        except (CompileError, CompiledError) as problem:
            raise ConfigError(str(problem)) from problem
    return {
        "name": compiled.name,
        "title": compiled.title,
        "directory": str(directory),
        "hash": compiled.hash,
        "seed": compiled.seed,
        "homes": compiled.homes_count,
        "slot_s": compiled.period.slot_s,
        "first_slot": compiled.period.first_slot,
        "slots": compiled.period.slots,
        "weather": compiled.settings["weather"]["source"],
    }


def list_them(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The shipped scenarios, and which of them lie compiled."""
    del given
    rows = []
    for name in toml.shipped():
        scenario = read(name, None, None)
        rows.append(
            {
                "name": name,
                "title": scenario.title,
                "homes": scenario.homes_count,
                "compiled": locate(scenario) is not None,
            }
        )
    return rows


def show_it(given: argparse.Namespace) -> str:
    """The scenario as it is understood: every key with its value."""
    return toml.show(read(given.scenario, given.homes, given.seed))


def _progress(stack: ExitStack, name: str) -> Progress:
    """A bar on standard error, if people look at it."""
    if not sys.stderr.isatty():
        return silent
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
    task = bar.add_task(f"compiling {name}", total=1.0)
    return lambda stage, done: bar.update(task, completed=done, description=f"compiling {name}: {stage}")


def render(answer: object) -> str:
    """An answer as text: rows as columns, a table as lines."""
    if isinstance(answer, str):
        return answer.rstrip("\n")
    if isinstance(answer, list):
        return "\n".join(map(_line, answer))
    if isinstance(answer, dict):
        return "\n".join(f"{key:11} {value}" for key, value in answer.items())
    return str(answer)


def _line(row: dict[str, Any]) -> str:
    return f"{row['name']:36} {row['homes']:>8} {'*' if row['compiled'] else ' '} {row['title']}"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(PROGRAM, description="List, show and compile scenarios.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    json_help = "answer as JSON"
    for name, act, text in (
        ("compile", compile_them, "turn scenarios into arrays, once"),
        ("show", show_it, "print a scenario with every key"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("scenario", metavar="NAME|FILE", help="a shipped scenario, or a file")
        verb.add_argument("--homes", type=int, metavar="N", help="another number of homes in its groups")
        verb.add_argument("--seed", type=int, metavar="S", help="another seed")
        verb.add_argument("--json", action="store_true", help=json_help)
        verb.set_defaults(act=act)
        if act is compile_them:
            verb.add_argument("more", nargs="*", metavar="NAME|FILE", help="more of them, changed likewise")
            verb.add_argument(
                "--begun-with",
                metavar="HASH",
                help="keep the compiled scenario of a ledger, if only the price has changed",
            )
    verb = verbs.add_parser("list", help="the scenarios that come with the program; * is compiled")
    verb.add_argument("--json", action="store_true", help=json_help)
    verb.set_defaults(act=list_them)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; its exit code."""
    given = parse(arguments)

    def act() -> int:
        answer = given.act(given)
        text = json.dumps(answer, ensure_ascii=False) if given.json else render(answer)
        sys.stdout.write(text + "\n")
        return Exit.OK

    return once.run(PROGRAM, act, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

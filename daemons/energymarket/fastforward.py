"""energy-fastforward: plays a scenario as fast as the machine goes, into a ledger like a live one's."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from energymarket import once
from energymarket.engine import api, joining, run
from energymarket.engine.folder import Folder
from energymarket.engine.result import lines_of
from energymarket.exits import Exit, Failure
from energymarket.runtime import service
from energymarket.runtime.apart import work_apart
from energymarket.runtime.clock import boottime_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.engine.run import Noted, Plan, Told
    from energymarket.runtime.apart import Ending
    from energymarket.runtime.service import StopFlag

PROGRAM: Final = "energy-fastforward"

_PLAIN: Final[dict[str, Any]] = {"highlight": False, "markup": False, "soft_wrap": True}


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


_count.__name__ = "number above 0"


def _seed(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


_seed.__name__ = "number of 0 or more"


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=__doc__,
        epilog="exit: 0 played to the end, 130 interrupted (what there is, is kept; --resume goes on)",
    )
    parser.add_argument("scenario", nargs="?", default="default", metavar="SCENARIO", help="a name or a file")
    parser.add_argument("--for", dest="duration", metavar="1y|7d|96", help="market time, or so many slots")
    parser.add_argument("--homes", type=_count, metavar="N", help="so many homes in the scenario's groups")
    parser.add_argument("--seed", type=_seed, metavar="S", help="another seed of all chance")
    parser.add_argument("--shards", type=_count, metavar="N", help="ranges that the homes are cut into")
    parser.add_argument("--engine", choices=api.ENGINES, help="one process, the cores (default), or Ray")
    parser.add_argument("--workers", type=_count, metavar="N", help="processes on this machine")
    parser.add_argument("--address", metavar="HOST:PORT", help="head of the Ray cluster (engine ray)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--compare", action="store_true", help="bills under every sharing rule, side by side")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    return parser.parse_args(arguments)


def simulate(given: argparse.Namespace, stop: StopFlag) -> int:
    """Compile, play, answer."""
    folder = Folder(given.out.absolute())
    if given.engine == "ray":
        joining.foresee(given.address)
    compiled = api.compiled_of(given.scenario, given.homes, given.seed)
    plan = api.plan_of(
        compiled,
        folder,
        duration=given.duration,
        engine=given.engine,
        shards=given.shards,
        workers=given.workers,
        address=given.address,
        compares=given.compare,
    )
    with folder.held():
        if folder.is_played():  # the run before was killed when only its place was to be taken
            folder.take_place()
        found = folder.result() if given.resume and _is_empty(folder) else None
        if found is not None and _is_of(found, plan):
            return _answer(given, found, folder)  # it had come to its end
        if not given.resume and folder.clear():
            sys.stderr.write(f"{PROGRAM}: the unfinished run in {folder.path} is begun anew\n")
        with ExitStack() as stack:
            told, noted = _bar(stack, compiled.name, quiet=given.json and not sys.stderr.isatty())
            document = api.play(
                plan, folder, resume=given.resume, told=told, stopping=stop.is_set, noted=noted
            )
    return _answer(given, document, folder)


def _is_empty(folder: Folder) -> bool:
    return not (folder.run / "market").exists()


def _is_of(found: dict[str, Any], plan: Plan) -> bool:
    same = (found.get("scenario_hash"), found.get("slots")) == (plan.compiled.hash, plan.slots)
    told = not plan.compares or "sharing" in found
    return same and told and bool(found.get("complete"))


def _bar(stack: ExitStack, name: str, *, quiet: bool) -> tuple[Told, Noted]:
    """A bar with rate and time left on standard error, if people look at it; sentences in any case."""
    console = Console(stderr=True)
    if quiet:
        return run.quiet, run.unnoted
    if not console.is_terminal:
        return run.quiet, lambda sentence: console.print(f"{PROGRAM}: {sentence}", **_PLAIN)
    rate_column = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate_column)
    progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
    stack.callback(progress.stop)
    task = progress.add_task(name, total=None, rate="")
    began: list[tuple[int, int]] = []

    def told(done: int, total: int) -> None:
        now_ns = boottime_ns()
        if not began:
            began.append((now_ns, done))
            progress.start()  # not before: it has a thread, and workers are forked before there are threads
        since_ns, first = began[0]
        rate = (done - first) * 1e9 / max(now_ns - since_ns, 1)
        progress.update(task, completed=done, total=total, rate=f"{rate:,.0f} slots/s" if rate else "")

    return told, lambda sentence: console.print(sentence, **_PLAIN)


def _answer(given: argparse.Namespace, document: dict[str, Any], folder: Folder) -> int:
    done = bool(document["complete"])
    place = folder.path if done else folder.run
    if given.json:
        sys.stdout.write(json.dumps({**document, "folder": str(place)}) + "\n")
    else:
        sys.stdout.write("\n".join(lines_of(document, str(place))) + "\n")
    return Exit.OK if done else Exit.INTERRUPTED


def main() -> int:
    """Play a scenario; the answer is an exit code."""
    given = _words(None)
    if given.engine != "ray":
        return _play(given)
    ending = work_apart(lambda: _play_quietly(given))
    if ending.finished:
        return ending.code
    return once.run(PROGRAM, lambda: _lost(ending), as_json=given.json)


def _play(given: argparse.Namespace) -> int:
    return service.run_once(PROGRAM, lambda stop: simulate(given, stop), as_json=given.json)


def _play_quietly(given: argparse.Namespace) -> int:
    """Ray's C++ side writes to descriptor 2 what it has to say before it ends a process: that is ours."""
    once.open_streams()
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8")
    once.discard_output(2)
    return _play(given)


def _lost(ending: Ending) -> NoReturn:
    """Ray ends the process whose node it cannot reach any more, wherever that is."""
    how = "the Ray node of this machine, or the cluster's head, is gone"
    if ending.code < 0:
        how = f"killed by {signal.Signals(-ending.code).name}"
    raise Failure(f"the run has ended without a word: {how}", "--resume goes on from the last checkpoint")


if __name__ == "__main__":
    sys.exit(main())

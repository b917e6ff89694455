"""energy-replay: settles a recorded run once more from what came to it from outside, and compares hashes."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.progress import Progress

from energymarket.archive.places import compiled_of
from energymarket.audit.ledger_file import copied
from energymarket.audit.source import LedgerDamagedError
from energymarket.exits import ConfigError, Exit, Failure, NoSuchObject
from energymarket.replaying import telling
from energymarket.replaying.households import Households
from energymarket.replaying.rerun import Rerun
from energymarket.runtime import service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.audit.ledger_file import LedgerFile
    from energymarket.replaying.rerun import Outcome
    from energymarket.scenario.compiled import Compiled

PROGRAM: Final = "energy-replay"
EXITS: Final = (
    "exit: 0 every slot that has a record is equal to the ledger, 4 no ledger, or none with a record, "
    "5 a slot differs or a record is damaged, 74 the ledger cannot be read"
)


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, epilog=EXITS)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--ledger", type=Path, metavar="FILE", help="a ledger.db, also of a market that runs, or a backup"
    )
    where.add_argument("--state", type=Path, metavar="DIR", help="a state directory")
    parser.add_argument(
        "--compiled", type=Path, metavar="DIR", help="the compiled scenario that the ledger belongs to"
    )
    parser.add_argument("--ledger-only", action="store_true", help="do not live through the homes' physics")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    return parser.parse_args(arguments)


def replay(given: argparse.Namespace) -> int:
    """Read a copy, play it, tell."""
    path: Path = given.ledger or given.state / "market" / "ledger.db"
    with ExitStack() as stack:
        try:
            ledger = copied(stack, path, in_use=True)
            households = None if given.ledger_only else _households(ledger, given.compiled)
            rerun = Rerun(ledger) if households is None else Rerun(ledger, households.hear)
            outcome = _with_a_bar(ledger, rerun)
        except LedgerDamagedError as error:
            raise Failure(str(error), "energyctl ledger verify tells more", Exit.IO_ERROR) from error
    if outcome is None:
        raise NoSuchObject(f"{path}: the ledger is still empty: nothing to replay")
    if not outcome.played.count and outcome.finding is None:
        why = telling.WHY_NONE if outcome.unrecorded.count else "the detail of every slot was compacted"
        raise NoSuchObject(f"{path}: no slot has a record of its inputs", why)
    if given.json:
        sys.stdout.write(json.dumps(telling.document(outcome, households)) + "\n")
    else:
        sys.stdout.write("\n".join(telling.lines(outcome, households)) + "\n")
    return Exit.OK if outcome.finding is None else Exit.DEGRADED


def _with_a_bar(ledger: LedgerFile, rerun: Rerun) -> Outcome | None:
    """Play all of it, with a progress bar on a terminal; None where there is no slot."""
    first, last = ledger.first_slot(), ledger.last_slot()
    if first is None or last is None:
        return None
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("replaying", total=last - first + 1)
        return rerun.run(lambda slot: progress.update(task, completed=slot - first + 1))


def _households(ledger: LedgerFile, named: Path | None) -> Households | None:
    """The homes, where their scenario is at hand: named, or found by its hash. Raises ConfigError."""
    first, scenario_hash = ledger.first_slot(), ledger.facts().scenario_hash or ""
    if first is None:
        return None
    try:
        compiled: Compiled = compiled_of(named, scenario_hash)
    except ConfigError:
        if named is not None:
            raise
        return None
    return Households(compiled, first)


def main() -> int:
    """Replay; the answer is an exit code."""
    given = _words(None)
    return service.run_once(PROGRAM, lambda _stop: replay(given), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

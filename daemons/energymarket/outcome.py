"""energy-outcome: what a run of the daemons in lockstep has come to, as `energyctl simulate` tells it."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.audit.ledger_file import copied
from energymarket.audit.source import LedgerDamagedError
from energymarket.daybook.indicators import indicators_of
from energymarket.engine.measures import HOME_TABLE_MAX
from energymarket.engine.result import Played, document_from, lines_of
from energymarket.exits import ConfigError, Exit, Failure, NoSuchObject
from energymarket.home.files import ranges_kept
from energymarket.runtime import service
from energymarket.scenario import compiled as compiling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.audit.ledger_file import LedgerFile

PROGRAM: Final = "energy-outcome"


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="ledger and registers")
    parser.add_argument("--compiled", type=Path, required=True, metavar="DIR", help="the compiled scenario")
    parser.add_argument("--slots", type=int, required=True, metavar="N", help="slots that were asked for")
    parser.add_argument("--wall-s", type=float, default=0.0, metavar="S", help="how long it took")
    parser.add_argument("--cpu-s", type=float, default=0.0, metavar="S", help="CPU time of all daemons")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    return parser.parse_args(arguments)


def outcome(given: argparse.Namespace) -> int:
    """Read the ledger of the finished run, add it up, tell it."""
    try:
        compiled = compiling.load(given.compiled)
    except compiling.CompiledError as error:
        raise ConfigError(str(error)) from error
    with ExitStack() as stack:
        try:
            ledger = copied(stack, given.state / "market" / "ledger.db")
            slots, totals, chain_hash = _added_up(ledger)
            found = indicators_of(ledger, given.state / "homes", compiled)
            shards, _ = ranges_kept(given.state / "homes")
        except LedgerDamagedError as error:
            raise Failure(str(error), "energyctl ledger check tells more", Exit.IO_ERROR) from error
    played = Played(
        slots=slots,
        slots_planned=given.slots,
        totals=totals,
        hash=chain_hash,
        complete=slots >= given.slots,
        indicators=found.document(home_table=compiled.homes_count <= HOME_TABLE_MAX),
        engine="lockstep",
        shards=len(shards),
        workers=len(shards),
        wall_s=given.wall_s,
        cpu_s=given.cpu_s,
        account={},
    )
    document = document_from(compiled, played)
    text = json.dumps({**document, "folder": str(given.state)}) if given.json else None
    sys.stdout.write((text or "\n".join(lines_of(document, str(given.state)))) + "\n")
    return Exit.OK


def _added_up(ledger: LedgerFile) -> tuple[int, dict[str, int], str]:
    """How many slots the ledger has, their totals by name, and the hash of the last one."""
    first = ledger.first_slot()
    if first is None:
        raise NoSuchObject("the ledger is still empty", "the first slot was not settled")
    slots, chain_hash = 0, b""
    totals: dict[str, int] = {}
    for row in ledger.rows(first):
        slots, chain_hash = slots + 1, row.hash
        for name, value in json.loads(row.totals).items():
            totals[name] = totals.get(name, 0) + int(value)
    return slots, totals, chain_hash.hex()


def main() -> int:
    """Tell the outcome; the answer is an exit code."""
    given = _words(None)
    return service.run_once(PROGRAM, lambda _stop: outcome(given), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

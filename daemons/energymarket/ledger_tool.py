"""The ledger tool: verify hash chain and seals, or export the ledger as CSV, live or from the file."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.progress import Progress

from energymarket.audit import opening, tables
from energymarket.audit.figures import Gathered
from energymarket.audit.ledger_file import copy_into
from energymarket.audit.reading import Check
from energymarket.audit.source import LedgerDamagedError
from energymarket.exits import Exit, Failure
from energymarket.market.audit_chain import ChainAudit
from energymarket.runtime import service
from energymarket.transport.store import ForeignLedgerError, LedgerStore, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.audit.live import LiveLedger
    from energymarket.audit.opened import Opened
    from energymarket.transport.store import SlotRow

PROGRAM: Final = "energy-ledger"
VERIFY_S_MAX: Final = 3_600.0
"""The whole chain of a large ledger, read between the market's other work."""


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verify = verbs.add_parser("verify", help="recompute hash chain, seals and digests")
    opening.add_arguments(verify)
    export = verbs.add_parser("export", help="write prices.csv, homes.csv, homes_by_slot.csv and gifts.csv")
    opening.add_arguments(export)
    export.add_argument("--csv", type=Path, required=True, metavar="DIR", help="where the files go")
    export.add_argument(
        "--totals", action="store_true", help="only sums per home, no lines per slot and gift"
    )
    return parser.parse_args(arguments)


def verify(given: argparse.Namespace) -> int:
    """Ask the market that runs, or read a copy of the file."""
    with ExitStack() as stack:
        if given.run is not None:
            live: LiveLedger = opening.open_live(stack, given.run)
            found = live.ask("Verify", timeout_s=VERIFY_S_MAX)
        else:
            found = _verify_file(stack, opening.ledger_path(given))
    if given.json:
        sys.stdout.write(json.dumps({"type": "verified"} | found) + "\n")
    else:
        sys.stdout.write(
            f"slots {found['first_slot']} to {found['last_slot']}: {found['slots']} verified "
            f"({found['compacted']} compacted), hash {found['hash']}\n"
        )
        if not found["ok"]:
            sys.stdout.write(f"{found['problem']}\n")
    return Exit.OK if found["ok"] else Exit.DEGRADED


def _verify_file(stack: ExitStack, path: Path) -> dict[str, Any]:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="energy-market-verify-")))
    try:
        store = LedgerStore(copy_into(directory, path))
    except LedgerDamagedError as error:
        raise Failure(str(error), code=Exit.IO_ERROR) from error
    stack.callback(store.close)
    try:
        store.open_read_only()
        audit = ChainAudit(store, store.first_slot() or 0)
        damage = _hear_all(store, audit)
    except (StoreError, ForeignLedgerError) as error:
        raise Failure(str(error), code=Exit.IO_ERROR) from error
    return {
        "ok": (audit.problem or damage) is None,
        "slots": audit.slots,
        "compacted": audit.compacted,
        "first_slot": audit.first,
        "last_slot": audit.last,
        "hash": audit.hash.hex(),
        "problem": audit.problem or damage,
    }


def _hear_all(store: LedgerStore, audit: ChainAudit) -> str | None:
    """Every slot, with a progress bar on a terminal; the answer is what the database says against it."""
    first, last = store.first_slot(), store.last_slot()
    if first is None or last is None:
        return None
    try:
        with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
            for row in progress.track(store.slots(first, last), last - first + 1, description="verifying"):
                audit.hear(row)
    except (StoreError, sqlite3.DatabaseError, TypeError, ValueError, OverflowError) as error:
        return f"after slot {audit.last}: {error}"
    return None


def export(given: argparse.Namespace) -> int:
    """Write the tables. What the checker finds on the way is told, and is the exit code's business."""
    with ExitStack() as stack:
        compiled = opening.open_compiled(given)
        try:
            ledger = opening.open_ledger(stack, given)
        except LedgerDamagedError as error:
            raise Failure(str(error), "energyctl ledger check tells more", Exit.IO_ERROR) from error
        given.csv.mkdir(parents=True, exist_ok=True)
        period = None if compiled is None else compiled.period
        gathered = Gathered()
        by_slot = None if given.totals else tables.SlotTables(stack, given.csv, period)

        def hear(row: SlotRow, slot: Opened | None) -> None:
            gathered.hear(row, slot)
            if by_slot is not None:
                by_slot.hear(row, slot)

        checker = Check(ledger, None, compiled, on_slot=hear).run()
    slots = gathered.figures()
    tables.write_prices(given.csv / "prices.csv", slots, period)
    tables.write_homes(given.csv / "homes.csv", checker.accounts.sums, compiled)
    count = len(checker.findings)
    answer = {
        "type": "exported",
        "directory": str(given.csv),
        "slots": len(slots),
        "findings": count,
    }
    text = f"{len(slots)} slots written to {given.csv}"
    sys.stdout.write((json.dumps(answer) if given.json else text) + "\n")
    for finding in checker.findings.kept:
        sys.stderr.write(f"{finding.line()}\n")
    return Exit.DEGRADED if count else Exit.OK


def main() -> int:
    """Run the tool; the answer is an exit code."""
    given = _words(None)
    verb = verify if given.verb == "verify" else export
    return service.run_once(PROGRAM, lambda _stop: verb(given), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

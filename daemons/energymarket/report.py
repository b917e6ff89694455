"""energy-report: reads and checks a ledger, then writes report.txt, prices.csv, homes.csv and day.png."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energymarket.audit import opening, tables
from energymarket.audit.figures import Gathered
from energymarket.audit.reading import Check
from energymarket.audit.source import LedgerDamagedError
from energymarket.daybook import picture, words
from energymarket.daybook.balance import balance_of
from energymarket.exits import Exit, Failure
from energymarket.runtime import service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.audit.checker import Checker
    from energymarket.audit.figures import Figures
    from energymarket.audit.opened import Opened
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.store import SlotRow

PROGRAM: Final = "energy-report"
DAY_S: Final = 86_400


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=__doc__,
        epilog="exit: 0 written and checked, 5 written, but the checker disagrees",
    )
    opening.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    parser.add_argument(
        "--csv-only", action="store_true", help="only tables: also homes_by_slot.csv and gifts.csv"
    )
    parser.add_argument("--no-picture", action="store_true", help="without day.png and day.svg")
    return parser.parse_args(arguments)


def report(given: argparse.Namespace) -> int:
    """Read, check, write."""
    with ExitStack() as stack:
        compiled = opening.open_compiled(given)
        try:
            ledger = opening.open_ledger(stack, given)
        except LedgerDamagedError as error:
            raise Failure(str(error), "energyctl ledger check tells more", Exit.IO_ERROR) from error
        homes = opening.homes_directory(given)
        given.out.mkdir(parents=True, exist_ok=True)
        period = None if compiled is None else compiled.period
        gathered = Gathered()
        by_slot = tables.SlotTables(stack, given.out, period) if given.csv_only else None

        def hear(row: SlotRow, slot: Opened | None) -> None:
            gathered.hear(row, slot)
            if by_slot is not None:
                by_slot.hear(row, slot)

        checker = Check(ledger, homes, compiled, on_slot=hear).run()
    written = _write_tables(given.out, gathered.slots, checker, compiled)
    if given.csv_only:
        written += [given.out / "homes_by_slot.csv", given.out / "gifts.csv"]
        return _answer(given, written, {}, [], checker)
    return _write_report(given, written, gathered.slots, checker, compiled)


def _write_tables(
    out: Path, slots: Sequence[Figures], checker: Checker, compiled: Compiled | None
) -> list[Path]:
    paths = [out / "prices.csv", out / "homes.csv"]
    tables.write_prices(paths[0], slots, None if compiled is None else compiled.period)
    tables.write_homes(paths[1], checker.accounts.sums, compiled)
    return paths


def _write_report(
    given: argparse.Namespace, written: list[Path], slots: Sequence[Figures], checker: Checker,
    compiled: Compiled | None,
) -> int:  # fmt: skip
    balance = balance_of(slots)
    lines = words.lines_of(slots, balance, checker.result(), compiled)
    text = given.out / "report.txt"
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    written = [text, *written]
    if slots and compiled is not None and not given.no_picture:
        day = _last_day(slots, compiled)
        try:
            written += picture.draw(given.out, day, balance_of(day), compiled)
        except Failure as failure:  # a report without a picture is still a report
            lines.append(f"no picture: {failure}")
    facts: dict[str, Any] = {
        name: getattr(balance, name)
        for name in (*balance.__dataclass_fields__, "exchanged_wh", "gifts_share")
    }
    return _answer(given, written, facts, lines, checker)


def _last_day(slots: Sequence[Figures], compiled: Compiled) -> Sequence[Figures]:
    """The last 24 hours; all of it if it is not much more."""
    day = max(1, DAY_S // compiled.period.slot_s)
    return slots if len(slots) <= day * 3 // 2 else slots[-day:]


def _answer(
    given: argparse.Namespace, written: list[Path], facts: dict[str, Any], lines: list[str], checker: Checker
) -> int:
    result = checker.result()
    if given.json:
        document = {"type": "report", "files": [str(path) for path in written], "balance": facts}
        sys.stdout.write(json.dumps(document | {"check": result.document()}) + "\n")
    else:
        shown = [*lines, *([""] if lines else []), *(f"written: {path}" for path in written)]
        if not result.ok and not lines:
            shown.append(f"the checker disagrees: {result.findings_count} findings")
        sys.stdout.write("\n".join(shown) + "\n")
    return Exit.OK if result.ok else Exit.DEGRADED


def main() -> int:
    """Write the report; the answer is an exit code."""
    given = _words(None)
    return service.run_once(PROGRAM, lambda _stop: report(given), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

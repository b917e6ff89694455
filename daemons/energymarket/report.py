"""energy-report: reads and checks a ledger, then writes report.txt, tables, and pictures as page or image."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energymarket.archive import progress
from energymarket.audit import opening, tables
from energymarket.audit.figures import Gathered
from energymarket.audit.reading import Check, believed
from energymarket.audit.source import LedgerDamagedError
from energymarket.daybook import local_days, picture, words
from energymarket.daybook.balance import balance_of
from energymarket.daybook.indicators import indicators_of
from energymarket.daybook.page import Told, page
from energymarket.exits import Exit, Failure, NoSuchObject
from energymarket.runtime import service
from energymarket.scenario.kept import compiled_with

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energymarket.audit.checker import Result
    from energymarket.audit.figures import Figures
    from energymarket.audit.ledger_file import LedgerFile
    from energymarket.audit.live import LiveLedger
    from energymarket.audit.opened import Opened
    from energymarket.core.units import I64
    from energymarket.daybook.indicators import Indicators
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.store import SlotRow

PROGRAM: Final = "energy-report"
DAY_S: Final = 86_400
TOLD_EVERY: Final = 128
"""Slots between two words about how far it is."""


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=__doc__,
        epilog="exit: 0 written and checked (or not checked, as asked), 5 written, but the checker disagrees",
    )
    opening.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    parser.add_argument(
        "--csv-only", action="store_true", help="only tables: also homes_by_slot.csv and gifts.csv"
    )
    parser.add_argument(
        "--html", action="store_true", help="the pictures as one page, report.html, instead of day.png"
    )
    parser.add_argument(
        "--day", type=_date, metavar="YYYY-MM-DD", help="a day whose flows the page shows first"
    )
    parser.add_argument("--no-picture", action="store_true", help="without day.png and day.svg")
    parser.add_argument(
        "--no-check", action="store_true", help="believe the ledger: quicker, and the report says so"
    )
    return parser.parse_args(arguments)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day: write it like 2025-06-16") from None


@dataclass(frozen=True, slots=True)
class _Read:
    """What a ledger has told."""

    slots: Figures
    sums: Mapping[str, I64]
    homes: int
    result: Result | None  # None: it was believed
    compiled: Compiled | None
    indicators: Indicators | None = None
    unknown: str = ""  # why there are none


def report(given: argparse.Namespace) -> int:
    """Read, check, write."""
    with ExitStack() as stack:
        try:
            ledger = opening.open_ledger(stack, given)
        except LedgerDamagedError as error:
            raise Failure(str(error), "energyctl ledger check tells more", Exit.IO_ERROR) from error
        compiled = _compiled(given, ledger)
        registers = opening.homes_directory(given)
        given.out.mkdir(parents=True, exist_ok=True)
        period = None if compiled is None else compiled.period
        by_slot = tables.SlotTables(stack, given.out, period) if given.csv_only else None
        read = _read(ledger, registers, compiled, by_slot, is_checked=not given.no_check)
        if given.html and len(read.slots) and compiled is not None:
            read = _measured(read, ledger, registers, compiled)
    day = _asked_for(given, read)
    written = _write_tables(given.out, read)
    if given.csv_only:
        written += [given.out / "homes_by_slot.csv", given.out / "gifts.csv"]
        return _answer(given, written, {}, [], read.result)
    return _write_report(given, written, read, day)


def _compiled(given: argparse.Namespace, ledger: LedgerFile | LiveLedger) -> Compiled | None:
    """The scenario that is named, else the one of the ledger's hash that lies here, if any."""
    found = opening.open_compiled(given)
    if found is None and (scenario_hash := ledger.facts().scenario_hash) is not None:
        return compiled_with(scenario_hash)
    return found


def _read(
    ledger: LedgerFile | LiveLedger,
    registers: Path | None,
    compiled: Compiled | None,
    by_slot: tables.SlotTables | None,
    *,
    is_checked: bool,
) -> _Read:
    gathered = Gathered()
    last = ledger.last_slot() or 0
    what = "checking" if is_checked else "reading"
    with progress.shown() as told:

        def hear(row: SlotRow, slot: Opened | None) -> None:
            gathered.hear(row, slot)
            if by_slot is not None:
                by_slot.hear(row, slot)
            if gathered.count % TOLD_EVERY == 0:
                told(what, gathered.count, gathered.count + max(last - row.slot, 0))

        if is_checked:
            checker = Check(ledger, registers, compiled, on_slot=hear).run()
            result, accounts = checker.result(), checker.accounts
        else:
            try:
                result, accounts = None, believed(ledger, hear)
            except LedgerDamagedError as error:
                raise Failure(str(error), "energyctl ledger check tells more", Exit.IO_ERROR) from error
    return _Read(gathered.figures(), accounts.sums, accounts.homes, result, compiled)


def _measured(
    read: _Read, ledger: LedgerFile | LiveLedger, registers: Path | None, compiled: Compiled
) -> _Read:
    """The same with indicators and bills under every rule, where the ledger can be believed."""
    with progress.shown() as told:
        try:
            found = indicators_of(
                ledger,
                registers,
                compiled,
                compares=True,
                told=lambda slots: told("comparing", slots, len(read.slots)),
            )
        except LedgerDamagedError as error:
            return replace(read, unknown=str(error))
    return replace(read, indicators=found)


def _asked_for(given: argparse.Namespace, read: _Read) -> int | None:
    """The local day that was asked for. Raises NoSuchObject where the ledger does not have it."""
    if given.day is None:
        return None
    if read.compiled is None:
        raise NoSuchObject(
            "without its scenario a ledger has slots and no days", "--compiled DIR names the scenario"
        )
    day = local_days.day_of(given.day)
    days, _ = local_days.Calendar.of(read.compiled.period).local(read.slots.slot)
    if day not in days:
        first, last = (local_days.date_of(int(days[at])) for at in (0, -1)) if len(days) else ("none", "none")
        raise NoSuchObject(f"no slot of {given.day} is in the ledger", f"its days: {first} to {last}")
    return day


def _write_tables(out: Path, read: _Read) -> list[Path]:
    paths = [out / "prices.csv", out / "homes.csv"]
    tables.write_prices(paths[0], read.slots, None if read.compiled is None else read.compiled.period)
    tables.write_homes(paths[1], read.sums, read.compiled)
    return paths


def _write_report(given: argparse.Namespace, written: list[Path], read: _Read, day: int | None) -> int:
    slots, compiled = read.slots, read.compiled
    balance = balance_of(slots)
    lines = words.lines_of(slots, balance, read.homes, read.result, compiled)
    text = given.out / "report.txt"
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    written = [text, *written]
    if given.html:
        written = [_write_page(given.out, read, day), *written]
    elif len(slots) and compiled is not None and not given.no_picture:
        last = _last_day(slots, compiled)
        try:
            written += picture.draw(given.out, last, balance_of(last), compiled)
        except Failure as failure:  # a report without a picture is still a report
            lines.append(f"no picture: {failure}")
    facts: dict[str, Any] = {
        name: getattr(balance, name)
        for name in (*balance.__dataclass_fields__, "exchanged_wh", "gifts_share")
    }
    return _answer(given, written, facts, lines, read.result)


def _write_page(out: Path, read: _Read, day: int | None) -> Path:
    told = Told(
        read.slots, read.result, read.compiled, read.homes, read.indicators, unknown=read.unknown, day=day
    )
    path = out / "report.html"
    path.write_text(page(told), encoding="utf-8")
    return path


def _last_day(slots: Figures, compiled: Compiled) -> Figures:
    """The last 24 hours; all of it if it is not much more."""
    day = max(1, DAY_S // compiled.period.slot_s)
    return slots if len(slots) <= day * 3 // 2 else slots.part(len(slots) - day, len(slots))


def _answer(
    given: argparse.Namespace,
    written: list[Path],
    facts: dict[str, Any],
    lines: list[str],
    result: Result | None,
) -> int:
    is_good = result is None or result.ok
    if given.json:
        document = {"type": "report", "files": [str(path) for path in written], "balance": facts}
        check = None if result is None else result.document()
        sys.stdout.write(json.dumps(document | {"check": check}) + "\n")
    else:
        shown = [*lines, *([""] if lines else []), *(f"written: {path}" for path in written)]
        if result is not None and not result.ok and not lines:
            shown.append(f"the checker disagrees: {result.findings_count} findings")
        sys.stdout.write("\n".join(shown) + "\n")
    return Exit.OK if is_good else Exit.DEGRADED


def main() -> int:
    """Write the report; the answer is an exit code."""
    given = _words(None)
    return service.run_once(PROGRAM, lambda _stop: report(given), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

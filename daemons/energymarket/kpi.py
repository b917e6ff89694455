"""energy-kpi: the indicators of a ledger, live or from its file, for the community or one home."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from energymarket.audit import opening
from energymarket.audit.source import LedgerDamagedError
from energymarket.daybook import kpi_words
from energymarket.daybook.indicators import Indicators, indicators_of
from energymarket.exits import ConfigError, Exit, Failure, NoSuchObject
from energymarket.runtime import service
from energymarket.scenario.kept import compiled_with

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.audit.source import Facts
    from energymarket.scenario.compiled import Compiled

PROGRAM: Final = "energy-kpi"
_HOW: Final = "--compiled DIR names it: energyctl scenario compile FILE says where it lies"


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    parser.add_argument("--home", type=int, metavar="ID", help="of one home")
    opening.add_arguments(parser)
    return parser.parse_args(arguments)


def kpi(given: argparse.Namespace) -> int:
    """Read the ledger, add it up, tell it."""
    with ExitStack() as stack:
        try:
            ledger = opening.open_ledger(stack, given)
            compiled = _compiled(given, ledger.facts())
            found = indicators_of(ledger, opening.homes_directory(given), compiled)
        except LedgerDamagedError as error:
            raise Failure(str(error), "energyctl ledger check tells more", Exit.IO_ERROR) from error
    if not found.tally.community.slots:
        raise NoSuchObject("the ledger is still empty", "the first slot has not ended yet")
    sys.stdout.write(_told(given, found) + "\n")
    return Exit.OK


def _compiled(given: argparse.Namespace, facts: Facts) -> Compiled:
    """The scenario of the ledger: the one that is named, or one of its hash that lies here."""
    compiled = opening.open_compiled(given)
    if compiled is None and facts.scenario_hash is not None:
        compiled = compiled_with(facts.scenario_hash)
    if compiled is None:
        raise ConfigError(
            "the compiled scenario of this ledger is not here, and with it the slot's length", _HOW
        )
    if facts.scenario_hash not in {None, compiled.hash} or facts.homes not in {None, compiled.homes_count}:
        raise ConfigError(f"the ledger is of another scenario than {compiled.directory}", _HOW)
    return compiled


def _told(given: argparse.Namespace, found: Indicators) -> str:
    homes = found.tally.frame.homes
    if given.home is None:
        made = found.document(home_table=given.json)
        if given.json:
            return json.dumps({"type": "kpi"} | made, ensure_ascii=False)
        return "\n".join(kpi_words.lines_of(made, found.compiled))
    if not 1 <= given.home <= homes:
        raise NoSuchObject(f"there is no home {given.home}", f"this market has the homes 1 to {homes}")
    row, made = found.of_home(given.home), found.document(home_table=False)
    if given.json:
        run = {name: made["kpi"][name] for name in ("slots", "first_slot", "last_slot", "slot_s", "notes")}
        return json.dumps({"type": "kpi_home"} | row | run, ensure_ascii=False)
    return "\n".join(kpi_words.home_lines(row, made, found.compiled))


def main() -> int:
    """Tell the indicators; the answer is an exit code."""
    given = _words(None)
    return service.run_once(PROGRAM, lambda _stop: kpi(given), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

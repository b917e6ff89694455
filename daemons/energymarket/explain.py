"""energy-explain: the chain of causes of a price, a trade, or a home's slot, from the ledger alone."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from energymarket.audit import opening
from energymarket.audit.live import LiveLedger
from energymarket.audit.source import LedgerDamagedError
from energymarket.daybook import home_reasons, price_reasons, trade_reasons
from energymarket.exits import Exit, Failure, NoSuchObject
from energymarket.runtime import service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.audit.ledger_file import LedgerFile
    from energymarket.scenario.compiled import Compiled

PROGRAM: Final = "energy-explain"
I64_MAX: Final = (1 << 63) - 1


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    things = parser.add_subparsers(dest="thing", required=True)
    price = things.add_parser("price", help="the terms of a slot's price and what made them")
    price.add_argument("slot", type=int, nargs="?", help="a slot; the last sealed one without")
    trade = things.add_parser("trade", help="an order, or a batch")
    trade.add_argument("name", help="receipt of an order, or id of an order or batch")
    home = things.add_parser("home", help="what a home gave, got, sold, bought, and why")
    home.add_argument("home", type=int)
    home.add_argument("slot", type=int, nargs="?", help="a slot; the last sealed one without")
    for each in (price, trade, home):
        opening.add_arguments(each)
    return parser.parse_args(arguments)


def explain(given: argparse.Namespace) -> int:
    """Read what is asked for, and tell it."""
    with ExitStack() as stack:
        compiled = opening.open_compiled(given)
        try:
            ledger = opening.open_ledger(stack, given)
            told = _reasons(ledger, given, compiled)
        except LedgerDamagedError as error:
            raise Failure(str(error), "energyctl ledger verify tells more", Exit.IO_ERROR) from error
    lines = {"price": price_reasons.lines, "trade": trade_reasons.lines, "home": home_reasons.lines}[
        given.thing
    ]
    for facts in told:
        text = json.dumps(facts, ensure_ascii=False) if given.json else "\n".join(lines(facts))
        sys.stdout.write(text + "\n")
    return Exit.OK


def _reasons(
    ledger: LedgerFile | LiveLedger, given: argparse.Namespace, compiled: Compiled | None
) -> list[dict[str, Any]]:
    slot = getattr(given, "slot", None)
    if slot is not None and slot > I64_MAX:
        raise NoSuchObject(f"there is no slot {slot}")
    match given.thing:
        case "price":
            return [price_reasons.reasons(ledger, given.slot, compiled)]
        case "trade":
            if not given.name.isprintable():  # nor are bytes that are no UTF-8
                raise NoSuchObject(f"there is no order and no batch {given.name!a}")
            return trade_reasons.reasons(ledger, given.name, compiled)
        case _:
            homes = ledger.facts().homes
            if given.home < 1 or (homes is not None and given.home > homes):
                raise NoSuchObject(
                    f"there is no home {given.home}", f"this market has the homes 1 to {homes}"
                )
            policy = _policy(ledger, given.home, compiled)
            return [home_reasons.reasons(ledger, given.home, given.slot, compiled, policy)]


def _policy(ledger: LedgerFile | LiveLedger, home: int, compiled: Compiled | None) -> int | None:
    """A home's policy is no part of the ledger: the market or the scenario tells it."""
    if isinstance(ledger, LiveLedger):
        return ledger.policy_of(home)
    return None if compiled is None else int(compiled.homes["policy"][home - 1])


def main() -> int:
    """Explain; the answer is an exit code."""
    given = _words(None)
    return service.run_once(PROGRAM, lambda _stop: explain(given), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

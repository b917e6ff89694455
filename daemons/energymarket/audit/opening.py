"""Which ledger, which registers, which scenario: the options that checker, report and ledger tool share."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from energymarket.audit.ledger_file import copied
from energymarket.audit.live import LiveLedger
from energymarket.exits import ConfigError, Exit, Failure
from energymarket.scenario import compiled as compiling

if TYPE_CHECKING:
    from collections.abc import Callable

    from energymarket.audit.ledger_file import LedgerFile
    from energymarket.scenario.compiled import Compiled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--run or --ledger or --state; --homes, --compiled, --json."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--run", type=Path, metavar="DIR", help="the ledger of the market that runs in this run directory"
    )
    where.add_argument(
        "--ledger", type=Path, metavar="FILE", help="the ledger.db of a market that does not run, or a backup"
    )
    where.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="a state directory: ledger and registers of a market that does not run",
    )
    parser.add_argument("--homes", type=Path, metavar="DIR", help="where the homes' registers are (*.state)")
    parser.add_argument(
        "--compiled", type=Path, metavar="DIR", help="the compiled scenario that the ledger belongs to"
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")


def ledger_path(words: argparse.Namespace) -> Path:
    """The file of a ledger that is not asked for live."""
    path: Path = words.ledger or words.state / "market" / "ledger.db"
    return path


def homes_directory(words: argparse.Namespace) -> Path | None:
    """Where the registers are, if that is known."""
    if words.homes is not None:
        if not words.homes.is_dir():
            raise Failure(
                f"{words.homes}: no such directory", "--homes is where *.state files lie", Exit.NO_SUCH_OBJECT
            )
        homes: Path = words.homes
        return homes
    return words.state / "homes" if words.state is not None else None


def open_ledger(
    stack: ExitStack, words: argparse.Namespace, on_idle: Callable[[], None] | None = None
) -> LedgerFile | LiveLedger:
    """The ledger that the words name, open until the stack is closed; `on_idle` as of `LiveLedger`."""
    if words.run is None:
        return copied(stack, ledger_path(words))
    return open_live(stack, words.run, on_idle)


def open_live(stack: ExitStack, run_dir: Path, on_idle: Callable[[], None] | None = None) -> LiveLedger:
    """The ledger of a market that runs. Raises NotRunning."""
    live = LiveLedger(run_dir, on_idle=on_idle)
    stack.callback(live.close)
    live.open()
    return live


def open_compiled(words: argparse.Namespace) -> Compiled | None:
    """The compiled scenario, if one is named. Raises ConfigError."""
    if words.compiled is None:
        return None
    try:
        return compiling.load(words.compiled)
    except compiling.CompiledError as error:
        raise ConfigError(str(error)) from error

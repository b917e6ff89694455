"""A range of homes as a process: opens what it touches, keeps the homes, closes it all again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from energymarket.core.fleet import Fleet
from energymarket.exits import ConfigError, Exit, Failure, SecondInstance
from energymarket.home.books import Books
from energymarket.home.keeper import Keeper
from energymarket.home.session import Session
from energymarket.runtime import memory
from energymarket.runtime.notify import Notifier
from energymarket.transport import resources
from energymarket.transport.generation import GenerationError, GenerationFault
from energymarket.transport.page import BoardReader, ClockReader
from energymarket.transport.queue import OfferQueue, QueueGone

if TYPE_CHECKING:
    import argparse

    from energymarket.runtime.service import StopFlag
    from energymarket.scenario.compiled import Compiled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every home's daemon has."""
    parser.add_argument("--compiled", type=Path, metavar="DIR", help="directory of a compiled scenario")
    parser.add_argument("--scenario", metavar="NAME", help="a scenario's name or file, compiled before")
    parser.add_argument(
        "--run",
        type=Path,
        required=True,
        metavar="DIR",
        help="run directory: sockets, and the record of IPC objects",
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="directory of the registers")


def keep(
    compiled: Compiled, run_dir: Path, path: Path, first: int, count: int, stop: StopFlag, *, single: bool
) -> None:
    """Run the homes first .. first + count - 1 until asked to stop."""
    memory.keep_freed_memory()
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        ipc = resources.ensure(run_dir)
        fleet = Fleet(compiled, first, count)
        name = f"home {first}" if single else f"shard {first}+{count}"
        notifier = Notifier()
        stack.callback(notifier.close)
        session = Session(run_dir, first, count, name, stop, notifier.beat)
        stack.callback(session.close)
        try:
            books = Books(path, fleet, bytes.fromhex(compiled.hash))
            stack.callback(books.close)
            Keeper(
                compiled,
                fleet,
                books,
                session,
                stack.enter_context(ClockReader(ipc)),
                stack.enter_context(BoardReader(ipc)),
                OfferQueue(ipc),
                notifier,
                stop,
                single=single,
            ).run()
        except QueueGone as error:
            raise Failure(str(error), "start again", Exit.TRY_AGAIN) from error
        except GenerationError as error:
            if error.fault is GenerationFault.LOCKED:
                raise SecondInstance(str(error)) from error
            hint = "the registers do not fit the ledger: use the --state of both"
            raise ConfigError(str(error), hint) from error

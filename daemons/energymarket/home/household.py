"""A range of homes as a process: opens what it touches, keeps the homes, closes it all again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.core.fleet import Fleet
from energymarket.exits import ConfigError, Exit, Failure, SecondInstance
from energymarket.home import files
from energymarket.home.books import Books
from energymarket.home.keeper import Keeper
from energymarket.home.session import Session
from energymarket.runtime import memory
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.notify import Notifier
from energymarket.transport import resources
from energymarket.transport.generation import GenerationError, GenerationFault
from energymarket.transport.page import BoardReader, ClockReader
from energymarket.transport.queue import OfferQueue, QueueGone

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from energymarket.home.files import StateFile
    from energymarket.runtime.service import StopFlag
    from energymarket.scenario.compiled import Compiled


LOOK_AGAIN_NS: Final = 50_000_000
"""How often a file that another process has is looked at: a file's lock tells nobody that it is free."""


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
    parser.add_argument(
        "--lockstep", action="store_true", help="without a clock, as the market: wait for all in every slot"
    )


def keep(
    compiled: Compiled,
    run_dir: Path,
    file: StateFile,
    stop: StopFlag,
    *,
    single: bool,
    wait_s: float = 0,
    keeper: Callable[..., Keeper] = Keeper,
) -> None:
    """Run the homes of a state file until asked to stop, live or as another `keeper` does it.

    Whoever has them still, among others, is waited for so long.
    """
    memory.keep_freed_memory()
    with ExitStack() as stack:
        ipc = resources.ensure(run_dir)
        fleet = Fleet(compiled, file.first, file.count)
        compiled.forget_pages()
        memory.give_back()
        name = f"home {file.first}" if single else f"shard {file.first}+{file.count}"
        notifier = Notifier()
        stack.callback(notifier.close)
        session = Session(run_dir, file.first, file.count, name, stop, notifier.beat)
        stack.callback(session.close)
        try:
            books = _opened(file, fleet, bytes.fromhex(compiled.hash), notifier, stop, wait_s)
            if books is None:
                return
            stack.callback(books.close)
            keeper(
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
            if error.fault is GenerationFault.DISK:
                raise
            hint = "the registers do not fit the ledger: use the --state of both"
            raise ConfigError(str(error), hint) from error


def _opened(
    file: StateFile, fleet: Fleet, identity: bytes, notifier: Notifier, stop: StopFlag, wait_s: float
) -> Books | None:
    """The books, once nobody else has any of their homes; None when asked to stop."""
    until_ns = boottime_ns() + round(wait_s * 1e9)
    while not stop.is_set():
        try:
            with files.claimed(file, identity):
                return Books(file.path, fleet, identity)
        except files.InUse as error:
            if boottime_ns() >= until_ns:
                hint = "energyctl status shows whether the pool is well; then start it again"
                raise Failure(f"{file.text}: waited {wait_s:g} s; {error}", hint, Exit.TRY_AGAIN) from error
            notifier.status(f"waiting for {file.text}: {error}")
        notifier.beat()
        stop.wait_until(boottime_ns() + LOOK_AGAIN_NS)
    return None

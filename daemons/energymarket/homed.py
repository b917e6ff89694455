"""energy-homed: a single home in a process of its own, for experiments, hardware and teaching."""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from energymarket.exits import Exit, NoSuchObject
from energymarket.home import apart, files, household
from energymarket.home.keeper import Keeper
from energymarket.home.metered import AnchorFile, Meter, MeteredKeeper
from energymarket.home.stepping import Stepper
from energymarket.runtime import service
from energymarket.scenario.opening import is_lockstep, metered_homes, open_scenario
from energymarket.transport import book_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from energymarket.runtime.service import StopFlag

log = logging.getLogger(__name__)

POOL_LETS_GO_S: Final = 20.0
"""A shard ends within 5 s; the unit's start has 30 s, and the market is still to be joined."""


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("energy-homed", description=__doc__)
    household.add_arguments(parser)
    parser.add_argument("--home", type=int, required=True, metavar="ID", help="the home, 1 or above")
    return parser.parse_args(arguments)


def _serve(words: argparse.Namespace, stop: StopFlag) -> int:
    compiled = open_scenario(words)
    home: int = words.home
    if not 1 <= home <= compiled.homes_count:
        raise NoSuchObject(f"home {home}: the scenario has homes 1 to {compiled.homes_count}")
    words.state.mkdir(parents=True, exist_ok=True)
    if not compiled.homes["single"][home - 1] and home not in apart.homes_in(words.state):
        apart.leave(words.state, home)
        fields = {"ENERGY_HOME": home}
        log.info(
            "home %d leaves the pool for good: it trades when it is started by itself", home, extra=fields
        )
    file = files.of_home(words.state, home)
    single = True
    keeper: Callable[..., Keeper] = Keeper
    if is_lockstep(words, compiled):
        # A home that has left the pool trades as the scenario has it: else the ledger would be another one.
        # So it does by its scenario's profile where it is metered: meters know no other time than their own.
        single, keeper = bool(compiled.homes["single"][home - 1]), Stepper
    elif (meter := metered_homes(compiled).get(home)) is not None:
        keeper = _metered(words, home, meter)
    household.keep(compiled, words.run, file, stop, single=single, wait_s=POOL_LETS_GO_S, keeper=keeper)
    return Exit.OK


def _metered(words: argparse.Namespace, home: int, meter: str) -> Callable[..., Keeper]:
    """Makes keepers that live by a meter. Its book is in `readings`, beside the registers' directory."""
    book = book_file.place(words.state.absolute().parent / "readings", meter)
    anchor = AnchorFile(words.state / f"home-{home}.meter")
    return partial(MeteredKeeper, meter=Meter(meter, book, anchor))


def main() -> int:
    """Run the daemon; the answer is an exit code."""
    words = _words(None)
    return service.run("energy-homed", lambda stop: _serve(words, stop))


if __name__ == "__main__":
    sys.exit(main())

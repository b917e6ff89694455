"""energy-homed: a single home in a process of its own, for experiments, hardware and teaching."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from energymarket.exits import Exit, NoSuchObject
from energymarket.home import household
from energymarket.runtime import service
from energymarket.scenario.opening import open_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.runtime.service import StopFlag


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("energy-homed", description=__doc__)
    household.add_arguments(parser)
    parser.add_argument("--home", type=int, required=True, metavar="ID", help="the home, 1 or above")
    return parser.parse_args(arguments)


def _serve(words: argparse.Namespace, stop: StopFlag) -> int:
    compiled = open_scenario(words)
    if not 1 <= words.home <= compiled.homes_count:
        raise NoSuchObject(f"home {words.home}: the scenario has homes 1 to {compiled.homes_count}")
    path: Path = words.state / f"home-{words.home}.state"
    household.keep(compiled, words.run, path, words.home, 1, stop, single=True)
    return Exit.OK


def main() -> int:
    """Run the daemon; the answer is an exit code."""
    words = _words(None)
    return service.run("energy-homed", lambda stop: _serve(words, stop))


if __name__ == "__main__":
    sys.exit(main())

"""energy-backup: ledger, registers, scenario and configuration of one moment in one file, while all runs."""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.archive.making import Origin, back_up
from energymarket.archive.progress import shown
from energymarket.exits import Exit, NoSuchObject
from energymarket.runtime import service
from energymarket.runtime.clock import wall_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

PROGRAM: Final = "energy-backup"
PREFIX: Final = "energy-market-"
SUFFIX: Final = ".tar"
NAMED: Final = re.compile(rf"{PREFIX}[0-9]{{8}}T[0-9]{{6}}Z{re.escape(SUFFIX)}")
"""What `target_of` names; a backup that somebody has named is never forgotten."""

NEWEST_KEPT: Final = 3
"""Besides one a day: what was made last is what an operator has just asked for."""
EXITS: Final = (
    "exit: 0 made, 1 the file is there already, 4 no ledger there, 5 ledger or registers do not hold, "
    "74 no room, 75 the first slot has not ended, 78 not the scenario of this ledger"
)


def target_of(out: Path, now_ns: int) -> Path:
    """A file as it was named; in a directory, one named by the moment."""
    if out.is_dir():
        moment = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
        return out / f"{PREFIX}{moment}{SUFFIX}"
    if not out.parent.is_dir():
        raise NoSuchObject(f"{out.parent}: no such directory", "make it first")
    return out


def forget_old(out: Path, days: int) -> None:
    """Keep the newest of each of the last days that have one, and the newest of all.

    However many are made in a day, they do not wash out those of the days before.
    """
    found = sorted(path for path in out.iterdir() if NAMED.fullmatch(path.name))
    daily = {path.name[len(PREFIX) :][:8]: path for path in found}  # the last of a day stays
    kept = {*sorted(daily.values())[-days:], *found[-NEWEST_KEPT:]}
    for old in found:
        if old not in kept:
            old.unlink(missing_ok=True)


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, epilog=EXITS)
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="ledger and registers")
    parser.add_argument("--compiled", type=Path, metavar="DIR", help="the compiled scenario")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration, kept with them")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE|DIR", help="where the backup goes")
    parser.add_argument("--keep", type=int, metavar="N", help="keep a backup for each of the last N days")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    words = parser.parse_args(arguments)
    if words.keep is not None and (words.keep < 1 or not words.out.is_dir()):
        parser.error("--keep needs a number of 1 or more, and --out a directory")
    return words


def make(words: argparse.Namespace, stop: service.StopFlag) -> int:
    """Make one backup and say what it is."""
    target = target_of(words.out, wall_ns())
    with shown() as told:
        manifest = back_up(Origin(words.state, words.compiled, words.config), target, told, stop)
    if words.keep is not None:
        forget_old(words.out, words.keep)
    slots = manifest.last_slot - manifest.first_slot + 1
    answer = {
        "type": "backed_up",
        "file": str(target),
        "bytes": target.stat().st_size,
        "scenario": manifest.scenario_name,
        "first_slot": manifest.first_slot,
        "last_slot": manifest.last_slot,
        "hash": manifest.chain_hash,
        "homes": manifest.homes,
    }
    text = (
        f"{target}: {slots} slots, {manifest.first_slot} to {manifest.last_slot}, verified; "
        f"registers of {sum(each.count for each in manifest.ranges)} homes"
    )
    sys.stdout.write((json.dumps(answer) if words.json else text) + "\n")
    return Exit.OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Make one backup; the answer is an exit code."""
    words = _words(arguments)
    return service.run_once(PROGRAM, lambda stop: make(words, stop), as_json=words.json)


if __name__ == "__main__":
    sys.exit(main())

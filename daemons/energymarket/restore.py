"""energy-restore: puts a backup in the place of a state once all of it is verified; keeps the old aside."""

from __future__ import annotations

import argparse
import grp
import json
import logging
import os
import pwd
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.archive.manifest import HOMES, MARKET, SCENARIO
from energymarket.archive.places import Owner
from energymarket.archive.progress import shown
from energymarket.archive.restoring import Order, Restored, restore
from energymarket.exits import ConfigError, Exit
from energymarket.runtime import service
from energymarket.runtime.clock import wall_ns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

PROGRAM: Final = "energy-restore"
EXITS: Final = (
    "exit: 0 restored, 1 refused (it would go back in time or versions, or is too new), 4 no such backup, "
    "5 the present ledger cannot be read, 73 the suite runs, 74 the backup is damaged, or no room, "
    "77 not root, 78 of another scenario"
)
MODES: Final = {MARKET: 0o700, HOMES: 0o750, SCENARIO: 0o755}
USERS: Final = {MARKET: "energy-market", HOMES: "energy-home", SCENARIO: "energy-market"}
GROUP: Final = "energy"


def owners_of_the_suite() -> Mapping[str, Owner]:
    """Market, homes and scenario under systemd: to whom their units give their directories."""
    try:
        gid = grp.getgrnam(GROUP).gr_gid
        return {part: Owner(pwd.getpwnam(user).pw_uid, gid, MODES[part]) for part, user in USERS.items()}
    except KeyError as error:
        raise ConfigError(f"{error.args[0]}: the suite is not installed here", "packaging/install") from error


def owners_of(state: Path) -> Mapping[str, Owner]:
    """Everything belongs to whom the state does, or to us if there is none yet."""
    found = state.stat() if state.exists() else None
    uid, gid = (os.geteuid(), os.getegid()) if found is None else (found.st_uid, found.st_gid)
    return {part: Owner(uid, gid, mode) for part, mode in MODES.items()}


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, epilog=EXITS)
    parser.add_argument("backup", type=Path, metavar="FILE", help="what energy-backup has made")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="ledger and registers")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration of the suite")
    parser.add_argument("--prepared", type=Path, metavar="DIR", help="where its check leaves the scenario")
    parser.add_argument("--force", action="store_true", help="also back in time or to another version")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    words = parser.parse_args(arguments)
    if (words.config is None) != (words.prepared is None):
        parser.error("--config and --prepared belong together: they are the suite's under systemd")
    return words


def put_back(words: argparse.Namespace) -> int:
    """Restore and say what came of it."""
    installed = words.prepared is not None
    order = Order(
        backup=words.backup,
        state=words.state,
        force=words.force,
        stamp=datetime.fromtimestamp(wall_ns() // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ"),
        owners=owners_of_the_suite() if installed else owners_of(words.state),
        configuration=words.config,
        prepared=words.prepared,
    )
    with shown() as told:
        done = restore(order, told)
    if words.json:
        sys.stdout.write(json.dumps(_document(words, done)) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(words, done)))
    return Exit.OK


def _document(words: argparse.Namespace, done: Restored) -> dict[str, object]:
    manifest = done.manifest
    return {
        "type": "restored",
        "file": str(words.backup),
        "state": str(words.state),
        "scenario": manifest.scenario_name,
        "made": manifest.made,
        "first_slot": manifest.first_slot,
        "last_slot": manifest.last_slot,
        "hash": manifest.chain_hash,
        "aside": None if done.aside is None else str(done.aside),
        "finished": done.finished,
    }


def _lines(words: argparse.Namespace, done: Restored) -> list[str]:
    manifest = done.manifest
    how = "a restore that was cut short is finished" if done.finished else "restored"
    lines = [f"{how}: {words.state} ends with slot {manifest.last_slot}, backed up {manifest.made}"]
    if done.aside is not None:
        lines.append(f"what was there is in {done.aside}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Restore one backup; the answer is an exit code."""
    words = _words(arguments)
    return service.run_once(PROGRAM, lambda _stop: put_back(words), as_json=words.json)


if __name__ == "__main__":
    sys.exit(main())

"""What a restore refuses, one guard after the other, each with its reason. `force` lifts two of them."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from energymarket import __version__
from energymarket.archive.manifest import CONFIGURATION, HOMES, LEDGER, MARKET, SCENARIO
from energymarket.archive.moment import OPENING
from energymarket.exits import ConfigError, Exit, Failure, SecondInstance
from energymarket.scenario import compiled as compiling
from energymarket.scenario import likeness, toml
from energymarket.transport.ledger_rows import WHOLE_VERSIONS

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from energymarket.archive.manifest import Manifest

log = logging.getLogger(__name__)

MARK: Final = "energy-market-state"
"""`energyctl up` locks this file of a state directory, and takes no other directory for one."""

FORCE: Final = "--force restores it all the same; what is there now is kept aside"


@dataclass(frozen=True, slots=True)
class Present:
    """The ledger that is there now."""

    scenario_hash: str
    last_slot: int | None
    chain_hash: str | None  # of the last slot


def lock_out(stack: ExitStack, state: Path) -> None:
    """Hold every lock that a part of the suite needs until the stack is closed. Raises SecondInstance."""
    if not state.exists():
        return
    _lock(stack, state, os.open(state, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY))
    registers = sorted((state / HOMES).glob("*.state"))
    for path in (state / MARK, state / MARKET / "lock", *registers):
        if path.exists():
            _lock_file(stack, path)


def _lock_file(stack: ExitStack, path: Path) -> None:
    """Users of the suite write there: what is no file is no lock of the suite, and goes aside."""
    try:
        descriptor = os.open(path, OPENING)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENXIO}:
            raise
        log.warning("%s is a link or a socket: passed over", path)
        return
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        _lock(stack, path, descriptor)
    else:
        os.close(descriptor)
        log.warning("%s is no file: passed over", path)


def _lock(stack: ExitStack, path: Path, descriptor: int) -> None:
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SecondInstance(f"{path} is in use: the suite runs", "energyctl stop, then again") from error


def refuse_foreign_directory(state: Path) -> None:
    """A directory that `energyctl up` would not take for its own gets nothing from us."""
    if state.exists() and any(state.iterdir()) and not (state / MARK).is_file():
        raise Failure(f"{state} is not empty and no state directory of ours", "--state DIR names another")


def refuse_version(manifest: Manifest, *, force: bool) -> None:
    """Another schema cannot be read; another version of the program is a step back that is asked for."""
    if manifest.ledger_schema not in WHOLE_VERSIONS:
        read = " and ".join(map(str, WHOLE_VERSIONS))
        raise Failure(
            f"the backup's ledger has schema {manifest.ledger_schema}, this program reads {read}",
            f"restore it with version {manifest.product_version}, which made it",
        )
    if manifest.product_version != __version__ and not force:
        raise Failure(
            f"the backup was made by version {manifest.product_version}, this is {__version__}", FORCE
        )


def refuse_other_present(present: Present | None, manifest: Manifest) -> None:
    """A state of another scenario is no older or newer state of this one."""
    if present is not None and present.scenario_hash != manifest.scenario_hash:
        raise ConfigError(
            "the state that is there now belongs to another scenario",
            "energyctl reset --state sets it aside; or --state DIR names another place",
        )


def refuse_to_go_back(present: Present | None, manifest: Manifest, *, force: bool) -> None:
    """Slots that are settled now and not in the backup would be lost."""
    last = None if present is None else present.last_slot
    if last is not None and last > manifest.last_slot and not force:
        raise Failure(
            f"the ledger that is there now ends with slot {last}, the backup with slot {manifest.last_slot}: "
            f"{last - manifest.last_slot} settled slots would be lost",
            FORCE,
        )


def refuse_other_history(present: Present | None, hash_in_backup: str | None, *, force: bool) -> None:
    """The present ledger is no longer than the backup's, but another: its slots would be lost."""
    if present is not None and present.chain_hash != hash_in_backup and not force:
        raise Failure(
            f"the ledger that is there now has another history: its slot {present.last_slot} "
            "is not the backup's",
            FORCE,
        )


def refuse_other_configuration(configuration: Path, unpacked: Path) -> None:
    """The suite would not start: its configuration says another scenario than the backup's."""
    scenario, problems = toml.read(str(configuration))
    hint = f"the backup's own: tar -xOf FILE {CONFIGURATION} > {configuration}"
    if scenario is None:
        raise ConfigError(toml.render_problems(problems), hint)
    path = unpacked / SCENARIO / compiling.TOML_NAME
    before, _ = toml.parse(path.read_text(encoding="utf-8"), scenario.path)
    if before is None or not likeness.same_but_for_the_price(before, scenario):
        raise ConfigError(f"{configuration} is another scenario than the backup's", hint)


def present_of(state: Path, scratch: Path, *, force: bool) -> Present | None:
    """The ledger that is there now, looked at without touching it; None if there is none.

    One that cannot be read may hold slots that are nowhere else: with `force` it counts as none.
    """
    path = state / LEDGER
    if not path.exists():
        return None
    try:
        return _present(path, scratch)
    except (sqlite3.DatabaseError, OverflowError, TypeError, ValueError) as error:
        if force:
            return None
        raise Failure(
            f"{path} cannot be read ({error}): nobody can say which slots would be lost", FORCE, Exit.DEGRADED
        ) from error


def _present(path: Path, scratch: Path) -> Present:
    """A log that a killed market left belongs to the ledger: then both are looked at in a copy."""
    log = path.with_name(f"{path.name}-wal")
    words = "mode=ro&immutable=1"
    if log.exists() and log.stat().st_size:
        for each in (path, log):
            shutil.copyfile(each, scratch / each.name)
        path, words = scratch / path.name, "mode=rw"
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{words}", uri=True)) as db:
        found = dict(db.execute("SELECT key, value FROM meta WHERE key = 'scenario_hash'"))
        row = db.execute("SELECT slot, hash FROM slots ORDER BY slot DESC LIMIT 1").fetchone()
    last, its_hash = (None, None) if row is None else (int(row[0]), bytes(row[1]).hex())
    return Present(str(found.get("scenario_hash")), last, its_hash)

"""How a backup is made: beside its place, of one moment, held against itself, then given its name."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket import __version__
from energymarket.archive import moment, tarball
from energymarket.archive.manifest import CONFIGURATION, HOMES, LEDGER, MARKET, SCENARIO, Manifest
from energymarket.archive.places import compiled_of, durable, room
from energymarket.archive.verifying import check_chain, no_room
from energymarket.exits import Exit, Failure
from energymarket.runtime.clock import wall_ns
from energymarket.scenario import cache
from energymarket.scenario import compiled as compiling
from energymarket.transport.bodies import bytes_beside
from energymarket.transport.store import StoreError, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from energymarket.archive.manifest import Range
    from energymarket.archive.moment import Standing
    from energymarket.archive.progress import Told
    from energymarket.runtime.service import StopFlag
    from energymarket.scenario.compiled import Compiled

log = logging.getLogger(__name__)

DRAFTS: Final = ".energy-market-draft-"
"""A backup in the making is a directory of this name beside its place, locked by its maker."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW

COPIES: Final = 2
"""The ledger is copied, then packed: so many times its size is needed while a backup is made."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Of what a backup is made."""

    state: Path  # directory of ledger and registers
    compiled: Path | None  # the compiled scenario; None: it is looked for
    configuration: Path | None


def back_up(origin: Origin, target: Path, told: Told, stop: StopFlag) -> Manifest:
    """Make a backup at a path that is free; whole, verified and durable when this returns. Raises Failure."""
    if target.exists():
        raise _taken(target)
    made_ns = wall_ns()
    with ExitStack() as stack:
        draft = stack.enter_context(drafting(target.parent))
        standing, ranges = _copy(origin, draft, told, stop)
        compiled = _copy_scenario(origin, draft, standing)
        last = (standing.first_slot, standing.last_slot, standing.chain_hash)
        problem = check_chain(draft / LEDGER, *last, told)
        if problem is not None:
            hint = "energyctl ledger verify tells more; the backups that you have are good"
            raise Failure(f"{origin.state / LEDGER} does not hold: {problem}", hint, Exit.DEGRADED)
        manifest = Manifest(
            product_version=__version__,
            made=moment.text_of(made_ns),
            ledger_schema=version_of(draft / LEDGER),
            scenario_hash=standing.scenario_hash,
            scenario_name=compiled.name,
            compiled_name=_name_of(compiled),
            homes=standing.homes,
            first_slot=standing.first_slot,
            last_slot=standing.last_slot,
            chain_hash=standing.chain_hash,
            ranges=tuple(ranges),
            members=tuple(tarball.member_of(draft, name) for name in _names(draft)),
        )
        tarball.write(draft / "backup", manifest, draft, made_ns // 1_000_000_000, told)
        _give_name(draft / "backup", target)
    return manifest


def _copy(origin: Origin, draft: Path, told: Told, stop: StopFlag) -> tuple[Standing, list[Range]]:
    for part in (MARKET, HOMES, SCENARIO):
        (draft / part).mkdir()
    with ExitStack() as stack:
        store = moment.open_ledger(stack, origin.state / LEDGER)
        ledger = origin.state / LEDGER
        needed = COPIES * (ledger.stat().st_size + bytes_beside(ledger))
        if needed > room(draft):
            raise no_room(draft.parent, needed, room(draft))
        found = stack.enter_context(moment.caught(store, origin.state / HOMES, draft / HOMES, stop))
        try:
            store.copy_to(draft / LEDGER, lambda done, total: told("copying the ledger", done, total))
        except StoreError as error:
            raise Failure(str(error), "is the disk full?", Exit.IO_ERROR) from error
    return found


def _copy_scenario(origin: Origin, draft: Path, standing: Standing) -> Compiled:
    """The compiled scenario, so that a machine without the compiler can go on; and the configuration."""
    compiled = compiled_of(origin.compiled, standing.scenario_hash)
    for name in sorted(compiling.files_of(compiled.directory)):
        path = compiled.directory / name
        if path.is_file():
            shutil.copyfile(path, draft / SCENARIO / name)
    if origin.configuration is not None and origin.configuration.is_file():
        shutil.copyfile(origin.configuration, draft / CONFIGURATION)
    return compiled


def _name_of(compiled: Compiled) -> str:
    """Under which a start looks for it: a restore may have added to it, and by --compiled it may be any."""
    found = cache.NAME.match(compiled.directory.resolve().name)
    return compiled.hash[: cache.NAME_HEX] if found is None else found[0]


def _names(draft: Path) -> list[str]:
    """The members in their order: what a restore looks at first comes first, the ledger last."""
    found = sorted(str(path.relative_to(draft)) for path in draft.rglob("*") if path.is_file())
    return sorted(found, key=lambda name: (name == LEDGER, name.startswith(HOMES), name))


@contextmanager
def drafting(directory: Path) -> Iterator[Path]:
    """A directory for a backup in the making, which goes with it; what killed ones have left goes too."""
    for left in sorted(directory.glob(f"{DRAFTS}*")):
        _clear_abandoned(left)
    draft = directory / f"{DRAFTS}{os.getpid()}"
    descriptor = _made_and_locked(draft)
    while descriptor is None:
        descriptor = _made_and_locked(draft)
    try:
        yield draft
    finally:
        shutil.rmtree(draft)
        os.close(descriptor)


def _made_and_locked(draft: Path) -> int | None:
    """Make a directory and lock it; None if another backup, which saw it without its lock, has cleared it."""
    draft.mkdir(mode=0o700)
    try:
        descriptor = os.open(draft, _DIRECTORY)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if draft.exists():
        return descriptor
    os.close(descriptor)
    return None


def _clear_abandoned(draft: Path) -> None:
    """Remove what a killed backup of this user has left; what is another user's is that one's to remove."""
    try:
        found = draft.lstat()
        if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
            log.warning("%s is not ours (user %d): left as it is", draft, found.st_uid)
            return
        descriptor = os.open(draft, _DIRECTORY)
    except FileNotFoundError:
        return  # its maker has just ended
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(draft)
    except BlockingIOError:
        pass  # somebody makes another backup here just now
    finally:
        os.close(descriptor)


def _give_name(draft: Path, target: Path) -> None:
    """A link is never made over a file that is there; a disk without links (FAT) has to trust a look."""
    try:
        os.link(draft, target)
    except FileExistsError as error:
        raise _taken(target) from error
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        if target.exists():
            raise _taken(target) from error
        draft.rename(target)
    durable(target.parent)


def _taken(target: Path) -> Failure:
    return Failure(f"{target} is there already", "a backup is never overwritten: name another file")

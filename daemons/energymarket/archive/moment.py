"""One moment of a state that may be in use: the ledger, and of each range of homes the state that fits it.

The market settles a slot, and the homes write the state of the next, while we look. The ledger is held at
a moment by a read transaction. A home keeps the state of the last slot that the ledger has of it until the
ledger has a later one, and then writes over it with the slot after that: so from the moment on there is a
slot's time to read the homes' files. Who is too slow finds the state gone, and holds another moment.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.archive.manifest import HOMES, Range
from energymarket.audit.register_files import generation_of
from energymarket.core import ledger as ledgers
from energymarket.core.ledger import LedgerCorrupt
from energymarket.core.state import State
from energymarket.exits import Exit, Failure, NoSuchObject
from energymarket.market import recovery
from energymarket.runtime.clock import boottime_ns
from energymarket.transport.store import ForeignLedgerError, LedgerStore, StoreError
from energymarket.wire.state_file import IDENTITY_BYTES, Shape, file_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import ExitStack
    from pathlib import Path

    import numpy.typing as npt

    from energymarket.runtime.service import StopFlag
    from energymarket.wire.state_file import Header

log = logging.getLogger(__name__)

TRIES_MAX: Final = 50
PAUSE_NS: Final = 100_000_000
"""Five seconds in all: a state that fits in none of so many moments fits in no moment."""

OPENING: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""How a file is opened in a directory where another user writes."""

PATTERNS: Final = ("shard-*.state", "home-*.state")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a ledger stands."""

    scenario_hash: str
    homes: int
    first_slot: int
    last_slot: int
    chain_hash: str
    heard: npt.NDArray[np.int64]  # per home, index = id - 1: the last slot with a batch of it, -1 if none


def text_of(now_ns: int) -> str:
    """A second as RFC 3339 writes it, in UTC."""
    return datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class UnfitError(Failure):
    """Registers and ledger do not go together: which homes, and what there is of them."""

    code = Exit.DEGRADED


def open_ledger(stack: ExitStack, path: Path) -> LedgerStore:
    """A ledger to be read, whether a market has it open or not. Raises Failure."""
    if not path.is_file():
        raise NoSuchObject(f"{path}: no ledger here", "--state names the directory of ledger and registers")
    store = LedgerStore(path)
    try:
        store.open_read_only()
    except (StoreError, ForeignLedgerError) as error:
        raise Failure(str(error), "energyctl ledger verify tells more", Exit.IO_ERROR) from error
    stack.callback(store.close)
    return store


def standing_of(store: LedgerStore) -> Standing:
    """Where a ledger stands; call it in `held`, or where nobody writes. Raises Failure."""
    last, first = store.last_slot(), store.first_slot()
    if last is None or first is None:
        raise Failure(f"{store.path}: the first slot has not ended yet", "again in a moment", Exit.TRY_AGAIN)
    scenario_hash, homes = store.meta("scenario_hash") or "", int(store.meta("homes") or "0")
    try:
        accounts, chain_hash = recovery.accounts_of(store, homes, ledgers.genesis(scenario_hash))
    except (recovery.LedgerBrokenError, LedgerCorrupt, StoreError, ValueError, KeyError) as error:
        hint = "energyctl ledger verify tells more"
        raise Failure(f"{store.path} is damaged: {error}", hint, Exit.DEGRADED) from error
    return Standing(scenario_hash, homes, first, last, chain_hash.hex(), accounts.heard.column())


@contextmanager
def caught(
    store: LedgerStore, source: Path, target: Path, stop: StopFlag
) -> Iterator[tuple[Standing, list[Range]]]:
    """A whole moment, held until the end: where the ledger stands, and copies of the states that fit it.

    Moments are held one after the other until one is whole; UnfitError if none is.
    """
    for left in reversed(range(TRIES_MAX)):
        with store.held():
            try:
                found = _catch(store, source, target, stop)
            except UnfitError:
                if not left:
                    raise
            else:
                yield found
                return
        for half in target.iterdir():
            half.unlink()
        stop.wait_until(boottime_ns() + PAUSE_NS)


def _catch(store: LedgerStore, source: Path, target: Path, stop: StopFlag) -> tuple[Standing, list[Range]]:
    """Copy the states that fit the ledger as it is held; UnfitError where there are none for some homes."""
    standing = standing_of(store)
    ranges = []
    covered = standing.heard < 0  # of whom the ledger has heard nothing, it needs nothing
    for path in _files(source):
        if stop.is_set():
            raise Failure("interrupted", code=Exit.INTERRUPTED)
        found = _fitting(path, standing)
        if found is not None:
            header, data = found
            (target / path.name).write_bytes(data)
            shape = header.shape
            ranges.append(Range(f"{HOMES}/{path.name}", shape.first, shape.count, header.slot))
            covered[shape.first - 1 : shape.first - 1 + shape.count] = True
    if not covered.all():
        lacking = np.flatnonzero(~covered)
        raise UnfitError(
            f"{source}: no state of home {lacking[0] + 1} at the end of slot {standing.heard[lacking[0]]}, "
            f"the last that the ledger has of it ({len(lacking)} homes in all)",
            "energyctl ledger check tells more",
        )
    return standing, ranges


def hold_together(standing: Standing, directory: Path, ranges: Iterable[Range]) -> None:
    """Whether states that were copied fit a ledger. Raises UnfitError."""
    covered = standing.heard < 0
    for each in ranges:
        path = directory.parent / each.file
        found = _fitting(path, standing)
        if found is None or (found[0].shape.first, found[0].shape.count) != (each.first, each.count):
            raise UnfitError(f"{each.file} holds no state that fits the ledger")
        covered[each.first - 1 : each.first - 1 + each.count] = True
    if not covered.all():
        raise UnfitError(
            f"no state of home {np.flatnonzero(~covered)[0] + 1}, of which the ledger has readings"
        )


def _files(directory: Path) -> list[Path]:
    return [path for pattern in PATTERNS for path in sorted(directory.glob(pattern))]


def _content(path: Path, homes: int) -> bytes | None:
    """A state file of at most so many homes; None if it is none, or was moved away since it was listed.

    The homes may write there and we hold the ledger meanwhile: no pipe is waited at, no link is followed,
    and no more is read than a state can have.
    """
    try:
        descriptor = os.open(path, OPENING)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENXIO}:
            raise
        log.warning("%s is a link or a socket, no state file: passed over", path)
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        most = Shape(1, homes, State.size_bytes(homes), bytes(IDENTITY_BYTES)).file_bytes
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            log.warning("%s is no state file of %d homes: passed over", path, homes)
            return None
        return file.read(found.st_size)


def _fitting(path: Path, standing: Standing) -> tuple[Header, bytes | bytearray] | None:
    """The state in a file that a start on this ledger would load, as a file of its own; or None.

    Files of other homes, or of another ledger, are no part of this state: nobody would load them.
    """
    data = _content(path, standing.homes)
    if data is None:
        return None
    held = [each for each in (generation_of(data, number) for number in (0, 1)) if isinstance(each, tuple)]
    fitting = []
    for header, state in held:
        shape = header.shape
        if shape.identity.hex() != standing.scenario_hash or shape.first + shape.count - 1 > standing.homes:
            continue
        wanted = int(standing.heard[shape.first - 1 : shape.first - 1 + shape.count].max(initial=-1))
        if state is not None and header.slot == wanted:
            fitting.append(header)
    if not fitting:
        return None
    best = max(fitting, key=lambda header: header.edition)
    at = best.shape.area_at(best.generation)
    return best, file_of(
        best.shape, best.slot, best.edition, memoryview(data)[at : at + best.shape.area_bytes]
    )

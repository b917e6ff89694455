"""The run's System V objects: made once, recorded in ipc.json, found again, removed exactly.

A key is recorded before the object is made and its id after, so that a creation cut short by SIGKILL
leaves nothing that the next start does not know. Objects with our key that are not provably ours
(other id, other creator, other cookie) are left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import select
import stat
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sysv_ipc

from energymarket.exits import Exit
from energymarket.transport.ipc_record import (
    RECORD,
    Ipc,
    Kind,
    Resource,
    ResourceError,
    ResourcesMissingError,
    boot_id,
    read,
    write,
)
from energymarket.wire import board, cell, clock_page

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "PAGES",
    "QUEUE_BYTES",
    "Ipc",
    "Kind",
    "Resource",
    "ResourceError",
    "ResourcesMissingError",
    "Share",
    "attach",
    "changed",
    "describe",
    "ensure",
    "remove",
]

QUEUE_BYTES: Final = 16_384
"""Design size of the queue: what the kernel gives by default (msgmnb); nothing raises it."""

_NOBODY: Final = 65_534  # what the kernel calls users whom a namespace does not know
_UID_MAP: Final = Path("/proc/self/uid_map")

_KEY_TRIES: Final = 16
_LOCK_TRIES: Final = 100
_LOCK_TRY_MS: Final = 20  # 2 s in all: making five objects takes a millisecond


PAGES: Final = {
    Kind.CLOCK: (cell.Header(clock_page.MAGIC, clock_page.VERSION, 0), clock_page.PAGE_BYTES),
    Kind.BOARD: (cell.Header(board.MAGIC, board.VERSION, 0), board.BOARD_BYTES),
}


@dataclass(frozen=True, slots=True)
class Share:
    """Who may use the objects when the daemons run as users of their own."""

    gid: int
    market_uid: int
    weather_uid: int


class _State(StrEnum):
    OURS = "ours"
    GONE = "gone"
    FOREIGN = "foreign"


def ensure(run_dir: Path, mode: int = 0o660, share: Share | None = None) -> Ipc:
    """Attach to the run's objects, making what is missing. Raises ResourceError."""
    with contextlib.suppress(ResourcesMissingError):
        return attach(run_dir)
    try:
        run_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{run_dir}: {error.strerror}; choose another directory with --run") from error
    with _locked(run_dir):
        return _complete(run_dir, mode, share)


def attach(run_dir: Path) -> Ipc:
    """The run's objects if all are there and ours. Raises ResourcesMissingError, ResourceError."""
    ipc = read(run_dir)
    if ipc is None or not ipc.of_this_boot():
        raise ResourcesMissingError(f"{run_dir / RECORD}: no objects for this run; start the market first")
    made = (each for each in ipc.objects if each.id is not None)
    present = {each.kind for each in made if _state(ipc, each) is _State.OURS}
    if present != set(Kind):
        absent = ", ".join(sorted(set(Kind) - present))
        raise ResourcesMissingError(f"{run_dir / RECORD}: gone or not ours: {absent}; run energy-ipc create")
    return ipc


def changed(ipc: Ipc) -> bool:
    """Whether the run's record now names other objects than these: then attach again."""
    try:
        return read(ipc.run_dir) != ipc
    except ResourceError:
        return True


def remove(run_dir: Path) -> list[Kind]:
    """Remove the recorded objects that are provably ours, then the record. Answers what was removed."""
    if not run_dir.is_dir():
        return []
    with _locked(run_dir):
        ipc = read(run_dir)
        if ipc is None:
            return []
        removed = []
        if ipc.of_this_boot():
            removed = [each.kind for each in ipc.objects if _remove(ipc, each)]
        (run_dir / RECORD).unlink(missing_ok=True)
        return removed


def describe(run_dir: Path) -> list[dict[str, Any]]:
    """A row per recorded object: kind, key, id, exists, state, bytes, messages, owner, mode."""
    ipc = read(run_dir)
    if ipc is None:
        return []
    return [_row(ipc, each) for each in ipc.objects]


def _complete(run_dir: Path, mode: int, share: Share | None) -> Ipc:
    before = read(run_dir)
    if before is None or not before.of_this_boot() or before.creator_uid != os.geteuid():
        before = Ipc(run_dir, secrets.randbits(63) | 1, os.geteuid(), boot_id(), ())
    kept = [each for each in before.objects if each.id is not None and _state(before, each) is _State.OURS]
    for each in before.objects:
        if each.id is None:
            _remove(before, each)
    have = {each.kind for each in kept}
    planned = [Resource(kind, _free_key(kind), None) for kind in Kind if kind not in have]
    ipc = replace(before, objects=(*kept, *planned))
    write(ipc, None if share is None else share.gid)
    made: list[Resource] = []
    try:
        made.extend(replace(each, id=_make(ipc, each, mode, share)) for each in planned)
    except sysv_ipc.Error as error:
        for each in planned:
            _remove(ipc, each)
        write(replace(before, objects=tuple(kept)), None if share is None else share.gid)
        raise ResourceError(
            f"the kernel refused a System V object: {error}; see `ipcs` and `ipcs -l`"
        ) from error
    ipc = replace(before, objects=(*kept, *made))
    write(ipc, None if share is None else share.gid)
    return ipc


def _make(ipc: Ipc, resource: Resource, mode: int, share: Share | None) -> int:
    crex = sysv_ipc.IPC_CREX
    made: Any
    match resource.kind:
        case Kind.QUEUE:
            made = sysv_ipc.MessageQueue(resource.key, crex, mode)
            made.max_size = min(made.max_size, QUEUE_BYTES)
        case Kind.MUTEX:
            made = sysv_ipc.Semaphore(resource.key, crex, mode, initial_value=1)
        case Kind.BELL:
            made = sysv_ipc.Semaphore(resource.key, crex, mode, initial_value=0)
        case Kind.CLOCK | Kind.BOARD:
            header, size = PAGES[resource.kind]
            made = sysv_ipc.SharedMemory(resource.key, crex, mode & 0o640, size, init_character=b"\0")
            made.write(replace(header, cookie=ipc.cookie).pack())
            made.detach()
    identity = int(made.id)
    if share is not None:
        made.gid = share.gid
        made.uid = share.weather_uid if resource.kind is Kind.BOARD else share.market_uid
    return identity


def _free_key(kind: Kind) -> int:
    for _ in range(_KEY_TRIES):
        key = secrets.randbelow(2**31 - 1) + 1  # wider keys are cut to 32 bits without a word
        if _open(kind, key) is None:
            return key
    raise ResourceError("no free System V key found in 16 tries; look at `ipcs`")


def _open(kind: Kind, key: int) -> Any | None:  # noqa: ANN401 - sysv_ipc carries no types
    """A handle on the object with this key, or None if there is none that we may see."""
    try:
        match kind:
            case Kind.QUEUE:
                return sysv_ipc.MessageQueue(key)
            case Kind.MUTEX | Kind.BELL:
                return sysv_ipc.Semaphore(key)
            case Kind.CLOCK | Kind.BOARD:
                # without the owner's write bit sysv_ipc attaches read-only
                return sysv_ipc.SharedMemory(key, 0, 0o400)
    except sysv_ipc.ExistentialError:
        return None
    except sysv_ipc.PermissionsError:
        return None


def _state(ipc: Ipc, resource: Resource) -> _State:
    handle = _open(resource.kind, resource.key)
    if handle is None:
        return _State.GONE
    try:
        if not _made_by_creator(ipc, resource, int(handle.cuid)):
            return _State.FOREIGN
        if resource.id is not None and handle.id != resource.id:
            return _State.FOREIGN
        if resource.kind in PAGES:
            return _page_state(ipc, resource, handle)
    except sysv_ipc.ExistentialError:
        return _State.GONE
    finally:
        if resource.kind in PAGES:
            handle.detach()
    return _State.OURS


def _made_by_creator(ipc: Ipc, resource: Resource, cuid: int) -> bool:
    """Whether the run's creator made an object.

    In a user namespace that does not know the creator (PrivateUsers=) everybody's name is that of nobody;
    then the object's id must do, which the kernel does not give twice.
    """
    if cuid == ipc.creator_uid:
        return True
    return cuid == _NOBODY and resource.id is not None and not _is_known(ipc.creator_uid)


def _is_known(uid: int) -> bool:
    """Whether this process's user namespace has a name for a user."""
    try:
        lines = _UID_MAP.read_text(encoding="ascii").splitlines()
    except OSError:
        return True
    spans = ((int(first), int(count)) for first, _, count in map(str.split, lines))
    return any(first <= uid < first + count for first, count in spans)


def _page_state(ipc: Ipc, resource: Resource, handle: Any) -> _State:  # noqa: ANN401 - sysv_ipc carries no types
    header, size = PAGES[resource.kind]
    raw = bytes(handle.read(cell.HEADER.size))
    if handle.size != size:
        return _State.FOREIGN
    if resource.id is None and not any(raw):
        return _State.OURS  # its maker died before it could write the header
    return _State.OURS if raw == replace(header, cookie=ipc.cookie).pack() else _State.FOREIGN


def _remove(ipc: Ipc, resource: Resource) -> bool:
    if _state(ipc, resource) is not _State.OURS:
        return False
    handle = _open(resource.kind, resource.key)
    if handle is None:
        return False
    try:
        handle.remove()
        if resource.kind in PAGES:
            handle.detach()
    except sysv_ipc.ExistentialError:
        return False
    except sysv_ipc.PermissionsError as error:
        raise ResourceError(
            f"may not remove the {resource.kind} (key {resource.key:#x}): only its owner "
            f"(uid {ipc.creator_uid}) or root may; run energy-ipc remove as that user",
            code=Exit.PERMISSION,
        ) from error
    return True


def _row(ipc: Ipc, resource: Resource) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": str(resource.kind),
        "key": resource.key,
        "id": resource.id,
        "exists": False,
        "state": str(_State.GONE),
        "bytes": None,
        "messages": None,
        "owner": None,
        "mode": None,
    }
    if not ipc.of_this_boot():
        return row
    state = _state(ipc, resource)
    handle = _open(resource.kind, resource.key) if state is _State.OURS else None
    row["state"] = str(state)
    if handle is None:
        return row
    row |= {"exists": True, "owner": int(handle.uid), "mode": f"{handle.mode & 0o777:04o}"}
    match resource.kind:
        case Kind.QUEUE:
            row |= {"bytes": int(handle.max_size), "messages": int(handle.current_messages)}
        case Kind.MUTEX | Kind.BELL:
            row["value"] = int(handle.value)
        case Kind.CLOCK | Kind.BOARD:
            row |= {"bytes": int(handle.size), "attached": int(handle.number_attached) - 1}
            handle.detach()
    return row


@contextlib.contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """Hold the directory's lock, so that two starts do not make two sets. Raises ResourceError."""
    descriptor = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & stat.S_IWOTH:
            raise ResourceError(f"{run_dir}: everybody may write there; chmod o-w it or choose another --run")
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                select.poll().poll(_LOCK_TRY_MS)
        else:
            raise ResourceError(f"{run_dir}: another process has held its lock for 2 s; is it stopped?")
        yield
    finally:
        os.close(descriptor)

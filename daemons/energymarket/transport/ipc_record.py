"""ipc.json: the record of a run's System V objects, and what it says.

Replaced as a whole and durably: a reader sees the old one or the new one.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from energymarket.exits import Exit, Failure, exit_of

RECORD: Final = "ipc.json"
RECORD_VERSION: Final = 1
RECORD_BYTES_MAX: Final = 16_384

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class ResourceError(Failure):
    """The run's objects cannot be used; the text says what to do."""


class ResourcesMissingError(ResourceError):
    """There are no objects for this run directory (or not all of them)."""

    code = Exit.TRY_AGAIN


class Kind(StrEnum):
    """What the run shares."""

    QUEUE = "queue"  # offers of gifts
    MUTEX = "mutex"  # guards the queue; SEM_UNDO
    BELL = "bell"  # rung when the queue changed
    CLOCK = "clock"  # market's page
    BOARD = "board"  # weather's page


@dataclass(frozen=True, slots=True)
class Resource:
    """One kernel object: its key, and its id once it has been made."""

    kind: Kind
    key: int
    id: int | None


@dataclass(frozen=True, slots=True)
class Ipc:
    """The objects of a run."""

    run_dir: Path
    cookie: int
    creator_uid: int
    boot_id: str
    objects: tuple[Resource, ...]

    def of_this_boot(self) -> bool:
        """Whether the objects may still be there; where the boot has no name, they are looked for."""
        here = boot_id()
        return not here or not self.boot_id or here == self.boot_id

    def object_id(self, kind: Kind) -> int:
        """The kernel's id of an object. Raises ResourcesMissingError."""
        for each in self.objects:
            if each.kind is kind and each.id is not None:
                return each.id
        raise ResourcesMissingError(f"{self.run_dir / RECORD}: no {kind} recorded; run energy-ipc create")

    @property
    def queue(self) -> int:
        """Id of the message queue."""
        return self.object_id(Kind.QUEUE)

    @property
    def mutex(self) -> int:
        """Id of the queue's semaphore."""
        return self.object_id(Kind.MUTEX)

    @property
    def bell(self) -> int:
        """Id of the semaphore that takers wait on."""
        return self.object_id(Kind.BELL)

    @property
    def clock(self) -> int:
        """Id of the clock page's segment."""
        return self.object_id(Kind.CLOCK)

    @property
    def board(self) -> int:
        """Id of the weather board's segment."""
        return self.object_id(Kind.BOARD)

    def key(self, kind: Kind) -> int:
        """The key of an object. Raises ResourcesMissingError."""
        for each in self.objects:
            if each.kind is kind:
                return each.key
        raise ResourcesMissingError(f"{self.run_dir / RECORD}: no {kind} recorded; run energy-ipc create")


def boot_id() -> str:
    """Which boot this is; empty where /proc/sys is hidden (ProcSubset=pid), and then never compared."""
    try:
        return _BOOT_ID.read_bytes().decode().strip()
    except OSError:
        return ""


def read(run_dir: Path) -> Ipc | None:
    """The record of a run directory, or None if there is none. Raises ResourceError."""
    path = run_dir / RECORD
    try:
        with path.open("rb") as file:
            raw = file.read(RECORD_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ResourceError(f"{path}: {error.strerror}", code=exit_of(error)) from error
    try:
        return _parse(run_dir, raw)
    except (ValueError, KeyError, TypeError) as error:
        raise ResourceError(
            f"{path}: not a record of IPC objects ({error}); if no daemon runs, delete it and look at `ipcs`"
        ) from error


def _parse(run_dir: Path, raw: bytes) -> Ipc:
    record = json.loads(raw)
    if record["version"] != RECORD_VERSION:
        raise ValueError(f"version {record['version']}")
    objects = []
    for kind in Kind:
        entry = record.get(kind)
        if entry is not None:
            key, identity = entry["key"], entry["id"]
            if type(key) is not int or type(identity) not in {int, type(None)}:
                raise ValueError(f"{kind}: key and id must be numbers")
            objects.append(Resource(kind, key, identity))
    return Ipc(
        run_dir, int(record["cookie"], 16), int(record["creator_uid"]), str(record["boot_id"]), tuple(objects)
    )


def write(ipc: Ipc, gid: int | None) -> None:
    """Replace the record, durably: a reader sees the old one or the new one."""
    record: dict[str, Any] = {
        "version": RECORD_VERSION,
        "boot_id": ipc.boot_id,
        "creator_uid": ipc.creator_uid,
        "cookie": f"{ipc.cookie:016x}",
    }
    ordered = sorted(ipc.objects, key=lambda each: list(Kind).index(each.kind))
    record |= {str(each.kind): {"key": each.key, "id": each.id} for each in ordered}
    path = ipc.run_dir / RECORD
    fresh = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(fresh, flags, 0o640)
    except OSError as error:
        raise ResourceError(
            f"{fresh}: {error.strerror}; the run's owner makes its objects", code=Exit.PERMISSION
        ) from error
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        # A sandbox may forbid to give files away, also to the group that they have already.
        if gid is not None and os.fstat(descriptor).st_gid != gid:
            os.fchown(descriptor, -1, gid)
        file.write(json.dumps(record, indent=1).encode() + b"\n")
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)

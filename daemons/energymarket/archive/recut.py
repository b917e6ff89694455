"""The pool's homes in other files: a machine with other cores cuts its homes into other shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core.state import STATE_COLUMNS, State
from energymarket.exits import Failure
from energymarket.home import ranges
from energymarket.wire.state_file import HEADER_BYTES, Header, Shape, file_of

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.archive.manifest import Manifest
    from energymarket.scenario.compiled import Compiled

SHARD: Final = "shard-"


def recut(directory: Path, manifest: Manifest, compiled: Compiled, cores: int) -> bool:
    """Cut the registers as the pool of a machine with so many cores will; whether that was another cut.

    Raises Failure where that cannot be done: shards whose last slots differ have no common one.
    """
    single = np.asarray(compiled.homes["single"]) != 0
    wanted = ranges.cut(~single, compiled.settings.get("service", {}).get("shards", 0) or cores)
    held = {
        (each.first, each.count): directory.parent / each.file
        for each in manifest.ranges
        if each.file.rpartition("/")[2].startswith(SHARD)
    }
    heard = np.zeros(len(single), np.bool_)
    for first, count in held:
        heard[first - 1 : first - 1 + count] = True
    missing = [
        (first, count)
        for first, count in wanted
        if (first, count) not in held and heard[first - 1 : first - 1 + count].any()
    ]
    if not missing:
        return False
    states = {first: _read(path) for (first, _), path in held.items()}
    if len({(header.slot, header.edition) for header, _ in states.values()}) != 1 or not heard[~single].all():
        raise Failure(
            f"this machine has {cores} cores, and the backup's homes in {len(held)} shards are of different "
            "slots: they cannot be cut anew",
            f"restore it on a machine with as many cores as shards ({len(held)}), or take another backup",
        )
    whole, header = _joined(states, len(single)), next(iter(states.values()))[0]
    for path in held.values():
        path.unlink()
    for first, count in wanted:
        payload = bytearray(State.size_bytes(count))
        part, state = whole.part(first - 1, first - 1 + count), State(payload, count)
        for name, _ in STATE_COLUMNS:
            state.column(name)[:] = part.column(name)
        shape = Shape(first, count, len(payload), header.shape.identity)
        path = directory / f"{SHARD}{first}-{count}.state"
        path.write_bytes(file_of(shape, header.slot, header.edition, bytes(payload)))
    return True


def _read(path: Path) -> tuple[Header, State]:
    """The state in a file of a backup, which holds one, in its first half."""
    data = path.read_bytes()
    header = Header.unpack(data[:HEADER_BYTES])
    return header, State(memoryview(data)[header.shape.area_at(0) :], header.shape.count)


def _joined(states: dict[int, tuple[Header, State]], homes: int) -> State:
    """All homes as one range; zeros where a home is a process of its own."""
    whole = State(bytearray(State.size_bytes(homes)), homes)
    for first, (_, state) in states.items():
        for name, _ in STATE_COLUMNS:
            whole.column(name)[first - 1 : first - 1 + state.count] = state.column(name)
    return whole

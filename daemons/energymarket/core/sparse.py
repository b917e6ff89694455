"""A sparse state of many homes: one after the other, blocks of homes that are read, lived and written alone.

A block begins at a page and has the bits of `Owned` of its homes, then its columns; zeros fill its last page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from energymarket.core.owned import Owned
from energymarket.core.state import STATE_COLUMNS, Layout, State

FILLED_TO: Final = 4_096


def block_bytes(owned: Owned) -> int:
    """What a block of homes that have this takes; registers are narrow."""
    columns = sum(owned.rows(name) * dtype.itemsize for name, dtype in Layout.NARROW.value)
    return -(-(owned.packed_bytes + columns) // FILLED_TO) * FILLED_TO


def spans(count: int, block_homes: int) -> Iterator[tuple[int, int]]:
    """Where the blocks of so many homes begin and stop."""
    return ((start, min(start + block_homes, count)) for start in range(0, count, block_homes))


def payload_bytes(owned: Owned, block_homes: int) -> int:
    """What the sparse state of so many homes takes."""
    return sum(block_bytes(owned.part(start, stop)) for start, stop in spans(owned.homes, block_homes))


def unpack(payload: memoryview | bytes, count: int, block_homes: int) -> tuple[State, Owned]:
    """A narrow state with a value per home in each column, and who has what. ValueError if it is none."""
    state = State(bytearray(Layout.NARROW.size_bytes(count)), count, Layout.NARROW)
    data, at, parts = memoryview(payload), 0, []
    for start, stop in spans(count, block_homes):
        owned = Owned.read(data[at:], stop - start)
        end = at + block_bytes(owned)
        if end > len(data):
            break
        block = State(data[at:end], stop - start, Layout.NARROW, owned)
        for name, _ in STATE_COLUMNS:
            state.column(name)[start:stop] = block.column(name)
        parts.append(owned)
        at = end
    if at != len(data) or sum(owned.homes for owned in parts) != count:
        raise ValueError(f"{len(data)} bytes for {count} homes: no state of theirs")
    return state, Owned.joined(parts)


def pack(state: State, owned: Owned, block_homes: int) -> bytes:
    """The sparse state of homes that have this. ValueError if others have what is not 0, or have too much."""
    packed = bytearray(payload_bytes(owned, block_homes))
    at = 0
    for start, stop in spans(state.count, block_homes):
        part = owned.part(start, stop)
        end = at + block_bytes(part)
        packed[at : at + part.packed_bytes] = part.packed()
        block = State(memoryview(packed)[at:end], stop - start, Layout.NARROW, part)
        block.copy_from(state.part(start, stop))
        at = end
    return bytes(packed)


def state_in(payload: memoryview | bytes, count: int, block_homes: int | None) -> State:
    """The state of so many homes that is the whole of a payload. ValueError if it is none.

    `block_homes` is None where it is not sparse.
    """
    if block_homes is not None:
        return unpack(payload, count, block_homes)[0]
    layout = Layout.of(count, len(payload))
    if layout is None:
        raise ValueError(f"{len(payload)} bytes for {count} homes: no state of theirs")
    return State(payload, count, layout)


def part_of_payload(payload: memoryview, count: int, start: int, stop: int, block_homes: int | None) -> bytes:
    """The payload of the homes start .. stop - 1 of so many. ValueError if it is none of so many."""
    if block_homes is None:
        return state_in(payload, count, None).part(start, stop).packed()
    state, owned = unpack(payload, count, block_homes)
    return pack(state.part(start, stop), owned.part(start, stop), block_homes)

"""Files of registers of version 2, blocks of 16,384 homes: they are taken over, or stay as they are."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from energymarket.core.fleet import Fleet
from energymarket.core.owned import KIND_OF
from energymarket.core.sparse import pack
from energymarket.core.state import STATE_COLUMNS, Layout, State
from energymarket.home import files
from energymarket.home.books import Books
from energymarket.transport.generation import (
    GenerationError,
    GenerationFault,
    GenerationFile,
    headers_of,
    shape_of,
)
from energymarket.wire.state_file import HEADER_STEP, NO_SLOT, PAGE_BYTES, VERSION_SPARSE
from tests.unit.core.made_fleet import FIRST_SLOT, Made, Recipe, mixed
from tests.unit.home.three_homes import HOMES, IDENTITY

MADE = mixed(HOMES, 9, 1.0)
SLOTS = (FIRST_SLOT, FIRST_SLOT + 1)
IMPORTED_WH = [5, 6, 7]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where three homes have a file of version 2 with both slots."""
    file = files.of_shard(tmp_path, 1, HOMES).path
    written(file, MADE, stated())
    return file


def stated() -> State:
    """What the three homes remember."""
    state = State(bytearray(Layout.NARROW.size_bytes(HOMES)), HOMES, Layout.NARROW)
    state.import_wh[:] = IMPORTED_WH
    return state


def written(path: Path, made: Made, state: State) -> None:
    """The same state as that of both slots; the first one's is in the first area."""
    payload = pack(state, Fleet(made, 1, state.count).owned, 16_384)
    with GenerationFile(path, 1, state.count, len(payload), IDENTITY, 2) as file:
        for slot in SLOTS:
            file.writable()[:] = payload
            file.commit(slot)


def opened(path: Path, made: Made = MADE) -> Books:
    return Books(path, Fleet(made, 1, made.homes["policy"].size), IDENTITY)


def turn_a_bit(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x10
    path.write_bytes(raw)


def slots_of(path: Path) -> list[int | None]:
    """What the headers say; None: torn."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return [None if header is None else header.slot for header in headers_of(descriptor)]
    finally:
        os.close(descriptor)


def test_each_home_keeps_what_it_has(tmp_path: Path) -> None:
    """70,000 homes, five blocks that become two: every column of every home, each its own number."""
    count = 70_000
    path, made = tmp_path / "many.state", mixed(count, 9, 0.4)
    owned = Fleet(made, 1, count).owned
    state = State(bytearray(Layout.NARROW.size_bytes(count)), count, Layout.NARROW)
    for number, (name, dtype) in enumerate(STATE_COLUMNS):
        values = ((np.arange(count) * 7 + number) % 10_007).astype(dtype)
        kind = KIND_OF.get(name)
        getattr(state, name)[:] = values if kind is None else np.where(owned.mask(kind), values, 0)
    written(path, made, state)
    books = opened(path, made)
    books.resume(SLOTS[1])
    for name, _ in STATE_COLUMNS:
        assert books.column(name).tobytes() == state.column(name).tobytes(), name
    books.close()
    found = shape_of(path)
    assert found is not None
    assert found.version == VERSION_SPARSE


def test_a_full_disk_leaves_it_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing beside it; it is opened the next time."""
    before = path.read_bytes()
    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(OSError, match="No space"):
            opened(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    books = opened(path)
    books.resume(SLOTS[1])
    assert books.column("import_wh").tolist() == IMPORTED_WH
    books.close()


def refuse(*_: object) -> None:
    """As a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_that_of_homes_that_have_other_things_is_refused(tmp_path: Path) -> None:
    """Home 2 had the turbine and now home 1 has: as many bytes. It is told, and the file stays."""
    path = tmp_path / "other.state"
    one, other = (Recipe(homes={"wind_kw": kw}).made() for kw in ([0, 1, 0], [1, 0, 0]))
    written(path, one, State(bytearray(Layout.NARROW.size_bytes(HOMES)), HOMES, Layout.NARROW))
    before = path.read_bytes()
    with pytest.raises(GenerationError, match="move it away") as refused:
        opened(path, other)
    assert refused.value.fault is GenerationFault.FOREIGN
    assert path.read_bytes() == before
    opened(path, one).close()


def test_one_without_a_sound_state_stays_as_it_is(path: Path) -> None:
    """A bit of either area: it is refused, and every byte of it is there for who can mend it."""
    for generation in (0, 1):
        turn_a_bit(path, PAGE_BYTES * (1 + generation) + 60)
    before = path.read_bytes()
    with pytest.raises(GenerationError, match="move it away") as refused:
        opened(path)
    assert refused.value.fault is GenerationFault.CORRUPT
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_one_with_a_damaged_state_is_kept_beside_the_new_one(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The sound state goes on, the other stays refused, and the journal says where the old file is."""
    turn_a_bit(path, PAGE_BYTES + 60)
    before, aside = path.read_bytes(), path.with_name(path.name + ".damaged-1")
    with caplog.at_level(logging.WARNING):
        books = opened(path)
    assert str(aside) in caplog.text
    assert aside.read_bytes() == before
    with pytest.raises(GenerationError) as refused:
        books.resume(SLOTS[0])
    assert refused.value.fault is GenerationFault.CORRUPT
    books.resume(SLOTS[1])
    assert books.column("import_wh").tolist() == IMPORTED_WH
    books.close()
    assert files.ranges_kept(path.parent) == ([(1, HOMES)], [])


def test_what_was_kept_is_not_written_over(path: Path) -> None:
    """One number after the other; one that was made before a kill, and is this file, is not made twice."""
    turn_a_bit(path, PAGE_BYTES + 60)
    names = [path.with_name(f"{path.name}.damaged-{number}") for number in (1, 2, 3)]
    names[0].write_bytes(b"earlier")
    os.link(path, names[1])
    before = path.read_bytes()
    opened(path).close()
    assert names[0].read_bytes() == b"earlier"
    assert names[1].read_bytes() == before
    assert not names[2].exists()


def test_a_torn_header_stays_torn(path: Path) -> None:
    """Beside an area that was being written: the file does not pass for one that never held a state."""
    with GenerationFile(path, 1, HOMES, size_of(path), IDENTITY, 2) as file:
        file.keep(SLOTS[1])
        file.writable().release()
    assert slots_of(path) == [NO_SLOT, SLOTS[1]]
    turn_a_bit(path, HEADER_STEP + 40)
    before = path.read_bytes()
    opened(path).close()
    assert slots_of(path) == [NO_SLOT, None]
    assert path.with_name(path.name + ".damaged-1").read_bytes() == before
    assert files.ranges_kept(path.parent) == ([(1, HOMES)], [])


def size_of(path: Path) -> int:
    found = shape_of(path)
    assert found is not None
    return found.payload_bytes

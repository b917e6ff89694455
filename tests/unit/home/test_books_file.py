"""The file of the homes' books: its editions and widths, and what is wrong with it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from energymarket.core.fleet import Fleet
from energymarket.core.sparse import pack
from energymarket.core.state import STATE_COLUMNS, Layout, State
from energymarket.exits import Exit
from energymarket.home import files
from energymarket.home.books import Books
from energymarket.transport.generation import GenerationError, GenerationFault, GenerationFile, shape_of
from energymarket.wire.state_file import VERSION, VERSION_SPARSE
from tests.unit.core.made_fleet import FIRST_SLOT, Recipe, day_weather, mixed
from tests.unit.home.three_homes import (
    HOMES,
    IDENTITY,
    LARGE,
    LARGE_WH,
    RECEIPT,
    USED_WH,
    after,
    lived,
    opened,
    registers,
    weather_of,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shard.state"


def test_registers_that_outgrow_32_bits_go_on_in_64(path: Path) -> None:
    """2^31 Wh pass in slot 269: no Wh is lost, in memory, in the file, and in the state that is kept."""
    books = Books(path, Fleet(LARGE, 1, 2), IDENTITY)
    books.fresh(FIRST_SLOT - 1)
    narrow_bytes = path.stat().st_size
    for slots in range(1, 301):
        lived(books, FIRST_SLOT + slots - 1)
        receipt = {"given_wh": np.array((0, 0)), "received_wh": np.array((LARGE_WH, 0))}
        books.settle(FIRST_SLOT + slots - 1, receipt)
        assert books.column("consumption_wh").tolist() == [slots * LARGE_WH, slots]
        assert books.column("received_wh").tolist() == [slots * LARGE_WH, 0]
    books.close()
    again = Books(path, Fleet(LARGE, 1, 2), IDENTITY)
    again.resume(FIRST_SLOT + 298)
    assert again.column("consumption_wh").tolist() == [299 * LARGE_WH, 299]
    again.close()
    assert narrow_bytes == path.stat().st_size  # of two homes either takes a page
    assert list(path.parent.iterdir()) == [path]


def test_a_file_of_wide_registers_is_read_and_stays_wide(path: Path) -> None:
    """As an earlier version, or a run, has left it: 12 TWh on the meter are 12 TWh."""
    with GenerationFile(path, 1, HOMES, State.size_bytes(HOMES), IDENTITY) as file:
        area = file.writable()
        area[:] = bytes(len(area))
        State(area, HOMES).consumption_wh[:] = 12 * 10**12
        area.release()
        file.commit(FIRST_SLOT)
    books = opened(path)
    books.resume(FIRST_SLOT)
    lived(books, FIRST_SLOT + 1)
    assert books.column("consumption_wh").tolist() == [12 * 10**12 + each for each in USED_WH]
    books.close()
    again = opened(path)
    again.resume(FIRST_SLOT + 1)
    assert again.column("consumption_wh").tolist() == [12 * 10**12 + each for each in USED_WH]
    again.close()


def test_a_file_of_an_earlier_version_is_gone_on_with(path: Path) -> None:
    """Narrow, with a value per home in each column: it is read, lived on, and stays as it is."""
    bare = Recipe(homes={"load_scale": [0.0] * HOMES}).made()  # nobody has anything
    with GenerationFile(path, 1, HOMES, Layout.NARROW.size_bytes(HOMES), IDENTITY) as file:
        area = file.writable()
        area[:] = bytes(len(area))
        State(area, HOMES, Layout.NARROW).given_wh[:] = (1, 2, 3)
        area.release()
        file.commit(FIRST_SLOT)
    for slot in (FIRST_SLOT, FIRST_SLOT + 1):
        books = Books(path, Fleet(bare, 1, HOMES), IDENTITY)
        books.resume(slot)
        lived(books, slot + 1)
        books.close()
    found = shape_of(path)
    assert found is not None
    assert (found.version, found.payload_bytes) == (VERSION, 64 * HOMES)


def test_homes_live_the_same_life_in_a_file_of_any_version(tmp_path: Path) -> None:
    """70,000 homes, two blocks (or five), with gifts and a restart: every column is equal, to the bit."""
    count = 70_000
    made = mixed(count, 9, 0.4)
    made.homes["battery_initial_wh"][:] = 0  # nothing in old files
    nothing = State(bytearray(Layout.NARROW.size_bytes(count)), count, Layout.NARROW)
    payloads = {"1": nothing.packed(), "2": pack(nothing, Fleet(made, 1, count).owned, 16_384)}
    for version, payload in payloads.items():
        place = tmp_path / version
        with GenerationFile(place, 1, count, len(payload), IDENTITY, int(version)) as file:
            file.writable()[:] = payload
            file.commit(FIRST_SLOT + 40)
    gives = made.homes["pv_kwp"] > 0
    gift = {"given_wh": np.where(gives, 7, 0), "received_wh": np.where(gives, 0, 7)}
    found = []
    for name in ("1", "2", "new"):
        fleet = Fleet(made, 1, count)
        books = Books(tmp_path / name, fleet, IDENTITY)
        books.begin(FIRST_SLOT + 40, FIRST_SLOT)
        for slot in range(FIRST_SLOT + 41, FIRST_SLOT + 44):
            books.step(slot, day_weather(slot), 400_000)
            books.write()
            books.settle(slot, gift)
        books.close()
        again = Books(tmp_path / name, fleet, IDENTITY)
        again.resume(FIRST_SLOT + 43)
        again.settle(FIRST_SLOT + 43, gift)
        found.append({name: again.column(name).tobytes() for name, _ in STATE_COLUMNS})
        again.close()
    assert found[0] == found[1] == found[2]
    shapes = [shape_of(tmp_path / name) for name in ("1", "2", "new")]
    assert [shape and shape.version for shape in shapes] == [VERSION, VERSION_SPARSE, VERSION_SPARSE]
    assert shapes[1] == shapes[2]


def hurt(path: Path, at: int) -> None:
    """Somebody else turns a bit of the file."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0x10]))


def test_what_somebody_else_changes_in_the_file_is_never_traded_on(path: Path) -> None:
    """One bit, between two slots: homes that run have it from memory, and whoever loads it is told."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    books.settle(FIRST_SLOT, RECEIPT)
    lived(books, FIRST_SLOT + 1)
    hurt(path, 4_096 + 40)  # the first area, of the first slot
    assert registers(books) == after(2, 1)
    lived(books, FIRST_SLOT + 2)
    assert registers(books) == after(3, 1)
    with pytest.raises(GenerationError, match=f"slot {FIRST_SLOT} does not match") as refused:
        books.go_back(FIRST_SLOT)
    assert refused.value.fault is GenerationFault.CORRUPT
    with pytest.raises(RuntimeError, match="no state yet"):  # neither half of one nor half of the other
        books.step(FIRST_SLOT + 3, weather_of(FIRST_SLOT + 3), 200_000)
    books.close()


@pytest.mark.parametrize("in_the_background", [False, True])
def test_a_disk_that_fails_is_told_with_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, in_the_background: bool
) -> None:
    """The daemon ends with one line and exit code 74, before anybody could hand in the batch of that slot."""
    books = opened(path)
    books.begin(FIRST_SLOT - 1, FIRST_SLOT)
    books.step(FIRST_SLOT, weather_of(FIRST_SLOT), 200_000)

    def fails(_file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fails)
    if in_the_background:
        books.start_writing()
    with pytest.raises(
        GenerationError, match=f"slot {FIRST_SLOT} cannot be written: Input/output error"
    ) as told:
        books.write()
    assert told.value.code is Exit.IO_ERROR
    assert str(path) in str(told.value)


def test_a_state_of_homes_that_have_other_things_is_refused(path: Path) -> None:
    """Home 2 had the turbine and now home 1 has: as many bytes, but not the same homes; it is told whose."""
    one, other = ({"wind_kw": kw} for kw in ([0, 1, 0], [1, 0, 0]))
    books = Books(path, Fleet(Recipe(homes=one).made(), 1, HOMES), IDENTITY)
    books.fresh(FIRST_SLOT - 1)
    books.write()
    books.close()
    books = Books(path, Fleet(Recipe(homes=other).made(), 1, HOMES), IDENTITY)
    with pytest.raises(GenerationError, match="move it away") as refused:
        books.resume(FIRST_SLOT - 1)
    assert refused.value.fault is GenerationFault.FOREIGN
    books.close()


def test_a_home_that_leaves_its_shard_for_a_meter_feeds_in_what_it_never_had(tmp_path: Path) -> None:
    """Home 2 of the scenario produces nothing; its meter says 300 Wh, and they are there after a restart."""
    bare = Recipe(homes={"load_scale": [0.0] * HOMES}).made()
    shard, home = files.of_shard(tmp_path, 1, HOMES), files.of_home(tmp_path, 2)
    books = Books(shard.path, Fleet(bare, 1, HOMES), IDENTITY)
    books.fresh(FIRST_SLOT - 1)
    books.write()
    books.close()
    with files.claimed(home, IDENTITY):
        books = Books(home.path, Fleet(bare, 2, 1), IDENTITY)
    books.resume(FIRST_SLOT - 1)
    books.meter(FIRST_SLOT, 300, 120)
    books.write()
    books.close()
    again = Books(home.path, Fleet(bare, 2, 1), IDENTITY)
    again.resume(FIRST_SLOT)
    found = {name: int(again.column(name)[0]) for name in ("production_wh", "export_wh", "import_wh")}
    assert found == {"production_wh": 300, "export_wh": 180, "import_wh": 0}
    again.close()

"""The homes' books: whatever dies when, energy is counted once and gifts are booked once."""

from __future__ import annotations

import errno
import os
import tempfile
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energymarket.core.demand import Answer
from energymarket.core.fleet import Block, Fleet
from energymarket.core.state import STATE_COLUMNS, Layout, State, Work
from energymarket.core.weather import Sample
from energymarket.exits import Exit
from energymarket.home import files
from energymarket.home.books import Books
from energymarket.transport.generation import GenerationError, GenerationFault, GenerationFile, shape_of
from energymarket.wire.state_file import VERSION, VERSION_SPARSE
from tests.unit.core.made_fleet import FIRST_SLOT, Recipe, day_weather, mixed, weather

HOMES = 3
USED_WH = (100, 250, 7)  # in every slot, at any price
GIFT_WH = (5, 0, 11)  # received in every slot that the ledger has
IDENTITY = bytes(32)
MADE = Recipe(
    homes={"series": [0, 1, 2]},
    tables={
        "series_production_wh": np.zeros((4, HOMES)),
        "series_consumption_wh": np.tile(USED_WH, (4, 1)),
    },
).made()
LARGE_WH = 8_000_000  # a home at four fifths of the power that one can have, in slots of an hour
LARGE = Recipe(
    homes={"series": [0, 1]},
    tables={
        "series_production_wh": np.zeros((4, 2)),
        "series_consumption_wh": np.tile((LARGE_WH, 1), (4, 1)),
    },
    slot_s=3600,
).made()
RECEIPT = {"given_wh": np.zeros(HOMES, np.int64), "received_wh": np.array(GIFT_WH, np.int64)}


def weather_of(slot: int) -> Sample:
    return weather(slot)


def opened(path: Path) -> Books:
    return Books(path, Fleet(MADE, 1, HOMES), IDENTITY)


def lived(books: Books, slot: int) -> None:
    """A slot with the market, up to the durable state that its batch is made of."""
    books.live_until(slot - 1, weather_of)
    books.step(slot, weather_of(slot), 200_000)
    books.write()


def registers(books: Books) -> tuple[list[int], list[int]]:
    return books.column("consumption_wh").tolist(), books.column("received_wh").tolist()


def after(slots: int, gifts: int) -> tuple[list[int], list[int]]:
    """What the registers say after so many slots, and receipts, by multiplication."""
    return [slots * each for each in USED_WH], [gifts * each for each in GIFT_WH]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shard.state"


def test_a_slot_after_the_other(path: Path) -> None:
    """Five slots, each with its receipt."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    for at in range(5):
        lived(books, FIRST_SLOT + at)
        books.settle(FIRST_SLOT + at, RECEIPT)
    assert registers(books) == after(5, 5)
    books.close()


def test_what_was_lived_before_the_first_batch_was_settled_stands(path: Path) -> None:
    """A life that died before the ledger heard of it: its registers are gone on from, never begun anew."""
    books = opened(path)
    books.begin(FIRST_SLOT - 1, FIRST_SLOT)
    lived(books, FIRST_SLOT)
    lived(books, FIRST_SLOT + 1)
    books.close()
    again = opened(path)
    again.begin(FIRST_SLOT + 1, FIRST_SLOT)
    assert registers(again) == after(2, 0)
    lived(again, FIRST_SLOT + 2)
    assert registers(again) == after(3, 0)
    again.close()


def test_what_was_lived_before_this_ledger_is_not_its_own(path: Path) -> None:
    """Registers of an earlier ledger are no readings of a new one: homes begin as the scenario has them."""
    books = opened(path)
    books.begin(FIRST_SLOT - 1, FIRST_SLOT)
    lived(books, FIRST_SLOT)
    books.close()
    again = opened(path)
    again.begin(FIRST_SLOT + 9, FIRST_SLOT + 5)
    assert registers(again) == after(0, 0)
    again.close()


def test_a_receipt_is_booked_once(path: Path) -> None:
    """The market may say it again after a reconnect."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    for _ in range(3):
        books.settle(FIRST_SLOT, RECEIPT)
    assert registers(books) == after(1, 1)
    books.close()


def test_after_a_goodbye_the_receipt_is_in_the_file(path: Path) -> None:
    """An ordered stop writes the settled state beside the kept one; a receipt said again adds nothing."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    books.settle(FIRST_SLOT, RECEIPT)
    books.write()
    books.write()
    books.close()
    books = opened(path)
    books.resume(FIRST_SLOT)
    assert registers(books) == after(1, 1)
    books.settle(FIRST_SLOT, RECEIPT)
    assert registers(books) == after(1, 1)
    lived(books, FIRST_SLOT + 1)
    assert registers(books) == after(2, 1)
    books.close()


def test_a_step_that_was_not_written_costs_nothing(path: Path) -> None:
    """Death in the exchange: the state that the ledger has is untouched."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    books.settle(FIRST_SLOT, RECEIPT)
    books.step(FIRST_SLOT + 1, weather_of(FIRST_SLOT + 1), 200_000)
    books.close()
    books = opened(path)
    books.resume(FIRST_SLOT)
    books.settle(FIRST_SLOT, RECEIPT)
    assert registers(books) == after(1, 1)
    books.close()


def test_slots_without_a_market_are_lived_through(path: Path) -> None:
    """A hundred slots pass; the next batch carries them all, and a death meanwhile forgets none."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    books.settle(FIRST_SLOT, RECEIPT)
    books.live_until(FIRST_SLOT + 100, weather_of)
    assert registers(books) == after(101, 1)
    books.write()
    books.close()
    books = opened(path)
    books.resume(FIRST_SLOT)
    books.settle(FIRST_SLOT, RECEIPT)
    lived(books, FIRST_SLOT + 101)
    assert registers(books) == after(102, 1)
    books.close()


def test_a_market_that_comes_back_finds_the_homes_where_they_are(path: Path) -> None:
    """The ledger lacks the last slot: its state is kept in mind, the one before on the disk."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    books.settle(FIRST_SLOT, RECEIPT)
    lived(books, FIRST_SLOT + 1)
    books.resume(FIRST_SLOT)
    books.settle(FIRST_SLOT, RECEIPT)
    assert registers(books) == after(2, 1)
    lived(books, FIRST_SLOT + 2)
    assert registers(books) == after(3, 1)
    books.close()
    books = opened(path)
    books.resume(FIRST_SLOT)
    assert registers(books) == after(1, 0)
    books.close()


def test_a_state_that_is_not_there_is_refused(path: Path) -> None:
    """A ledger that is ahead of the registers belongs to others, or a disk was put back."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    books.close()
    books = opened(path)
    with pytest.raises(GenerationError, match=f"no state of slot {FIRST_SLOT + 9}"):
        books.resume(FIRST_SLOT + 9)
    books.close()


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


def test_homes_live_the_same_life_in_a_file_of_either_version(tmp_path: Path) -> None:
    """20,000 homes, two blocks, with gifts and a restart: every column is equal, to the bit."""
    count = 20_000
    made = mixed(count, 9, 0.4)
    payload = bytes(Layout.NARROW.size_bytes(count))
    with GenerationFile(tmp_path / "old", 1, count, len(payload), IDENTITY) as file:
        file.writable()[:] = payload  # batteries begin empty there, as they do in the new one
        file.commit(FIRST_SLOT + 40)
    made.homes["battery_initial_wh"][:] = 0
    gives = made.homes["pv_kwp"] > 0
    gift = {"given_wh": np.where(gives, 7, 0), "received_wh": np.where(gives, 0, 7)}
    found = []
    for name in ("old", "new"):
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
    assert found[0] == found[1]
    shapes = [shape_of(tmp_path / name) for name in ("old", "new")]
    assert [shape and shape.version for shape in shapes] == [VERSION, VERSION_SPARSE]


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


def test_a_slot_that_is_taken_back_leaves_nothing_in_memory(path: Path) -> None:
    """Lived, and lived and written, and lived in part: what the ledger has comes back from the file."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    books.settle(FIRST_SLOT, RECEIPT)
    books.step(FIRST_SLOT + 1, weather_of(FIRST_SLOT + 1), 200_000)
    for _ in range(2):
        books.go_back(FIRST_SLOT)
        assert registers(books) == after(1, 0)
        books.settle(FIRST_SLOT, RECEIPT)
        lived(books, FIRST_SLOT + 1)
        assert registers(books) == after(2, 1)

    def unknown(slot: int) -> Sample:
        if slot > FIRST_SLOT + 3:
            raise LookupError(slot)
        return weather_of(slot)

    with pytest.raises(LookupError):
        books.live_until(FIRST_SLOT + 5, unknown)
    assert books.slot == FIRST_SLOT + 3  # as far as they came
    assert registers(books) == after(4, 1)
    books.close()


def test_a_pass_that_fails_leaves_no_state(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the homes have lived: nobody reads that, writes it or lives on from it."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    before, really = path.read_bytes(), Fleet._step_block

    def lived_and_failed(fleet: Fleet, block: Block, answer: Answer, work: Work) -> None:
        really(fleet, block, answer, work)
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr(Fleet, "_step_block", lived_and_failed)
        with pytest.raises(MemoryError):
            books.step(FIRST_SLOT + 1, weather_of(FIRST_SLOT + 1), 200_000)
    with pytest.raises(RuntimeError, match="no state yet"):
        books.column("import_wh")
    with pytest.raises(RuntimeError, match="no state yet"):
        books.write()
    assert path.read_bytes() == before
    books.go_back(FIRST_SLOT)
    assert registers(books) == after(1, 0)
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


def test_a_receipt_that_comes_late_is_written_with_the_slot_after_it(path: Path) -> None:
    """Slot 1 was on the disk before the receipt of slot 0 came: the ordered stop writes it again."""
    books = opened(path)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    lived(books, FIRST_SLOT + 1)
    books.settle(FIRST_SLOT, RECEIPT)
    books.write()
    books.close()
    books = opened(path)
    books.resume(FIRST_SLOT + 1)
    assert registers(books) == after(2, 1)
    books.close()


def test_a_gift_of_a_home_that_has_nothing_is_kept(path: Path) -> None:
    """A home that lies about its surplus gives all the same: its register gets room, in the file as well."""
    bare = Recipe(homes={"load_scale": [0.0] * HOMES}).made()
    books = Books(path, Fleet(bare, 1, HOMES), IDENTITY)
    books.fresh(FIRST_SLOT - 1)
    lived(books, FIRST_SLOT)
    found = shape_of(path)
    assert found is not None
    assert found.version == VERSION_SPARSE
    gift = {"given_wh": np.array((0, 4, 0)), "received_wh": np.array((4, 0, 0))}
    books.settle(FIRST_SLOT, gift)
    books.write()
    books.close()
    again = Books(path, Fleet(bare, 1, HOMES), IDENTITY)
    again.resume(FIRST_SLOT)
    assert again.column("given_wh").tolist() == [0, 4, 0]
    assert again.column("received_wh").tolist() == [4, 0, 0]
    again.close()


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


def test_before_the_first_slot_there_is_nothing(path: Path) -> None:
    """Neither to write nor to look at: that would be our mistake."""
    books = opened(path)
    with pytest.raises(RuntimeError, match="no state yet"):
        books.write()
    with pytest.raises(RuntimeError, match="no state yet"):
        books.column("import_wh")
    books.close()


class Fate(Enum):
    """What becomes of a slot."""

    HEARD = "receipt came"
    LATE = "gate closed without us"
    DIED_EARLY = "dead before the state was durable"
    DIED_LATE = "dead after it, before the gate: the ledger has not heard"
    DIED_WITHOUT_RECEIPT = "the ledger has heard, we died before the answer"
    LOST = "the ledger has heard, the connection broke"
    RESTARTED = "receipt came, then an ordered stop"
    NO_MARKET = "nobody asked"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(Fate), max_size=14))
def test_whatever_happens_energy_and_gifts_are_counted_once(fates: list[Fate]) -> None:
    """The registers are slots × use, and receipts × gift, after any sequence of deaths and silences."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "shard.state"
        books = opened(path)
        books.fresh(FIRST_SLOT - 1)
        lived(books, FIRST_SLOT)
        books.settle(FIRST_SLOT, RECEIPT)
        in_ledger, gifts, slot = FIRST_SLOT, 1, FIRST_SLOT
        for fate in fates:
            slot += 1
            if fate is Fate.NO_MARKET:
                continue
            books.live_until(slot - 1, weather_of)
            books.step(slot, weather_of(slot), 200_000)
            if fate is not Fate.DIED_EARLY:
                books.write()
            if fate in {Fate.HEARD, Fate.DIED_WITHOUT_RECEIPT, Fate.LOST, Fate.RESTARTED}:
                in_ledger, gifts = slot, gifts + 1
            if fate in {Fate.HEARD, Fate.RESTARTED}:
                books.settle(slot, RECEIPT)
            if fate is Fate.RESTARTED:
                books.write()
            if fate in {Fate.DIED_EARLY, Fate.DIED_LATE, Fate.DIED_WITHOUT_RECEIPT, Fate.RESTARTED}:
                books.close()
                books = opened(path)
            if fate not in {Fate.HEARD, Fate.LATE}:  # joined anew
                books.resume(in_ledger)
                books.settle(in_ledger, RECEIPT)
            assert books.slot is not None
            assert registers(books) == after(books.slot - FIRST_SLOT + 1, gifts)
        books.live_until(slot, weather_of)
        assert registers(books) == after(slot - FIRST_SLOT + 1, gifts)
        books.close()

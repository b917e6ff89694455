"""The homes' books: whatever dies when, energy is counted once and gifts are booked once."""

from __future__ import annotations

import tempfile
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energymarket.core.demand import Answer
from energymarket.core.fleet import Block, Fleet
from energymarket.core.state import Work
from energymarket.core.weather import Sample
from energymarket.home.books import Books
from energymarket.transport.generation import GenerationError, shape_of
from energymarket.wire.state_file import VERSION_SPARSE
from tests.unit.core.made_fleet import FIRST_SLOT, Recipe
from tests.unit.home.three_homes import HOMES, IDENTITY, RECEIPT, after, lived, opened, registers, weather_of


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

"""The audit of chain and seals: any byte of any row that is not as it was written is found."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from energymarket.market import history, retention
from energymarket.market.audit_chain import sound_slot
from energymarket.market.bookkeeping import CHECKPOINT_SLOTS
from energymarket.market.history import Verification
from energymarket.market.retention import Retention
from energymarket.transport.store import LedgerStore, StoreError
from tests.unit.market.made_ledger import MadeLedger, open_store, problem_of, tamper

START = CHECKPOINT_SLOTS * 100
SLOTS = 140
DAY = 16
COMPACTED = START + 5  # in the middle of a compacted stretch
DETAILED = START + 100
FULL = Retention(1 << 30, DAY)


@pytest.fixture(scope="module")
def ledger_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """140 slots with orders, the first 32 of them compacted."""
    path = tmp_path_factory.mktemp("chain") / "ledger.db"
    made = MadeLedger(path, START)
    made.play(SLOTS, orders=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "FULL_SHARE", 0.0)
        FULL.tend(made.store)
        FULL.tend(made.store)
    made.die()
    return path


@pytest.fixture
def copy(ledger_path: Path, tmp_path: Path) -> Path:
    """A ledger of one's own to spoil."""
    return Path(shutil.copy(ledger_path, tmp_path))


def test_an_untouched_ledger_holds(ledger_path: Path) -> None:
    """Or else what follows would prove nothing."""
    assert problem_of(ledger_path) is None


def flips(value: object) -> Iterator[object]:
    """The value with each of its bytes flipped in turn; a number with each of its bits."""
    if isinstance(value, int):
        yield from (value ^ (1 << bit) for bit in range(20))
        return
    assert isinstance(value, str | bytes)
    data = value.encode() if isinstance(value, str) else value
    for at in range(len(data)):
        for bit in (0x01, 0x80):
            changed = bytearray(data)
            changed[at] ^= bit
            yield bytes(changed)


SLOT_COLUMNS_KEPT = (
    "price_ueur_per_kwh", "import_ueur_per_kwh", "export_ueur_per_kwh", "gap", "weather_stale", "totals",
    "meta", "hash", "seal",
)  # fmt: skip
FIELDS = [
    *(("slots", column, f"slot = {DETAILED}") for column in (*SLOT_COLUMNS_KEPT, "body")),
    *(("slots", column, f"slot = {COMPACTED}") for column in SLOT_COLUMNS_KEPT),
    *(("slots", column, f"slot = {START + SLOTS - 1}") for column in ("body", "hash", "seal")),
    *(("days", column, f"day = {START}") for column in ("body", "digest")),
]


@pytest.mark.parametrize(("table", "column", "where"), FIELDS)
def test_every_flipped_byte_is_found(copy: Path, table: str, column: str, where: str) -> None:
    """Two bits of every byte of the field, one after the other; then the field is put right again."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        found = db.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()[0]  # noqa: S608
        update = f"UPDATE {table} SET {column} = CAST(? AS {_kind(found)}) WHERE {where}"  # noqa: S608
        tried = 0
        around = (START, START + DAY) if table == "days" else _around(where)
        for changed in flips(found):
            if column in {"gap", "weather_stale"} and bool(changed) == bool(found):
                continue  # whatever is not 0 is true
            db.execute(update, (changed,))
            assert problem_of(copy, *around) is not None, (column, changed)
            tried += 1
        assert tried
        db.execute(update, (found,))
    assert problem_of(copy) is None


def _around(where: str) -> tuple[int, int]:
    slot = int(where.rpartition(" ")[2])
    return slot - 1, min(slot + 1, START + SLOTS - 1)


def _kind(value: object) -> str:
    return {int: "INTEGER", str: "TEXT", bytes: "BLOB"}[type(value)]


@pytest.mark.parametrize("slot", [COMPACTED, START + DAY - 1, DETAILED])
def test_a_missing_slot_is_found(copy: Path, slot: int) -> None:
    """With or without detail; the problem names the slot."""
    tamper(copy, "DELETE FROM slots WHERE slot = ?", slot)
    assert problem_of(copy) == f"slot {slot}: missing"


def test_a_body_that_vanished_is_found(copy: Path) -> None:
    """No sums stand for it."""
    tamper(copy, "UPDATE slots SET body = NULL WHERE slot = ?", DETAILED)
    assert problem_of(copy) == f"slot {DETAILED}: its body is gone, and no compacted stretch covers it"


def test_sums_that_vanished_are_found(copy: Path) -> None:
    """The first of their slots tells."""
    tamper(copy, "DELETE FROM days WHERE day = ?", START + DAY)
    assert problem_of(copy) == f"slot {START + DAY}: its body is gone, and no compacted stretch covers it"


def test_two_slots_that_were_exchanged_are_found(copy: Path) -> None:
    """Each is whole in itself; the chain is not."""
    columns = "price_ueur_per_kwh, totals, meta, body, hash, seal"
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        read = f"SELECT {columns} FROM slots WHERE slot = ?"  # noqa: S608
        one, two = (db.execute(read, (slot,)).fetchone() for slot in (DETAILED, DETAILED + 1))
        write = f"UPDATE slots SET ({columns}) = (?,?,?,?,?,?) WHERE slot = ?"  # noqa: S608
        db.execute(write, (*two, DETAILED))
        db.execute(write, (*one, DETAILED + 1))
    assert problem_of(copy) is not None


# while the market runs


def verification(store: LedgerStore) -> Verification:
    return Verification(store, None, None)


def test_compaction_in_the_middle_of_a_verification_is_no_finding(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slots lose their bodies before the verification comes to them, and the sums grow meanwhile."""
    monkeypatch.setattr(retention, "FULL_SHARE", 0.0)
    monkeypatch.setattr(retention, "HELD_BYTES_MAX", 1)
    store = open_store(copy)
    job = verification(store)
    while job.step():
        for _ in range(20):
            FULL.tend(store)
    answer = job.answer()
    store.close()
    assert (answer["ok"], answer["slots"], answer["problem"]) == (True, SLOTS, None)
    assert answer["compacted"] > 2 * DAY


def test_large_slots_are_verified_one_at_a_time(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A market of a million homes turns to its clock and its clients after each."""
    monkeypatch.setattr(history, "VERIFY_BYTES_PER_STEP", 1)
    store = open_store(copy)
    job = verification(store)
    steps = 1
    while job.step():
        steps += 1
    detailed = sum(row.body is not None for row in store.slots(0, START + SLOTS))
    assert steps >= detailed > 16
    assert (job.answer()["ok"], job.answer()["slots"]) == (True, SLOTS)
    store.close()


def test_a_file_that_cannot_be_read_is_an_answer(copy: Path) -> None:
    """A torn page ends the verification with a problem, not the market."""
    size = copy.stat().st_size
    with copy.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096 * 8)
    store = open_store(copy)
    job = verification(store)
    while job.step():
        pass
    assert job.answer()["ok"] is False
    store.close()


def test_a_changed_row_is_not_shown_as_if_it_were_sound(copy: Path) -> None:
    """Who asks for that slot is told so; its neighbours are shown."""
    tamper(copy, "UPDATE slots SET meta = 'nothing' WHERE slot = ?", DETAILED)
    store = open_store(copy)
    with pytest.raises(StoreError, match=f"slot {DETAILED}: the seal does not hold"):
        sound_slot(store, DETAILED)
    assert sound_slot(store, DETAILED + 1) is not None
    assert sound_slot(store, START + SLOTS) is None
    store.close()

"""The store of whole legs: one transaction, of which the disk has most before it ends."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from energymarket.transport import bodies, bulk_store
from energymarket.transport.bulk_store import BulkStore
from energymarket.transport.store import LedgerStore, SlotRow, StoreError
from tests.ipc.test_store import BODY, GENESIS, row_of

OTHER = """\
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    db.execute("BEGIN IMMEDIATE")
    print("written to")
except sqlite3.OperationalError as error:
    print(error)
"""


def other_writer(path: Path) -> str:
    """What another process is told that wants to write."""
    words = [sys.executable, "-I", "-c", OTHER, str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def test_a_flush_on_the_way_leaves_the_transaction_whole_and_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes a file gives up the locks that his process has on it: it is closed after SQLite's."""
    monkeypatch.setattr(bulk_store, "FLUSH_BYTES", 1)
    flushed = threading.Event()
    fdatasync = os.fdatasync

    def heard(descriptor: int) -> None:
        fdatasync(descriptor)
        flushed.set()

    monkeypatch.setattr(os, "fdatasync", heard)
    path = tmp_path / "ledger.db"
    store = BulkStore(path)
    store.open(scenario_hash="s", genesis=GENESIS, homes=4)
    store.begin_bulk()
    for slot in range(3):
        flushed.clear()
        store.put_slots([row_of(slot)])
        assert flushed.wait(30)
        assert other_writer(path) == "database is locked"
    end(store, 2)
    store.begin_bulk()
    store.put_slots([row_of(3)])
    store.close()
    assert other_writer(path) == "written to"
    again = LedgerStore(path)
    again.open(scenario_hash="s", genesis=GENESIS, homes=4)
    assert [again.slot(slot) for slot in range(3)] == [row_of(slot) for slot in range(3)]
    assert again.last_slot() == 2
    again.close()


def test_a_disk_that_fails_beside_is_heard_of_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flush on the way says nothing; the transaction's own is SQLite's, and holds or fails by itself."""
    monkeypatch.setattr(bulk_store, "FLUSH_BYTES", 1)

    def failing(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", failing)
    store = BulkStore(tmp_path / "ledger.db")
    store.open(scenario_hash="s", genesis=GENESIS, homes=4)
    store.begin_bulk()
    store.put_slots([row_of(0)])
    end(store, 0)
    store.close()
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        assert db.execute("SELECT max(slot) FROM slots").fetchone() == (0,)


def in_files(path: Path) -> BulkStore:
    """A store of so many homes that bodies are in files, with a transaction begun."""
    store = BulkStore(path)
    store.open(scenario_hash="s", genesis=GENESIS, homes=4)
    store.begin_bulk()
    return store


def put(store: BulkStore, *slots: int) -> None:
    """Slots whose bodies are in files."""
    assert store.begin_bodies({slot: (BODY[:100], memoryview(BODY)[100:]) for slot in slots})
    store.put_slots([replace(row_of(slot), body=b"") for slot in slots])


def end(store: BulkStore, slot: int) -> None:
    """Make it count."""
    store.put_rest(slot, {"state": str(slot)}, (bytes(48 * 4), b"d"))
    store.end_bulk()


def kept(path: Path) -> tuple[list[SlotRow], list[str]]:
    """What the next one to open a ledger finds: its rows, and the files beside."""
    store = LedgerStore(path)
    store.open(scenario_hash="s", genesis=GENESIS, homes=4)
    rows = list(store.slots(0, 9))
    store.close()
    return rows, sorted(file.name for file in (path.parent / bodies.DIRECTORY).iterdir())


@pytest.fixture
def four_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four homes bodies are in files."""
    monkeypatch.setattr(LedgerStore, "large_from_homes", 4)


@pytest.mark.usefixtures("four_are_many")
def test_bodies_are_durable_in_files_before_their_rows_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They and their directory are synced before a transaction ends; what was not ended leaves nothing."""
    synced: list[str] = []
    at_commit: list[list[str]] = []

    def hearing(sync: Callable[[int], None]) -> Callable[[int], None]:
        def heard(file: int) -> None:
            sync(file)
            synced.append(Path(f"/proc/self/fd/{file}").readlink().name)

        return heard

    monkeypatch.setattr(os, "fdatasync", hearing(os.fdatasync))
    monkeypatch.setattr(os, "fsync", hearing(os.fsync))
    path = tmp_path / "ledger.db"
    store = in_files(path)
    store._connection.set_trace_callback(
        lambda said: at_commit.append(synced[:]) if said == "COMMIT" else None
    )
    synced.clear()
    put(store, 0, 1)
    put(store, 2)
    end(store, 2)
    assert at_commit == [["0", "1", "2", "checkpoint-2", bodies.DIRECTORY]]
    store.begin_bulk()
    put(store, 3)
    store.put_rest(3, {"state": "3"}, (bytes(48 * 4), b"d"))
    store.close()
    assert kept(path) == ([row_of(slot) for slot in range(3)], ["0", "1", "2", "checkpoint-2"])


@pytest.mark.usefixtures("four_are_many")
def test_sums_and_accounts_are_in_files_too_and_go_with_the_transaction_that_replaces_them(
    tmp_path: Path,
) -> None:
    """Sums of more slots take the place of fewer, the two newest accounts stay; what fails takes nothing."""
    path = tmp_path / "ledger.db"
    store = in_files(path)
    for slot in range(3):
        store.put_stretch(0, slot, b"sums to %d" % slot, b"d")
        store.put_rest(slot, {"state": str(slot)}, (b"accounts after %d" % slot, b"d"))
        store.end_bulk()
        assert store.stretch_over(slot) == (0, slot, b"sums to %d" % slot, b"d")
        assert store.latest_checkpoint() == (slot, b"accounts after %d" % slot, b"d")
        store.begin_bulk()
    left = sorted(file.name for file in (tmp_path / bodies.DIRECTORY).iterdir())
    assert left == ["0-2", "checkpoint-1", "checkpoint-2"]
    store.put_stretch(0, 3, b"sums to 3", b"d")
    store.put_rest(3, {"state": "3"}, (b"accounts after 3", b"d"))
    store.close()
    assert kept(path) == ([], left)


@pytest.mark.parametrize("refuses", ["write", "fdatasync", "fsync"])
@pytest.mark.usefixtures("four_are_many")
def test_a_file_that_cannot_be_written_ends_the_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    """A full disk: a StoreError where the body is waited for, and nothing of it counts or stays."""
    path = tmp_path / "ledger.db"
    store = in_files(path)
    put(store, 0)
    end(store, 0)
    store.begin_bulk()
    put(store, 1)
    store.settle()

    def full(*_words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, refuses, full)
    put(store, 2)
    with pytest.raises(StoreError, match="No space left"):
        end(store, 2)  # which waits for the bodies first
    monkeypatch.undo()
    found = sorted(file.name for file in (tmp_path / bodies.DIRECTORY).iterdir())
    assert found == ["0", "checkpoint-0"]
    store.close()
    assert kept(path)[0] == [row_of(0)]


@pytest.mark.usefixtures("four_are_many")
def test_a_slot_that_is_there_keeps_its_file(tmp_path: Path) -> None:
    """Whoever wants to write it once more is refused before a byte is written."""
    path = tmp_path / "ledger.db"
    store = in_files(path)
    put(store, 0)
    end(store, 0)
    store.begin_bulk()
    with pytest.raises(StoreError, match="slot 0 is there already"):
        store.begin_bodies({0: (b"other",)})
    store.close()
    assert kept(path) == ([row_of(0)], ["0", "checkpoint-0"])


def test_few_homes_have_their_bodies_in_their_rows(tmp_path: Path) -> None:
    """Nothing is begun then."""
    store = in_files(tmp_path / "ledger.db")
    assert not store.begin_bodies({0: (BODY,)})
    store.close()

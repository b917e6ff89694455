"""The store of whole legs: one transaction, of which the disk has most before it ends."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from energymarket.transport import bulk_store
from energymarket.transport.bulk_store import BulkStore
from energymarket.transport.store import LedgerStore
from tests.ipc.test_store import GENESIS, row_of

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
    store.end_bulk(2, {"state": "2"}, (bytes(48 * 4), b"d"))
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
    store.end_bulk(0, {"state": "0"}, (bytes(48 * 4), b"d"))
    store.close()
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        assert db.execute("SELECT max(slot) FROM slots").fetchone() == (0,)

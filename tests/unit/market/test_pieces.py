"""A ledger whose bodies are in pieces: what is read is what was written, and everybody reads it."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.audit.ledger_file import LedgerFile, copied
from energymarket.replaying.rerun import Rerun
from energymarket.transport import pieces
from energymarket.transport.ledger_rows import PIECES_VERSION, SCHEMA_VERSION
from energymarket.transport.store import LedgerStore, version_of
from tests.unit.core.made_market import FIRST
from tests.unit.market.made_ledger import MadeLedger, problem_of, restored

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four homes are many, and a piece is short: every body has several."""
    monkeypatch.setattr(LedgerStore, "large_from_homes", 4)
    monkeypatch.setattr(LedgerStore, "large_version", PIECES_VERSION)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 50)


@given(st.lists(st.binary(max_size=130)), st.integers(0, 2**40))
def test_parts_of_any_length_come_back_as_one_body(parts: list[bytes], slot: int) -> None:
    """Beside the bodies of the slots around it and of the record of the same slot; no piece is longer."""
    with pytest.MonkeyPatch.context() as patch, closing(sqlite3.connect(":memory:")) as db:
        patch.setattr(pieces, "PIECE_BYTES", 50)
        db.execute(pieces.SCHEMA)
        for each, table in ((slot + 1, pieces.SLOTS), (slot, pieces.INPUTS)):
            pieces.put(db, each, table, [b"other"])
        pieces.put(db, slot, pieces.SLOTS, parts)
        found = [bytes(piece) for (piece,) in db.execute(pieces.EVERY, pieces.ids(slot, pieces.SLOTS))]
        assert b"".join(found) == b"".join(parts)
        assert all(len(piece) == 50 for piece in found[:-1])
        assert not found or 0 < len(found[-1]) <= 50
        pieces.drop(db, slot)
        assert db.execute("SELECT count(*) FROM pieces").fetchone() == (2,)


@pytest.mark.usefixtures("in_pieces")
def test_a_ledger_in_pieces_says_what_a_plain_one_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, chain, restart, checker's reader and replay of both; only the version tells them apart."""
    found = []
    for version in (PIECES_VERSION, SCHEMA_VERSION):
        path = tmp_path / str(version) / "ledger.db"
        made = MadeLedger(path, FIRST, recording=True)
        made.play(9, orders=True)
        rows = list(made.store.slots(FIRST, FIRST + 8))
        assert made.store.slot(FIRST + 3) == rows[3]
        made.die()
        assert version_of(path) == version
        with closing(sqlite3.connect(path)) as db:
            longest = db.execute("SELECT max(length(body)) FROM slots").fetchone()[0]
        assert (longest == 0) == (version == PIECES_VERSION)
        assert problem_of(path) is None
        file = LedgerFile(path, path)
        file.open()
        assert list(file.rows(FIRST)) == rows
        records = [file.record(FIRST + at) for at in range(9)]
        file.close()
        with ExitStack() as stack:
            outcome = Rerun(copied(stack, path)).run()
        assert outcome.finding is None
        assert outcome.played.spans == [[FIRST, FIRST + 8]]
        found.append((rows, records, restored(path).hash, outcome.hash))
        monkeypatch.setattr(LedgerStore, "large_from_homes", 5)
    assert found[0] == found[1]


@pytest.mark.usefixtures("in_pieces")
def test_compaction_takes_pieces_away_with_their_slots(tmp_path: Path) -> None:
    """What is left belongs to slots that keep their detail, and to records that can be replayed."""
    made = MadeLedger(tmp_path / "ledger.db", FIRST, disk_max_bytes=1, recording=True)
    made.play(200)
    made.die()
    with closing(sqlite3.connect(made.path)) as db:
        detailed = {slot for (slot,) in db.execute("SELECT slot FROM slots WHERE body IS NOT NULL")}
        recorded = {slot for (slot,) in db.execute("SELECT slot FROM inputs")}
        left = {divmod(number >> 20, 2) for (number,) in db.execute("SELECT id FROM pieces")}
    assert 0 < len(detailed) < 200
    assert left == {(slot, pieces.SLOTS) for slot in detailed} | {(slot, pieces.INPUTS) for slot in recorded}
    assert problem_of(made.path) is None

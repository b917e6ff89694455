"""A ledger whose bodies are in files: everybody reads it, nothing is lost or left, and damage is named."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from energymarket.audit.ledger_file import LedgerFile, copied, copy_into
from energymarket.replaying.rerun import Rerun
from energymarket.runtime.kill_points import VARIABLE, Point
from energymarket.transport import bodies
from energymarket.transport.ledger_rows import FILES_VERSION, PIECES_VERSION
from energymarket.transport.store import LedgerStore, StoreError, version_of
from tests.unit.core.made_market import FIRST, Meters
from tests.unit.market.made_ledger import MadeLedger, problem_of, restored

ROOT = Path(__file__).parents[3]
PLAYER = """
import sys
from pathlib import Path
from energymarket.transport.store import LedgerStore
from tests.unit.core.made_market import FIRST
from tests.unit.market.made_ledger import MadeLedger
LedgerStore.large_from_homes = 4
MadeLedger(Path(sys.argv[1]), FIRST, disk_max_bytes=1, recording=True, brief=True).play(400)
"""


@pytest.fixture(autouse=True)
def in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four homes are many."""
    monkeypatch.setattr(LedgerStore, "large_from_homes", 4)


def made_in(tmp_path: Path, *, disk_max_bytes: int = 1 << 40) -> MadeLedger:
    """A ledger with brief records."""
    path = tmp_path / "ledger.db"
    return MadeLedger(path, FIRST, disk_max_bytes=disk_max_bytes, recording=True, brief=True)


def files_of(path: Path) -> set[int]:
    """The slots that have a file."""
    names = {file.name for file in (path.parent / bodies.DIRECTORY).iterdir()}
    return {int(name) for name in names if name.isdecimal()}


def detailed(path: Path) -> set[int]:
    """The slots that have detail, as the rows say it."""
    with closing(sqlite3.connect(path)) as db:
        return {slot for (slot,) in db.execute("SELECT slot FROM slots WHERE body IS NOT NULL")}


def test_a_ledger_in_files_says_what_a_plain_one_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, chain, restart, reader's copy and replay; every copy needs no file beside it."""
    found = []
    for large in (True, False):
        made = made_in(tmp_path / str(large))
        made.play(9, orders=True)
        rows = list(made.store.slots(FIRST, FIRST + 8))
        assert made.store.slot(FIRST + 3) == rows[3]
        with made.store.held():
            made.store.copy_to(tmp_path / str(large) / "copy.db", lambda _done, _total: None)
        made.die()
        assert (version_of(made.path) == FILES_VERSION) == large
        with ExitStack() as stack:
            outcome = Rerun(copied(stack, made.path)).run()
        assert (outcome.finding, outcome.played.count) == (None, 9)
        for copy in (tmp_path / str(large) / "copy.db", copy_into(tmp_path, made.path)):
            assert problem_of(copy) is None
            file = LedgerFile(copy, copy)
            file.open()
            assert list(file.rows(FIRST)) == rows
            file.close()
            assert (version_of(copy) == PIECES_VERSION) == large
        found.append((rows, restored(made.path).hash, outcome.hash))
        monkeypatch.setattr(LedgerStore, "large_from_homes", 5)
    assert found[0] == found[1]


def test_compaction_takes_files_away_with_their_slots(tmp_path: Path) -> None:
    """A file for each slot with detail and for no other; what they take is counted."""
    made = made_in(tmp_path, disk_max_bytes=1)
    made.play(200)
    assert 0 < len(detailed(made.path)) < 200
    assert files_of(made.path) == detailed(made.path)
    assert made.store.bytes_on_disk() - bodies.bytes_beside(made.path) == sum(
        made.path.with_name(name).stat().st_size for name in ("ledger.db", "ledger.db-wal")
    )
    made.die()
    assert problem_of(made.path) is None


def test_what_is_no_slots_body_is_in_files_and_in_every_copy(tmp_path: Path) -> None:
    """Sums, checkpoints and starts: a restart removes none that is needed, copies have them."""
    made = made_in(tmp_path, disk_max_bytes=1)
    made.play(200)
    hash_, accounts = made.market.hash, made.market.accounts.pack()
    made.die()
    names = {file.name.partition("-")[0] for file in (tmp_path / bodies.DIRECTORY).iterdir()}
    assert {"checkpoint", "start"} < names
    assert (restored(made.path).hash, restored(made.path).accounts.pack()) == (hash_, accounts)
    with ExitStack() as stack:
        copy = copied(stack, made.path)
        assert [len(each.body) for each in copy.beside().checkpoints] == [6 * 8 * 4] * 2
        assert all(each.body for each in copy.stretches())
        outcome = Rerun(copy).run()
        assert outcome.finding is None
        assert outcome.played.count > 64
    assert problem_of(made.path) is None


def test_while_a_moment_is_held_no_body_goes(tmp_path: Path) -> None:
    """A copy of before the compaction is whole, and the files go with the next compaction."""
    made = made_in(tmp_path)
    made.play(150)
    reader = LedgerStore(made.path)
    reader.open_read_only()
    made.retention.disk_max_bytes = 1
    with reader.held():
        made.retention.tend(made.store)
        assert reader.slot(FIRST) != made.store.slot(FIRST)
        reader.copy_to(tmp_path / "copy.db", lambda _done, _total: None)
    reader.close()
    assert detailed(tmp_path / "copy.db") == set(range(FIRST, FIRST + 150))
    assert problem_of(tmp_path / "copy.db") is None
    assert files_of(made.path) > detailed(made.path)
    made.retention.tend(made.store)
    assert files_of(made.path) == detailed(made.path)
    made.die()


@pytest.mark.parametrize(
    "point",
    [
        f"{Point.MARKET_BODY_WRITTEN}@{FIRST}",
        f"{Point.MARKET_BODY_WRITTEN}@{FIRST + 70}",
        f"{Point.MARKET_WRITING}@{FIRST + 70}",
        Point.MARKET_COMPACTED,
    ],
)
def test_a_market_killed_between_body_and_row_leaves_nothing_behind(tmp_path: Path, point: str) -> None:
    """Killed at the point: what was acknowledged holds, what was not has no file after the next start."""
    points = tmp_path / "points"
    points.mkdir()
    (points / point).touch()
    path = tmp_path / "ledger.db"
    environ = os.environ | {VARIABLE: str(points), "PYTHONPATH": f"{ROOT / 'daemons'}:{ROOT}"}
    ended = subprocess.run([sys.executable, "-c", PLAYER, str(path)], env=environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert files_of(path) > detailed(path)
    market = restored(path)
    assert files_of(path) == detailed(path)
    meters = Meters(*(column.copy() for column in market.accounts.columns()[:4]))
    again = MadeLedger(path, max(market.slot + 1, FIRST), recording=True, market=market, meters=meters)
    again.play(2)
    again.die()
    assert problem_of(path) is None
    assert files_of(path) == detailed(path)


def test_a_body_that_the_disk_refuses_is_a_slot_that_is_tried_again(tmp_path: Path) -> None:
    """Nothing of the slot counts until the disk takes its body; then it is there once."""
    made = made_in(tmp_path)
    made.play(3)
    made.open()
    closed = made.market.close_slot()
    (tmp_path / bodies.DIRECTORY / str(made.next_slot)).mkdir()
    assert not made.books.commit(closed, made.counts)
    assert "directory" in (made.books.failed or "")
    assert made.store.last_slot() == made.next_slot - 1
    (tmp_path / bodies.DIRECTORY / str(made.next_slot)).rmdir()
    assert made.books.commit(closed, made.counts)
    assert made.store.last_slot() == made.next_slot
    made.die()
    assert problem_of(made.path) is None


def test_a_slot_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    """A second commit is refused before it touches the body of the first."""
    made = made_in(tmp_path)
    made.play(3)
    row = made.store.slot(FIRST + 1)
    assert row is not None
    with pytest.raises(StoreError, match="is there already"):
        made.store.commit_slot(row, {}, body=(b"other",))
    assert made.store.slot(FIRST + 1) == row
    made.die()


@pytest.mark.parametrize(("data", "said"), [(None, "its body is not there"), (b"x", "does not follow")])
def test_a_body_that_is_gone_or_changed_is_named(tmp_path: Path, data: bytes | None, said: str) -> None:
    """By the chain, in the ledger and in a copy of it, with the slot."""
    made = made_in(tmp_path)
    made.play(5)
    made.die()
    file = tmp_path / bodies.DIRECTORY / str(FIRST + 2)
    file.unlink()
    if data is not None:
        file.write_bytes(data)
    (tmp_path / "elsewhere").mkdir()
    for path in (made.path, copy_into(tmp_path / "elsewhere", made.path)):
        problem = problem_of(path)
        assert problem is not None
        assert f"slot {FIRST + 2}" in problem
        assert said in problem

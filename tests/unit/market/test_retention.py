"""Bounded disk: the oldest detail becomes sums; sums, hashes and a restart stay what they were."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from energymarket.core import ledger
from energymarket.core.records import GIFT_COLUMNS, ORDER_COLUMNS, SLOT_COLUMNS
from energymarket.core.state import STATE_BYTES_PER_HOME
from energymarket.market import retention
from energymarket.market.bookkeeping import CHECKPOINT_SLOTS
from energymarket.market.retention import Retention
from energymarket.transport.store import LedgerStore, SlotRow
from tests.unit.core.made_market import CALM
from tests.unit.market.made_ledger import MadeLedger, problem_of, restored

DAY = 16
START = CHECKPOINT_SLOTS * 100  # a slot with a checkpoint, and the first of a day


def per_home(store: LedgerStore) -> dict[int, Counter[str]]:
    """Sums of every column per home over all slots, as far as the ledger still tells them."""
    found: dict[int, Counter[str]] = {}
    first, last = store.first_slot(), store.last_slot()
    assert first is not None
    assert last is not None
    bodies = [row.body for row in store.slots(first, last) if row.body is not None]
    for body in (*bodies, *(body for _, _, body, _ in store.days())):
        columns = ledger.unpack(body)[1]
        for row in zip(*(columns[name].tolist() for name in SLOT_COLUMNS), strict=True):
            found.setdefault(row[0], Counter()).update(dict(zip(SLOT_COLUMNS[1:], row[1:], strict=True)))
    return found


@pytest.fixture
def made(tmp_path: Path) -> MadeLedger:
    """Two checkpoints and a bit: 150 slots."""
    made = MadeLedger(tmp_path / "ledger.db", START)
    made.play(150)
    return made


class FullDisk(Retention):
    """The rule on a disk that is full whatever is taken away."""

    def taken_bytes(self, store: LedgerStore) -> int:
        """As much as there is."""
        del store
        return self.disk_max_bytes


@pytest.fixture
def full() -> Retention:
    """The rule where it always has something to do."""
    return FullDisk(1 << 30, DAY)


def test_nothing_is_compacted_while_there_is_room(made: MadeLedger) -> None:
    """The limit decides, not the age."""
    made.retention.tend(made.store)
    assert made.store.stretches() == []


def test_the_oldest_day_goes_first_and_its_sums_stay(made: MadeLedger, full: Retention) -> None:
    """Sixteen slots lose their bodies; what each home did in all is the same as before."""
    before = per_home(made.store)
    full.tend(made.store)
    assert [(first, last) for first, last, _ in made.store.stretches()] == [(START, START + DAY - 1)]
    bodies = [row.body is None for row in made.store.slots(START, START + 149)]
    assert bodies == [True] * DAY + [False] * (150 - DAY)
    assert per_home(made.store) == before


def test_compacted_days_end_where_utc_days_end(tmp_path: Path, full: Retention) -> None:
    """A ledger that begins in the middle of a day has a shorter first stretch."""
    made = MadeLedger(tmp_path / "ledger.db", START + 5)
    made.play(200)
    for _ in range(3):
        full.tend(made.store)
    assert [(first - START, last - START) for first, last, _ in made.store.stretches()] == [
        (5, 15), (16, 31), (32, 47)
    ]  # fmt: skip


def test_a_day_may_be_compacted_in_steps(
    made: MadeLedger, full: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two slots a step: eight steps make the day, each leaves a ledger that holds and the same sums."""
    monkeypatch.setattr(retention, "HELD_BYTES_MAX", 1)
    before = per_home(made.store)
    for step in range(1, 9):
        full.tend(made.store)
        assert [(first, last) for first, last, _ in made.store.stretches()] == [(START, START + 2 * step - 1)]
        assert per_home(made.store) == before
        assert problem_of(made.path) is None
    full.tend(made.store)
    assert [each[:2] for each in made.store.stretches()] == [
        (START, START + DAY - 1), (START + DAY, START + DAY + 1)
    ]  # fmt: skip


def test_a_step_has_so_many_files_at_most(
    made: MadeLedger, full: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small they are: each is open until the step has come to its end."""
    monkeypatch.setattr(retention, "STEP_SLOTS_MAX", 3)
    full.tend(made.store)
    assert [each[:2] for each in made.store.stretches()] == [(START, START + 2)]


def test_detail_that_a_restart_may_need_stays(made: MadeLedger, full: Retention) -> None:
    """Checkpoints at slots 64 and 128 of the run: what comes after the older one is never compacted."""
    for _ in range(100):
        full.tend(made.store)
    kept = [row.slot for row in made.store.slots(START, START + 149) if row.body is not None]
    assert kept == list(range(START + CHECKPOINT_SLOTS + 1, START + 150))
    before = made.market
    made.die()
    after = restored(made.path)
    assert (after.hash, after.accounts.pack()) == (before.hash, before.accounts.pack())


def test_it_is_said_once_that_the_disk_is_too_small(
    made: MadeLedger, full: Retention, caplog: pytest.LogCaptureFixture
) -> None:
    """When everything that may go has gone, the market goes on and the administrator is told."""
    for _ in range(50):
        full.tend(made.store)
    assert full.too_small
    assert [record.message for record in caplog.records if "too small" in record.message] == [
        "all that can be compacted is: disk_max (1073741824 bytes) is too small"
    ]


def test_many_days_become_one(tmp_path: Path, full: Retention, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the number of tables the two oldest are one; nobody's sums change, and the chain holds."""
    monkeypatch.setattr(retention, "STRETCHES_MAX", 4)
    made = MadeLedger(tmp_path / "ledger.db", START)
    made.play(300)
    before = per_home(made.store)
    for _ in range(12):
        full.tend(made.store)
    stretches = made.store.stretches()
    assert len(stretches) == 4
    assert stretches[0][0] == START
    assert all(one[1] + 1 == following[0] for one, following in pairwise(stretches))
    assert per_home(made.store) == before
    made.die()
    assert problem_of(made.path) is None


def test_homes_that_come_and_go_are_added_up(tmp_path: Path, full: Retention) -> None:
    """Home 3 has rows in some slots only, home 4 in others; each keeps its own sums."""
    made = MadeLedger(tmp_path / "ledger.db", START)
    for at in range(200):
        made.market.open_slot(made.next_slot, CALM)
        made.meters.run((5, -3, 2, -1))
        first = at % 4 + 1
        assert made.market.hear_batch(made.meters.batch(first, 1)) == []
        closed = made.market.close_slot()
        assert made.books.commit(closed, made.counts)
        made.market.commit_slot(closed)
        made.next_slot += 1
    before = per_home(made.store)
    for _ in range(4):
        full.tend(made.store)
    assert per_home(made.store) == before
    assert len(before) == 4


def test_tables_that_grow_too_large_become_one(made: MadeLedger, full: Retention) -> None:
    """A quarter of a limit of one byte has room for no table: all days but the last are one."""
    before = per_home(made.store)
    tiny = Retention(1, DAY)
    while tiny.tend(made.store):
        pass
    assert full.disk_max_bytes > tiny.disk_max_bytes
    assert [(first - START, last - START) for first, last, _ in made.store.stretches()] == [(0, 63), (64, 64)]
    assert per_home(made.store) == before


# the limit, in bytes

WIDE_HOMES = 1_000
WIDE_DISK_MAX = 8 << 20


def wide_body(slot: int) -> bytes:
    """A slot of a thousand homes about which everything has to be said: some 28 kB."""
    drawn = (np.arange(WIDE_HOMES, dtype=np.int64) * 7919 + slot * 104_729) % 30_000
    columns = {name: drawn.copy() for name in SLOT_COLUMNS}
    columns["home"] = np.arange(1, WIDE_HOMES + 1, dtype=np.int64)
    columns["money_ueur"] = drawn * 1_000
    nothing = {name: np.zeros(0, np.int64) for name in (*GIFT_COLUMNS, *ORDER_COLUMNS)}
    return ledger.pack(ledger.SlotHead(slot, 1, 2, 3, 0, 1, 1), columns, nothing, nothing)


def wide_row(slot: int, before: bytes) -> SlotRow:
    body = wide_body(slot)
    row = SlotRow(slot, 1, 2, 3, False, False, "{}", "{}", body, ledger.chain(before, body), b"")
    return replace(row, seal=row.seal_now())


def test_file_and_log_and_registers_stay_within_disk_max(tmp_path: Path) -> None:
    """Three times the limit is written; what lies on the disk never takes more than it, and holds."""
    genesis = ledger.genesis("wide")
    store = LedgerStore(tmp_path / "ledger.db")
    store.open(scenario_hash="wide", genesis=genesis, homes=WIDE_HOMES)
    rule, last_hash = Retention(WIDE_DISK_MAX, 96), genesis
    registers_bytes = WIDE_HOMES * STATE_BYTES_PER_HOME * 2
    written = most = 0
    for slot in range(START, START + 1_000):
        row = wide_row(slot, last_hash)
        last_hash, written = row.hash, written + len(row.body or b"")
        store.commit_slot(row, {})
        if slot % CHECKPOINT_SLOTS == 0:
            store.put_checkpoint(slot, (bytes(48 * WIDE_HOMES), b"digest"))
        store.fold_wal(rule.wal_bytes_max)
        rule.tend(store)
        files = [path.stat().st_size for path in tmp_path.iterdir() if path.suffix != ".db-shm"]
        most = max(most, sum(files) + registers_bytes)
    assert written > 3 * WIDE_DISK_MAX
    assert most <= WIDE_DISK_MAX
    assert not rule.too_small
    store.close()
    assert problem_of(tmp_path / "ledger.db") is None

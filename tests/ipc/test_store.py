"""The ledger's store on a real disk: acknowledged is durable, refused is undone, full is not the end."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from energymarket.runtime import memory
from energymarket.runtime.clock import boottime_ns
from energymarket.transport.store import ForeignLedgerError, LedgerStore, OrderRow, SlotRow, StoreError
from tests.ipc.processes import environment

GENESIS = bytes(32)
BODY = bytes(range(256)) * 40

WRITER = """\
import sys
from dataclasses import replace
from pathlib import Path
from energymarket.transport.store import LedgerStore
from tests.ipc.test_store import GENESIS, order_of, row_of
store = LedgerStore(Path(sys.argv[1]))
store.open(scenario_hash="s", genesis=GENESIS, homes=4)
slot = 0
while True:
    store.append_orders([order_of(slot)], {"opening": str(slot)})
    print("order", slot, flush=True)
    store.commit_slot(row_of(slot), {"state": str(slot)})
    if slot % 4 == 0:
        store.put_checkpoint(slot, (bytes(48 * 4), b"d"))
    print("slot", slot, flush=True)
    if slot % 16 == 15:
        store.compact(slot - 15, slot - 8, b"sums", b"digest")
        print("sums", slot - 15, flush=True)
        store.fold_wal(0)
    slot += 1
"""


def row_of(slot: int) -> SlotRow:
    """A slot with a body of ten kilobytes."""
    row = SlotRow(slot, 1, 2, 3, False, False, "{}", "{}", BODY, slot.to_bytes(32, "big"), b"")
    return replace(row, seal=row.seal_now())


def order_of(slot: int) -> OrderRow:
    """An order of home 1 in a slot."""
    return OrderRow(1, f"o{slot}", slot, 5, 200_000, 1_000, f"{slot}-000000")


def opened(path: Path) -> LedgerStore:
    store = LedgerStore(path)
    store.open(scenario_hash="s", genesis=GENESIS, homes=4)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LedgerStore]:
    made = opened(tmp_path / "ledger.db")
    yield made
    made.close()


# what is written is read


def test_a_slot_and_its_state_are_one_transaction(store: LedgerStore) -> None:
    """Read back, both are there; of checkpoints, which come between slots, two are kept."""
    for slot in range(4):
        store.commit_slot(row_of(slot), {"state": str(slot)})
        store.put_checkpoint(slot, (b"c%d" % slot, b"d"))
    assert list(store.slots(1, 2)) == [row_of(1), row_of(2)]
    assert (store.first_slot(), store.last_slot(), store.meta("state")) == (0, 3, "3")
    assert store.latest_checkpoint() == (3, b"c3", b"d")
    assert store.older_checkpoint() == 2


def test_a_checkpoint_stays_on_the_disk_alone(store: LedgerStore) -> None:
    """48 MiB, as a million homes have: what the statement was given is not kept for the next time."""
    body = b"\1" * (48 << 20)
    memory.give_back()
    before = psutil.Process().memory_info().rss
    store.put_checkpoint(64, (body, b"d"))
    memory.give_back()
    assert psutil.Process().memory_info().rss - before < len(body) // 2
    assert store.latest_checkpoint() == (64, body, b"d")


def test_a_slot_is_committed_once(store: LedgerStore) -> None:
    """The second time is refused as a whole: also its state."""
    store.commit_slot(row_of(7), {"state": "first"})
    with pytest.raises(StoreError, match="UNIQUE"):
        store.commit_slot(row_of(7), {"state": "second"})
    assert store.meta("state") == "first"
    store.commit_slot(row_of(8), {"state": "third"})


def test_orders_are_read_in_order_of_receipt_and_forgotten_after_a_day(store: LedgerStore) -> None:
    """96 slots later they are still known, 97 slots later they are not."""
    first = [replace(order_of(0), id=name, receipt=f"0-{at:06d}") for at, name in enumerate("zya")]
    store.append_orders(reversed(first), {})
    assert store.orders_of(0) == first
    assert store.order(1, "z") == first[0]
    store.commit_slot(row_of(96), {})
    assert store.orders_of(0) == first
    store.commit_slot(row_of(97), {})
    assert store.order(1, "z") is None


def test_a_stretch_stands_for_its_slots(store: LedgerStore) -> None:
    """Bodies go, rows stay; a stretch that grows or takes in another replaces it."""
    for slot in range(20):
        store.commit_slot(row_of(slot), {})
    store.compact(0, 3, b"one", b"d")
    store.compact(0, 7, b"grown", b"d")
    store.compact(8, 9, b"two", b"d")
    assert store.stretches() == [(0, 7, 5), (8, 9, 3)]
    store.compact(0, 9, b"both", b"e", absorbs=(8,))
    assert store.days() == [(0, 9, b"both", b"e")]
    assert store.stretch_over(9) == (0, 9, b"both", b"e")
    assert store.stretch_over(10) is None
    rows = list(store.slots(0, 19))
    assert [row.slot for row in rows] == list(range(20))
    assert [replace(row, body=BODY) for row in rows] == [row_of(slot) for slot in range(20)]
    assert [row.body is None for row in rows] == [True] * 10 + [False] * 10


def test_pages_of_compacted_slots_are_used_again(store: LedgerStore) -> None:
    """A hundred slots of 10 kB are written in the place of a hundred that were compacted."""
    for slot in range(100):
        store.commit_slot(row_of(slot), {})
    full = store.used_bytes()
    store.compact(0, 99, b"sums", b"d")
    assert store.used_bytes() < full / 4
    for slot in range(100, 200):
        store.commit_slot(row_of(slot), {})
    store.fold_wal(0)
    assert store.path.stat().st_size < 1.2 * full


def test_the_log_is_folded_back_when_it_is_large(store: LedgerStore) -> None:
    """Below the limit nothing is in the ledger's file, above it all is; a log far too long is cut."""
    log = store.path.with_name("ledger.db-wal")
    for slot in range(10):
        store.commit_slot(row_of(slot), {})
    size = log.stat().st_size
    store.fold_wal(size)
    assert slots_without_log(store.path) == 0
    store.fold_wal(size - 1)
    assert slots_without_log(store.path) == 10
    assert store.last_slot() == 9
    store.fold_wal(size // 3)
    assert log.stat().st_size == 0


def test_the_log_keeps_its_length_and_is_written_again(store: LedgerStore) -> None:
    """However many rounds it has held: only slots of the present one count towards the limit."""
    log = store.path.with_name("ledger.db-wal")
    for slot in range(20):
        store.commit_slot(row_of(slot), {})
    limit = log.stat().st_size - 1
    lengths, folded = [], []
    for slot in range(20, 200):
        store.fold_wal(limit)
        store.commit_slot(row_of(slot), {})
        lengths.append(log.stat().st_size)
        folded.append(slots_without_log(store.path))
    assert min(lengths) > limit
    assert max(lengths) < 1.3 * limit
    assert 4 < len(set(folded)) < 20
    assert [row.slot for row in store.slots(0, 1_000)] == list(range(200))


def test_the_log_of_slots_beyond_the_limit_keeps_its_length(store: LedgerStore) -> None:
    """A slot of a mebibyte is folded back at once, and the next is written where it was."""
    log = store.path.with_name("ledger.db-wal")
    for slot in range(3):
        store.commit_slot(replace(row_of(slot), body=None), {}, body=(bytes(1 << 20),))
        store.fold_wal(1 << 16)
        assert slots_without_log(store.path) == slot + 1
        assert log.stat().st_size > 1 << 20


def slots_without_log(path: Path) -> int:
    """How many slots the ledger's own file has, without its log."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'slots'").fetchone():
            return 0
        return int(db.execute("SELECT count(*) FROM slots").fetchone()[0])


# whose ledger it is


def test_the_ledger_of_another_scenario_is_refused(store: LedgerStore) -> None:
    """By name, and without a change to it."""
    store.close()
    other = LedgerStore(store.path)
    with pytest.raises(ForeignLedgerError, match="another scenario"):
        other.open(scenario_hash="other", genesis=GENESIS, homes=4)
    other.close()
    store.open(scenario_hash="s", genesis=GENESIS, homes=4)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """A text file, and the ledger of a version that is to come."""
    path = tmp_path / "ledger.db"
    path.write_text("not a database, but long enough to look at its head\n" * 40)
    with pytest.raises(StoreError, match="not a database"):
        opened(path)
    later = tmp_path / "later.db"
    store = opened(later)
    store._connection.execute("PRAGMA user_version=99")
    store.close()
    with pytest.raises(ForeignLedgerError, match="version 99"):
        opened(later)


def test_a_damaged_page_is_a_named_failure(tmp_path: Path) -> None:
    """Reading what lies on it raises StoreError, and so does asking for everything."""
    path = tmp_path / "ledger.db"
    store = opened(path)
    for slot in range(50):
        store.commit_slot(row_of(slot), {})
    store.close()
    with path.open("r+b") as file:
        file.seek(4096 * 8)
        file.write(b"\xa5" * (path.stat().st_size - 4096 * 8))
    store = opened(path)
    with pytest.raises(StoreError):
        list(store.slots(0, 49))
    store.close()


# death


@pytest.mark.parametrize("after", [1, 2, 3, 17, 18, 37, 60, 95])
def test_what_was_acknowledged_is_there_after_sigkill(tmp_path: Path, after: int) -> None:
    """A writer is killed after so many acknowledgements, in the middle of whatever it did next."""
    path = tmp_path / "ledger.db"
    root = Path(__file__).parents[2]
    environ = environment()
    environ["PYTHONPATH"] += os.pathsep + str(root)
    words = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environ) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline().split() for _ in range(after)]
        os.kill(writer.pid, signal.SIGKILL)
        said += [line.split() for line in writer.stdout]
    store = opened(path)
    for what, number in said:
        slot = int(number)
        match what:
            case "order":
                assert store.order(1, f"o{slot}") == order_of(slot)
            case "slot":
                row = store.slot(slot)
                assert row is not None
                assert replace(row, body=BODY) == row_of(slot)
            case _:
                assert store.stretch_over(slot) is not None
    slots = [int(number) for what, number in said if what == "slot"]
    last = store.last_slot()
    if slots:
        # One more may have become durable between its commit and its acknowledgement.
        assert last in {slots[-1], slots[-1] + 1}
        assert store.meta("state") == str(last)
        compacted = [row.slot for row in store.slots(0, slots[-1]) if row.body is None]
        assert all(store.stretch_over(slot) is not None for slot in compacted)
    store.close()


# a disk without room


@contextmanager
def file_size_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond it: to SQLite, a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_without_room_is_a_named_failure_and_not_the_end(store: LedgerStore) -> None:
    """Nothing of the refused transactions counts; with room again the same slot is committed."""
    for slot in range(3):
        store.commit_slot(row_of(slot), {"state": str(slot)})
    size = store.path.with_name("ledger.db-wal").stat().st_size
    with file_size_at_most(size + 4_000):
        for _ in range(3):
            with pytest.raises(StoreError):
                store.commit_slot(row_of(3), {"state": "3"})
        with pytest.raises(StoreError):
            store.append_orders([replace(order_of(3), id="x" * 9_000)], {})
    assert (store.last_slot(), store.meta("state")) == (2, "2")
    store.commit_slot(row_of(3), {"state": "3"})
    assert (store.last_slot(), store.meta("state")) == (3, "3")


@contextmanager
def small_disk(where: Path, size: str) -> Iterator[Path]:
    """A file system of its own with so much room."""
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(where)], check=False)
    if mounted.returncode != 0:
        pytest.skip("needs a root that may mount")
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def written_until_full(store: LedgerStore) -> int:
    """The slot for which there was no room."""
    for slot in range(10_000):
        try:
            store.commit_slot(row_of(slot), {"state": str(slot)})
        except StoreError as error:
            assert "full" in str(error)  # noqa: PT017 the slot counts, not only the error
            return slot
    raise AssertionError("a hundred megabytes fit into two")


@pytest.mark.needs("root")
def test_a_full_file_system_is_survived(tmp_path: Path) -> None:
    """The ledger is written until nothing fits; what was acknowledged is there, and room helps."""
    with small_disk(tmp_path / "disk", "2m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(600_000))
        store = opened(disk / "ledger.db")
        slot = written_until_full(store)
        assert (store.last_slot(), store.meta("state")) == (slot - 1, str(slot - 1))
        ballast.unlink()
        store.commit_slot(row_of(slot), {"state": str(slot)})
        store.close()
        again = opened(disk / "ledger.db")
        assert again.last_slot() == slot
        assert list(again.slots(0, slot)) == [row_of(number) for number in range(slot + 1)]
        again.close()


def test_a_copy_is_of_the_moment_that_is_held(tmp_path: Path) -> None:
    """A market that writes meanwhile neither changes the copy nor makes it begin anew."""
    market, copier = opened(tmp_path / "ledger.db"), LedgerStore(tmp_path / "ledger.db")
    market.commit_slot(row_of(0), {})
    copier.open_read_only()
    told: list[tuple[int, int]] = []

    def write_on(done: int, total: int) -> None:
        told.append((done, total))
        market.commit_slot(row_of(len(told)), {})

    with copier.held():
        market.commit_slot(row_of(100), {})
        copier.copy_to(tmp_path / "copy.db", write_on)
    assert len(told) == 1
    copy = LedgerStore(tmp_path / "copy.db")
    copy.open_read_only()
    assert [row.slot for row in copy.slots(0, 1_000)] == [0]
    assert copier.last_slot() == 100
    for store in (copy, copier, market):
        store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "ledger.db"]


def test_folding_the_log_does_not_wait_for_who_copies(tmp_path: Path) -> None:
    """The market goes on at once while a moment is held; the log is folded when it is let go."""
    market, copier = opened(tmp_path / "ledger.db"), LedgerStore(tmp_path / "ledger.db")
    log = tmp_path / "ledger.db-wal"
    market.commit_slot(row_of(0), {})
    copier.open_read_only()
    with copier.held():
        market.commit_slot(row_of(1), {})
        began_ns = boottime_ns()
        market.fold_wal(0)
        assert boottime_ns() - began_ns < 1_500_000_000  # SQLite would wait 2 s for the reader
        assert log.stat().st_size > 0
    market.fold_wal(0)
    assert log.stat().st_size == 0
    copier.close()
    market.close()

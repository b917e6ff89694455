"""Slots added up per home, a piece at a time: the sums are right, and leaving off anywhere loses nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from energymarket.core import ledger, stored
from energymarket.core.clock import Deadlines
from energymarket.core.records import GIFT_COLUMNS, ORDER_COLUMNS, SLOT_COLUMNS, Phase
from energymarket.market import bookkeeping, compaction
from energymarket.market.compaction import Span, compact
from energymarket.runtime.clock import boottime_ns
from energymarket.transport import bodies, past_cache
from energymarket.transport.store import LedgerStore, SlotRow
from tests.unit.core.made_market import FIRST
from tests.unit.market.made_ledger import MadeLedger, open_store, problem_of, restored

GENESIS = ledger.genesis("added up")
HOMES = (
    range(1, 41),  # all
    range(1, 21),  # a shard was late
    range(21, 41),  # the other one
    (2, 3, 5, 7, 11, 13),  # with holes
    (),  # nobody: a gap
    range(31, 51),  # some have joined
)
LIMITS = (0, 100, 30_000, 2_000_000_000, 3_000_000_000_000)
"""Of the values of a slot: each wants another width."""


@pytest.fixture(params=[False, True], ids=["in the row", "in files"])
def in_files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Where bodies lie."""
    monkeypatch.setattr(LedgerStore, "large_from_homes", 4 if request.param else 1_000)
    return bool(request.param)


def packed(slot: int, columns: dict[str, list[int]]) -> bytes:
    """The body of a slot, or of sums, without gifts and orders."""
    nothing = {name: np.zeros(0, np.int64) for name in (*GIFT_COLUMNS, *ORDER_COLUMNS)}
    arrays = {name: np.array(values, np.int64) for name, values in columns.items()}
    return ledger.pack(ledger.SlotHead(slot, 0, 0, 0, 0, 0, 0), arrays, nothing, nothing)


def written(path: Path) -> tuple[LedgerStore, list[dict[str, list[int]]]]:
    """A ledger of a slot for each of HOMES, and their columns."""
    store, last_hash = LedgerStore(path), GENESIS
    store.open(scenario_hash="added up", genesis=GENESIS, homes=50)
    found = []
    for slot, homes in enumerate(HOMES):
        columns = {"home": list(homes)}
        for at, name in enumerate(SLOT_COLUMNS[1:]):
            limit = LIMITS[(at + slot) % len(LIMITS)] if at else 0
            values = [(home * 7_919 + slot * 104_729 + at * 31) ** 3 % (limit + 1) for home in homes]
            columns[name] = [limit // 2 - value if name == "money_ueur" else value for value in values]
        body = packed(slot, columns)
        row = SlotRow(slot, 0, 0, 0, False, False, "{}", "{}", None, ledger.chain(last_hash, body), b"")
        last_hash = row.hash
        store.commit_slot(replace(row, seal=row.seal_now()), {}, body=(body,))
        found.append(columns)
    return store, found


def added_up(slots: list[dict[str, list[int]]]) -> dict[str, list[int]]:
    """Home by home and number by number."""
    sums: dict[int, Counter[str]] = {}
    for columns in slots:
        for row in zip(*(columns[name] for name in SLOT_COLUMNS), strict=True):
            mine = sums.setdefault(row[0], Counter())
            for name, value in zip(SLOT_COLUMNS[1:], row[1:], strict=True):
                mine[name] += value
    found = {name: [sums[home][name] for home in sorted(sums)] for name in SLOT_COLUMNS[1:]}
    return {"home": sorted(sums), **found}


def span(store: LedgerStore, first: int, last: int) -> Span:
    return Span(first, last, [store.body_of_slot(slot) for slot in range(first, last + 1)])


@pytest.mark.usefixtures("in_files")
def test_the_sums_are_each_homes_own(tmp_path: Path) -> None:
    """Homes that come, go and are missing; widths from none to eight bytes; the one body that they have."""
    store, slots = written(tmp_path / "ledger.db")
    for _ in compact(store, span(store, 0, 1)):
        pass
    assert store.stretch_over(0) == (0, 1, packed(0, added_up(slots[:2])), store.days()[0][3])
    grown = Span(0, 5, [store.body_of_stretch(0, 1), *span(store, 2, 5).bodies])
    for _ in compact(store, grown):
        pass
    assert [each[:3] for each in store.days()] == [(0, 5, packed(0, added_up(slots)))]
    store.close()
    assert problem_of(tmp_path / "ledger.db") is None


@pytest.mark.usefixtures("in_files")
def test_columns_longer_than_what_is_read_at_once_are_added_up_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file or of bytes, whatever ends first: what is asked for, the buffer, or what the cache holds."""
    monkeypatch.setattr(stored, "PIECE_BYTES", 24)
    monkeypatch.setattr(compaction, "BLOCK_BYTES", 16)
    monkeypatch.setattr(past_cache, "BUFFER_BYTES", past_cache.ALIGNED_TO)
    store, slots = written(tmp_path / "ledger.db")
    for _ in compact(store, span(store, 0, 5)):
        pass
    assert [each[:3] for each in store.days()] == [(0, 5, packed(0, added_up(slots)))]
    store.close()
    assert problem_of(tmp_path / "ledger.db") is None


@pytest.mark.parametrize("length", [10, 4_095, 4_096, 4_097, 9_000, 70_000])
def test_a_draft_has_what_it_was_given_with_its_head_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Of every length around that of the block which waits for the head; and only when it is finished."""
    monkeypatch.setattr(past_cache, "BUFFER_BYTES", 2 * past_cache.ALIGNED_TO)
    monkeypatch.setattr(LedgerStore, "large_from_homes", 4)
    store, _ = written(tmp_path / "ledger.db")
    data, head = bytes(number * 7 % 251 for number in range(length)), b"a head"
    for head_bytes in (0, len(head)):
        draft = store.draft("7-8", head_bytes)
        for start in range(0, length, 1_000):
            draft.append(data[start : start + 1_000])
        draft.finish(head[:head_bytes])
        draft.close()
        assert (tmp_path / bodies.DIRECTORY / "7-8").read_bytes() == head[:head_bytes] + data
    draft = store.draft("7-8", len(head))
    draft.append(data)
    draft.close()
    assert not (tmp_path / bodies.DIRECTORY / "7-8").exists()
    store.close()


def test_sums_are_exact_at_the_bounds_of_every_width() -> None:
    """Values as far from zero as their widths let them be, added until the next width is wanted."""
    sums = compaction._Sums(3)
    kinds: tuple[type[np.signedinteger[Any]], ...] = (np.int8, np.int16, np.int32)
    for turn in range(3):
        sums.begin()
        exact = np.zeros(3, np.int64)
        assert not sums.column().any()
        for number in range(40):
            kind = kinds[(number + turn) % 3] if turn else kinds[number // 14]
            low, high = np.iinfo(kind).min, np.iinfo(kind).max
            values = np.array((low, high, number % 3), kind)[: 2 + number % 2]
            rows = slice(0, len(values)) if number % 5 else np.arange(len(values))[::-1]
            sums.add(rows, [(0, values[:1]), (1, values[1:])])
            exact[rows] += values
        assert sums.column().tolist() == exact.tolist()


def test_left_off_at_any_piece_nothing_has_happened(tmp_path: Path, in_files: bool) -> None:
    """The next start finds all detail, and no file that belongs to nothing."""
    path = tmp_path / "ledger.db"
    store, _ = written(path)
    pieces = len(list(compact(store, span(store, 0, 0))))
    before = list(store.slots(0, 5))
    assert pieces > len(SLOT_COLUMNS)
    for left_off_at in range(1, pieces + 10):
        steps = compact(store, Span(0, 3, [store.body_of_stretch(0, 0), *span(store, 1, 3).bodies]))
        for _ in range(left_off_at):
            if next(steps, steps) is steps:
                break
        else:
            steps.close()  # type: ignore[attr-defined]
            store.close()
            store = LedgerStore(path)
            store.open(scenario_hash="added up", genesis=GENESIS, homes=50)
            assert [each[:2] for each in store.days()] == [(0, 0)]
            assert list(store.slots(0, 5)) == before
            names = {file.name for file in (tmp_path / bodies.DIRECTORY).iterdir()} if in_files else None
            assert names in {None, frozenset({"0-0", *(str(slot) for slot in range(1, 6))})}
            assert problem_of(path) is None
    store.close()


@pytest.mark.usefixtures("in_files")
def test_detail_that_was_damaged_stays_and_the_market_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The administrator is told once where to look; nothing is added up any more, nothing is lost."""
    made = MadeLedger(tmp_path / "ledger.db", FIRST)
    made.play(140)
    if (tmp_path / bodies.DIRECTORY).exists():
        (tmp_path / bodies.DIRECTORY / str(FIRST + 1)).write_bytes(b"EMSL, and then nothing")
    else:
        made.store._connection.execute("UPDATE slots SET body = x'454d534c' WHERE slot = ?", (FIRST + 1,))
    made.retention.disk_max_bytes = 1
    made.play(30)
    assert [record.levelname for record in caplog.records if "compaction ends" in record.message] == ["ERROR"]
    assert made.store.stretches() == []
    assert made.store.last_slot() == FIRST + 169
    made.die()
    assert f"slot {FIRST + 1}: " in (problem_of(made.path) or "")


@pytest.mark.usefixtures("in_files")
def test_a_checkpoint_left_off_at_any_piece_is_none(tmp_path: Path) -> None:
    """However far it came, a restart finds the same market; if another slot came first, it is begun anew."""
    found: Counter[bool] = Counter()
    for pieces in range(20):
        made = MadeLedger(tmp_path / str(pieces) / "ledger.db", 120, recording=True)
        made.play(8)
        made.play_untidy()  # slot 128
        for _ in range(pieces):
            made.books.tidy()
        is_there = made.store.latest_checkpoint() is not None
        assert (made.store._row("SELECT 1 FROM starts WHERE slot = 128") is not None) == is_there
        found[is_there] += 1
        made.store.close()
        after = restored(made.path)
        assert (after.hash, after.accounts.pack()) == (made.market.hash, made.market.accounts.pack())
        made.store = made.books.store = open_store(made.path)
        made.play(1)
        latest = made.store.latest_checkpoint()
        assert latest is not None
        assert latest[0] == (128 if is_there else 129)
        made.die()
        assert problem_of(made.path) is None
    assert min(found.values()) > 2


def test_no_piece_is_begun_shortly_before_a_deadline(tmp_path: Path) -> None:
    """Ten milliseconds, or a fiftieth of a shorter slot; nor while the next slot is to open."""
    made = MadeLedger(tmp_path / "ledger.db", 64)
    made.play_untidy()
    now_ns = boottime_ns()
    for slot_ns, margin_ns in ((10**12, 10**7), (10**8, 2 * 10**6)):

        def has_time(phase: Phase, left_ns: int, slot_ns: int = slot_ns) -> bool:
            due_ns = now_ns + left_ns
            other_ns = due_ns if phase is Phase.EXCHANGE else now_ns - 1
            ends = (due_ns, other_ns) if phase is Phase.EXCHANGE else (other_ns, due_ns)
            return made.books.has_time(phase, Deadlines(now_ns, *ends, now_ns + slot_ns))

        for phase in (Phase.EXCHANGE, Phase.TRADE):
            assert has_time(phase, margin_ns + 10**12)
            assert not has_time(phase, margin_ns - 1)
        assert not has_time(Phase.CLEARING, 10**12)
        assert has_time(Phase.STARTING, 0)
    made.tidy()
    assert not made.books.has_time(Phase.STARTING, Deadlines(0, 0, 0, 0))
    made.die()


def test_pieces_leave_the_exchange_to_the_homes_where_trade_is_long(tmp_path: Path) -> None:
    """From 200 ms of trade on they wait for it; in shorter slots nothing would ever be done."""
    made = MadeLedger(tmp_path / "ledger.db", 64)
    made.play_untidy()
    for trade_ns, waits in ((199_999_999, False), (200_000_000, True)):
        exchange_ns = boottime_ns() + 10**12
        moments = Deadlines(0, exchange_ns, exchange_ns + trade_ns, exchange_ns + 10**12)
        assert made.books.has_time(Phase.EXCHANGE, moments) is not waits
        assert made.books.has_time(Phase.TRADE, moments)
    made.die()


@pytest.mark.usefixtures("in_files")
@pytest.mark.parametrize("table", ["checkpoints", "days"])
def test_what_the_database_refuses_leaves_no_file(tmp_path: Path, table: str) -> None:
    """However often it is tried: else a disk that is full already would be filled by what is to free it."""
    made = MadeLedger(tmp_path / "ledger.db", 64, recording=True)
    made.play(150 if table == "days" else 60)
    made.retention.disk_max_bytes = 1 if table == "days" else made.disk_max_bytes
    refuse = "BEGIN SELECT RAISE(ABORT, 'refused'); END"
    made.store._connection.execute(f"CREATE TRIGGER refused BEFORE INSERT ON {table} {refuse}")
    made.play(10)
    names = {file.name for file in tmp_path.glob(f"{bodies.DIRECTORY}/*")}
    assert names <= set(made.store._files_needed())
    made.store._connection.execute("DROP TRIGGER refused")
    made.play(8)
    assert made.store._row(f"SELECT 1 FROM {table}") is not None  # noqa: S608
    made.die()
    assert problem_of(made.path) is None


def test_a_large_market_has_checkpoints_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four homes and 32 slots times homes: every eighth slot; so a restart reads no more than that."""
    monkeypatch.setattr(bookkeeping, "CHECKPOINT_HOME_SLOTS", 32)
    made = MadeLedger(tmp_path / "ledger.db", 64)
    made.play(30)
    latest = made.store.latest_checkpoint()
    assert latest is not None
    assert (made.store.older_checkpoint(), latest[0]) == (80, 88)
    made.die()

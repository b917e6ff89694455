"""A recorded ledger is settled once more: equal to the hash, or the first slot that is not is named."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from energymarket.audit.ledger_file import copied
from energymarket.core.inputs import Before, Inputs, pack
from energymarket.core.parameters import EventKind, PriceModel
from energymarket.core.replay import Player, digest, unpack_start
from energymarket.market import recovery, retention
from energymarket.market.bookkeeping import CHECKPOINT_SLOTS
from energymarket.market.retention import Retention
from energymarket.replaying.rerun import Outcome, Rerun
from tests.unit.core.made_market import MODEL
from tests.unit.market.made_ledger import MadeLedger, restored, tamper

START = CHECKPOINT_SLOTS * 100 + 1
DAY = 16


def replayed(path: Path) -> Outcome:
    """What comes out of the ledger on the disk."""
    with ExitStack() as stack:
        return Rerun(copied(stack, path)).run()


def again(made: MadeLedger) -> MadeLedger:
    """The market that a start finds after this one has died."""
    made.die()
    return replace(made, market=restored(made.path), meters=made.meters)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeLedger]:
    """A ledger that records."""
    made = MadeLedger(tmp_path / "ledger.db", START, recording=True)
    yield made
    made.die()


def test_a_recorded_run_comes_out_with_its_own_hash(made: MadeLedger) -> None:
    """Seventy slots with orders, over a checkpoint: every one is equal, and nothing is left out."""
    made.play(70, orders=True)
    outcome = replayed(made.path)
    assert outcome.finding is None
    assert outcome.hash == made.market.hash.hex()
    assert outcome.played.spans == [[START, START + 69]]
    assert (outcome.orders, outcome.begun) == (70, 1)
    assert outcome.unrecorded.count == outcome.compacted.count == 0


def test_the_replay_reads_no_body_of_the_ledger(made: MadeLedger) -> None:
    """With every body gone (not compacted: gone) the hashes come out all the same."""
    made.play(10, orders=True)
    with closing(sqlite3.connect(made.path, isolation_level=None)) as db:
        db.execute("UPDATE slots SET body = NULL")
    assert replayed(made.path).played.count == 10


def test_brief_records_are_replayed_with_the_bodies_that_they_follow_from(tmp_path: Path) -> None:
    """Over a restart, with orders, to the same hash; a changed body is named."""
    sizes, versions = [], set()
    made = MadeLedger(tmp_path / "unused.db", START)
    for brief in (False, True):
        made.die()
        made = MadeLedger(tmp_path / str(brief) / "ledger.db", START, recording=True, brief=brief)
        made.play(5, orders=True)
        made = again(made)
        made.play(5)
        outcome = replayed(made.path)
        assert (outcome.finding, outcome.played.count, outcome.begun) == (None, 10, 1)
        assert outcome.hash == made.market.hash.hex()
        with closing(sqlite3.connect(made.path, isolation_level=None)) as db:
            versions = {bytes(body)[4] for (body,) in db.execute("SELECT body FROM inputs")}
            sizes.append(db.execute("SELECT sum(length(body)) FROM inputs").fetchone()[0])
    assert versions == {2}
    assert sizes[1] < sizes[0]
    body = made.store.slot(START + 7)
    assert body is not None
    assert body.body is not None
    changed = body.body[:-1] + bytes((body.body[-1] ^ 1,))
    tamper(made.path, "UPDATE slots SET body = ? WHERE slot = ?", changed, START + 7)
    finding = replayed(made.path).finding
    assert finding is not None
    assert (finding.slot, finding.kind) == (START + 7, "ledger damaged")
    tamper(made.path, "UPDATE slots SET body = NULL WHERE slot = ?", START + 7)
    finding = replayed(made.path).finding
    assert finding is not None
    assert (finding.slot, finding.kind) == (START + 7, "record damaged")
    made.die()


def test_a_market_that_restarts_goes_on_with_its_record(made: MadeLedger) -> None:
    """Three lives, one replay from the first slot on."""
    made.play(5)
    for _ in range(2):
        made = again(made)
        made.play(5, orders=True)
    outcome = replayed(made.path)
    assert (outcome.finding, outcome.played.count, outcome.begun) == (None, 15, 1)
    assert outcome.hash == made.market.hash.hex()


def test_a_slot_with_orders_that_a_restart_takes_up_again_is_replayed_at_its_price(made: MadeLedger) -> None:
    """Opened calm, then an event is raised and the market dies: the slot keeps the price of its orders."""
    made.play(3)
    made.open(orders=True)
    made.market.book.raise_by_operator(0, 1_000, made.next_slot)
    assert made.books.save_events()
    made = again(made)
    opening = made.books.opening_as_it_was(made.next_slot)
    assert opening is not None
    made.market.reopen_slot(opening)
    made.books.note_reopening()
    made.market.restore_orders(made.books.orders_of(made.next_slot))
    assert made.market.hear_batch(made.meters.batch()) == []
    closed = made.market.close_slot()
    assert made.books.commit(closed, made.counts)
    made.market.commit_slot(closed)
    made.next_slot += 1
    made.play(2)
    outcome = replayed(made.path)
    assert (outcome.finding, outcome.played.count) == (None, 6)
    assert outcome.reopened.spans == [[START + 3, START + 3]]
    assert outcome.hash == made.market.hash.hex()


def test_events_and_reloaded_coefficients_are_inputs(made: MadeLedger) -> None:
    """A storm that is raised and cleared, a reload between: prices come out as they were."""
    made.play(2)
    made.market.book.raise_by_operator(0, 1_000, made.next_slot, 3)
    made.play(2)
    kinds: tuple[EventKind, ...] = MODEL.events
    other: PriceModel = replace(MODEL, gamma=0.25, events=(replace(kinds[0], beta_ueur_per_kwh=70_000.0),))
    made.market.rules = replace(made.market.rules, price=other)
    assert made.books.save_price(other)
    made.play(1)
    made.market.book.clear(0, made.next_slot)
    made.play(2)
    outcome = replayed(made.path)
    assert (outcome.finding, outcome.played.count) == (None, 7)
    assert outcome.reloaded.spans == [[START + 4, START + 4]]
    assert outcome.hash == made.market.hash.hex()


def test_after_compaction_the_replay_begins_at_the_next_start(
    made: MadeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records of compacted slots are gone, and those that nothing leads to; the rest is equal."""
    made.play(200)
    monkeypatch.setattr(retention, "FULL_SHARE", 0.0)
    Retention(1 << 30, DAY).tend(made.store)
    outcome = replayed(made.path)
    checkpoint = START - 1 + CHECKPOINT_SLOTS
    assert outcome.finding is None
    assert outcome.compacted.spans == [[START, START + DAY - 2]]
    assert outcome.unrecorded.spans == [[START + DAY - 1, checkpoint]]
    assert outcome.played.spans == [[checkpoint + 1, START + 199]]
    assert outcome.hash == made.market.hash.hex()


def test_a_start_behind_compacted_slots_is_held_against_their_sums(
    made: MadeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start that is left lies, with a digest that holds: the sums of the ledger tell."""
    made.play(200)
    monkeypatch.setattr(retention, "FULL_SHARE", 0.0)
    Retention(1 << 30, DAY).tend(made.store)
    slot = START - 1 + CHECKPOINT_SLOTS
    _say_otherwise(made, slot)
    finding = replayed(made.path).finding
    assert finding is not None
    assert (finding.slot, finding.kind) == (slot + 1, "differs")
    assert "balance_ueur of home 2 is " in finding.text


def test_a_ledger_of_an_older_version_is_recorded_from_now_on(made: MadeLedger) -> None:
    """Without the tables, as older versions made it: nothing is replayed; a market goes on and records."""
    made.recording = False
    made.__post_init__()
    made.play(4)
    with closing(sqlite3.connect(made.path, isolation_level=None)) as db:
        db.execute("DROP TABLE inputs")
        db.execute("DROP TABLE starts")
    assert replayed(made.path).unrecorded.spans == [[START, START + 3]]
    made.recording = True
    made = again(made)
    made.play(4)
    outcome = replayed(made.path)
    assert outcome.finding is None
    assert outcome.unrecorded.spans == [[START, START + 3]]
    assert outcome.played.spans == [[START + 4, START + 7]]
    assert outcome.hash == made.market.hash.hex()


def test_a_time_without_records_is_no_end_of_them(made: MadeLedger) -> None:
    """Recorded, not recorded, recorded: the replay begins twice and says what it has not seen."""
    for recording in (True, False, True):
        made.recording = recording
        made = again(made)
        made.play(3)
    outcome = replayed(made.path)
    assert outcome.finding is None
    assert outcome.begun == 2
    assert outcome.unrecorded.spans == [[START + 3, START + 5]]
    assert outcome.played.spans == [[START, START + 2], [START + 6, START + 8]]


def _altered(made: MadeLedger, slot: int, sold_wh: int) -> None:
    """Let home 3 sell more in the record of a slot, with a digest that holds."""
    with closing(sqlite3.connect(made.path, isolation_level=None)) as db:
        (start,) = db.execute("SELECT body FROM starts ORDER BY slot LIMIT 1").fetchone()
        player = Player.begin(unpack_start(start))
        for (body,) in db.execute("SELECT body FROM inputs WHERE slot < ? ORDER BY slot", (slot,)).fetchall():
            player.play(player.read(body))
        (body,) = db.execute("SELECT body FROM inputs WHERE slot = ?", (slot,)).fetchone()
        (its_hash,) = db.execute("SELECT hash FROM slots WHERE slot = ?", (slot,)).fetchone()
        inputs: Inputs = player.read(body)
        inputs.batches[0].columns["sold_wh"][2] = sold_wh
        changed = pack(inputs, Before(player.market.accounts.readings, player.policy))
        db.execute(
            "UPDATE inputs SET body = ?, digest = ? WHERE slot = ?",
            (changed, digest(its_hash, changed), slot),
        )


def test_a_changed_batch_is_named_by_slot_column_and_home(made: MadeLedger) -> None:
    """One sale more, and a digest that fits it: the slots before are equal, this one is named."""
    made.play(9)
    _altered(made, START + 6, 77)
    outcome = replayed(made.path)
    assert outcome.played.spans == [[START, START + 5]]
    assert outcome.finding is not None
    assert (outcome.finding.slot, outcome.finding.kind) == (START + 6, "differs")
    assert outcome.finding.text.startswith(
        "sold_wh in the row of home 3 is 77 in the replay, 0 in the ledger (2 values differ"
    )


@pytest.mark.parametrize("table", ["inputs", "starts"])
@pytest.mark.parametrize("at", [2, 30, 60, -2])
def test_a_flipped_byte_is_named_by_its_slot(made: MadeLedger, table: str, at: int) -> None:
    """Whatever it hits: head, news, columns; of a record or of a start."""
    made.play(3)
    slot = START + 1 if table == "inputs" else -1
    with closing(sqlite3.connect(made.path)) as db:
        (body,) = db.execute(f"SELECT body FROM {table} WHERE slot = ?", (slot,)).fetchone()  # noqa: S608
    flipped = bytearray(body)
    flipped[at] ^= 0x10
    tamper(made.path, f"UPDATE {table} SET body = ? WHERE slot = ?", bytes(flipped), slot)  # noqa: S608
    finding = replayed(made.path).finding
    assert finding is not None
    assert finding.slot == (START + 1 if table == "inputs" else START)
    assert finding.kind in {"record damaged", "differs"}
    assert "digest does not hold" in finding.text or finding.kind == "record damaged"


def test_a_record_that_is_gone_is_missed_by_the_one_behind_it(made: MadeLedger) -> None:
    """A market never leaves a hole without a start behind it."""
    made.play(5)
    tamper(made.path, "DELETE FROM inputs WHERE slot = ?", START + 2)
    finding = replayed(made.path).finding
    assert finding is not None
    assert (finding.slot, finding.kind) == (START + 3, "record missing")


def test_a_start_that_says_other_accounts_is_found_by_the_replay(made: MadeLedger) -> None:
    """The start at a checkpoint is held against what the records before it come to."""
    made.play(70)
    slot = START - 1 + CHECKPOINT_SLOTS
    _say_otherwise(made, slot)
    finding = replayed(made.path).finding
    assert finding is not None
    assert (finding.slot, finding.kind) == (slot + 1, "differs")


def _say_otherwise(made: MadeLedger, slot: int) -> None:
    """Let the start after a slot say that home 2 has a millionth of a euro more."""
    with closing(sqlite3.connect(made.path)) as db:
        query = "SELECT s.body, l.hash FROM starts s JOIN slots l USING (slot) WHERE slot = ?"
        body, its_hash = db.execute(query, (slot,)).fetchone()
    start = unpack_start(body)
    start.accounts.balance_ueur[1] += 1
    changed = start.pack()
    row = (changed, digest(its_hash, changed), slot)
    tamper(made.path, "UPDATE starts SET body = ?, digest = ? WHERE slot = ?", *row)


def test_a_changed_ledger_is_found_where_the_record_is_intact(made: MadeLedger) -> None:
    """Another hash in the row of a slot: the replay's own is not it."""
    made.play(4)
    tamper(made.path, "UPDATE slots SET hash = ? WHERE slot = ?", bytes(32), START + 2)
    finding = replayed(made.path).finding
    assert finding is not None
    assert (finding.slot, finding.kind) == (START + 2, "differs")


def test_a_slot_whose_opening_was_not_noted_has_no_record(made: MadeLedger) -> None:
    """An older version had opened it, with orders: it is settled without a record, the next has a start."""
    made.play(2)
    made.open(orders=True)
    made.store.put_state({"opening_inputs": ""})
    made = again(made)
    opening = recovery.opening_of(made.store.meta("opening"))
    assert opening is not None
    made.market.reopen_slot(opening)
    made.books.note_reopening()
    made.market.restore_orders(made.books.orders_of(made.next_slot))
    closed = made.market.close_slot()
    assert made.books.commit(closed, made.counts)
    made.market.commit_slot(closed)
    made.next_slot += 1
    made.play(2)
    outcome = replayed(made.path)
    assert outcome.finding is None
    assert outcome.unrecorded.spans == [[START + 2, START + 2]]
    assert (outcome.played.count, outcome.begun) == (4, 2)


def test_a_record_that_the_disk_refused_is_made_again(made: MadeLedger) -> None:
    """A commit that fails changes nothing: tried again, the slot has its record once."""
    made.play(2)
    made.open()
    closed = made.market.close_slot()
    with closing(sqlite3.connect(made.path, isolation_level=None)) as other:
        made.store._connection.execute("PRAGMA busy_timeout=0")
        other.execute("BEGIN IMMEDIATE")
        assert not made.books.commit(closed, made.counts)
        other.execute("ROLLBACK")
    assert made.books.commit(closed, made.counts)
    made.market.commit_slot(closed)
    made.next_slot += 1
    made.play(1)
    outcome = replayed(made.path)
    assert (outcome.finding, outcome.played.count, outcome.begun) == (None, 4, 1)

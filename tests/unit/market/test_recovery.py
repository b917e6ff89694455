"""From the disk to a market that goes on: as if it had never died, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from energymarket.core.events import Event, Origin
from energymarket.market import recovery
from energymarket.market.bookkeeping import CHECKPOINT_SLOTS
from energymarket.market.recovery import LedgerBrokenError
from tests.unit.core.made_market import CALM, GENESIS
from tests.unit.market.made_ledger import MadeLedger, open_store, restored, tamper

START = CHECKPOINT_SLOTS * 100


def made_at(path: Path, slots: int, *, orders: bool = False) -> MadeLedger:
    made = MadeLedger(path / "ledger.db", START)
    made.market.book.begin(Event(Origin.EXTERNAL, 0, 1, 700, START + 1, START + 3))
    made.play(slots, orders=orders)
    return made


@pytest.mark.parametrize("slots", [0, 1, 2, 63, 64, 65, 66, 130])
def test_a_market_goes_on_as_if_it_had_never_died(tmp_path: Path, slots: int) -> None:
    """Before the first slot, before and after a checkpoint: same accounts, price, hash, and next price."""
    made = made_at(tmp_path, slots)
    unbroken = made.market
    made.die()
    after = restored(made.path)
    assert (after.slot, after.hash, after.price_ueur_per_kwh) == (
        unbroken.slot,
        unbroken.hash,
        unbroken.price_ueur_per_kwh,
    )
    assert after.accounts.pack() == unbroken.accounts.pack()
    assert after.contributions == pytest.approx(unbroken.contributions)
    if slots:  # a fresh ledger has no book yet: external tells its events again
        assert after.open_slot(START + slots, CALM) == unbroken.open_slot(START + slots, CALM)


def test_a_slot_that_was_not_committed_never_was(tmp_path: Path) -> None:
    """The market dies between gate and commit: its batches are handed in again."""
    made = made_at(tmp_path, 5)
    before = made.market.hash
    made.open()
    made.market.close_slot()
    made.die()
    after = restored(made.path)
    assert (after.slot, after.hash) == (START + 4, before)
    assert after.batches == {}


def test_acknowledged_orders_survive_with_their_price(tmp_path: Path) -> None:
    """The market dies in the open slot: order, receipt and the slot's price come out again."""
    made = made_at(tmp_path, 5)
    told = made.open(orders=True)
    opening = made.market.opening
    made.die()
    store = open_store(made.path)
    assert [recovery.order_of(row) for row in store.orders_of(START + 5)] == told
    saved = recovery.opening_of(store.meta("opening"))
    store.close()
    assert saved == opening
    assert saved is not None
    assert told[0].price_ueur_per_kwh == saved.prices.price


def test_an_order_of_a_committed_slot_is_known_by_its_id(tmp_path: Path) -> None:
    """A client that never got its answer asks again after the restart: same receipt, nothing booked."""
    made = made_at(tmp_path, 5, orders=True)
    known = dict(made.market.orders_known)
    made.die()
    after = restored(made.path)
    assert after.orders_known == known
    after.open_slot(START + 5, CALM)
    for (home, order_id), order in known.items():
        assert after.hear_order(home, order.energy_wh, order_id) == order
    assert after.orders == []


# a disk that contradicts itself

LAST = START + 69
OTHER_STATE = """UPDATE meta SET value = replace(value, '"{0}": ', '"{0}": 9') WHERE key = ?"""
BROKEN = [
    ("UPDATE checkpoints SET digest = zeroblob(32) WHERE slot = ?", START + 64, "digest does not hold"),
    ("UPDATE checkpoints SET body = zeroblob(192) WHERE slot = ?", START + 64, "digest does not hold"),
    ("DELETE FROM slots WHERE slot = ?", START + 64, "no such slot"),
    ("UPDATE slots SET hash = zeroblob(32) WHERE slot = ?", START + 64, "digest does not hold"),
    ("UPDATE slots SET body = zeroblob(9) WHERE slot = ?", START + 66, f"slot {START + 66}: the hash chain"),
    ("UPDATE slots SET hash = zeroblob(32) WHERE slot = ?", LAST, f"slot {LAST}: the hash chain"),
    ("UPDATE slots SET totals = '{}' WHERE slot = ?", START + 67, f"slot {START + 67}: the seal"),
    ("UPDATE slots SET meta = '{}' WHERE slot = ?", LAST, f"slot {LAST}: the seal"),
    ("UPDATE slots SET body = NULL WHERE slot = ?", START + 65, f"slot {START + 65}: its body is gone"),
    ("DELETE FROM slots WHERE slot = ?", START + 66, f"slot {START + 67}: the hash chain"),
    ("DELETE FROM slots WHERE slot = ?", LAST, f"the state is of slot {LAST}, the last slot is {LAST - 1}"),
    ("DELETE FROM meta WHERE key = ?", "state", f"slot {LAST} is unreadable"),
    ("UPDATE meta SET value = '{}' WHERE key = ?", "state", f"slot {LAST} is unreadable"),
    (OTHER_STATE.format("consumed_wh"), "state", f"does not agree with slot {LAST}"),
    (OTHER_STATE.format("produced_wh"), "state", f"does not agree with slot {LAST}"),
    (OTHER_STATE.format("price_ueur_per_kwh"), "state", f"does not agree with slot {LAST}"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "value", "words"), BROKEN)
def test_a_ledger_that_contradicts_itself_is_refused(
    tmp_path: Path, statement: str, value: object, words: str
) -> None:
    """Checkpoint, chain, seal, state: the market names what does not hold, and does not start."""
    made = made_at(tmp_path, 70)
    made.die()
    tamper(made.path, statement, value)
    with pytest.raises(LedgerBrokenError, match=words):
        restored(made.path)


def test_what_lies_before_the_checkpoint_does_not_keep_a_market_from_starting(tmp_path: Path) -> None:
    """A start reads from the last checkpoint on; the full check is `verify`."""
    made = made_at(tmp_path, 70)
    made.die()
    tamper(made.path, "UPDATE slots SET body = zeroblob(9) WHERE slot = ?", START + 10)
    assert restored(made.path).slot == LAST


def test_the_genesis_ties_a_fresh_ledger_to_its_scenario(tmp_path: Path) -> None:
    """Before the first checkpoint the chain begins with the scenario's hash."""
    made = made_at(tmp_path, 0)
    made.die()
    assert restored(made.path).hash == GENESIS

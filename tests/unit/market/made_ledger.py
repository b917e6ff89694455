"""A ledger of the made market's four homes on a real disk, slot by slot, for tests of what keeps it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from energymarket.core.market import Market, Order
from energymarket.market import recovery, snapshot
from energymarket.market.audit_chain import ChainAudit
from energymarket.market.bookkeeping import Bookkeeper
from energymarket.market.recorder import Recorder
from energymarket.market.retention import Retention
from energymarket.transport.store import LedgerStore
from tests.unit.core.made_market import CALM, GENESIS, HOMES, SCENARIO_HASH, Meters, fresh, rules

ROOMY_BYTES = 1 << 40
NETS = ((100, -300, 0, 40), (0, 20, -50, 0), (-7, 250, 90, -600))
"""What flows over the four meters, in turns."""


def open_store(path: Path) -> LedgerStore:
    """The ledger of the made market."""
    store = LedgerStore(path)
    store.open(scenario_hash=SCENARIO_HASH, genesis=GENESIS, homes=HOMES)
    return store


@dataclass
class MadeLedger:
    """A market, its homes' meters and its ledger."""

    path: Path
    next_slot: int
    disk_max_bytes: int = ROOMY_BYTES
    slots_per_day: int = 16
    recording: bool = False
    brief: bool = False
    market: Market = field(default_factory=fresh)
    meters: Meters = field(default_factory=Meters)
    counts: snapshot.Counts = field(default_factory=snapshot.Counts)

    def __post_init__(self) -> None:
        self.store = open_store(self.path)
        self.retention = Retention(self.disk_max_bytes, self.slots_per_day)
        follows = self.store.is_recorded(self.market.slot)
        recorder = Recorder(self.market, follows=follows, brief=self.brief) if self.recording else None
        self.books = Bookkeeper(self.store, self.market, self.retention, recorder)

    def play(self, slots: int, *, orders: bool = False) -> None:
        """Play slots as the owner does it; with `orders` home 2 buys 50 Wh in each."""
        for _ in range(slots):
            self.play_untidy(orders=orders)
            self.tidy()

    def play_untidy(self, *, orders: bool = False) -> None:
        """A slot, and nothing of what is done after it."""
        self.open(orders=orders)
        closed = self.market.close_slot()
        assert self.books.commit(closed, self.counts)
        self.market.commit_slot(closed)
        self.next_slot += 1

    def tidy(self) -> None:
        """What is done between two slots."""
        while self.books.untidy:
            self.books.tidy()

    def open(self, *, orders: bool = False) -> list[Order]:
        """A slot up to its gate: everybody has handed in; the orders are durable."""
        self.market.open_slot(self.next_slot, CALM)
        self.books.note_opening(CALM, None)
        self.meters.run(NETS[self.next_slot % len(NETS)])
        assert self.market.hear_batch(self.meters.batch(sold_wh=(10, 0, 0, 0))) == []
        if not orders:
            return []
        order = self.market.hear_order(2, -50, f"order of {self.next_slot}")
        assert self.books.append([order])
        return [order]

    def die(self) -> None:
        """Nothing is said goodbye to: what was acknowledged is on the disk, the rest is gone."""
        self.store.close()


def restored(path: Path) -> Market:
    """The market that a start finds on this disk."""
    store = open_store(path)
    try:
        return recovery.restore(store, rules(), GENESIS)
    finally:
        store.close()


def problem_of(path: Path, first: int | None = None, last: int | None = None) -> str | None:
    """What the audit of the chain, or of a part of it, finds; None if it holds."""
    store = LedgerStore(path)
    store.open_read_only()
    try:
        first, last = first or store.first_slot(), last or store.last_slot()
        assert first is not None
        assert last is not None
        audit = ChainAudit(store, first)
        for row in store.slots(first, last):
            audit.hear(row)
        return audit.problem
    finally:
        store.close()


def tamper(path: Path, statement: str, *values: object) -> None:
    """Change the file behind the market's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute(statement, values).rowcount == 1

"""Faults planted into a ledger's file: one slot rewritten, then every hash and seal after it made anew."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from energymarket.core import ledger
from energymarket.core.ledger import Columns, SlotHead
from energymarket.transport.store import SlotRow

FIELDS = tuple(SlotRow.__dataclass_fields__)


@dataclass
class Plant:
    """A slot in the planter's hands."""

    head: SlotHead
    columns: Columns
    gifts: Columns
    orders: Columns
    totals: dict[str, int]
    meta: dict[str, Any]

    def at(self, home: int) -> int:
        """The row of a home."""
        return int(np.searchsorted(self.columns["home"], home))

    def add(self, home: int, **more: int) -> None:
        """Add to columns of a home."""
        for name, value in more.items():
            self.columns[name][self.at(home)] += value

    def add_totals(self, **more: int) -> None:
        """Add to totals."""
        for name, value in more.items():
            self.totals[name] += value


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The ledger's file, for writing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def read_rows(db: sqlite3.Connection) -> list[SlotRow]:
    """Every slot."""
    return [
        SlotRow(**dict(zip(FIELDS, row, strict=True)))
        for row in db.execute(f"SELECT {', '.join(FIELDS)} FROM slots ORDER BY slot")  # noqa: S608
    ]


def plant(path: Path, slot: int, change: Callable[[Plant], None]) -> None:
    """Rewrite one slot, and chain and seal all slots as if it had always been so."""
    with opened(path) as db:
        rows = read_rows(db)
        previous = bytes.fromhex(db.execute("SELECT value FROM meta WHERE key = 'genesis'").fetchone()[0])
        for old in rows:
            row = _changed(old, change) if old.slot == slot else old
            assert row.body is not None
            previous = ledger.chain(previous, row.body)
            row = replace(row, hash=previous)
            row = replace(row, seal=row.seal_now())
            names = ", ".join(f"{name} = ?" for name in FIELDS)
            values = [getattr(row, name) for name in FIELDS]
            db.execute(f"UPDATE slots SET {names} WHERE slot = ?", [*values, row.slot])  # noqa: S608
        db.execute("DELETE FROM checkpoints")


def _changed(row: SlotRow, change: Callable[[Plant], None]) -> SlotRow:
    assert row.body is not None
    held = Plant(*ledger.unpack(row.body), json.loads(row.totals), json.loads(row.meta))
    change(held)
    return replace(
        row,
        body=ledger.pack(held.head, held.columns, held.gifts, held.orders),
        totals=json.dumps(held.totals),
        meta=json.dumps(held.meta),
        price_ueur_per_kwh=held.head.price_ueur_per_kwh,
    )

"""Rows of the ledger as they lie on the disk: a slot with its seal, a single order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from energymarket.transport.database import put_large

if TYPE_CHECKING:
    import sqlite3

SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE slots (
  slot INTEGER PRIMARY KEY,
  price_ueur_per_kwh INTEGER NOT NULL,
  import_ueur_per_kwh INTEGER NOT NULL,
  export_ueur_per_kwh INTEGER NOT NULL,
  gap INTEGER NOT NULL,
  weather_stale INTEGER NOT NULL,
  totals TEXT NOT NULL,   -- JSON: Wh and micro-euro per account
  meta TEXT NOT NULL,     -- JSON: batches, refusals, late and shed offers: not part of the hash
  body BLOB,              -- canonical columns, input of the hash; NULL once compacted
  hash BLOB NOT NULL,     -- SHA-256(hash of the slot before, body)
  seal BLOB NOT NULL      -- SHA-256 over the hash and every other column of this row but the body
);
CREATE TABLE orders (
  home INTEGER NOT NULL,
  id TEXT NOT NULL,
  slot INTEGER NOT NULL,
  energy_wh INTEGER NOT NULL,          -- above zero: a sale
  price_ueur_per_kwh INTEGER NOT NULL,
  total_ueur INTEGER NOT NULL,
  receipt TEXT NOT NULL,
  PRIMARY KEY (home, id)
) WITHOUT ROWID;
CREATE INDEX orders_by_slot ON orders (slot);
CREATE TABLE checkpoints (slot INTEGER PRIMARY KEY, body BLOB NOT NULL, digest BLOB NOT NULL);
CREATE TABLE days (
  day INTEGER PRIMARY KEY,             -- first slot of the compacted stretch
  last_slot INTEGER NOT NULL,
  body BLOB NOT NULL,                  -- sums per home, packed as a slot's columns are; empty: in a file
  digest BLOB NOT NULL                 -- SHA-256(hash of last_slot, body)
);
"""

RECORD_SCHEMA: Final = """
CREATE TABLE inputs (                  -- what came to a slot from outside
  slot INTEGER PRIMARY KEY, body BLOB NOT NULL, digest BLOB NOT NULL);
CREATE TABLE starts (                  -- where a replay can begin: the market after a slot
  slot INTEGER PRIMARY KEY, body BLOB NOT NULL, digest BLOB NOT NULL);
"""
"""Added to a ledger when a market opens it that records: a reader that does not know them misses nothing."""


class ForeignLedgerError(Exception):
    """The file is not a ledger of this program, or of another scenario: what was found."""


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A committed slot as it lies on the disk."""

    slot: int
    price_ueur_per_kwh: int
    import_ueur_per_kwh: int
    export_ueur_per_kwh: int
    gap: bool
    weather_stale: bool
    totals: str
    meta: str
    body: bytes | None
    hash: bytes
    seal: bytes

    def seal_now(self) -> bytes:
        """The seal that the row's present content would have."""
        return seal(self)


@dataclass(frozen=True, slots=True)
class OrderRow:
    """A single order with its receipt: energy and total above zero are a sale."""

    home: int
    id: str
    slot: int
    energy_wh: int
    price_ueur_per_kwh: int
    total_ueur: int
    receipt: str


@dataclass(frozen=True, slots=True)
class TiedRow:
    """A body that belongs to a slot, tied to it by its digest (`core.replay.digest`)."""

    slot: int
    body: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """The same on its way to the disk: the body in parts that follow each other."""

    slot: int
    parts: tuple[bytes | memoryview, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """What is made durable with a slot beside it, so that it can be replayed."""

    inputs: Parts
    start: Parts | None = None  # the market before it, if it follows no other record


def seal(row: SlotRow) -> bytes:
    """SHA-256 over the chain hash and every column of the row but body and seal."""
    numbers = (
        row.slot,
        row.price_ueur_per_kwh,
        row.import_ueur_per_kwh,
        row.export_ueur_per_kwh,
        row.gap,
        row.weather_stale,
    )
    digest = hashlib.sha256(row.hash)
    digest.update(b"[%d, %d, %d, %d, %d, %d]" % numbers)  # a list of JSON
    for text in (row.totals, row.meta):
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


def slot_row(row: tuple[Any, ...]) -> SlotRow:
    """The row of a `SELECT *`."""
    body = None if row[8] is None else bytes(row[8])
    return SlotRow(
        slot=int(row[0]),
        price_ueur_per_kwh=int(row[1]),
        import_ueur_per_kwh=int(row[2]),
        export_ueur_per_kwh=int(row[3]),
        gap=bool(row[4]),
        weather_stale=bool(row[5]),
        totals=str(row[6]),
        meta=str(row[7]),
        body=body,
        hash=bytes(row[9]),
        seal=bytes(row[10]),
    )


SCHEMA_VERSION: Final = 1
PIECES_VERSION: Final = 2
"""Of one whose bodies and records are in pieces (`transport.pieces`), and of every copy of a large one."""

WHOLE_VERSIONS: Final = (SCHEMA_VERSION, PIECES_VERSION)
"""Of ledgers that need no file beside them."""

FILES_VERSION: Final = 3
"""Of one whose bodies are in files beside it (`transport.bodies`); records are in pieces."""

VERSIONS: Final = (*WHOLE_VERSIONS, FILES_VERSION)

LARGE_HOMES: Final = 100_000
LARGE_PAGE_BYTES: Final = 65_536
"""A slot of so many homes is megabytes: SQLite copies and chains them page by page, so on large ones."""


def page_bytes_of(homes: int, usual_bytes: int) -> int:
    """The pages of a fresh ledger of so many homes."""
    return LARGE_PAGE_BYTES if homes >= LARGE_HOMES else usual_bytes


def put_checkpoint(db: sqlite3.Connection, slot: int, checkpoint: tuple[bytes, bytes]) -> list[int]:
    """The accounts after a slot; the two newest stay. The slots whose checkpoints go."""
    put_large(db, "checkpoints", slot, *checkpoint)
    older = "SELECT slot FROM checkpoints ORDER BY slot DESC LIMIT -1 OFFSET 2"
    gone = [int(slot) for (slot,) in db.execute(older).fetchall()]
    db.executemany("DELETE FROM checkpoints WHERE slot = ?", [(slot,) for slot in gone])
    return gone

"""What a ledger says: rows of its SQLite file, and bodies wherever they lie.

The store carries bytes; what they mean is `core.ledger`'s business.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

from energymarket.transport import pieces, write_ahead_log
from energymarket.transport.bodies import Bodies, FilePart, Part, checkpoint_name, stretch_name
from energymarket.transport.database import StoreError, text_of
from energymarket.transport.ledger_rows import (
    FILES_VERSION,
    SCHEMA_VERSION,
    VERSIONS,
    ForeignLedgerError,
    OrderRow,
    SlotRow,
    slot_row,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STRETCHES: Final = "SELECT day, last_slot, body, digest FROM days"


class LedgerReader:
    """A ledger that is open to be read. Whatever SQLite or the disk refuses is a StoreError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._cookie: int | None = None
        self._in_pieces = False
        self._bodies: Bodies | None = None  # of a ledger whose bodies are in files

    # life

    def open_read_only(self) -> None:
        """Open an existing ledger that no market has open, to look at it."""
        if not self.path.exists():
            raise ForeignLedgerError(f"{self.path}: no ledger here")
        try:
            self._db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, isolation_level=None)
            self._db.text_factory = text_of
            self._check_version()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: {error}") from error

    def close(self) -> None:
        """Close."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._bodies is not None:
            self._bodies.close()

    def _check_version(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in VERSIONS:
            raise ForeignLedgerError(f"{self.path}: ledger version {version}, we read {VERSIONS}")
        self._in_pieces = version != SCHEMA_VERSION
        self._bodies = Bodies(self.path) if version == FILES_VERSION else None

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"{self.path} is not open")
        return self._db

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: {error}") from error

    def _row(self, query: str, values: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
        return next(self._rows(query, values), None)

    def _number(self, query: str) -> int | None:
        """The number in the first column of the first row; None where there is no row, or NULL in it."""
        row = self._row(query)
        return None if row is None or row[0] is None else int(row[0])

    def meta(self, key: str) -> str | None:
        """A fact about the whole ledger, or None."""
        row = self._row("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else str(row[0])

    def cookie(self) -> int:
        """The ledger's own number, from its genesis hash: pages of another ledger are not believed."""
        if self._cookie is None:
            self._cookie = int((self.meta("genesis") or "0")[:16], 16)
        return self._cookie

    def last_slot(self) -> int | None:
        """The last committed slot, or None in a fresh ledger."""
        return self._number("SELECT max(slot) FROM slots")

    def first_slot(self) -> int | None:
        """The first slot of the ledger, or None in a fresh one."""
        return self._number("SELECT min(slot) FROM slots")

    def slot(self, slot: int) -> SlotRow | None:
        """One slot, or None."""
        row = self._row("SELECT * FROM slots WHERE slot = ?", (slot,))
        return None if row is None else slot_row(self._whole(row))

    def slots(self, first: int, last: int) -> Iterator[SlotRow]:
        """Slots first .. last in order."""
        for row in self._rows("SELECT * FROM slots WHERE slot BETWEEN ? AND ? ORDER BY slot", (first, last)):
            yield slot_row(self._whole(row))

    def _whole(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The row of a slot with its body, if that lies elsewhere; without it, an empty one."""
        if not self._in_pieces or row[8] != b"":
            return row
        if self._bodies is not None:
            return (*row[:8], self._bodies.read(str(row[0])), *row[9:])
        found = self._rows(pieces.EVERY, pieces.ids(row[0], pieces.SLOTS))
        return (*row[:8], b"".join(piece for (piece,) in found), *row[9:])

    def heads(self, first: int, last: int) -> Iterator[SlotRow]:
        """Slots first .. last in order, of each only what stands before its texts: no body is read."""
        named = "slot, price_ueur_per_kwh, import_ueur_per_kwh, export_ueur_per_kwh, gap, weather_stale"
        query = f"SELECT {named} FROM slots WHERE slot BETWEEN ? AND ? ORDER BY slot"  # noqa: S608
        for row in self._rows(query, (first, last)):
            yield slot_row((*row, "", "", None, b"", b""))

    def older_checkpoint(self) -> int | None:
        """The slot of the checkpoint before the newest, or None."""
        return self._number("SELECT slot FROM checkpoints ORDER BY slot DESC LIMIT 1 OFFSET 1")

    def latest_checkpoint(self) -> tuple[int, bytes, bytes] | None:
        """(slot, body, digest) of the newest checkpoint, or None."""
        row = self._row("SELECT slot, body, digest FROM checkpoints ORDER BY slot DESC LIMIT 1")
        if row is None:
            return None
        slot, body = int(row[0]), bytes(row[1])
        if not body and self._bodies is not None:
            body = self._bodies.read(checkpoint_name(slot))
        return slot, body, bytes(row[2])

    def orders_of(self, slot: int) -> list[OrderRow]:
        """Single orders of a slot in order of receipt."""
        query = "SELECT * FROM orders WHERE slot = ? ORDER BY receipt"
        return [OrderRow(*row) for row in self._rows(query, (slot,))]

    def last_ordered_slot(self) -> int:
        """The latest slot with a single order that is remembered; -1 if there is none."""
        found = self._number("SELECT max(slot) FROM orders")
        return -1 if found is None else found

    def order(self, home: int, order_id: str) -> OrderRow | None:
        """The order of a home with this id, if it is still remembered."""
        row = self._row("SELECT * FROM orders WHERE home = ? AND id = ?", (home, order_id))
        return None if row is None else OrderRow(*row)

    def orders_named(self, first: int, last: int, order_id: str) -> list[OrderRow]:
        """The orders with this id of the homes first .. last."""
        query = "SELECT * FROM orders WHERE home BETWEEN ? AND ? AND id = ? ORDER BY home"
        return [OrderRow(*row) for row in self._rows(query, (first, last, order_id))]

    # what has been compacted

    def days(self) -> list[tuple[int, int, bytes, bytes]]:
        """Compacted stretches: (first slot, last slot, body, digest)."""
        return [self._stretch(row) for row in self._rows(f"{_STRETCHES} ORDER BY day")]

    def stretches(self) -> list[tuple[int, int, int]]:
        """Compacted stretches without their bodies: (first slot, last slot, bytes)."""
        rows = self._rows("SELECT day, last_slot, length(body) FROM days ORDER BY day")
        return [(int(a), int(b), int(c) or self._size_of(stretch_name(a, b))) for a, b, c in rows]

    def stretch_over(self, slot: int) -> tuple[int, int, bytes, bytes] | None:
        """The compacted stretch that a slot lies in: (first slot, last slot, body, digest); or None."""
        row = self._row(f"{_STRETCHES} WHERE ? BETWEEN day AND last_slot", (slot,))
        return None if row is None else self._stretch(row)

    def _stretch(self, row: tuple[Any, ...]) -> tuple[int, int, bytes, bytes]:
        first, last, body, digest = int(row[0]), int(row[1]), bytes(row[2]), bytes(row[3])
        if not body and self._bodies is not None:
            body = self._bodies.read(stretch_name(first, last))
        return first, last, body, digest

    # what is to be compacted

    @property
    def in_files(self) -> bool:
        """Whether bodies lie in files, of which parts can be read."""
        return self._bodies is not None

    def detail(self, first: int, last: int) -> list[tuple[int, int | None]]:
        """Slots first .. last in order, and how many bytes their bodies have; None where there is none."""
        query = "SELECT slot, length(body) FROM slots WHERE slot BETWEEN ? AND ? ORDER BY slot"
        found = self._rows(query, (first, last))
        return [(slot, size if size is None else size or self._size_of(str(slot))) for slot, size in found]

    def hash_of(self, slot: int) -> bytes:
        """The hash of a slot that there is."""
        row = self._row("SELECT hash FROM slots WHERE slot = ?", (slot,))
        if row is None:
            raise StoreError(f"{self.path}: slot {slot} is missing")
        return bytes(row[0])

    def body_of_slot(self, slot: int) -> Part:
        """Reads parts of the body of a slot: from its file, or of bytes that are held."""
        if self._bodies is not None:
            return FilePart(self._bodies, str(slot))
        row = self.slot(slot)
        return Part(b"" if row is None or row.body is None else row.body)

    def body_of_stretch(self, first: int, last: int) -> Part:
        """The same of a compacted stretch."""
        row = self._row("SELECT body FROM days WHERE day = ?", (first,))
        if row is not None and not row[0] and self._bodies is not None:
            return FilePart(self._bodies, stretch_name(first, last))
        return Part(b"" if row is None else bytes(row[0]))

    def _size_of(self, name: str) -> int:
        return 0 if self._bodies is None else self._bodies.size(name)

    # how much there is

    def used_bytes(self) -> int:
        """Bytes in use: bodies, and pages of the file that are not free (freed ones are used again)."""
        pages, free, page_bytes = (
            self._number(f"PRAGMA {name}") or 0 for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * page_bytes + (self._bodies.bytes if self._bodies else 0)

    def bytes_on_disk(self) -> int:
        """What file, log and bodies take now. Any thread may ask."""
        return write_ahead_log.bytes_on_disk(self.path) + (self._bodies.bytes if self._bodies else 0)

    def _has_records(self) -> bool:
        found = self._row("SELECT count(*) FROM sqlite_master WHERE name IN ('inputs', 'starts')")
        return found is not None and int(found[0]) == 2

    def is_recorded(self, slot: int) -> bool:
        """Whether a slot has a record of its inputs."""
        return self._row("SELECT 1 FROM inputs WHERE slot = ?", (slot,)) is not None

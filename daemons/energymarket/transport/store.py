"""The ledger's store: one SQLite file, one connection, nothing acknowledged before it is on the disk.

WAL with synchronous=FULL: every commit is flushed. One transaction per slot writes its sealed body,
its totals, what the market needs to go on, and now and then a checkpoint. Checkpoints of the WAL run
between slots, by this connection only (SQLite before 3.51 can lose a WAL reset to a concurrent one).
The store carries bytes; what they mean is `core.ledger`'s business.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from energymarket.runtime.kill_points import Point, reach
from energymarket.transport import compacting, copying, pieces, write_ahead_log
from energymarket.transport.bodies import Bodies
from energymarket.transport.database import (
    StoreError,
    Transaction,
    execute_all,
    put_large,
    text_of,
    version_of,
)
from energymarket.transport.ledger_rows import (
    FILES_VERSION,
    LARGE_HOMES,
    RECORD_SCHEMA,
    SCHEMA,
    SCHEMA_VERSION,
    WHOLE_VERSIONS,
    OrderRow,
    Record,
    SlotRow,
    TiedRow,
    page_bytes_of,
    put_checkpoint,
    seal,
    slot_row,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = [
    "ForeignLedgerError",
    "LedgerStore",
    "OrderRow",
    "Record",
    "SlotRow",
    "StoreError",
    "TiedRow",
    "seal",
    "version_of",
]

VERSIONS: Final = (*WHOLE_VERSIONS, FILES_VERSION)
WAL_BYTES_MAX: Final = 16 << 20  # then the WAL is folded back between two slots
RECEIPT_SLOTS_KEPT: Final = 96  # how long a single order's id is remembered: a day of quarter-hours
INSERT_SLOT: Final = "INSERT INTO slots VALUES (?,?,?,?,?,?,?,?,?,?,?)"


class ForeignLedgerError(Exception):
    """The file is not a ledger of this program, or of another scenario: what was found."""


class LedgerStore:
    """The one connection to the ledger."""

    journal = "WAL"
    page_bytes = 4_096
    large_from_homes = LARGE_HOMES
    large_version = FILES_VERSION

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._cookie: int | None = None
        self._in_pieces = False
        self._bodies: Bodies | None = None  # of a ledger whose bodies are in files
        self.slot_bytes = 0  # of the last slot, in the database

    # life

    def open(self, *, scenario_hash: str, genesis: bytes, homes: int) -> None:
        """Open or make the ledger. Raises ForeignLedgerError if it belongs to another scenario."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._db.execute(f"PRAGMA busy_timeout={write_ahead_log.BUSY_MS}")
            self._db.text_factory = text_of
            self._prepare(scenario_hash, genesis, homes)
            if self._bodies is not None:
                detailed = self._rows("SELECT slot FROM slots WHERE body IS NOT NULL")
                self._bodies.open([slot for (slot,) in detailed])
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: {error}") from error

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
        """Fold the WAL back and close."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._bodies is not None:
            self._bodies.close()

    def _prepare(self, scenario_hash: str, genesis: bytes, homes: int) -> None:
        db = self._connection
        db.execute(f"PRAGMA page_size={page_bytes_of(homes, self.page_bytes)}")  # of a fresh file alone
        db.execute(f"PRAGMA journal_mode={self.journal}")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute("PRAGMA foreign_keys=OFF")
        # Debian's SQLite overwrites what is deleted: compaction would write every body once more.
        db.execute("PRAGMA secure_delete=OFF")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            db.execute("BEGIN IMMEDIATE")
            execute_all(db, SCHEMA)
            facts = {"scenario_hash": scenario_hash, "genesis": genesis.hex(), "homes": str(homes)}
            db.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
            large = homes >= self.large_from_homes
            if large:
                execute_all(db, pieces.SCHEMA)
            db.execute(f"PRAGMA user_version={self.large_version if large else SCHEMA_VERSION}")
            db.execute("COMMIT")
        self._check_version()
        found = self.meta("scenario_hash")
        if found != scenario_hash:
            raise ForeignLedgerError(
                f"{self.path} belongs to another scenario ({str(found)[:12]}…, not {scenario_hash[:12]}…)"
            )
        if not self._has_records():  # made by a version that did not record
            db.execute("BEGIN IMMEDIATE")
            execute_all(db, RECORD_SCHEMA)
            db.execute("COMMIT")

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

    # reading

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
            return (*row[:8], self._bodies.read(row[0]), *row[9:])
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
        return None if row is None else (int(row[0]), bytes(row[1]), bytes(row[2]))

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

    def days(self) -> list[tuple[int, int, bytes, bytes]]:
        """Compacted stretches: (first slot, last slot, body, digest)."""
        rows = self._rows("SELECT day, last_slot, body, digest FROM days ORDER BY day")
        return [(int(a), int(b), bytes(c), bytes(d)) for a, b, c, d in rows]

    def stretches(self) -> list[tuple[int, int, int]]:
        """Compacted stretches without their bodies: (first slot, last slot, bytes)."""
        rows = self._rows("SELECT day, last_slot, length(body) FROM days ORDER BY day")
        return [(int(a), int(b), int(c)) for a, b, c in rows]

    def stretch_over(self, slot: int) -> tuple[int, int, bytes, bytes] | None:
        """The compacted stretch that a slot lies in: (first slot, last slot, body, digest); or None."""
        query = "SELECT day, last_slot, body, digest FROM days WHERE ? BETWEEN day AND last_slot"
        row = self._row(query, (slot,))
        return None if row is None else (int(row[0]), int(row[1]), bytes(row[2]), bytes(row[3]))

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

    # writing

    def commit_slot(
        self,
        row: SlotRow,
        state: dict[str, str],
        checkpoint: tuple[bytes, bytes] | None = None,
        record: Record | None = None,
        body: tuple[bytes | memoryview, ...] | None = None,
    ) -> None:
        """A slot, what the market goes on from, perhaps a checkpoint, and the record: all or nothing.

        `body` is that of the row, in parts, where the row itself has none.
        """
        if body is not None and self._bodies is not None:
            if self._row("SELECT 1 FROM slots WHERE slot = ?", (row.slot,)) is not None:
                raise StoreError(f"{self.path}: slot {row.slot} is there already")
            self._bodies.write(row.slot, body)
            reach(Point.MARKET_BODY_WRITTEN, row.slot)
            row, body = replace(row, body=b""), None
        recorded = () if record is None else record.inputs.parts
        self.slot_bytes = sum(len(part) for part in (*(body or ()), *recorded))
        with self._transaction() as db:
            if body is not None:
                row = replace(row, body=self._placed(db, row.slot, pieces.SLOTS, body))
            db.execute(INSERT_SLOT, [getattr(row, name) for name in SlotRow.__dataclass_fields__])
            reach(Point.MARKET_WRITING, row.slot)
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", state.items())
            db.execute("DELETE FROM orders WHERE slot < ?", (row.slot - RECEIPT_SLOTS_KEPT,))
            if checkpoint is not None:
                put_checkpoint(db, row.slot, checkpoint)
            if record is not None:
                inputs = self._placed(db, row.slot, pieces.INPUTS, record.inputs.parts)
                db.execute("INSERT INTO inputs VALUES (?,?,?)", (row.slot, inputs, record.inputs.digest))
                for each in record.starts:
                    put_large(db, "starts", each.slot, each.body, each.digest)

    def _placed(
        self, db: sqlite3.Connection, slot: int, table: int, parts: tuple[bytes | memoryview, ...]
    ) -> bytes:
        """What stands in the row for a body: all of it, or nothing, and its pieces are put beside."""
        if not self._in_pieces:
            return b"".join(parts)
        pieces.put(db, slot, table, parts)
        return b""

    def append_orders(self, orders: Iterable[OrderRow], state: dict[str, str]) -> None:
        """Single orders, durable when this returns."""
        with self._transaction() as db:
            rows = [
                (o.home, o.id, o.slot, o.energy_wh, o.price_ueur_per_kwh, o.total_ueur, o.receipt)
                for o in orders
            ]
            db.executemany("INSERT INTO orders VALUES (?,?,?,?,?,?,?)", rows)
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", state.items())

    def put_state(self, state: dict[str, str]) -> None:
        """Facts the market goes on from, durable when this returns."""
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", state.items())

    def compact(
        self, first: int, last: int, body: bytes, digest: bytes, *, absorbs: Iterable[int] = ()
    ) -> None:
        """Put sums per home in the place of the bodies of slots first .. last."""
        with self._transaction() as db:
            stretch = (first, last, body, digest)
            dropped = compacting.put_stretch(db, stretch, absorbs, in_pieces=self._in_pieces)
        if self._bodies is not None:
            reach(Point.MARKET_COMPACTED, last)
            self._bodies.drop(dropped)

    def fold_wal(self, bytes_max: int = WAL_BYTES_MAX) -> None:
        """Copy the WAL back into the file once so much is in it; called between slots.

        Somebody who reads is not waited for: the WAL grows until the fold after they have gone.
        """
        try:
            write_ahead_log.fold(self._connection, self.path, bytes_max, self.slot_bytes)
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: {error}") from error

    # copying

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold one moment: until the end, whatever is read or copied is of it, and the market writes on."""
        with nullcontext() if self._bodies is None else self._bodies.held():
            try:
                self._connection.execute("BEGIN")
                self.last_slot()  # the first read fixes the moment
            except sqlite3.DatabaseError as error:
                raise StoreError(f"{self.path}: {error}") from error
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def copy_to(self, path: Path, told: Callable[[int, int], None]) -> None:
        """Copy the whole into a new file that needs no other beside it; in `held`, as of that moment.

        Outside of it, a market that writes would make the copy begin anew each time.
        """
        try:
            copying.copy(self._connection, self.path, path, told)
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path} cannot be copied to {path}: {error}") from error

    def _transaction(self) -> Transaction:
        return Transaction(self._connection, self.path)

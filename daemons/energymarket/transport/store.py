"""The ledger's store: one SQLite file, one connection, nothing acknowledged before it is on the disk.

WAL with synchronous=FULL: every commit is flushed. One transaction per slot writes its sealed body,
its totals and what the market needs to go on; checkpoints are written between slots. The WAL is folded
between slots, by this connection only (SQLite before 3.51 can lose a WAL reset to a concurrent one).
The store carries bytes; what they mean is `core.ledger`'s business.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from energymarket.runtime.kill_points import Point, reach
from energymarket.transport import compacting, copying, pieces, write_ahead_log
from energymarket.transport.bodies import Draft, FileDraft, checkpoint_name, start_name, stretch_name
from energymarket.transport.database import (
    StoreError,
    Transaction,
    execute_all,
    put_large,
    text_of,
    version_of,
)
from energymarket.transport.ledger_reader import LedgerReader
from energymarket.transport.ledger_rows import (
    FILES_VERSION,
    LARGE_HOMES,
    RECORD_SCHEMA,
    SCHEMA,
    SCHEMA_VERSION,
    ForeignLedgerError,
    OrderRow,
    Record,
    SlotRow,
    TiedRow,
    page_bytes_of,
    put_checkpoint,
    seal,
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

WAL_BYTES_MAX: Final = 16 << 20  # then the WAL is folded back between two slots
RECEIPT_SLOTS_KEPT: Final = 96  # how long a single order's id is remembered: a day of quarter-hours
INSERT_SLOT: Final = "INSERT INTO slots VALUES (?,?,?,?,?,?,?,?,?,?,?)"


class LedgerStore(LedgerReader):
    """The one connection to the ledger."""

    journal = "WAL"
    page_bytes = 4_096
    large_from_homes = LARGE_HOMES
    large_version = FILES_VERSION

    def __init__(self, path: Path) -> None:
        super().__init__(path)
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
                self._bodies.open(self._files_needed())
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: {error}") from error

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

    def _files_needed(self) -> Iterator[str]:
        for (slot,) in self._rows("SELECT slot FROM slots WHERE body IS NOT NULL"):
            yield str(slot)
        for first, last in self._rows("SELECT day, last_slot FROM days WHERE length(body) = 0"):
            yield stretch_name(first, last)
        for table, name in (("checkpoints", checkpoint_name), ("starts", start_name)):
            for (slot,) in self._rows(f"SELECT slot FROM {table} WHERE length(body) = 0"):  # noqa: S608
                yield name(slot)

    # writing

    def commit_slot(
        self,
        row: SlotRow,
        state: dict[str, str],
        record: Record | None = None,
        body: tuple[bytes | memoryview, ...] | None = None,
    ) -> None:
        """A slot, what the market goes on from, and the record: all or nothing.

        `body` is that of the row, in parts, where the row itself has none.
        """
        if body is not None and self._bodies is not None:
            if self._row("SELECT 1 FROM slots WHERE slot = ?", (row.slot,)) is not None:
                raise StoreError(f"{self.path}: slot {row.slot} is there already")
            self._bodies.write(str(row.slot), body)
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
            if record is not None:
                inputs = self._placed(db, row.slot, pieces.INPUTS, record.inputs.parts)
                db.execute("INSERT INTO inputs VALUES (?,?,?)", (row.slot, inputs, record.inputs.digest))
                if record.start is not None:
                    start = record.start
                    put_large(db, "starts", start.slot, b"".join(start.parts), start.digest)

    def put_checkpoint(
        self, slot: int, checkpoint: tuple[bytes, bytes], start: TiedRow | None = None
    ) -> None:
        """(body, digest) of the accounts after a committed slot, and where a replay can begin, or neither.

        A body is empty where it lies in a file, which a finished draft has left.
        """
        with self._transaction_over(checkpoint_name(slot), start_name(slot)) as db:
            gone = put_checkpoint(db, slot, checkpoint)
            if start is not None:
                put_large(db, "starts", start.slot, start.body, start.digest)
        if self._bodies is not None:
            self._bodies.drop(map(checkpoint_name, gone))

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

    def draft(self, name: str, head_bytes: int = 0) -> Draft:
        """What a body is written to, bit by bit, after so many bytes of head; or a file of that name."""
        if self._bodies is None:
            return Draft(head_bytes)
        return FileDraft(self._bodies, name, head_bytes)

    def compact(
        self, first: int, last: int, body: bytes, digest: bytes, *, absorbs: Iterable[int] = ()
    ) -> None:
        """Put sums per home in the place of the bodies of slots first .. last.

        The body of the sums is empty where it lies in a file, which a finished draft has left.
        """
        with self._transaction_over(stretch_name(first, last)) as db:
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

    @contextmanager
    def _transaction_over(self, *names: str) -> Iterator[sqlite3.Connection]:
        """A transaction whose rows belong to fresh files of these names: if it fails, they go."""
        try:
            with self._transaction() as db:
                yield db
        except StoreError:
            if self._bodies is not None:
                self._bodies.drop(names)
            raise

"""The ledger's store for those who commit thousands of slots at once, and to whom nobody listens meanwhile.

What is new is written once, into the file; a write-ahead log would have it written twice.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from energymarket.transport.bodies import checkpoint_name, stretch_name
from energymarket.transport.ledger_rows import put_checkpoint
from energymarket.transport.store import INSERT_SLOT, LedgerStore, SlotRow, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from energymarket.transport.bodies import Bodies, Buffer

FLUSH_BYTES: Final = 1 << 27
"""Of a transaction, so much is given to the disk at a time: a second of it, or less."""

_VALUES: Final = attrgetter(*SlotRow.__dataclass_fields__)


class BulkStore(LedgerStore):
    """One transaction over any number of slots. After a StoreError nothing of it counts.

    Where bodies lie in files, a thread writes them while the run goes on with what it has in its hands.
    """

    journal = "TRUNCATE"
    page_bytes = 16_384  # the body of a slot lies on a page or two: a third less work than on pages of 4 KiB

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._descriptor: int | None = None  # of the file, to flush it by
        self._flushing: threading.Thread | None = None
        self._unflushed_bytes = 0
        self._beside = ThreadPoolExecutor(1, "bodies")
        self._writing: Future[None] | None = None
        self._written: list[str] = []  # files of this transaction
        self._replaced: list[str] = []  # files that nobody needs once it counts

    def close(self) -> None:
        """Close; what was not ended does not count."""
        if self._db is not None:
            self._give_up()
            self._db.execute("PRAGMA journal_mode=DELETE")  # or an empty journal would stay beside it
        self._beside.shutdown()
        super().close()
        if self._flushing is not None:
            self._flushing.join()
        if self._descriptor is not None:  # not sooner: whoever closes a file gives up all locks on it
            os.close(self._descriptor)
            self._descriptor = None

    def begin_bulk(self) -> None:
        """Begin the transaction."""
        with self._refusals():
            self._connection.execute("BEGIN IMMEDIATE")

    def begin_bodies(self, bodies: Mapping[int, Sequence[Buffer]]) -> bool:
        """Begin to write the bodies of new slots, in parts, to files: their rows have empty ones.

        Nothing of a body may be changed before `settle`. False where bodies belong into rows.
        """
        if self._bodies is None:
            return False
        self.settle()
        for slot in bodies:
            if self._row("SELECT 1 FROM slots WHERE slot = ?", (slot,)) is not None:
                self._give_up()
                raise StoreError(f"{self.path}: slot {slot} is there already")
        named = {str(slot): body for slot, body in bodies.items()}
        self._written += named
        self._writing = self._beside.submit(_write, self._bodies, named)
        return True

    def settle(self) -> None:
        """Wait until the bodies are written that were put; the disk has them for sure at the end."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except StoreError:
            self._give_up()
            raise

    def put_slots(self, rows: Sequence[SlotRow]) -> None:
        """Write slots."""
        with self._refusals():
            self._connection.executemany(INSERT_SLOT, map(_VALUES, rows))
        self._unflushed_bytes += sum(len(row.body) for row in rows if row.body is not None)
        if self._unflushed_bytes >= FLUSH_BYTES:
            self._flush_ahead()

    def _flush_ahead(self) -> None:
        """Let the disk write what it has of the transaction: else all of it would wait for the end."""
        if self._flushing is not None and self._flushing.is_alive():
            return
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._unflushed_bytes = 0
        flush = partial(_flush, self._descriptor)
        self._flushing = threading.Thread(target=flush, name="flusher", daemon=True)
        self._flushing.start()

    def put_stretch(self, first: int, last: int, body: bytes, digest: bytes) -> None:
        """Write the sums of slots first .. last that have no bodies, in the place of sums of fewer."""
        row = self._row("SELECT last_slot FROM days WHERE day = ? AND length(body) = 0", (first,))
        if row is not None:
            self._replaced.append(stretch_name(first, row[0]))
        body = self._placed_beside(stretch_name(first, last), body)
        with self._refusals():
            query = "INSERT OR REPLACE INTO days VALUES (?,?,?,?)"
            self._connection.execute(query, (first, last, body, digest))

    def _placed_beside(self, name: str, body: bytes) -> bytes:
        """What stands in the row for a body: all of it, or nothing, and it is written to a file."""
        if self._bodies is None:
            return body
        self.settle()
        self._written.append(name)
        try:
            self._bodies.write(name, (body,), is_durable=False)
        except StoreError:
            self._give_up()
            raise
        return b""

    def put_rest(self, slot: int, state: dict[str, str], checkpoint: tuple[bytes, bytes]) -> None:
        """What a market goes on from after `slot`; bodies are durable when this returns."""
        self.settle()
        body, digest = checkpoint
        body = self._placed_beside(checkpoint_name(slot), body)
        with self._refusals():
            db = self._connection
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", state.items())
            self._replaced += map(checkpoint_name, put_checkpoint(db, slot, (body, digest)))
        self._make_durable()

    def end_bulk(self) -> None:
        """End the transaction: all of it counts."""
        with self._refusals():
            self._connection.execute("COMMIT")
        self._written.clear()
        if self._bodies is not None:
            self._bodies.drop(self._replaced)
        self._replaced.clear()

    def _make_durable(self) -> None:
        """The disk has what rows that will count name: asked once, not for each slot."""
        if self._bodies is None or not self._written:
            return
        try:
            self._bodies.settle(self._written)
        except StoreError:
            self._give_up()
            raise

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            self._give_up()
            raise StoreError(f"{self.path}: {error}") from error

    def _give_up(self) -> None:
        # SQLite has rolled back by itself after some errors (full disk): then there is nothing to do.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        if self._writing is not None:
            wait((self._writing,))
            self._writing = None
        if self._bodies is not None:
            self._bodies.drop(self._written)
        self._written.clear()
        self._replaced.clear()


def _write(bodies: Bodies, named: Mapping[str, Sequence[Buffer]]) -> None:
    for name, parts in named.items():
        bodies.write(name, parts, is_durable=False)


def _flush(descriptor: int) -> None:
    with suppress(OSError):  # SQLite has a descriptor of its own, and hears of it when it commits
        os.fdatasync(descriptor)

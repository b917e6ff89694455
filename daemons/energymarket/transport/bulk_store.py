"""The ledger's store for those who commit thousands of slots at once, and to whom nobody listens meanwhile.

What is new is written once, into the file; a write-ahead log would have it written twice.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from energymarket.core.limits import HOMES_MAX
from energymarket.transport.ledger_rows import put_checkpoint
from energymarket.transport.store import INSERT_SLOT, LedgerStore, SlotRow, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_VALUES: Final = attrgetter(*SlotRow.__dataclass_fields__)


class BulkStore(LedgerStore):
    """One transaction over any number of slots. After a StoreError nothing of it counts."""

    journal = "TRUNCATE"
    large_from_homes = HOMES_MAX + 1  # it has the bodies of many slots in its hands anyway
    page_bytes = 16_384  # the body of a slot lies on a page or two: a third less work than on pages of 4 KiB

    def close(self) -> None:
        """Close; what was not ended does not count."""
        if self._db is not None:
            self._give_up()
            self._db.execute("PRAGMA journal_mode=DELETE")  # or an empty journal would stay beside it
        super().close()

    def begin_bulk(self) -> None:
        """Begin the transaction."""
        with self._refusals():
            self._connection.execute("BEGIN IMMEDIATE")

    def put_slots(self, rows: Sequence[SlotRow]) -> None:
        """Write slots."""
        with self._refusals():
            self._connection.executemany(INSERT_SLOT, map(_VALUES, rows))

    def put_stretch(self, first: int, last: int, body: bytes, digest: bytes) -> None:
        """Write the sums of slots first .. last that have no bodies."""
        with self._refusals():
            query = "INSERT OR REPLACE INTO days VALUES (?,?,?,?)"
            self._connection.execute(query, (first, last, body, digest))

    def end_bulk(self, slot: int, state: dict[str, str], checkpoint: tuple[bytes, bytes]) -> None:
        """End the transaction with what a market goes on from after `slot`: all or nothing."""
        with self._refusals():
            db = self._connection
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", state.items())
            put_checkpoint(db, slot, checkpoint)
            db.execute("COMMIT")

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

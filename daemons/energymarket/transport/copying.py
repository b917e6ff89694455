"""Copies of a ledger: of one moment, and whole, so that they need no file beside them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from energymarket.transport import pieces
from energymarket.transport.bodies import Bodies, checkpoint_name, start_name, stretch_name
from energymarket.transport.ledger_rows import FILES_VERSION, PIECES_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COPIED_PAGES: Final = 1_024  # 4 MiB, or 64, between two words about how far a copy is


def copy(db: sqlite3.Connection, source: Path, target: Path, told: Callable[[int, int], None]) -> None:
    """Copy the whole of a database that is open into a new file. Raises DatabaseError, StoreError."""
    with closing(sqlite3.connect(target, isolation_level=None)) as made:
        db.backup(made, pages=COPIED_PAGES, progress=lambda _status, left, total: told(total - left, total))
        made.execute("PRAGMA journal_mode=DELETE")
        _gather(made, Bodies(source))


def make_whole(copied: Path, source: Path) -> None:
    """Do the same with a copy of the file alone. Raises DatabaseError, StoreError."""
    with closing(sqlite3.connect(copied, isolation_level=None)) as made:
        if made.execute("PRAGMA user_version").fetchone()[0] == FILES_VERSION:
            made.execute("PRAGMA journal_mode=DELETE")
            _gather(made, Bodies(source))


def _gather(made: sqlite3.Connection, bodies: Bodies) -> None:
    """Put bodies that lie in files into the copy, in pieces; one that is missing stays so, and is missed."""
    if made.execute("PRAGMA user_version").fetchone()[0] != FILES_VERSION:
        return
    made.execute("BEGIN")
    for (slot,) in made.execute("SELECT slot FROM slots WHERE length(body) = 0 ORDER BY slot").fetchall():
        pieces.put(made, slot, pieces.SLOTS, [bodies.read(str(slot))])
    for day, last in made.execute("SELECT day, last_slot FROM days WHERE length(body) = 0").fetchall():
        made.execute("UPDATE days SET body = ? WHERE day = ?", (bodies.read(stretch_name(day, last)), day))
    for table, name in (("checkpoints", checkpoint_name), ("starts", start_name)):
        for (slot,) in made.execute(f"SELECT slot FROM {table} WHERE length(body) = 0").fetchall():  # noqa: S608
            body = bodies.read(name(slot))
            made.execute(f"UPDATE {table} SET body = ? WHERE slot = ?", (body, slot))  # noqa: S608
    made.execute(f"PRAGMA user_version={PIECES_VERSION}")
    made.execute("COMMIT")

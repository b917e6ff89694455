"""Bodies of a large ledger, in pieces: what is megabytes a slot goes to the disk without being put together.

SQLite copies a value three times before it is on a page, and keeps room for each copy. A piece fits the
processor's cache; nothing longer than one is ever made. The row that a body belongs to says that it has
pieces by an empty body, which no body is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    Buffer: TypeAlias = bytes | bytearray | memoryview

SCHEMA: Final = """
CREATE TABLE pieces (                  -- bodies of slots and inputs that are empty in their rows
  id INTEGER PRIMARY KEY,              -- ((2 * slot + (0: slots, 1: inputs)) << 20) + number of the piece
  bytes BLOB NOT NULL
);
"""
PIECE_BYTES: Final = 256 << 10
SLOTS: Final = 0
INPUTS: Final = 1
EVERY: Final = "SELECT bytes FROM pieces WHERE id BETWEEN ? AND ? ORDER BY id"
_NUMBER_BITS: Final = 20


def ids(slot: int, table: int) -> tuple[int, int]:
    """The first and the last id that a piece of this body can have."""
    first = (2 * slot + table) << _NUMBER_BITS
    return first, first + (1 << _NUMBER_BITS) - 1


def put(db: sqlite3.Connection, slot: int, table: int, parts: Iterable[Buffer]) -> None:
    """Write a body whose parts follow each other; small parts are gathered, large ones cut."""
    at, _ = ids(slot, table)
    gathered = bytearray()
    for part in parts:
        view = memoryview(part).cast("B")
        while len(view):
            if not gathered and len(view) >= PIECE_BYTES:
                piece: Buffer = view[:PIECE_BYTES]
                view = view[PIECE_BYTES:]
            else:
                room = PIECE_BYTES - len(gathered)
                gathered += view[:room]
                view = view[room:]
                if len(gathered) < PIECE_BYTES:
                    continue
                piece, gathered = gathered, bytearray()
            db.execute("INSERT INTO pieces VALUES (?,?)", (at, piece))
            at += 1
    if gathered:
        db.execute("INSERT INTO pieces VALUES (?,?)", (at, gathered))


def drop(db: sqlite3.Connection, slot: int) -> None:
    """Take the body of a slot away."""
    db.execute("DELETE FROM pieces WHERE id BETWEEN ? AND ?", ids(slot, SLOTS))


def drop_inputs(db: sqlite3.Connection) -> None:
    """Take away what belongs to no record of inputs any more."""
    db.execute(
        f"DELETE FROM pieces WHERE (id >> {_NUMBER_BITS}) % 2 = {INPUTS} "  # noqa: S608
        f"AND id < ((SELECT coalesce(min(slot), {(1 << 40)}) FROM inputs) * 2) << {_NUMBER_BITS}"
    )

"""What a transaction does that puts sums per home in the place of the bodies of some slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energymarket.transport import pieces
from energymarket.transport.bodies import start_name, stretch_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


def put_stretch(
    db: sqlite3.Connection, stretch: tuple[int, int, bytes, bytes], absorbs: Iterable[int], *, in_pieces: bool
) -> list[str]:
    """Write a stretch (first slot, last slot, body, digest) that takes in others; files not needed now."""
    first, last, _, _ = stretch
    unneeded = []
    for day in (first, *absorbs):
        ends = db.execute("SELECT last_slot FROM days WHERE day = ? AND length(body) = 0", (day,)).fetchall()
        unneeded += [stretch_name(day, end) for (end,) in ends if (day, end) != (first, last)]
        db.execute("DELETE FROM days WHERE day = ?", (day,))
    db.execute("INSERT INTO days VALUES (?,?,?,?)", stretch)
    detailed = "SELECT * FROM slots WHERE slot BETWEEN ? AND ? AND body IS NOT NULL"
    rows = db.execute(detailed, (first, last)).fetchall()
    for row in rows:
        # Taken out and put back: an UPDATE would leave the short row alone on its page.
        db.execute("DELETE FROM slots WHERE slot = ?", row[:1])
        if in_pieces:
            pieces.drop(db, row[0])
        db.execute("INSERT INTO slots VALUES (?,?,?,?,?,?,?,?,NULL,?,?)", (*row[:8], *row[9:]))
    begun = db.execute("SELECT slot FROM starts WHERE slot < ?", (last,)).fetchall()
    # A record goes with its slot's detail; what lies before the next start cannot be played any more.
    db.execute("DELETE FROM starts WHERE slot < ?", (last,))
    reachable = "SELECT coalesce((SELECT min(slot) FROM starts), ?)"
    db.execute(f"DELETE FROM inputs WHERE slot <= max(?, ({reachable}))", (last, last))  # noqa: S608
    if in_pieces:
        pieces.drop_inputs(db)
    return [*unneeded, *(start_name(slot) for (slot,) in begun), *(str(row[0]) for row in rows)]

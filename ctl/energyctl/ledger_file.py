"""What a ledger's file says while no market runs: read only, by the standard library alone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path


def last_slot(ledger: Path) -> int | None:
    """The last slot that is durable; None in a fresh ledger, or where none can be read."""
    found = _one(ledger, "SELECT max(slot) FROM slots")
    return found if isinstance(found, int) else None


def scenario_hash(ledger: Path) -> str | None:
    """The hash of the scenario that it was begun with; None as above."""
    found = _one(ledger, "SELECT value FROM meta WHERE key = 'scenario_hash'")
    return found if isinstance(found, str) else None


def _one(ledger: Path, question: str) -> object:
    import sqlite3

    if not ledger.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True)) as db:
            row = db.execute(question).fetchone()
    except sqlite3.Error:
        return None  # a ledger that cannot be read is the market's to refuse: its words say more
    return None if row is None else row[0]

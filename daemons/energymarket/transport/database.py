"""SQLite as the ledger uses it: transactions whose failures are one error, texts, and the version."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class StoreError(Exception):
    """The disk or the database refused: what it said. Nothing of the transaction counts."""


def version_of(path: Path) -> int:
    """The version of a ledger whose log is folded back: `user_version`, as SQLite's file format has it."""
    with path.open("rb", buffering=0) as file:
        return int.from_bytes(file.read(64)[60:], "big")


class Transaction:
    """BEGIN IMMEDIATE .. COMMIT, or ROLLBACK; the database's words become a StoreError."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self._path}: {error}") from error
        return self._db

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._db.execute("COMMIT")
                return
        except sqlite3.DatabaseError as failure:
            self._rollback()
            raise StoreError(f"{self._path}: {failure}") from failure
        self._rollback()
        if isinstance(error, sqlite3.DatabaseError):
            raise StoreError(f"{self._path}: {error}") from error

    def _rollback(self) -> None:
        # SQLite has rolled back by itself after some errors (full disk): then there is nothing to do.
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


def execute_all(db: sqlite3.Connection, statements: str) -> None:
    """Carry out statements that end with a semicolon each."""
    for statement in statements.split(";\n"):
        if statement.strip():
            db.execute(statement)


def text_of(data: bytes) -> str:
    """A text that is no text any more is read all the same: its seal tells."""
    return data.decode(errors="replace")


def put_large(db: sqlite3.Connection, table: str, slot: int, body: bytes, digest: bytes) -> None:
    """Put a row of many bytes in the place of one of the same slot.

    A prepared statement holds on to a copy of what it was given last, here 48 bytes a home: so it is given
    the slot once more, with nothing, which is ignored.
    """
    db.execute(f"DELETE FROM {table} WHERE slot = ?", (slot,))  # noqa: S608
    for row in ((slot, body, digest), (slot, b"", b"")):
        db.execute(f"INSERT OR IGNORE INTO {table} VALUES (?,?,?)", row)  # noqa: S608

"""How full SQLite's write-ahead log is, and how it is to be folded back into the file.

The log's file keeps its length and is written again from its beginning: to make a file longer costs a
commit two to four times as much as to write into it (measured on ext4).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

BUSY_MS: Final = 2_000
"""How long a commit waits: the market is alone with its ledger, but for those who copy it."""

_HEAD_BYTES: Final = 32
_FRAME_HEAD_BYTES: Final = 24


def fold(db: sqlite3.Connection, path: Path, bytes_max: int, usual_bytes: int) -> None:
    """Fold the log of the database at `path` if it is due; who reads is not waited for."""
    how = fold_due(path.with_name(path.name + "-wal"), bytes_max, usual_bytes)
    if how is not None:
        try:
            db.execute("PRAGMA busy_timeout=0")
            db.execute(f"PRAGMA wal_checkpoint({how})")
        finally:
            db.execute(f"PRAGMA busy_timeout={BUSY_MS}")


def fold_due(path: Path, bytes_max: int, usual_bytes: int = 0) -> str | None:
    """How SQLite is to fold a log in which there is more than so much; None where there is not.

    `RESTART` leaves the file as long as it is. One far too long, after somebody has read for long, is cut:
    more than twice the limit, and than twice `usual_bytes`, which the next commit will take again.
    """
    try:
        size = path.stat().st_size
        if size <= bytes_max or not _reaches(path, bytes_max):
            return None
    except FileNotFoundError:
        return None
    return "RESTART" if size <= 2 * max(bytes_max, usual_bytes) else "TRUNCATE"


def _reaches(path: Path, size: int) -> bool:
    """Whether frames of the present round fill the log beyond that byte; behind them lie older ones.

    See "WAL-mode File Format" of SQLite: a frame counts if its salts are those of the log's head. The log
    bears no locks, so it may be opened and closed beside SQLite (the index, `-shm`, may not).
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(_HEAD_BYTES)
        frame_bytes = _FRAME_HEAD_BYTES + int.from_bytes(head[8:12], "big")
        frame = max(0, size - _HEAD_BYTES) // frame_bytes
        file.seek(_HEAD_BYTES + frame * frame_bytes)
        return file.read(_FRAME_HEAD_BYTES)[8:16] == head[16:24]


def bytes_on_disk(path: Path) -> int:
    """What a database takes with its write-ahead log; 0 if it is not there. Any thread may ask."""
    size = 0
    for each in (path, path.with_name(f"{path.name}-wal")):
        with suppress(FileNotFoundError):  # the log goes when its last reader does
            size += each.stat().st_size
    return size

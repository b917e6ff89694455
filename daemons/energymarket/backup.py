"""energy-backup: a copy of the ledger beside it, whole and checked, while the market runs; old copies go."""

from __future__ import annotations

import argparse
import logging
import sqlite3
import sys
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.audit.ledger_file import copied
from energymarket.audit.reading import Check
from energymarket.exits import Exit, Failure, NoSuchObject
from energymarket.runtime import service
from energymarket.runtime.clock import wall_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

PROGRAM: Final = "energy-backup"
KEPT: Final = 14
"""Two weeks of daily copies."""
PAGES_AT_ONCE: Final = 1_024
"""4 MiB between two moments in which the market may write."""


def back_up(ledger: Path, out: Path, now_ns: int) -> Path:
    """Copy a ledger that may be in use, as of one moment; durable when this returns."""
    if not ledger.exists():
        raise NoSuchObject(f"{ledger}: no ledger here yet")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    moment = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    path, draft = out / f"ledger-{moment}.db", out / f".ledger-{moment}.db"
    draft.unlink(missing_ok=True)
    try:
        source = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=10)
        with closing(source), closing(sqlite3.connect(draft)) as target:
            source.backup(target, pages=PAGES_AT_ONCE)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, readable without a helper beside it
    except sqlite3.DatabaseError as error:
        draft.unlink(missing_ok=True)
        raise Failure(
            f"{ledger} cannot be copied to {out}: {error}", "is the disk full?", Exit.IO_ERROR
        ) from error
    draft.chmod(0o600)
    draft.replace(path)
    return path


def verify(path: Path) -> int:
    """The number of its slots; Failure if hashes, seals or sums of the copy do not hold."""
    with ExitStack() as stack:
        result = Check(copied(stack, path), None, None, chain_only=True).run().result()
    if not result.ok:
        raise Failure(f"{path}: the copy does not hold: {result.findings_count} findings", code=Exit.DEGRADED)
    return result.slots


def forget_old(out: Path) -> None:
    """Keep the newest copies."""
    for old in sorted(out.glob("ledger-*.db"))[:-KEPT]:
        old.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make one copy; the answer is an exit code."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True, metavar="FILE", help="the ledger")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the copies lie")
    words = parser.parse_args(arguments)

    def serve(_stop: service.StopFlag) -> int:
        path = back_up(words.ledger, words.out, wall_ns())
        slots = verify(path)
        forget_old(words.out)
        log.info("%s: %d slots, verified", path, slots)
        return Exit.OK

    return service.run(PROGRAM, serve)


if __name__ == "__main__":
    sys.exit(main())

"""The journal of a study: a line per case that was played, on the disk before it counts.

A line is whole when it ends and reads; what a killed run has left of its last one is cut off.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from energymarket.exits import Exit, Failure
from energymarket.studies.outcome import Outcome
from energymarket.transport.generation import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "cases.jsonl"


class Journal:
    """Appends outcomes. Of several of a case the last one stands: one that had failed is tried again."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._fd = -1

    def open(self) -> dict[int, Outcome]:
        """Open it, and make it if there is none; what it holds, by number of the case. Failure."""
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        sync_directory(self.path.parent)
        data = self.path.read_bytes()
        found: dict[int, Outcome] = {}
        whole = 0
        for line in data.splitlines(keepends=True):
            outcome = _outcome_of(line)
            if outcome is None:
                break
            whole += len(line)
            found[outcome.number] = outcome
        if b"\n" in data[whole:].rstrip(b"\n"):
            what = f"{self.path}: the line at byte {whole:,} is damaged, and others follow it"
            raise Failure(what, "restore the file, or begin anew in another directory", Exit.IO_ERROR)
        if whole < len(data):
            os.ftruncate(self._fd, whole)
        os.lseek(self._fd, whole, os.SEEK_SET)
        return found

    def add(self, outcome: Outcome) -> None:
        """Write an outcome down; when this returns it is durable. OSError if it cannot be."""
        line = {"case": outcome.number, "values": dict(outcome.values)}
        if outcome.error:
            line |= {"error": outcome.error, "trace": outcome.trace}
        data = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        while data:
            data = data[os.write(self._fd, data) :]
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _outcome_of(line: bytes) -> Outcome | None:
    """What a line says; None if it is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        said: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict) or not isinstance(said.get("case"), int):
        return None
    return Outcome(said["case"], said.get("values", {}), said.get("error", ""), said.get("trace", ""))

"""The folder of a run: what is unfinished lies apart, and takes the place of what was there when it is whole.

A folder that holds results holds `result.json`. A run is played below `unfinished/`; whatever ends it
early, results of an earlier run stay as they were. Only names that a run writes are ever replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from energymarket.exits import ConfigError, Exit, Failure, SecondInstance
from energymarket.transport.generation import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESULT: Final = "result.json"
UNFINISHED: Final = "unfinished"
_LOCK: Final = "lock"
MARK: Final = "energy-market-state"
"""A directory with a file of this name is a state that a live market may go on with."""

_PARTS: Final = ("market", "homes", "scenario.toml", MARK, RESULT)
"""What a run leaves; the result comes last, because it says that the others are whole."""


class Folder:
    """Where a run lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / UNFINISHED

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else runs here meanwhile. SecondInstance, Failure."""
        descriptor = self._locked()
        try:
            yield
        finally:
            self._leave_empty()
            os.close(descriptor)

    def _locked(self) -> int:
        """The lock's descriptor. Record locks: they are this process's alone, workers do not inherit them."""
        while True:
            try:
                self.run.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self.run / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            except OSError as error:
                what = f"{self.path} cannot be written: {error.strerror}"
                raise Failure(what, "--out DIR names another", Exit.IO_ERROR) from error
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                what = f"another run is at work in {self.path}"
                raise SecondInstance(what, "--out DIR names another") from error
            with suppress(FileNotFoundError):
                if (self.run / _LOCK).stat().st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            os.close(descriptor)  # whoever was here before has taken the place away

    def _leave_empty(self) -> None:
        """Remove a place in which nothing was begun."""
        if self.run.is_dir() and {entry.name for entry in self.run.iterdir()} <= {_LOCK}:
            shutil.rmtree(self.run)

    def clear(self) -> bool:
        """Remove what an earlier run has not finished; whether there was something."""
        found = False
        for entry in list(self.run.iterdir()):
            if entry.name == _LOCK:
                continue
            found = True
            _remove(entry)
        return found

    def is_played(self) -> bool:
        """Whether the unfinished run has come to its end, and only had to take its place.

        Its result is written before the ledger's last slots count: one that says more than its ledger is
        removed.
        """
        document = _document(self.run / RESULT)
        if document is None or not document.get("complete"):
            return False
        ledger = self.run / "market" / "ledger.db"
        if not ledger.exists() or _last_hash(ledger) == document.get("ledger_hash"):
            return True
        _remove(self.run / RESULT)
        return False

    def result(self) -> dict[str, Any] | None:
        """The results that lie here, or None."""
        return _document(self.path / RESULT)

    def write_result(self, document: dict[str, Any]) -> None:
        """Write the result of the run, durably, beside its ledger. Failure if the disk refuses."""
        draft = self.run / f"{RESULT}.new"
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump(document, file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self.run / RESULT)
            sync_directory(self.run)
        except OSError as error:
            raise Failure(
                f"{self.run / RESULT} cannot be written: {error.strerror or error}",
                "make room; --resume brings the run to its end",
                Exit.IO_ERROR,
            ) from error

    def mark(self, scenario: str) -> None:
        """Say that this is a state, as `energyctl up` says it of its own."""
        (self.run / MARK).write_text(f"state of energy-market, scenario {scenario}\n", encoding="utf-8")

    def take_place(self) -> None:
        """Let a whole run take the place of what was there. Killed in between, it is called again."""
        if (self.run / RESULT).exists():
            _remove(self.path / RESULT)  # from here on the old results are no longer whole
        for name in _PARTS:
            if (self.run / name).exists():
                _remove(self.path / name)
                (self.run / name).rename(self.path / name)
        for entry in self.run.iterdir():
            if entry.name != _LOCK:
                _remove(entry)
        sync_directory(self.path)


def _document(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "move it away") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no result of a run", "move it away")
    return found


def _last_hash(ledger: Path) -> str | None:
    """Of a ledger's last slot. Whoever was killed within a transaction has left a journal: it is undone."""
    try:
        with closing(sqlite3.connect(ledger)) as db:
            found = db.execute("SELECT hash FROM slots ORDER BY slot DESC LIMIT 1").fetchone()
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{ledger} cannot be read: {error}", "move it away") from error
    return None if found is None else bytes(found[0]).hex()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

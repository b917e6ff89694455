"""The folder of a study: who works in it, what it is of, what lies there."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from energymarket.exits import ConfigError, Exit, Failure, SecondInstance
from energymarket.studies import journal
from energymarket.studies.identity import differences
from energymarket.transport.generation import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DOCUMENT: Final = "study.json"
PARQUET: Final = "cases.parquet"
CSV: Final = "cases.csv"
REPORT: Final = "report.html"
LEDGERS: Final = "ledgers"
_SCRATCH: Final = "scratch"
_LOCK: Final = "lock"

_OURS: Final = (journal.NAME, PARQUET, CSV, REPORT, LEDGERS, _SCRATCH, DOCUMENT)
"""What a study leaves; nothing else is ever removed. The document comes last: it says whose the rest is."""

TOLD_MAX: Final = 8
"""Differences that are named when a study is not the one that it was."""


class Folder:
    """Where a study lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scratch = path / _SCRATCH

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else works here meanwhile. SecondInstance, Failure."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            what = f"{self.path} cannot be written: {error.strerror}"
            raise Failure(what, "--out DIR names another", Exit.IO_ERROR) from error
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise SecondInstance(
                f"another study is at work in {self.path}", "--out DIR names another"
            ) from error
        try:
            shutil.rmtree(self.scratch, ignore_errors=True)  # of one that was killed
            self.scratch.mkdir()
            yield
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)
            os.close(descriptor)

    def document(self) -> dict[str, Any] | None:
        """What is said of the study that lies here, or None. ConfigError if it cannot be read."""
        path = self.path / DOCUMENT
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}", "--anew removes the study") from error
        if not isinstance(found, dict) or "identity" not in found:
            raise ConfigError(f"{path} is of no study", "--out DIR names another place")
        return found

    def take(self, identity: Mapping[str, Any], *, resume: bool, anew: bool) -> None:
        """Make sure that this study may be played here. ConfigError if another one is in the way."""
        found = self.document()
        if found is None:
            self._check_empty()
            return
        if anew or (not resume and not self._has_cases()):
            self._clear()
            return
        if not resume:
            what = f"a study lies in {self.path}: {found.get('done', 0)} of {found.get('cases', 0)} cases"
            raise ConfigError(
                what, "--resume goes on with it, --anew removes it, --out DIR names another place"
            )
        changed = differences(found["identity"], identity)
        if changed:
            more = [f"and {len(changed) - TOLD_MAX} more"] if len(changed) > TOLD_MAX else []
            what = "; ".join([*changed[:TOLD_MAX], *more])
            raise ConfigError(
                f"{self.path} holds cases of a study that was another: {what}",
                "change it back, or --anew to play all cases again",
            )

    def _has_cases(self) -> bool:
        """Whether a case was played: a study that has failed to begin is in nobody's way."""
        path = self.path / journal.NAME
        return path.exists() and path.stat().st_size > 0

    def _check_empty(self) -> None:
        there = [name for name in _OURS if name != _SCRATCH and (self.path / name).exists()]
        if there:
            what = f"{self.path / there[0]} is of no study that is known here"
            raise ConfigError(what, "--out DIR names another place")

    def _clear(self) -> None:
        """Remove a study; nothing but what it has written, its document last."""
        for name in _OURS:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.scratch.mkdir(exist_ok=True)

    def write(self, name: str, data: bytes) -> Path:
        """Write a file, durably: it is there whole, or as it was."""
        draft, place = self.path / f"{name}.new", self.path / name
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(place)
        sync_directory(self.path)
        return place

    def write_document(self, document: Mapping[str, Any]) -> Path:
        """Write `study.json`."""
        return self.write(DOCUMENT, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())

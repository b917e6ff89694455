"""A backup and the state that has gone on since, for the tests of the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.archive.made_backup import Made, made


@pytest.fixture
def backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A backup, and a state that is three slots later."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made(tmp_path)

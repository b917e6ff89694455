"""What tests of one transport share: programs on the event bus, which are gone after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ipc.bus_program import Run, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program."""
    runs: list[Run] = []

    def begin(program: str) -> Run:
        runs.append(Run(program, tmp_path / f"run{len(runs)}"))
        return runs[-1]

    yield begin
    for run in runs:
        run.sweep()

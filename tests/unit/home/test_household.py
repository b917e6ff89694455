"""A range of homes as a process: how it ends when its state cannot be had or kept."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest

from energymarket.exits import Exit, Failure
from energymarket.home import files, household
from energymarket.transport import resources
from energymarket.transport.generation import GenerationError, GenerationFault


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (GenerationFault.LOCKED, Exit.SECOND_INSTANCE),
        (GenerationFault.DISK, Exit.IO_ERROR),  # it is started again: the next disk may take it
        (GenerationFault.MISSING, Exit.CONFIGURATION),
        (GenerationFault.FOREIGN, Exit.CONFIGURATION),
    ],
)
def test_a_state_that_cannot_be_had_ends_the_process_as_its_fault_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: GenerationFault, code: Exit
) -> None:
    """Only what a restart would not change is the configuration's."""

    def refused(*_: object) -> None:
        raise GenerationError(fault, "so it is")

    idle = SimpleNamespace(close=lambda: None, beat=lambda: None)
    monkeypatch.setattr(resources, "ensure", lambda _: None)
    for name in ("Fleet", "Notifier", "Session"):
        monkeypatch.setattr(household, name, lambda *_: idle)
    monkeypatch.setattr(household, "_opened", refused)
    compiled = cast("Any", SimpleNamespace(forget_pages=lambda: None, hash="00"))
    file = files.of_shard(tmp_path, 1, 3)
    with pytest.raises(Failure, match="so it is") as ended:
        household.keep(compiled, tmp_path, file, cast("Any", Event()), single=False)
    assert ended.value.code is code

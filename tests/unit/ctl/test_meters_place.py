"""Where `energyctl meters` looks when it is not told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from energyctl.session import Session
from energyctl.up import proc, record
from energyctl.verbs import meters


def test_meters_are_those_here_else_of_the_run_else_of_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that `energyctl up` started keeps them in its state; who stands among files means those."""
    run, state, cwd, system = (tmp_path / name for name in ("run", "state", "cwd", "system"))
    for each in (run, cwd):
        each.mkdir()
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(meters, "SYSTEM_FILES", system)
    here = Session(as_json=False, run=str(run))
    assert meters.place(here) == Path()
    system.mkdir()
    assert meters.place(here) == system
    me = proc.process("up", os.getpid())
    record.write(run, proc.Record(me, (), "metered", "/compiled", str(state), ready=True))
    assert meters.place(here) == system  # the run has no meters
    (state / "pv").mkdir(parents=True)
    assert meters.place(here) == state / "pv"
    (cwd / "Meter_0.sidecar").touch()
    assert meters.place(here) == Path()

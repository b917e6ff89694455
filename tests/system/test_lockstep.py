"""A market in lockstep under the units: systemd starts again who is killed, and the ledger is simulate's."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from energymarket.engine import api
from tests.simulation.town import SCENE
from tests.system.machine import Machine

pytestmark = [pytest.mark.needs("systemd-nspawn", "mmdebstrap"), pytest.mark.on("here")]

CONFIGURATION: Final = "etc/energy-market/energy-market.toml"
SLOTS: Final = 300
VICTIMS: Final = ("energy-homes", "energy-market", "energy-weather", "energy-home@1")


@dataclass(frozen=True)
class Stepping:
    """A machine whose suite is configured for lockstep, and the hash that its ledger is to end with."""

    machine: Machine
    wanted: str


@pytest.fixture
def stepping(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stepping]:
    """The suite stopped, with another configuration; afterwards its own again. No compiler is installed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = SCENE.replace("slots = 5000", f"slots = {SLOTS}")
    own = tmp_path / "energy-market.toml"  # a scenario is called after its file
    own.write_text(text.replace("shards = 2", "shards = 2\nlockstep = true"))
    played = api.simulate(own, engine="embedded")
    carried = machine.tree / "var/cache/energy-market/compiled" / played.compiled.directory.name
    path = machine.tree / CONFIGURATION
    before = path.read_text()
    machine.run("energyctl", "stop")
    machine.must("energyctl", "reset", "--state")
    shutil.copytree(played.compiled.directory, carried)
    path.write_text(own.read_text())
    yield Stepping(machine, played.ledger_hash)
    machine.run("energyctl", "stop")
    path.write_text(before)
    shutil.rmtree(carried)
    machine.must("energyctl", "reset", "--state")
    machine.start()


def test_killed_units_in_lockstep_leave_the_ledger_of_simulate(stepping: Stepping) -> None:
    """The pool, the market, the weather and a single home are killed in turn, until the period is over."""
    machine = stepping.machine

    def ended() -> bool:
        return bool(machine.market_says().get("state") == "ended")

    def slot() -> int:
        return int(machine.market_says().get("snapshot", {}).get("slot", -1))

    machine.must("energyctl", "start", timeout_s=200)
    machine.wait_until(lambda: slot() >= 0)
    assert not ended()  # there is something left to kill
    for unit in VICTIMS:
        at = slot()
        machine.kill(unit, signal.SIGKILL)
        machine.wait_until(lambda at=at: slot() > at or ended())
    machine.wait_until(ended, 120)
    assert machine.market_says()["snapshot"]["hash"] == stepping.wanted

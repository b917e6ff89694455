"""The real daemons in lockstep: the ledger's hash is that of fast-forward, however the homes are cut."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from energymarket.engine import api
from energymarket.scenario import toml
from tests.conftest import sysv_objects
from tests.simulation.market_place import Place

pytestmark = pytest.mark.timeout(300)

PENCILS = [name for name in toml.shipped() if name.startswith("pencil-")]

CHAINED = "pencil-sharing-greedy-neutral-fair"
"""The scene in which most passes through the queue: whole offers, in rounds; what is too much goes back."""


def wanted_hash(scenario: str, slots: int, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What fast-forward makes of it, in one process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(compiled_cache))
    return api.simulate(scenario, duration=slots, engine="embedded").ledger_hash


def in_lockstep(place: Place, scenario: str, slots: int, *words: str) -> str:
    """The hash after a whole run of the real daemons."""
    options = ("--lockstep", "--for", str(slots), "--state", str(place.state), "--fresh", *words)
    before = sysv_objects()
    done = place.ctl("up", scenario, *options, timeout_s=200)
    assert done.returncode == 0, done.stderr + done.stdout
    assert place.processes() == []
    assert not place.run.exists()
    assert sysv_objects() == before
    return hash_of(place.state)


def hash_of(state: Path) -> str:
    """Of the last slot of a ledger."""
    query = "SELECT hash FROM slots ORDER BY slot DESC LIMIT 1"
    with closing(sqlite3.connect(f"file:{state / 'market' / 'ledger.db'}?mode=ro", uri=True)) as db:
        return bytes(db.execute(query).fetchone()[0]).hex()


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_the_default_scenario_ends_as_in_fast_forward(
    place: Place, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    """A thousand homes with batteries, prices and weather: 40 slots, by one, two and five processes."""
    wanted = wanted_hash("default", 40, compiled_cache, monkeypatch)
    assert in_lockstep(place, "default", 40, "--shards", str(shards)) == wanted


def test_six_processes_end_as_in_fast_forward(
    place: Place, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The assignment's homes are processes of their own that order one by one, at the same time."""
    assert in_lockstep(place, "classic", 40) == wanted_hash("classic", 40, compiled_cache, monkeypatch)


@pytest.mark.parametrize(
    ("name", "shards"), [*((name, 2) for name in PENCILS), (CHAINED, 1), (CHAINED, 5), ("pencil-late", 1)]
)
def test_a_pencil_scene_ends_as_in_fast_forward(
    place: Place, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, shards: int
) -> None:
    """Which is as computed by hand (test_fastforward.py): gifts of all kinds, rules, scenes, orders."""
    scenario, _ = toml.read(name)
    assert scenario is not None
    slots = scenario.market.period.slots
    wanted = wanted_hash(name, slots, compiled_cache, monkeypatch)
    assert in_lockstep(place, name, slots, "--shards", str(shards)) == wanted

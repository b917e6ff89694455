"""A place for real daemons, which are gone after the test whatever it does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.market_place import Place
from tests.simulation.town import SCENE


@pytest.fixture(scope="session")
def compiled_cache() -> Path:
    """Scenarios are compiled once per run."""
    return Path(os.environ["XDG_CACHE_HOME"])


@pytest.fixture
def place(tmp_path: Path, run_dir: Path, compiled_cache: Path, no_ipc_left: None) -> Iterator[Place]:
    """Directories of their own, no IPC object left behind, no process left running."""
    del no_ipc_left
    made = Place(tmp_path, run_dir / "run", compiled_cache)
    yield made
    made.end()


@pytest.fixture
def town(place: Place) -> Place:
    """The neighbourhood, compiled, with slots of 0.2 s."""
    scenario = place.path / "town.toml"
    scenario.write_text(SCENE)
    place.compile(str(scenario))
    place.speed = 900 / 0.2
    return place

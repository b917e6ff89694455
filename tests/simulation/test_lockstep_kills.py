"""Daemons in lockstep are killed, at random and at named points: the ledger's hash stays the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from energymarket.runtime.kill_points import VARIABLE, Point
from tests.conftest import sysv_objects
from tests.simulation.market_place import Place, let_pass, soon
from tests.simulation.test_kill import Dice
from tests.simulation.test_lockstep import hash_of, wanted_hash
from tests.simulation.town import SCENE

pytestmark = pytest.mark.timeout(2_400)

DAY = 96
SHARDS = 3
ROLES = ("market", "weather", "pool", "shard", "external", "home")


@pytest.fixture
def town(place: Place) -> str:
    """62 homes, two of them processes of their own, with events, batteries and gifts; its file."""
    path = place.path / "town.toml"
    path.write_text(SCENE)
    return str(path)


@contextmanager
def lockstep_run(place: Place, town: str, slots: int, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run that is under way; it is gone at the end, whatever the test does."""
    words = ["energyctl", "--run", str(place.run), "up", town, "--lockstep", "--for", str(slots)]
    words += ["--shards", str(SHARDS), "--state", str(place.state), "--fresh"]
    with place.log.open("ab") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", *words], env={**place.environ, **environ}, stdout=log, stderr=log
        )
    try:
        yield up
    finally:
        if up.poll() is None:
            up.kill()
        up.wait()


def pids_of(place: Place, up: int, role: str) -> list[int]:
    """The living processes of a role. A shard is a fork of the pool's master: only its parent tells."""
    module = {"market": "marketd", "weather": "weatherd", "home": "homed"}.get(role, role)
    if role not in {"pool", "shard"}:
        return place.processes(f"energymarket.{module} ")
    found = place.processes("energymarket.homesd ")
    return [pid for pid in found if (parent_of(pid) == up) == (role == "pool")]


def parent_of(pid: int) -> int:
    """The parent of a process, 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def ends_well(place: Place, up: subprocess.Popen[bytes]) -> None:
    """The run ends by itself with 0, and leaves nothing in the kernel."""
    assert up.wait(2_000) == 0, place.log.read_text()[-6_000:]
    assert place.processes("energymarket.") == []
    assert not place.run.exists()


def settled(place: Place) -> Callable[[], int]:
    """How many slots the run has told of so far."""
    return lambda: place.log.read_text(errors="replace").count("  slot ")


def test_killed_fifty_times_a_day_the_ledger_is_the_same(
    place: Place, town: str, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    """Whoever it is, whenever it comes: market, weather, external, a shard, the whole pool, a single home."""
    slots, kills = (DAY, 50) if is_long else (30, 12)
    wanted = wanted_hash(town, slots, compiled_cache, monkeypatch)
    dice, before, hit = Dice(int(os.environ.get("ENERGY_SEED", "7"))), sysv_objects(), Counter[str]()
    with lockstep_run(place, town, slots) as up:
        told = settled(place)
        soon(lambda: told() > 0 or up.poll() is not None, 60, "a first slot", place.log.read_text)
        while up.poll() is None and hit.total() < kills:
            role = ROLES[hit.total() % len(ROLES)]
            found = pids_of(place, up.pid, role)
            if not found:
                continue  # it is being started again
            at = told()
            with suppress(ProcessLookupError):
                os.kill(found[dice.below(len(found))], signal.SIGKILL)
                hit[role] += 1
            soon(lambda at=at: told() > at or up.poll() is not None, 60, "a slot", place.log.read_text)  # type: ignore[misc]
            let_pass(dice.seconds(0.05))
        ends_well(place, up)
    assert min(hit[role] for role in ROLES) >= kills // len(ROLES) - 1, hit
    assert hash_of(place.state) == wanted
    assert sysv_objects() == before


ANYWHERE = (
    Point.MARKET_ORDERED,
    Point.OFFER_PUT,
    Point.OFFER_TAKEN,
    Point.MARKET_TAKING_BACK,
    Point.POOL_REPLACING,
    Point.WEATHER_POSTED,
    Point.EXTERNAL_SAID,
)
"""They come when they come: with the next order or gift, where a shard has just died, an event just begun."""

LARGE = (Point.MARKET_BODY_WRITTEN, Point.MARKET_COMPACTED)
"""Of ledgers of many homes only: tests/unit/market/test_bodies.py dies there."""


def test_killed_at_every_named_point_the_ledger_is_the_same(
    place: Place, town: str, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    """Every point is hit; in the long form those of every slot fifty times each, or nearly."""
    rounds = 50 if is_long else 1
    of_slots = [point for point in Point if point not in (*ANYWHERE, *LARGE)]
    # Every other slot: a market that dies at an opening may not have sent the receipts of the slot before.
    planned = [f"{point}@{FIRST_SLOT + 2 + 2 * at}" for at, point in enumerate(of_slots * rounds)]
    slots = 2 * len(planned) + 6
    wanted = wanted_hash(town, slots, compiled_cache, monkeypatch)
    points = place.path / "points"
    points.mkdir()
    for name in planned + [str(point) for point in ANYWHERE]:
        (points / name).touch()
    before = sysv_objects()
    with lockstep_run(place, town, slots, **{VARIABLE: str(points)}) as up:
        ends_well(place, up)
    assert hash_of(place.state) == wanted
    missed = Counter(entry.name.partition("@")[0] for entry in points.iterdir())
    assert max(missed.values(), default=0) <= rounds // 5, missed
    assert sysv_objects() == before


FIRST_SLOT = 1_944_480
"""Of the town: 2025-06-16, in quarter-hours since 1970."""

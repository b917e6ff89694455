"""The real daemons in lockstep: the ledger's hash is that of fast-forward, however the homes are cut."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energymarket.engine import api
from energymarket.scenario import toml
from tests.conftest import sysv_objects
from tests.simulation.market_place import Place

pytestmark = pytest.mark.timeout(300)

PENCILS = [name for name in toml.shipped() if name.startswith("pencil-")]

FEW: Final = [
    (
        "pencil-sharing-greedy-neutral-fair",
        5,
    ),  # most passes through the queue, and what is too much goes back
    ("pencil-sharing-greedy-mean-selfish", 2),
    ("pencil-late", 1),
    ("pencil-phantom-claim", 2),
    ("pencil-rule-need-first", 2),
    ("pencil-stale-weather", 2),
]
"""Of a day on a small machine: one scene of each kind."""


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


def test_the_pencil_scenes_end_as_in_fast_forward(
    place: Place, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    """Which is as computed by hand (test_fastforward.py): gifts of all kinds, rules, scenes, orders."""
    cases = [(name, shards) for name in PENCILS for shards in (1, 2, 5)] if is_long else FEW
    different = []
    for name, shards in cases:
        scenario, _ = toml.read(name)
        assert scenario is not None
        slots = scenario.market.period.slots
        wanted = wanted_hash(name, slots, compiled_cache, monkeypatch)
        if in_lockstep(place, name, slots, "--shards", str(shards)) != wanted:
            different.append((name, shards))
    assert different == []


SHARINGS: Final = [
    (take, turn, excess)
    for take in ("exact", "greedy")
    for turn in ("selfish", "fair")
    for excess in ("mean", "neutral")
]

DRAWN: Final = """
schema = 1
title = "Drawn"
seed = {seed}
[time]
start = 2025-06-16
timezone = "UTC"
slots = 6
[weather]
source = "constant"
temperature_c = [20, 3, 12]
rain_mm_per_h = 1
[place]
latitude = 49.49
longitude = 8.47
[tariff]
energy = 0.25
export = 0.05
[price]
form = "raw"
initial = 0.2
gamma = 0.5
[[price.factor]]
name = "base"
alpha = 0.1
[[price.factor]]
name = "imbalance"
alpha = 0.02
[price.events.strike]
beta = 0.01
probability_per_slot = 0.3
duration = "30min"
[elasticity]
reference = 0.2
slope = -0.5
shift_share = 0.5
[sharing]
take = "{take}"
turn = "{turn}"
excess = "{excess}"
[service]
queue_bytes = {queue_bytes}
{homes}
"""


@st.composite
def drawn(draw: st.DrawFn) -> tuple[str, int]:
    """A scenario with up to 700 homes of a few kinds, two of them perhaps single, and a number of shards."""
    take, turn, excess = draw(st.sampled_from(SHARINGS))
    homes = ""
    for at in range(draw(st.integers(0, 2))):
        watts = [draw(st.integers(0, 3000)) for _ in range(2)]
        policy = draw(st.sampled_from(["give", "sell", "give_then_sell"]))
        homes += f'[[home]]\nname = "Single {at}"\npolicy = "{policy}"\nprocess = "single"\n'
        homes += f"production_w = {watts}\nconsumption_w = {draw(st.integers(0, 2000))}\n"
    for at in range(draw(st.integers(1, 3))):
        policy = draw(st.sampled_from(["give", "sell", "give_then_sell"]))
        homes += f'[[homes]]\nname = "group {at}"\ncount = {draw(st.integers(1, 240))}\npolicy = "{policy}"\n'
        homes += f"production_w = {draw(st.integers(0, 2000))}\n"
        homes += f'[homes.load]\nkind = "constant"\npower_w = {draw(st.integers(1, 1500))}\n'
        if draw(st.booleans()):
            homes += "[homes.battery]\nkwh = 3\nkw = 2\n"
    text = DRAWN.format(
        seed=draw(st.integers(0, 2**31)), take=take, turn=turn, excess=excess,
        queue_bytes=draw(st.sampled_from([4_128, 5_000, 16_384])), homes=homes,
    )  # fmt: skip
    return text, draw(st.sampled_from([1, 2, 5]))


def test_scenarios_drawn_at_random_end_as_in_fast_forward(
    place: Place, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    """Any sharing model, policies, single homes, batteries, elasticity, events, queue of 4 kB or 16."""

    @settings(
        max_examples=40 if is_long else 10,
        deadline=None,
        database=None,
        derandomize=not is_long,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(drawn())
    def ends_the_same(made: tuple[str, int]) -> None:
        text, shards = made
        path = place.path / "drawn.toml"
        path.write_text(text)
        wanted = wanted_hash(str(path), 6, compiled_cache, monkeypatch)
        assert in_lockstep(place, str(path), 6, "--shards", str(shards)) == wanted, text

    ends_the_same()


def test_the_community_year_ends_as_in_fast_forward(
    place: Place, shared_data: Path, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    """Seventeen measured homes of a year that every machine has: a day of it, or a week."""
    path = place.path / "community.toml"
    path.write_text(COMMUNITY.format(file=shared_data / "fontana17.csv.gz"))
    slots = 672 if is_long else 96
    wanted = wanted_hash(str(path), slots, compiled_cache, monkeypatch)
    assert in_lockstep(place, str(path), slots, "--shards", "2") == wanted


COMMUNITY: Final = """
schema = 1
title = "a community"
[time]
slot = "15min"
start = 2023-01-01
timezone = "America/Los_Angeles"
days = 365
[place]
latitude = 34.09
longitude = -117.44
altitude_m = 380
[weather]
source = "constant"
[price]
half_life_h = 6
[[price.factor]]
name = "base"
alpha = 0.2
[data]
file = "{file}"
homes = 17
layout = "community"
use_tariff = true
"""


def test_the_outcome_is_one_object_on_stdout_like_that_of_simulate(
    place: Place, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All members of fast-forward's document, the same energy, money and indicators; nothing else there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(compiled_cache))
    wanted = dict(api.simulate("pencil-gift", duration=2, engine="embedded").document)
    words = (
        "--json",
        "up",
        "pencil-gift",
        "--lockstep",
        "--for",
        "2",
        "--state",
        str(place.state),
        "--fresh",
    )
    done = place.ctl(*words, "--shards", "2")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    own = {"engine", "shards", "workers", "wall_s", "cpu_s", "folder"}
    assert (found["engine"], found["shards"], found["workers"]) == ("lockstep", 2, 2)
    assert {name: found[name] for name in wanted if name not in own} == {
        name: value for name, value in wanted.items() if name not in own
    }
    assert set(found) - set(wanted) <= own


def test_a_lockstep_ledger_goes_on_where_it_was_stopped(
    place: Place, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve slots in one run, twelve in the next: the hash of 24. Asked for by the key in [service]."""
    scenario, _ = toml.read("classic")
    assert scenario is not None
    path = place.path / "classic.toml"
    path.write_text(scenario.text + "\n[service]\nlockstep = true\n")
    wanted = wanted_hash(str(path), 24, compiled_cache, monkeypatch)
    for _ in range(2):
        done = place.ctl("up", str(path), "--for", "12", "--state", str(place.state), timeout_s=100)
        assert done.returncode == 0, done.stderr
    assert hash_of(place.state) == wanted


def test_a_market_without_a_clock_has_no_speed(place: Place) -> None:
    """One clear error, before anything is started."""
    done = place.ctl("up", "classic", "--lockstep", "--speed", "900")
    assert done.returncode == 2
    assert "has no speed" in done.stderr
    assert not place.run.exists()


def test_homes_that_were_told_to_run_live_refuse_a_market_in_lockstep(place: Place) -> None:
    """Exit 78, with what to do: neither waits for the other."""
    place.compile("pencil-gift")
    place.start("weather")
    words = ["energymarket.marketd", "--compiled", str(place.compiled), "--run", str(place.run)]
    with place.log.open("ab") as log:
        place.daemons["market"] = subprocess.Popen(
            [sys.executable, "-m", *words, "--state", str(place.state / "market"), "--lockstep"],
            env=place.environ, stdout=log, stderr=log,
        )  # fmt: skip
        homes = place.start("homes")
    assert homes.wait(30) == 78
    assert "give --lockstep to all of them or to none" in place.log.read_text()
    del place.daemons["homes"]
    place.stop()

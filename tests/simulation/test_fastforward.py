"""Fast-forward: the same ledger to the bit, however it is played, and the one that a live market makes."""

from __future__ import annotations

import mmap
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energymarket.core import ledger
from energymarket.core.fleet import Fleet, State, initial_state
from energymarket.core.kpi import home_sums
from energymarket.core.parameters import Rule
from energymarket.engine import api, settling
from energymarket.engine import checkpoint as checkpoints
from energymarket.engine.folder import Folder
from energymarket.engine.local import Local
from energymarket.engine.run import Plan, Run
from energymarket.engine.settling import Settler
from energymarket.engine.source import SLOTS_AT_ONCE_MAX
from energymarket.engine.track import Track, market_of
from energymarket.scenario import toml
from energymarket.scenario.compiled import Compiled
from energymarket.transport.bodies import DIRECTORY
from energymarket.transport.store import LedgerStore
from tests.simulation import slow_engine
from tests.simulation.by_hand import wrong
from tests.simulation.market_place import ROOT, Place, read_ledger
from tests.unit.scenario import pencil_ledger

LIVE_ONLY = {"pencil-stale-weather"}  # the weather daemon is stopped in it
PENCILS = [name for name in toml.shipped() if name.startswith("pencil-") and name not in LIVE_ONLY]
HOMES = 40
SLOTS = 150


@pytest.fixture(scope="session")
def neighbourhood() -> Compiled:
    """Forty homes of the default scenario."""
    return api.compiled_of("default", HOMES, None)


@pytest.fixture(scope="session")
def expected(neighbourhood: Compiled) -> str:
    """The hash of a live market's own steps, slot after slot."""
    return slow_engine.played(neighbourhood, SLOTS).hash.hex()


def hash_of(compiled: Compiled, directory: Path, **how: Any) -> str:
    """The ledger's hash after SLOTS slots."""
    result = api.simulate(compiled, duration=SLOTS, out=directory / "out", **how)
    return result.ledger_hash


@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize(("engine", "workers"), [("embedded", None), ("local", 2), ("local", 3)])
def test_the_ledger_is_that_of_a_live_market_of_honest_homes(
    neighbourhood: Compiled, expected: str, tmp_path: Path, engine: str, workers: int | None, shards: int
) -> None:
    """Slots looked at together, settled by whoever is free, are those of one market slot after slot."""
    assert hash_of(neighbourhood, tmp_path, engine=engine, workers=workers, shards=shards) == expected


@pytest.mark.parametrize(("workers", "shards"), [(1, 1), (2, 2), (3, 5)])
def test_homes_cut_among_all_workers_make_the_same_ledger(
    neighbourhood: Compiled, expected: str, monkeypatch: pytest.MonkeyPatch, workers: int, shards: int
) -> None:
    """The way of a million homes, walked by forty, settled seven at a time: bodies are the same.

    What a passage says of its columns is what they say.
    """
    monkeypatch.setattr(settling, "BLOCK_VALUES", 7 * SLOTS_AT_ONCE_MAX)
    state = State(memoryview(mmap.mmap(-1, State.size_bytes(HOMES))), HOMES)
    initial_state(Fleet(neighbourhood, 1, HOMES), state)
    track = Track(neighbourhood, market_of(neighbourhood, homes=0))
    local = Local(
        neighbourhood, state, track, Settler(neighbourhood), shards=shards, workers=workers, split=True
    )
    first, found = neighbourhood.period.first_slot, ledger.genesis(neighbourhood.hash)
    try:
        for leg in (range(first, first + 7), range(first + 7, first + SLOTS)):
            for settled in local.leg(leg):
                for body in settled.bodies:
                    found = ledger.chain(found, *body)
                passage = settled.passage
                assert passage.sizes is not None
                assert passage.totals_wh is not None
                for name, column in passage.columns.items():
                    assert passage.sizes[name] == np.abs(column).max(), name
                for name, totals_wh in passage.totals_wh.items():
                    assert totals_wh.tolist() == passage.columns[name].sum(axis=1).tolist(), name
    finally:
        local.close()
    assert found.hex() == expected


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**40),
    homes=st.integers(3, 60),
    rule=st.sampled_from([str(rule) for rule in Rule]),
    take=st.sampled_from(["exact", "greedy"]),
    turn=st.sampled_from(["fair", "selfish"]),
    excess=st.sampled_from(["mean", "neutral"]),
    gift_fee=st.sampled_from([0.0, 0.03]),
    slope=st.floats(-0.5, 0.0),
    engine=st.sampled_from(["embedded", "local"]),
    block_values=st.sampled_from([300, 1 << 16]),
)
def test_scenarios_drawn_at_random_have_one_ledger(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    homes: int,
    engine: str,
    slope: float,
    block_values: int,
    **rest: Any,
) -> None:
    """Any rule, model, fee, elasticity, size and seed: fast-forward is the market slot after slot."""
    place = tmp_path_factory.mktemp("drawn")
    text = _quickly_compiled()
    for name in ("rule", "take", "turn", "excess"):
        alone = name != "rule" and rest["rule"] != "queue"  # these have no effect then, and are refused
        text = _with(text, name, f'"{rest[name]}"', key="# " if alone else "")
    text = _with(_with(text, "gift_fee", str(rest["gift_fee"])), "slope", f"{slope:.3f}")
    file = place / "drawn.toml"
    file.write_text(text, encoding="utf-8")
    compiled = api.compiled_of(file, homes, seed)
    expected = slow_engine.played(compiled, SLOTS).hash.hex()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settling, "BLOCK_VALUES", block_values)
        assert hash_of(compiled, place, engine=engine, workers=2, shards=3) == expected


def _quickly_compiled() -> str:
    """The default scenario of three days; most of the compiler's time goes into years of single houses."""
    return _with(_with(toml.default_text(), "days", "3"), "archetypes", "6")


def _with(text: str, name: str, value: str, key: str = "") -> str:
    """The scenario with another value of the first key of this name; `key` may make it a comment."""
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(f"{name} ="))
    lines[at] = f"{key}{name} = {value}"
    return "\n".join(lines) + "\n"


def test_another_seed_or_parameter_is_another_ledger(tmp_path: Path) -> None:
    """Seed, gift fee and one home more change the hash; the same again does not."""
    same, fee = tmp_path / "same.toml", tmp_path / "fee.toml"
    text = _quickly_compiled()
    same.write_text(text, encoding="utf-8")
    fee.write_text(_with(text, "gift_fee", "0.01"), encoding="utf-8")
    first = api.compiled_of(same, HOMES, None)
    hashes = [
        hash_of(first, tmp_path),
        hash_of(api.compiled_of(same, HOMES, 43), tmp_path),
        hash_of(api.compiled_of(same, HOMES + 1, None), tmp_path),
        hash_of(api.compiled_of(fee, HOMES, None), tmp_path),
    ]
    assert len(set(hashes)) == 4
    assert hash_of(first, tmp_path) == hashes[0]


@pytest.mark.parametrize("name", PENCILS)
def test_a_pencil_scene_ends_as_computed_by_hand(name: str, tmp_path: Path) -> None:
    """Every row, sum and price of the file's comment is in the ledger: late homes, phantoms and all."""
    scenario, _ = toml.read(name)
    assert scenario is not None
    wanted, first = pencil_ledger.read(scenario.text), scenario.market.period.first_slot
    result = api.simulate(scenario, out=tmp_path)
    played = read_ledger(tmp_path / "market" / "ledger.db")
    assert sorted(played) == [first + k for k in sorted(wanted)] != []
    assert {k: wrong(played[first + k], slot) for k, slot in wanted.items()} == {k: [] for k in wanted}
    found = checked(tmp_path, result.compiled)
    assert found.returncode == 0, found.stdout + found.stderr


def checked(state: Path, compiled: Compiled) -> subprocess.CompletedProcess[str]:
    """What the independent checker says of a run."""
    words = [sys.executable, "-m", "energymarket.checkd", "--state", str(state)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "daemons")}
    words += ["--compiled", str(compiled.directory)]
    return subprocess.run(words, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("disk_max_bytes", [2 << 30, 16 << 20])
def test_the_checker_finds_nothing_wrong_whatever_is_kept(tmp_path: Path, disk_max_bytes: int) -> None:
    """Ledger, registers and physics agree, with all detail and with most of it summed up by day.

    60 days of 200 homes are some 23 MB of detail and 7 MB of prices and totals: in 16 MiB the oldest
    detail is sums.
    """
    neighbourhood = api.compiled_of("default", 200, None)
    slots, sizes = 60 * 96, []
    folder = Folder(tmp_path)
    plan = Plan(neighbourhood, slots, folder.run, disk_max_bytes=disk_max_bytes)
    with folder.held():
        run = Run(plan, resume=False)
        ledger_file = folder.run / "market" / "ledger.db"
        run.go(lambda _done, _total: sizes.append(ledger_file.stat().st_size))
        run.write_registers()
        run.close()
    assert max(sizes) < disk_max_bytes
    with closing(sqlite3.connect(ledger_file)) as db:
        kept = db.execute("SELECT count(*) FROM slots WHERE body IS NOT NULL").fetchone()[0]
        assert db.execute("SELECT count(*) FROM slots").fetchone()[0] == slots
    assert (kept < slots) == (disk_max_bytes < 1 << 30)
    found = checked(folder.run, neighbourhood)
    assert found.returncode == 0, found.stdout + found.stderr


def test_with_bodies_in_files_it_is_the_same_ledger(
    neighbourhood: Compiled, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of many homes: so say hash and checker, stopped on the way or not; each slot has a file.

    So have the accounts after each leg, of which the two newest stay.
    """
    monkeypatch.setattr(LedgerStore, "large_from_homes", HOMES)
    first, folder = neighbourhood.period.first_slot, Folder(tmp_path)
    with folder.held():
        for slots in (SLOTS // 2, SLOTS):
            plan = Plan(neighbourhood, slots, folder.run, "local", workers=2)
            run = Run(plan, resume=slots == SLOTS)
            run.go()
            run.write_registers()
            run.close()
            files = {file.name for file in (folder.run / "market" / DIRECTORY).iterdir()}
            accounts = {name for name in files if name.startswith("checkpoint-")}
            assert files - accounts == {str(slot) for slot in range(first, first + slots)}
            assert f"checkpoint-{first + slots - 1}" in accounts
            assert len(accounts) <= 2
            found = checked(folder.run, neighbourhood)
            assert found.returncode == 0, found.stdout + found.stderr
            assert (run.hash.hex() == expected) == (slots == SLOTS)


def test_what_meters_count_is_what_the_ledger_adds_up_to(
    neighbourhood: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Indicators and checkpoint are the same, whether energies are added up or read; also after a resume."""
    found = []
    for place in (tmp_path / "read", tmp_path / "added"):
        indicators = [
            indicators_of(Plan(neighbourhood, slots, place), resume=slots == SLOTS)
            for slots in (SLOTS // 2, SLOTS)
        ]
        checkpoint = checkpoints.read(place, neighbourhood.period.first_slot + SLOTS - 1)
        found.append((indicators, {name: bytes(part) for name, part in checkpoint.parts.items()}))
        monkeypatch.setattr(home_sums, "METERED", {})
    assert found[0] == found[1]
    assert found[0][0][1]["energy"]["imported_kwh"] > found[0][0][0]["energy"]["imported_kwh"] > 0


def indicators_of(plan: Plan, *, resume: bool) -> dict[str, Any]:
    """What a run has come to."""
    run = Run(plan, resume=resume)
    run.go()
    run.close()
    return run.indicators()


def test_a_live_market_goes_on_from_a_simulated_state(place: Place) -> None:
    """Six processes of homes, a market and the checker take the result up as they would their own state."""
    words = ["-m", "energymarket.fastforward", "classic", "--for", "20", "--out", str(place.state)]
    done = subprocess.run(
        [sys.executable, *words], env=place.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    simulated = place.ledger()
    live = place.ctl("up", "classic", "--for", "4", "--speed", "3600", "--state", str(place.state))
    assert live.returncode == 0, live.stderr
    after = place.ledger()
    assert len(after) >= len(simulated) + 4
    assert {slot: after[slot] for slot in simulated} == simulated
    place.compile("classic")
    found = place.check()
    assert found.returncode == 0, found.stdout

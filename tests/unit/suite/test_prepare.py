"""The configuration is checked and compiled once, and a changed coefficient does not begin a ledger anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from energymarket.core import ledger
from energymarket.exits import ConfigError
from energymarket.prepare import prepare
from energymarket.scenario import toml
from energymarket.transport.store import LedgerStore


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The assignment's scenario as a configuration, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scenario, _ = toml.read("classic")
    assert scenario is not None
    (tmp_path / "out").mkdir()
    path = tmp_path / "energy-market.toml"
    path.write_text(scenario.text)
    return path


def ledger_of(state: Path, scenario_hash: str) -> None:
    store = LedgerStore(state / "market/ledger.db")
    store.open(scenario_hash=scenario_hash, genesis=ledger.genesis(scenario_hash), homes=6)
    store.close()


def test_it_leaves_what_the_units_ask_for(config: Path, tmp_path: Path) -> None:
    """Six homes by hand: a list of six, no pool, no fetched weather, and a link to the arrays."""
    out = tmp_path / "out"
    compiled = prepare(config, out, None)
    assert (out / "scenario").resolve() == compiled.directory.resolve()
    assert (out / "singles").read_text().split() == ["1", "2", "3", "4", "5", "6"]
    assert not (out / "pool").exists()
    assert not (out / "live-weather").exists()
    assert not (out / "workers").exists()
    assert not (out / "metered").exists()


def test_workers_are_asked_for_and_begin_no_ledger_anew(config: Path, tmp_path: Path) -> None:
    """[dispatch] makes no other run: the ledger goes on, and the units find the numbers of the workers."""
    state, out = tmp_path / "state", tmp_path / "out"
    first = prepare(config, out, state)
    ledger_of(state, first.hash)
    text = config.read_text()
    config.write_text(text.replace("[time]", "[dispatch]\nworkers = 3\nport = 4000\n\n[time]"))
    assert prepare(config, out, state).hash == first.hash
    assert prepare(config, out, None).hash == first.hash
    assert (out / "workers").read_text().split() == ["1", "2", "3"]
    config.write_text(text)
    prepare(config, out, state)
    assert not (out / "workers").exists()


def test_a_changed_coefficient_goes_on_with_the_ledger(config: Path, tmp_path: Path) -> None:
    """What a reload may change keeps the compiled scenario that the ledger belongs to."""
    state, out = tmp_path / "state", tmp_path / "out"
    first = prepare(config, out, state)
    ledger_of(state, first.hash)
    config.write_text(config.read_text().replace("gamma = 0.99", "gamma = 0.98"))
    assert prepare(config, out, state).hash == first.hash


def test_after_an_upgrade_the_new_version_has_the_scenario_of_the_ledger(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a changed coefficient too, the link leads into the version that stays."""
    state, out, carried = tmp_path / "state", tmp_path / "out", tmp_path / "new/precompiled"
    first = prepare(config, out, state)
    ledger_of(state, first.hash)
    shutil.copytree(first.directory, carried / first.directory.name)
    monkeypatch.setattr("energymarket.prepare.precompiled_directory", lambda: carried)
    config.write_text(config.read_text().replace("gamma = 0.99", "gamma = 0.98"))
    assert prepare(config, out, state).hash == first.hash
    assert (out / "scenario").resolve().parent == carried


def test_another_scenario_on_an_old_ledger_is_refused(config: Path, tmp_path: Path) -> None:
    """Another seed is another run: refused, with the way out."""
    state, out = tmp_path / "state", tmp_path / "out"
    ledger_of(state, prepare(config, out, state).hash)
    config.write_text(config.read_text().replace("seed = 1", "seed = 2"))
    with pytest.raises(ConfigError, match="energyctl reset"):
        prepare(config, out, state)


def test_a_mistake_is_named_with_its_line(config: Path, tmp_path: Path) -> None:
    """An unknown key is refused in the words of `energyctl config check`."""
    config.write_text(config.read_text().replace("seed = 1", "sede = 1"))
    with pytest.raises(ConfigError, match="sede"):
        prepare(config, tmp_path / "out", None)

"""Restoring a backup: everything is verified first, refused with its reason, or there as it was."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from energymarket.archive import exchange, guards
from energymarket.archive import manifest as manifests
from energymarket.archive.manifest import BackupDamaged
from energymarket.archive.tarball import Tarball
from energymarket.exits import ConfigError, Exit, Failure, SecondInstance
from energymarket.home import apart, files
from energymarket.scenario import toml
from energymarket.transport.store import LedgerStore
from tests.simulation.small_market import START, SmallMarket, compile_small
from tests.unit.archive.made_backup import (
    BACKED_UP,
    PLAYED,
    STAMP,
    Made,
    break_chain,
    check,
    made,
    refused,
    tree,
)

STEPS = ("unpacked", "verified", "ready", "decided", "homes aside", "homes in", "market aside", "market in",
    "decision carried out")  # fmt: skip
UNDECIDED = {"unpacked", "verified", "ready"}
ON_THE_WAY = {"decided", "homes aside", "homes in", "market aside", "market in"}


# versions


def test_a_newer_format_is_refused_also_with_force(backup: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader is the version that made it, and that is named."""
    with monkeypatch.context() as patched:
        patched.setattr(manifests, "FORMAT", 2)
        backup.forge(lambda manifest, _content: replace(manifest, product_version="9.1.0"))
    refused(backup, Failure, r"format 2, made by version 9\.1\.0", force=True)


def test_another_schema_of_the_ledger_is_refused_also_with_force(backup: Made) -> None:
    """This program would misread it."""
    backup.forge(lambda manifest, _content: replace(manifest, ledger_schema=3))
    refused(backup, Failure, "schema 3, this program reads 1 and 2", force=True)


@pytest.mark.parametrize("version", ["0.0.9", "0.2.0"])
def test_another_version_of_the_program_needs_force(backup: Made, version: str) -> None:
    """Both ways: the state goes back, or the program does."""
    backup.forge(lambda manifest, _content: replace(manifest, product_version=version))
    refused(backup, Failure, f"made by version {version}")
    assert backup.restore(backup.directory / "new", force=True).manifest.last_slot == BACKED_UP


def test_a_ledger_with_its_bodies_in_files_comes_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the place of the later state, which lies aside with its files: the new one needs none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(LedgerStore, "large_from_homes", 1)
    backup = made(tmp_path)
    bodies = {file.name for file in (backup.state / "market/bodies").iterdir()}
    assert bodies >= {str(slot) for slot in range(START, PLAYED + 1)}
    done = backup.restore(backup.state, force=True)
    assert done.manifest.last_slot == BACKED_UP
    assert not (backup.state / "market/bodies").exists()
    assert check(backup.state, backup.market.compiled).findings == []
    store = LedgerStore(backup.state / "market/ledger.db")
    store.open(scenario_hash=backup.market.compiled.hash, genesis=b"", homes=4)
    rows = list(store.slots(START, BACKED_UP))
    store.close()
    assert all(row.body for row in rows)
    assert not (backup.state / "market/bodies").exists()
    assert done.aside is not None
    assert {file.name for file in (done.aside / "market/bodies").iterdir()} == bodies


# time


def test_going_back_in_time_needs_force_and_keeps_the_present(backup: Made) -> None:
    """Three settled slots would be lost: refused; with force they lie aside, whole."""
    refused(backup, Failure, rf"ends with slot {PLAYED}, the backup with slot {BACKED_UP}: 3 settled slots")
    before = tree(backup.state, "market", "homes")
    done = backup.restore(backup.state, force=True)
    assert done.aside == backup.state / f"before-{STAMP}"
    assert tree(done.aside) == before
    result = check(backup.state, backup.market.compiled)
    assert (result.findings, result.last_slot, result.homes_compared) == ([], BACKED_UP, 4)


def test_slots_in_the_log_of_a_killed_market_count(backup: Made) -> None:
    """The present ledger's last slots stand in its write-ahead log only: seen, and nothing is folded."""
    found = Made(backup.directory / "killed", SmallMarket(backup.directory / "killed" / "state"))
    (found.state / "energy-market-state").touch()
    found.market.play(5)
    found.back_up()
    found.market.play(1)
    for books in found.market.books:
        books.close()
    refused(found, Failure, f"ends with slot {START + 5}")
    found.market.store.close()


def test_the_state_that_was_backed_up_can_come_back_without_force(backup: Made) -> None:
    """Nothing goes back: the present ledger is the backup's beginning, or the backup's itself."""
    new = backup.directory / "new"
    assert backup.restore(new).aside is None
    assert backup.restore(new).aside == new / f"before-{STAMP}"
    assert check(new, backup.market.compiled).findings == []


def test_another_history_of_the_same_scenario_needs_force(backup: Made) -> None:
    """A ledger begun anew is no longer than the backup's, but its slots are in no backup."""
    other = SmallMarket(backup.directory / "other")
    (other.directory / "energy-market-state").touch()
    other.raise_event(0, 0, 4)
    other.play(3)
    other.close()
    with pytest.raises(Failure, match=f"another history: its slot {START + 2}"):
        backup.restore(other.directory)
    assert backup.restore(other.directory, force=True).aside is not None


def test_a_present_ledger_that_cannot_be_read_needs_force(backup: Made) -> None:
    """Nobody can say what would be lost; with force the damaged one goes aside."""
    backup.market.ledger_path.write_bytes(b"rubbish" * 4096)
    assert refused(backup, Failure, "nobody can say which slots").code is Exit.DEGRADED
    done = backup.restore(backup.state, force=True)
    assert done.aside is not None
    assert (done.aside / "market/ledger.db").read_bytes().startswith(b"rubbish")


# scenarios


def test_a_state_of_another_scenario_is_refused_also_with_force(backup: Made) -> None:
    """It is no earlier or later state of this run."""
    with closing(sqlite3.connect(backup.market.ledger_path, isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'scenario_hash'", ("0" * 64,))
    refused(backup, ConfigError, "another scenario", force=True)


def test_a_configuration_of_another_scenario_is_refused(tmp_path: Path) -> None:
    """A changed seed is another run, a mistake is told in its words; a changed coefficient is neither."""
    scenario, _ = toml.read("classic")
    assert scenario is not None
    (tmp_path / "scenario").mkdir()
    (tmp_path / "scenario/scenario.toml").write_text(scenario.text)
    path = tmp_path / "energy-market.toml"
    for old, new, match in (("seed = 1", "seed = 2", "is another scenario"), ("seed", "sede", "sede")):
        path.write_text(scenario.text.replace(old, new, 1))
        with pytest.raises(ConfigError, match=match) as caught:
            guards.refuse_other_configuration(path, tmp_path)
        assert "tar -xOf FILE configuration.toml" in str(caught.value)
    path.write_text(scenario.text.replace("gamma = 0.99", "gamma = 0.98"))
    guards.refuse_other_configuration(path, tmp_path)


def test_the_next_start_finds_the_scenario_compiled(backup: Made) -> None:
    """A machine without the compiler can go on: the arrays lie in the cache under their name."""
    backup.restore(backup.directory / "new")
    place = (
        backup.directory / "cache/energy-market/compiled" / Tarball(backup.file).open().manifest.compiled_name
    )
    assert tree(place) == tree(backup.market.compiled.directory)


def test_a_scenario_that_was_compiled_otherwise_stays_beside(backup: Made) -> None:
    """The same file compiled by other libraries has another hash: both lie there, neither is overwritten."""
    name = Tarball(backup.file).open().manifest.compiled_name
    root = backup.directory / "cache/energy-market/compiled"
    compile_small(root / name, slots=9)
    before = tree(root)
    backup.restore(backup.directory / "new")
    (place,) = (path for path in root.iterdir() if path.name != name)
    assert tree(place) == tree(backup.market.compiled.directory)
    assert {path: data for path, data in tree(root).items() if path.startswith(f"{name}/")} == before


# places


@pytest.mark.parametrize("name", ["market/lock", "homes/shard-3-2.state", "energy-market-state"])
def test_a_suite_that_runs_is_left_alone(backup: Made, name: str) -> None:
    """Market, homes and supervisor each hold a lock; one is enough, also with --force."""
    path = backup.state / name
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        refused(backup, SecondInstance, "energyctl stop", force=True)
    finally:
        os.close(descriptor)


def test_somebody_elses_directory_is_left_alone(backup: Made) -> None:
    """A directory with other things in it, and without the mark, is no state of ours."""
    other = backup.directory / "photos"
    other.mkdir()
    (other / "cat.jpg").write_text("cat")
    with pytest.raises(Failure, match="no state directory of ours"):
        backup.restore(other, force=True)
    assert tree(other) == {"cat.jpg": b"cat"}


def test_a_new_place_that_is_refused_is_not_made(backup: Made) -> None:
    """Nothing is left of a restore that never was."""
    backup.forge(break_chain)
    with pytest.raises(BackupDamaged):
        backup.restore(backup.directory / "new")
    assert not (backup.directory / "new").exists()


# killed


def killed_at(backup: Made, state: Path, at: str) -> None:
    """Restore in a process that is killed at a step."""
    pid = os.fork()
    if not pid:
        backup.restore(
            state, force=True, step=lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == at else None
        )
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize("at", STEPS)
def test_killed_at_any_step_the_old_or_the_new_state_is_there(backup: Made, at: str) -> None:
    """Old before the decision, new after it; between them no market starts, and a second try finishes."""
    state = backup.state
    old = tree(state, "market", "homes")
    backup.restore(backup.directory / "new")
    new = tree(backup.directory / "new", "market", "homes")
    killed_at(backup, state, at)
    if at in ON_THE_WAY:
        with pytest.raises(ConfigError, match="cut short"):
            exchange.refuse_unfinished(state)
    else:
        exchange.refuse_unfinished(state)
        assert tree(state, "market", "homes") == (old if at in UNDECIDED else new)
    done = backup.restore(state, force=True)
    assert done.finished == (at in ON_THE_WAY)
    assert tree(state, "market", "homes") == new
    if at != "decision carried out":
        assert done.aside is not None
        assert tree(done.aside) == old
    assert sorted(path.name for path in state.iterdir() if path.name.startswith(("in", "rest"))) == []


@pytest.mark.parametrize("aside", ["../elsewhere", "/elsewhere", "homes", "before-1/../../x", "", 7, None])
def test_a_decision_that_names_another_place_is_not_carried_out(backup: Made, aside: object) -> None:
    """Root would rename the state to wherever it says: refused, and nothing has moved."""
    decided = {"aside": aside, "seal": "0" * 64, "last_slot": 1}
    (backup.state / exchange.DECISION).write_text(json.dumps(decided))
    failure = refused(backup, Failure, "no directory that a restore sets aside in", force=True)
    assert failure.code is Exit.IO_ERROR


def test_a_decision_of_another_user_is_not_carried_out(backup: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users of the suite may write there, and only root restores: none of their files counts, nor a link."""
    decision = exchange.Decision(f"before-{STAMP}", "0" * 64, 1)
    path = backup.state / exchange.DECISION
    exchange.decide(backup.state, decision)
    assert exchange.pending(backup.state) == decision
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 4_000_001)
        assert exchange.pending(backup.state) == decision  # root's, for whoever looks
        found = path.stat()
        patched.setattr(os, "fstat", lambda _: os.stat_result((*found[:4], 4_000_002, *found[5:])))
        with pytest.raises(Failure, match="user 4000002 has written it"):
            exchange.pending(backup.state)
    path.rename(backup.directory / "elsewhere.json")
    path.symlink_to(backup.directory / "elsewhere.json")
    with pytest.raises(Failure, match="cannot be read"):
        exchange.pending(backup.state)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Failure, match="it is no file"):
        exchange.pending(backup.state)


def test_every_step_is_one_of_those_that_were_tried(backup: Made) -> None:
    """The list of kills above is complete, and in order."""
    heard: list[str] = []
    backup.restore(backup.state, force=True, step=heard.append)
    assert tuple(heard) == STEPS


def test_a_cut_short_restore_of_another_backup_is_finished_first(backup: Made) -> None:
    """Then the one that was asked for follows; the first one's state lies aside like any other."""
    killed_at(backup, backup.state, "homes in")
    backup.file.rename(backup.directory / "first.tar")
    again = made(backup.directory / "again", before=6, after=1)
    backup.file.write_bytes(again.file.read_bytes())
    done = backup.restore(backup.state)
    assert (done.finished, done.manifest.last_slot) == (False, START + 5)
    assert check(backup.state, backup.market.compiled).last_slot == START + 5


def test_a_home_that_had_left_the_pool_has_left_it(backup: Made) -> None:
    """Its registers have a file of their own in the backup, and the next start finds whom to start."""
    homes = backup.state / "homes"
    with files.claimed(files.of_home(homes, 3), bytes.fromhex(backup.market.compiled.hash)):
        assert files.of_home(homes, 3).path.exists()
    backup.file.unlink()
    backup.back_up()
    new = backup.directory / "new"
    backup.restore(new)
    assert sorted(path.name for path in (new / "homes").glob("*.state")) == [
        "home-3.state", "shard-1-2.state", "shard-4-1.state",
    ]  # fmt: skip
    assert apart.homes_in(new / "homes") == {3}
    result = check(new, backup.market.compiled)
    assert (result.findings, result.homes_compared, result.homes_uncompared) == ([], 4, 0)

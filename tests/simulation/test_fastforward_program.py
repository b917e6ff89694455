"""Fast-forward as a program: killed, interrupted, refused, out of room; what it leaves goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from energymarket.core.parameters import Rule
from energymarket.engine import api
from energymarket.engine.folder import Folder
from energymarket.engine.result import Result
from energymarket.engine.run import Plan, Run
from energymarket.exits import Exit, Failure
from energymarket.runtime.clock import boottime_ns, sleep_until_boottime_ns
from energymarket.transport.bulk_store import BulkStore
from energymarket.transport.store import LedgerStore
from tests.simulation.market_place import ROOT


def program(*words: str, **environ: str) -> list[Any]:
    """The command and its environment."""
    return [
        [sys.executable, "-m", "energymarket.fastforward", *words],
        {**os.environ, "PYTHONPATH": str(ROOT / "daemons"), **environ},
    ]


def played(*words: str, **environ: str) -> dict[str, Any]:
    """What the program answers."""
    command, environment = program(*words, "--json", **environ)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_killed_and_resumed_again_and_again_it_is_the_same_ledger(tmp_path: Path) -> None:
    """Kill -9 of the run at its checkpoints; workers die with it, and --resume ends as an unbroken run."""
    words = ("default", "--homes", "60", "--for", "90d", "--engine", "local", "--workers", "2")
    whole = played(*words, "--out", str(tmp_path / "whole"))
    out = tmp_path / "broken"
    kills, seen = 0, 0
    while kills < 3:
        command, environ = program(*words, "--out", str(out), "--resume")
        run = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
        seen = _wait_for_a_checkpoint_after(run, out, seen)
        if run.poll() is not None:
            break
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text(encoding="ascii").split()
        run.send_signal(signal.SIGKILL)
        run.wait()
        kills += 1
        assert all(_ends(int(child)) for child in children), "a worker lives on"
    assert kills > 0
    resumed = played(*words, "--out", str(out), "--resume")
    assert resumed["ledger_hash"] == whole["ledger_hash"]
    assert (resumed["energy"], resumed["money"]) == (whole["energy"], whole["money"])


def _wait_for_a_checkpoint_after(run: subprocess.Popen[Any], out: Path, slot: int) -> int:
    """Wait until the run has a later checkpoint, or is over; the checkpoint's slot."""
    while run.poll() is None:
        found = [int(path.name.split("-")[1]) for path in (out / "unfinished").glob("checkpoint-*[0-9]")]
        if found and max(found) > slot:
            return max(found)
        sleep_until_boottime_ns(boottime_ns() + 5_000_000)
    return slot


def _ends(pid: int) -> bool:
    """Whether a process is gone within two seconds."""
    deadline = boottime_ns() + 2_000_000_000
    while boottime_ns() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        sleep_until_boottime_ns(boottime_ns() + 10_000_000)
    return False


def test_ctrl_c_ends_it_with_what_there_is(tmp_path: Path) -> None:
    """SIGINT: exit 130, a result of the slots so far, earlier results untouched; --resume goes on."""
    words = ("default", "--homes", "60", "--out", str(tmp_path))
    earlier = played(*words, "--for", "10")
    command, environ = program(*words, "--for", "1y", "--json")
    run = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    _wait_for_a_checkpoint_after(run, tmp_path, 0)
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    document = json.loads(said)
    assert run.returncode == Exit.INTERRUPTED
    assert document["complete"] is False
    assert 0 < document["slots"] < document["slots_planned"]
    assert Folder(tmp_path).result() == {k: v for k, v in earlier.items() if k != "folder"}
    unbroken = played(*words[:-1], str(tmp_path / "other"), "--for", str(document["slots"]))
    assert unbroken["ledger_hash"] == document["ledger_hash"]


def test_sigterm_to_all_of_it_is_an_ordered_end(tmp_path: Path) -> None:
    """As a service manager stops a unit: run and workers get it, and what was played is kept and goes on."""
    words = ("default", "--homes", "60", "--out", str(tmp_path), "--engine", "local", "--workers", "2")
    command, environ = program(*words, "--for", "1y", "--json")
    run = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True)
    _wait_for_a_checkpoint_after(run, tmp_path, 0)
    sleep_until_boottime_ns(boottime_ns() + 300_000_000)  # workers are in the middle of a leg
    os.killpg(run.pid, signal.SIGTERM)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == Exit.INTERRUPTED
    slots = json.loads(said)["slots"]
    command, environ = program(*words, "--for", "1", "--resume")
    shorter = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert shorter.returncode == Exit.CONFIGURATION
    assert f"has {slots} slots already" in shorter.stderr
    resumed = played(*words, "--for", str(slots + 50), "--resume")
    unbroken = played(*words[:3], "--out", str(tmp_path / "other"), "--for", str(slots + 50))
    assert resumed["ledger_hash"] == unbroken["ledger_hash"]


def test_a_worker_that_is_killed_ends_the_run_which_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """SIGKILL of a worker: one clear error, no worker is left, --resume ends as an unbroken run."""
    words = ("default", "--homes", "60", "--engine", "local", "--workers", "2")
    command, environ = program(*words, "--for", "1y", "--out", str(tmp_path / "cut"))
    run = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    _wait_for_a_checkpoint_after(run, tmp_path / "cut", 0)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text(encoding="ascii").split()
    os.kill(int(children[1]), signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert run.returncode == Exit.FAILED
    assert "has died" in said
    assert len(said.strip().splitlines()) == 1, said
    assert all(_ends(int(child)) for child in children)
    seen = max(
        int(path.name.split("-")[1]) for path in (tmp_path / "cut/unfinished").glob("checkpoint-*[0-9]")
    )
    slots = str(seen - api.compiled_of("default", 60, None).period.first_slot + 2_000)
    resumed = played(*words, "--for", slots, "--out", str(tmp_path / "cut"), "--resume")
    unbroken = played(*words, "--for", slots, "--out", str(tmp_path / "whole"))
    assert resumed["ledger_hash"] == unbroken["ledger_hash"]


def test_a_run_killed_while_it_takes_its_place_is_not_lost(tmp_path: Path) -> None:
    """The old result is gone, the new one lies whole beside it: the next run puts it there."""
    words = ("default", "--homes", "60", "--out", str(tmp_path), "--engine", "embedded")
    done = played(*words, "--for", "10")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    for name in ("market", "homes", "result.json"):
        (tmp_path / name).rename(unfinished / name)
    command, environ = program(*words, "--for", "10", "--seed", "-1")
    assert subprocess.run(command, env=environ, capture_output=True, check=False).returncode == Exit.USAGE
    again = played(*words, "--for", "10", "--resume")
    assert again["ledger_hash"] == done["ledger_hash"]
    assert not unfinished.exists()
    compared = played(*words, "--for", "10", "--resume", "--compare")
    assert set(compared["sharing"]["rules"]) == {str(rule) for rule in Rule}


@pytest.mark.parametrize("engine", ["embedded", "local"])
@pytest.mark.parametrize("many_from", [1, 100_000])
def test_killed_at_its_very_end_a_run_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, many_from: int
) -> None:
    """Before the ledger's last transaction it goes on from the checkpoint before, after it it has its result.

    The result that was written before the transaction does not count without it.
    """
    monkeypatch.setattr(LedgerStore, "large_from_homes", many_from)
    compiled = api.compiled_of("default", 60, None)

    def play(place: Path, *, resume: bool = False) -> dict[str, Any]:
        folder = Folder(place)
        with folder.held():
            plan = api.plan_of(compiled, folder, duration="2d", engine=engine, workers=2)
            return api.play(plan, folder, resume=resume)

    whole = play(tmp_path / "whole")
    end = BulkStore.end_bulk

    def dying_before(store: BulkStore) -> None:
        if (tmp_path / "killed/unfinished/result.json").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        end(store)

    def dying_after(store: BulkStore) -> None:
        end(store)
        if (tmp_path / "killed/unfinished/result.json").exists():
            os.kill(os.getpid(), signal.SIGKILL)

    folder = Folder(tmp_path / "killed")
    for dying in (dying_before, dying_after):
        monkeypatch.setattr(BulkStore, "end_bulk", dying)
        assert _killed(lambda: play(tmp_path / "killed", resume=True))
        monkeypatch.setattr(BulkStore, "end_bulk", end)
        assert (folder.run / "result.json").exists()
        assert folder.is_played() == (dying is dying_after)
        assert (folder.run / "result.json").exists() == (dying is dying_after)
    with folder.held():
        folder.take_place()
    found = folder.result()
    assert found is not None
    times = {"wall_s", "cpu_s"}
    assert {k: v for k, v in found.items() if k not in times} == {
        k: v for k, v in whole.items() if k not in times
    }
    result = Result(found, folder.path, compiled)
    assert result.homes["money_ueur"].sum() == round(found["money"]["homes_eur"] * 1e6)


def _killed(act: Callable[[], object]) -> bool:
    """Whether a child that does it is killed by SIGKILL."""
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            act()
        os._exit(0)
    return os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--for", "99999999y"), Exit.USAGE, "slots at most"),
        (("--for", "\u0663"), Exit.USAGE, "is no duration"),
        (("--homes", "99999999999"), Exit.CONFIGURATION, "are the most"),
    ],
)
def test_absurd_numbers_are_one_clear_error(
    tmp_path: Path, words: tuple[str, str], code: Exit, said: str
) -> None:
    """Refused before anything is made."""
    command, environ = program("default", *words, "--out", str(tmp_path / "out"))
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("reaches_both", [True, False])
def test_energyctl_waits_for_what_it_has_interrupted(tmp_path: Path, reaches_both: bool) -> None:
    """Ctrl-C in a terminal reaches the whole group, `kill -INT` one process: the result is saved."""
    words = ["simulate", "--homes", "60", "--for", "1y", "--out", str(tmp_path), "--json"]
    command = [sys.executable, "-m", "energyctl", *words]
    environ = {**os.environ, "PYTHONPATH": f"{ROOT / 'daemons'}:{ROOT / 'ctl'}"}
    run = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True)
    _wait_for_a_checkpoint_after(run, tmp_path, 0)
    if reaches_both:
        os.killpg(run.pid, signal.SIGINT)
    else:
        run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == Exit.INTERRUPTED
    assert (
        0
        < json.loads(said)["slots"]
        == json.loads((tmp_path / "unfinished/result.json").read_text())["slots"]
    )


def test_fewer_simd_features_make_the_same_ledger(tmp_path: Path) -> None:
    """NumPy without AVX2, FMA and AVX512 rounds every operation on the slot's path as with them."""
    words = ("default", "--homes", "60", "--for", "7d", "--engine", "embedded")
    fast = played(*words, "--out", str(tmp_path / "fast"))
    names = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    there = [name for name in names.split() if name in simd["found"]]
    if not there:
        pytest.skip("this processor has none of the features that NumPy dispatches to")
    slow = played(*words, "--out", str(tmp_path / "slow"), NPY_DISABLE_CPU_FEATURES=" ".join(there))
    assert slow["ledger_hash"] == fast["ledger_hash"]


def test_a_full_disk_is_one_clear_error_and_earlier_results_stay(tmp_path: Path) -> None:
    """A limit on file sizes as a full disk: exit 74, one message, the earlier result as it was."""
    words = ("default", "--homes", "60", "--out", str(tmp_path), "--engine", "embedded")
    earlier = played(*words, "--for", "10")
    before = {path: path.read_bytes() for path in (tmp_path / "market").iterdir()}
    command, environ = program(*words, "--for", "60d", "--json")
    limited = ["prlimit", "--fsize=1000000", *command]
    done = subprocess.run(limited, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.IO_ERROR, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert Folder(tmp_path).result() == {k: v for k, v in earlier.items() if k != "folder"}
    assert {path: path.read_bytes() for path in (tmp_path / "market").iterdir()} == before
    assert played(*words, "--for", "60d", "--resume")["complete"] is True


@pytest.mark.parametrize("what", ["registers", "result"])
def test_a_disk_that_refuses_the_end_is_one_clear_error_and_the_run_is_not_played(
    tmp_path: Path, what: str
) -> None:
    """The place of registers is taken, or no result can be written: exit 74, and the end is played again."""
    folder = Folder(tmp_path)
    plan = Plan(api.compiled_of("default", 60, None), 10, folder.run)
    registers = folder.run / "homes" / "shard-1-60.state"

    def leave() -> None:
        (folder.run / "result.json.new").mkdir()
        folder.write_result({})

    run = Run(plan, resume=False)
    if what == "registers":
        registers.mkdir(parents=True)
    with pytest.raises(Failure, match="cannot be written") as caught:
        run.go(leave=leave)
    run.close()
    assert caught.value.code == Exit.IO_ERROR
    if what == "registers":
        registers.rmdir()
    again = Run(plan, resume=True)
    assert again.next_slot == plan.compiled.period.first_slot  # nothing of the end counted
    again.go(leave=lambda: None)
    again.close()
    assert again.sums.slots == 10


def test_two_runs_in_one_place_do_not_meet(tmp_path: Path) -> None:
    """The second is told, and the first goes on."""
    folder = Folder(tmp_path)
    with folder.held():
        run = Run(Plan(api.compiled_of("default", 60, None), 10, folder.run), resume=False)
        command, environ = program("default", "--for", "1", "--out", str(tmp_path))
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == Exit.SECOND_INSTANCE
        assert "another run is at work" in done.stderr
        run.go()
        run.close()
        assert run.sums.slots == 10

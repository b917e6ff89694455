"""`energyctl up` with real processes, sockets, signals: start, show, stop, death, leftovers, detaching."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from energyctl import ledger_file
from tests.ipc.suite_fixture import ROOT, Suite, real_at, suite_at, wait_for

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    place = suite_at(tmp_path)
    yield place
    for pid in place.processes():
        os.kill(pid, signal.SIGKILL)


def test_a_run_for_five_slots_ends_by_itself_and_leaves_nothing(suite: Suite) -> None:
    """Five lines for five slots, exit code 0, no process, no file in the run directory."""
    done = suite.ctl("up", "classic", "--state", str(suite.path / "state"), "--for", "5")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert re.fullmatch(
        r"2026-06-12 12:00  slot 1979184  0\.157750 €/kWh  given 0\.250 kWh  traded 0\.400 kWh"
        r"  grid -0\.600 kWh",
        lines[0],
    )
    assert "running: classic" in done.stderr
    assert suite.left() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_a_signal_stops_a_run_in_order(suite: Suite, number: signal.Signals, code: int) -> None:
    """Ctrl-C, SIGTERM and a closed terminal: homes go before the market's process, and nothing is left."""
    process = suite.start("--json")
    wait_for(process, "ready")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert '"type": "stopped"' in out
    assert suite.left() == []


@pytest.mark.parametrize("role", ["MARKET", "WEATHER", "HOMES", "HOME"])
def test_a_daemon_that_dies_before_it_is_ready_ends_the_start_with_its_last_words(
    suite: Suite, role: str
) -> None:
    """Exit code 1, the daemon's own lines without the journal's prefix, and no process left."""
    suite.environ[f"STANDIN_{role}"] = "die"
    done = suite.ctl("up", "classic", "--state", str(suite.path / "state"))
    assert done.returncode == 1
    assert "giving up" in done.stderr
    assert "<3>" not in done.stderr
    assert "ended with exit code 7 before it was ready" in done.stderr
    assert suite.left() == ["up.log"]
    assert "giving up" in (suite.run / "up.log").read_text()


def test_who_dies_at_each_start_is_given_up_visibly_and_the_others_serve_on(suite: Suite) -> None:
    """Twenty starts, then failed: `status` says so with 5 and why, the market answers, and the end is a 1."""
    suite.environ["STANDIN_WEATHER"] = "relapse"
    with suite.running() as process:
        found = suite.wait_for_unit("energy-weather.service", "failed", timeout_s=60)
        assert found["restarts"] == 19
        assert "20 starts within 60 s" in found["why"]
        assert suite.ctl("price").returncode == 0
        status = suite.ctl("status")
        assert status.returncode == 5
        assert "ended with exit code 7 before it was ready" in status.stdout
        suite.environ.pop("STANDIN_WEATHER")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 1
    assert "half a line without its end" in (suite.run / "up.log").read_text()
    assert suite.left() == ["up.log"]


def test_a_home_pool_that_leaves_without_a_word_has_failed(suite: Suite) -> None:
    """Exit 0 in the middle of a run is no success of the run: told, shown, and an exit code of 1."""
    suite.environ["STANDIN_HOMES"] = "leave"
    done = suite.ctl("up", "classic", "--state", str(suite.path / "state"), "--for", "40")
    assert done.returncode == 1
    assert "homes left without a word" in done.stderr
    assert "the others serve on" in done.stderr


def test_what_a_daemon_leaves_behind_is_found_and_ended(suite: Suite) -> None:
    """An orphan in a session of its own comes to the supervisor, which kills and reaps it."""
    suite.environ["STANDIN_WEATHER"] = "orphan"
    done = suite.ctl("up", "classic", "--state", str(suite.path / "state"), "--for", "3")
    assert done.returncode == 0, done.stderr
    assert suite.left() == []


def test_a_daemon_that_ignores_sigterm_is_killed_when_asked_twice(suite: Suite) -> None:
    """A second Ctrl-C ends what the first could not."""
    suite.environ["STANDIN_WEATHER"] = "stubborn"
    process = suite.start("--json")
    wait_for(process, "ready")
    process.send_signal(signal.SIGINT)
    while not any(w["name"] == "homes" and w["state"] == "ended" for w in [wait_for(process, "daemon")]):
        pass
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert "weather does not go: killed" in out
    assert suite.left() == []


def test_a_second_run_in_the_same_place_is_refused(suite: Suite) -> None:
    """Exit code 73, and the words name the process that is there; the first goes on."""
    with suite.running() as first:
        done = suite.ctl("up", "classic", "--state", str(suite.path / "other"))
        assert done.returncode == 73
        assert f"process {first.pid} holds" in done.stderr
        assert suite.ctl("price").returncode == 0


def test_two_runs_on_one_state_are_refused(suite: Suite) -> None:
    """Another run directory does not make a state free: exit code 73."""
    with suite.running():
        command = suite.command(
            "--run", str(suite.path / "run2"), "up", "classic", "--state", str(suite.path / "state")
        )
        done = subprocess.run(command, env=suite.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 73
        assert "another run uses the state" in done.stderr
        assert not (suite.path / "run2").exists()


def test_after_its_own_sigkill_no_process_lives_and_the_next_start_works(suite: Suite) -> None:
    """Children die with the supervisor; the files it left are removed by the next run, which says so."""
    process = suite.start("--json")
    wait_for(process, "ready")
    process.kill()
    process.communicate()
    suite.wait_until_alone()
    assert suite.processes() == []
    assert "ipc.json" in suite.left()
    done = suite.ctl("up", "classic", "--state", str(suite.path / "state"), "--for", "2")
    assert done.returncode == 0, done.stderr
    assert "removed what an earlier run had left" in done.stderr
    assert suite.left() == []


def test_ipc_clean_removes_what_a_killed_run_left(suite: Suite) -> None:
    """The record, the sockets and the IPC objects go; the directory too."""
    process = suite.start("--json")
    wait_for(process, "ready")
    process.kill()
    process.communicate()
    done = suite.ctl("ipc", "clean")
    assert done.returncode == 0, done.stderr
    assert "control" in done.stdout
    assert suite.left() == []
    assert not suite.run.exists()


def test_ipc_clean_leaves_a_living_run_alone(suite: Suite) -> None:
    """Exit code 73, and the market goes on."""
    with suite.running():
        assert suite.ctl("ipc", "clean").returncode == 73
        assert suite.ctl("price").returncode == 0


def test_detach_returns_when_all_is_ready_and_stop_ends_it(suite: Suite) -> None:
    """After `up --detach` the market answers at once; after `stop` nothing is left."""
    done = suite.ctl("up", "classic", "--state", str(suite.path / "state"), "--detach")
    assert done.returncode == 0, done.stderr
    assert "running as process" in done.stdout
    assert suite.ctl("price").returncode == 0
    stopped = suite.ctl("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert "nothing is left" in stopped.stdout
    assert suite.left() == []
    assert suite.ctl("stop").returncode == 3


def test_detach_returns_with_the_error_of_a_daemon(suite: Suite) -> None:
    """Exit code 1 and the last words of the daemon, although it wrote them after the fork."""
    suite.environ["STANDIN_HOMES"] = "die"
    done = suite.ctl("up", "classic", "--state", str(suite.path / "state"), "--detach")
    assert done.returncode == 1
    assert "homes ended with exit code 7 before it was ready" in done.stderr
    assert "the board is broken" in done.stderr
    suite.wait_until_alone()
    assert suite.left() == ["up.log"]


def test_detach_ends_with_the_code_of_a_refusal(suite: Suite) -> None:
    """A daemon that refuses its start with 78 is 78 for the shell, in the foreground and detached."""
    suite.environ["STANDIN_HOMES"] = "refuse"
    words = ("up", "classic", "--state", str(suite.path / "state"))
    assert suite.ctl(*words).returncode == 78
    assert suite.ctl(*words, "--detach").returncode == 78
    suite.wait_until_alone()


def test_fresh_deletes_only_what_is_ours(suite: Suite) -> None:
    """A directory without our mark is refused, with or without --fresh; a stranger's file in ours too."""
    foreign = suite.path / "photos"
    foreign.mkdir()
    (foreign / "me.jpg").write_text("x")
    for words in ([], ["--fresh"]):
        done = suite.ctl("up", "classic", "--state", str(foreign), *words)
        assert done.returncode == 1
        assert "no state directory of ours" in done.stderr
    state = suite.path / "state"
    assert suite.ctl("up", "classic", "--state", str(state), "--for", "1").returncode == 0
    (state / "market").mkdir()
    (state / "market" / "ledger.db").write_text("old")
    (state / "thesis.txt").write_text("x")
    assert "thesis.txt" in suite.ctl("up", "classic", "--state", str(state), "--fresh").stderr
    (state / "thesis.txt").unlink()
    assert suite.ctl("up", "classic", "--state", str(state), "--fresh", "--for", "1").returncode == 0
    assert not (state / "market").exists()
    assert (foreign / "me.jpg").exists()


def test_a_scenario_that_is_refused_starts_nothing(suite: Suite) -> None:
    """Exit code 78 with file, line and reason, the words of `config check`."""
    bad = suite.path / "bad.toml"
    bad.write_text('schema = 1\ntitle = "x"\nsead = 4\n')
    done = suite.ctl("up", str(bad))
    assert done.returncode == 78
    assert "bad.toml:3: sead" in done.stderr
    assert done.stderr == suite.ctl("config", "check", str(bad)).stdout
    assert not suite.run.exists()


def test_fifty_starts_and_stops_leave_nothing(suite: Suite) -> None:
    """Start, one slot, end, fifty times in the same place: every exit code is 0 and nothing piles up."""
    for _ in range(50):
        done = suite.ctl("up", "classic", "--state", str(suite.path / "state"), "--for", "1")
        assert done.returncode == 0, done.stderr
        assert suite.left() == []


def kernel_objects() -> list[str]:
    """Every System V object there is here."""
    return [
        " ".join(line.split()[:2])
        for kind in ("msg", "sem", "shm")
        for line in Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
    ]


def test_the_assignment_runs_with_its_real_daemons_and_leaves_nothing(tmp_path: Path) -> None:
    """Nine processes, three slots; no process, file or kernel object left; the second run goes on."""
    suite, before = real_at(tmp_path), kernel_objects()
    slots = []
    for _ in range(2):
        done = suite.ctl(
            "--json", "up", "classic", "--state", str(tmp_path / "state"), "--for", "3", "--speed", "3000"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        assert sum(d["type"] == "daemon" and d["state"] == "ready" for d in documents) == 8
        slots += [d["slot"] for d in documents if d["type"] == "slot"]
        assert suite.left() == []
        assert kernel_objects() == before
    assert slots == list(range(slots[0], slots[0] + len(slots)))
    assert len(slots) >= 3


def test_a_killed_run_of_real_daemons_leaves_nothing_that_clean_does_not_remove(tmp_path: Path) -> None:
    """SIGKILL of the supervisor: all processes die with it, and `ipc clean` removes the kernel's objects."""
    suite, before = real_at(tmp_path), kernel_objects()
    process = suite.start("--json", "--speed", "3000")
    wait_for(process, "slot")
    process.kill()
    process.communicate()
    suite.wait_until_alone()
    assert suite.processes() == []
    assert kernel_objects() != before
    assert suite.ctl("ipc", "clean").returncode == 0
    assert suite.left() == []
    assert kernel_objects() == before


def test_stop_wakes_a_stopped_market_and_ends_in_order(tmp_path: Path) -> None:
    """SIGSTOP to the market, then stop: told, continued with SIGTERM; the next start has the next slot."""
    suite = real_at(tmp_path)
    process = suite.start("--json", "--speed", "3000")
    wait_for(process, "slot")
    market = suite.child("market")
    os.kill(market, signal.SIGSTOP)
    done = suite.ctl("stop")
    process.communicate(timeout=30)
    assert f"the market (process {market}) is frozen" in done.stderr
    assert done.returncode == 0, done.stderr
    assert suite.left() == []
    last = ledger_file.last_slot(tmp_path / "state" / "market" / "ledger.db")
    assert last is not None
    again = suite.ctl(
        "--json", "up", "classic", "--state", str(tmp_path / "state"), "--for", "1", "--speed", "3000"
    )
    slots = [d["slot"] for d in map(json.loads, again.stdout.splitlines()) if d["type"] == "slot"]
    assert last + 1 in slots


def test_a_changed_coefficient_goes_on_with_the_ledger(tmp_path: Path) -> None:
    """What a reload may change does not refuse the same `up` on the same state; another seed does (78)."""
    suite, file = real_at(tmp_path), tmp_path / "my.toml"
    suite.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    text = (ROOT / "daemons/energymarket/scenario/shipped/classic.toml").read_text()
    codes = []
    for before, after in (("", ""), ("gamma = 0.99", "gamma = 0.98"), ("seed = 1", "seed = 2")):
        file.write_text(text.replace(before, after) if before else text)
        words = ("--state", str(tmp_path / "state"), "--for", "1", "--speed", "3000")
        codes.append(suite.ctl("up", str(file), *words).returncode)
    assert codes == [0, 0, 78]

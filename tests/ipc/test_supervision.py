"""`energyctl up` as a supervisor, with real daemons: killed, stopped, ordered about, and killed itself."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from energyctl import client
from energyctl.up import proc
from energymarket.runtime import clock
from tests.ipc.suite_fixture import ROOT, Suite, real_at, suite_at, wait_for
from tests.ports import free_port

pytestmark = pytest.mark.timeout(180)

WATCHDOG_S = 2.0
BACK_S_MAX = 30.0  # on a loaded machine; what it usually takes is in architecture.md
ZOMBIE_S_MAX = 2.0  # one that nobody takes stays for ever


def pause(span_s: float) -> None:
    select.select([], [], [], span_s)


@contextmanager
def zombies_seen(supervisor: int) -> Iterator[dict[int, float]]:
    """Sample /proc fifty times a second: each zombie below the supervisor, and for how long it was there."""
    seen: dict[int, list[float]] = {}
    over = Event()

    def sample() -> None:
        while not over.wait(0.02):
            for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
                if proc.stat_field(pid, 3) == "Z" and proc.stat_field(pid, 4) == str(supervisor):
                    seen.setdefault(pid, []).append(clock.monotonic_s())

    thread, found = Thread(target=sample), dict[int, float]()
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        found.update({pid: times[-1] - times[0] for pid, times in seen.items()})


def wait_for_another(suite: Suite, unit: str, pid: int) -> dict[str, object]:
    """Watch until the unit serves again as another process; the row says how."""
    with client.Connection(suite.run / "supervisor", BACK_S_MAX) as connection:
        for said in connection.watch("io.energymarket.Supervisor.Watch", timeout_s=BACK_S_MAX):
            row: dict[str, object] = next(each for each in said["units"] if each["unit"] == unit)
            if row["state"] == "ready" and row["pid"] != pid:
                return row
    raise AssertionError(f"{unit} never came back")


def test_killed_or_frozen_every_daemon_is_back_and_nothing_is_lost(tmp_path: Path) -> None:
    """SIGKILL and SIGSTOP of market, weather and a home: replaced, and the stopped process is gone.

    Meanwhile nobody who connects to the market is refused, no zombie stays, and the ledger is whole by the
    checker's own arithmetic.
    """
    suite = real_at(tmp_path)
    with suite.running("--speed", "3000") as up, zombies_seen(up.pid) as zombies:
        units = suite.units()
        single = next(unit for unit in units if unit.startswith("energy-home@"))
        targets = ["energy-market.service", "energy-weather.service", single]
        for unit in targets:
            for number in (signal.SIGKILL, signal.SIGSTOP):
                pid = int(suite.units()[unit]["pid"])
                began_s = clock.monotonic_s()
                os.kill(pid, number)
                if unit == "energy-market.service":
                    client.Connection(suite.run / "control", 1.0).open().close()
                row = wait_for_another(suite, unit, pid)
                took_s = clock.monotonic_s() - began_s
                assert proc.stat_field(pid, 3) is None, "the stopped process is still there"
                if number is signal.SIGSTOP:
                    assert took_s > WATCHDOG_S / 2, "it was not the watchdog"
                assert int(str(row["restarts"])) >= 1
        others = set(units) - set(targets)
        assert all(suite.units()[unit]["restarts"] == 0 for unit in others), "another daemon was restarted"
        verified = suite.ctl("ledger", "check")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        stopped = suite.ctl("stop")
        assert stopped.returncode == 0, stopped.stderr
        up.wait(timeout=30)
    assert {pid: span_s for pid, span_s in zombies.items() if span_s > ZOMBIE_S_MAX} == {}
    assert suite.left() == []


def test_dispatcher_and_workers_are_carried_like_the_others(tmp_path: Path) -> None:
    """A killed worker and a frozen dispatcher are replaced, both answer again, and stop leaves nothing."""
    suite = real_at(tmp_path)
    file = tmp_path / "my.toml"
    text = (ROOT / "daemons/energymarket/scenario/shipped/classic.toml").read_text()
    file.write_text(f"{text}\n[dispatch]\nworkers = 2\nport = {free_port()}\n")
    words = ("up", str(file), "--state", str(tmp_path / "state"), "--speed", "900", "--detach")
    started = suite.ctl(*words)
    assert started.returncode == 0, started.stderr
    for unit, number in (("worker@1", signal.SIGKILL), ("dispatcher", signal.SIGSTOP)):
        pid = suite.child(unit)
        os.kill(pid, number)
        wait_for_another(suite, f"energy-{unit}.service", pid)
        assert proc.stat_field(pid, 3) is None
    shown = suite.ctl("--json", "workers")  # the new dispatcher is given a moment to find them
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert told["dispatcher"]["pid"] == suite.child("dispatcher")
    # Counted by who starts them: this dispatcher has seen one life of each.
    assert {row["number"]: row["restarts"] for row in told["workers"]} == {1: 1, 2: 0}
    asked = suite.ctl("ask", "report", "--last", "1")
    assert asked.returncode == 0, asked.stderr
    stopped = suite.ctl("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert suite.left() == []


def test_detached_beside_a_port_in_use_the_market_trades_and_one_line_says_so(tmp_path: Path) -> None:
    """The dispatcher is an option: exit code 0, which port it wanted, and `workers` says: given up."""
    suite = real_at(tmp_path)
    file = tmp_path / "my.toml"
    text = (ROOT / "daemons/energymarket/scenario/shipped/classic.toml").read_text()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        file.write_text(f"{text}\n[dispatch]\nworkers = 1\nport = {port}\n")
        words = ("up", str(file), "--state", str(tmp_path / "state"), "--speed", "900", "--detach")
        started = suite.ctl(*words)
    assert started.returncode == 0, started.stderr
    (line,) = [line for line in started.stdout.splitlines() if "dispatcher" in line]
    assert f"127.0.0.1 port {port} is in use" in line
    assert line.endswith("; the others serve on")
    assert suite.ctl("price").returncode == 0
    shown = suite.ctl("workers")
    assert (shown.returncode, "it was given up: ended with exit code 73" in shown.stderr) == (3, True)
    assert suite.ctl("start", "dispatcher").returncode == 0  # the port is free by now
    assert suite.ctl("workers").returncode == 0
    os.kill(json.loads((suite.run / "up.json").read_text())["up"]["pid"], signal.SIGKILL)
    suite.wait_until_alone()
    shown = suite.ctl("workers")  # nobody will start it again: nothing is waited for
    assert (shown.returncode, "and so has who kept it" in shown.stderr) == (3, True)
    assert suite.ctl("ipc", "clean").returncode == 0
    assert suite.left() == []


def test_who_freezes_in_lockstep_is_replaced_and_the_hash_is_the_same(tmp_path: Path) -> None:
    """`--lockstep`, SIGSTOP of weather and a home: found by the watchdog, the ledger is simulate's."""
    suite = real_at(tmp_path)
    words = ("--json", "simulate", "classic", "--for", "150", "--out", str(tmp_path / "quiet"))
    undisturbed = json.loads(suite.ctl(*words).stdout)
    process = suite.start("--lockstep", "--for", "150", "--json")
    wait_until(lambda: "energy-weather.service" in units_or_none(suite))
    frozen = []
    for unit in ("energy-weather.service", "energy-home@2.service"):
        row = suite.wait_for_unit(unit, "ready")
        os.kill(int(row["pid"]), signal.SIGSTOP)
        frozen.append(int(row["pid"]))
        wait_for_another(suite, unit, int(row["pid"]))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["ledger_hash"] == undisturbed["ledger_hash"]
    assert all(proc.stat_field(pid, 3) is None for pid in frozen)
    assert suite.left() == []


def units_or_none(suite: Suite) -> dict[str, dict[str, object]]:
    """What the supervisor says; nothing while it does not serve yet."""
    try:
        return suite.units()
    except client.FAILURES:
        return {}


def wait_until(holds: object, timeout_s: float = 30.0) -> None:
    """Look again and again, for so long at most."""
    until_s = clock.monotonic_s() + timeout_s
    assert callable(holds)
    while not holds():
        assert clock.monotonic_s() < until_s, "never"
        pause(0.05)


def test_a_frozen_supervisor_lets_the_market_go_on_and_punishes_nobody(tmp_path: Path) -> None:
    """SIGSTOP for longer than a watchdog: slots are settled, `status` says 5; continued, all are the same."""
    suite = suite_at(tmp_path)
    with suite.running() as up:
        before = {unit: row["pid"] for unit, row in suite.units().items()}
        os.kill(up.pid, signal.SIGSTOP)
        try:
            early = suite.ctl("status", "--json")
            pause(WATCHDOG_S + 1.5)
            late = suite.ctl("status", "--json")
            restart = suite.ctl("restart", "weather")
        finally:
            os.kill(up.pid, signal.SIGCONT)
        assert late.returncode == 5
        assert json.loads(late.stdout)["snapshot"]["slot"] > json.loads(early.stdout)["snapshot"]["slot"]
        assert restart.returncode == 69
        assert f"kill -CONT {up.pid}" in restart.stderr
        pause(0.5)
        assert {unit: row["pid"] for unit, row in suite.units().items()} == before


def test_stop_wakes_a_frozen_supervisor(tmp_path: Path) -> None:
    """Ctrl-Z and `energyctl stop` in another terminal: it ends in order, and nothing is left."""
    suite = suite_at(tmp_path)
    with suite.running() as up:
        os.kill(up.pid, signal.SIGSTOP)
        done = suite.ctl("stop")
        assert done.returncode == 0, done.stderr
        up.wait(timeout=30)
    assert suite.left() == []


def test_no_daemon_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """SIGKILL of it while a daemon is frozen and another just dies: after 2 s no process is left."""
    suite = real_at(tmp_path)
    process = suite.start("--json", "--speed", "3000")
    wait_for(process, "slot")
    os.kill(suite.child("weather"), signal.SIGSTOP)
    os.kill(suite.child("home@2"), signal.SIGKILL)
    process.kill()
    began_s = clock.monotonic_s()
    process.communicate()
    suite.wait_until_alone()
    assert suite.processes() == []
    assert clock.monotonic_s() - began_s < 2.0
    assert suite.ctl("ipc", "clean").returncode == 0
    assert suite.left() == []


def test_units_are_ordered_about_as_under_systemd(tmp_path: Path) -> None:
    """Stop one, `status` is degraded; start it; restart it; restart all: answered when it is done."""
    suite = suite_at(tmp_path)
    with suite.running():
        first = suite.child("weather")
        assert suite.ctl("stop", "weather").returncode == 0
        assert proc.stat_field(first, 3) is None
        assert suite.units()["energy-weather.service"]["state"] == "stopped"
        assert suite.ctl("status").returncode == 5
        assert suite.ctl("start", "energy-weather").returncode == 0
        second = suite.child("weather")
        assert suite.ctl("restart", "energy-weather.service").returncode == 0
        assert len({first, second, suite.child("weather")}) == 3
        before = {row["pid"] for row in suite.units().values()}
        restarted = suite.ctl("restart", "--json")
        assert restarted.returncode == 0, restarted.stderr
        assert {row["state"] for row in json.loads(restarted.stdout)["units"]} == {"active"}
        assert before & {row["pid"] for row in suite.units().values()} == set()
        assert suite.ctl("price").returncode == 0
        strange = suite.ctl("restart", "energy-moon")
        assert strange.returncode == 4
        assert "energy-weather.service" in strange.stderr
        assert "all daemons are ready" in suite.ctl("logs").stdout
        assert suite.ctl("logs", "-u", "weather").stdout == ""
    assert suite.left() == []


def test_an_orphan_of_a_killed_daemon_goes_with_it(tmp_path: Path) -> None:
    """What it had started in a session of its own is killed with it, as systemd does with a control group."""
    suite = suite_at(tmp_path)
    suite.environ["STANDIN_WEATHER"] = "orphan"
    with suite.running() as up, zombies_seen(up.pid) as zombies:
        pid = suite.child("weather")
        (orphan,) = [each for each in suite.processes() if proc.stat_field(each, 4) == str(pid)]
        os.kill(pid, signal.SIGKILL)
        wait_for_another(suite, "energy-weather.service", pid)
        wait_until(lambda: proc.stat_field(orphan, 3) is None)
    assert {pid: span_s for pid, span_s in zombies.items() if span_s > ZOMBIE_S_MAX} == {}
    assert suite.left() == []


def test_the_supervisors_socket_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    """Unknown units have a named error, garbage costs its connection only, and introspection answers."""
    suite = suite_at(tmp_path)
    with suite.running():
        with client.Connection(suite.run / "supervisor", 30.0) as connection:
            with pytest.raises(client.VarlinkError) as refused:
                connection.call("io.energymarket.Supervisor.Start", {"units": ["energy-moon"]})
            assert refused.value.name == "io.energymarket.Supervisor.NoSuchUnit"
            info = connection.call("org.varlink.service.GetInfo")
            assert "io.energymarket.Supervisor" in info["interfaces"]
        with client.Connection(suite.run / "supervisor", 30.0) as connection:
            os.write(connection.fileno(), b"\xff{]\0" * 100)
        assert suite.ctl("status").returncode == 0

"""Dispatcher and workers as units: asked for by the configuration, watched, replaced, stopped in order."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.system.machine import Machine

pytestmark = [pytest.mark.needs("systemd-nspawn", "mmdebstrap"), pytest.mark.on("debian13")]

UNITS = ("energy-dispatcher", "energy-worker@1", "energy-worker@2")
CONFIGURATION = "etc/energy-market/energy-market.toml"
BY_HAND = (
    "exec 3<>/dev/tcp/127.0.0.1/2222; echo {} >&3; read -t 30 port <&3; "
    "exec 4<>/dev/tcp/127.0.0.1/$port; cat <&4"
)


@pytest.fixture
def asked(machine: Machine) -> Iterator[Machine]:
    """The suite with two workers; afterwards it is stopped, and configured as before."""
    path = machine.tree / CONFIGURATION
    before = path.read_text()
    machine.must("systemctl", "stop", "energy.slice", "energy-market.target")
    text, places = re.subn(r"(?m)^workers = \d+ ", "workers = 2 ", before)
    assert places == 1
    path.write_text(text)
    try:
        machine.start()
        machine.wait_until(lambda: states(machine) == ["idle", "idle"])
        yield machine
    finally:
        machine.must("systemctl", "stop", "energy.slice", "energy-market.target")
        path.write_text(before)


def states(machine: Machine) -> list[str]:
    said = machine.run("energyctl", "workers", "--json").stdout
    return [worker["state"] for worker in json.loads(said).get("workers", ())] if said else []


@contextmanager
def spoiled(machine: Machine, unit: str) -> Iterator[None]:
    """A unit whose program ends at once with an error, as long as this lasts."""
    dropin = machine.tree / f"etc/systemd/system/{unit}.service.d/90-spoiled.conf"
    dropin.parent.mkdir(parents=True)
    dropin.write_text("[Service]\nExecStart=\nExecStart=/bin/false\n")
    machine.must("systemctl", "daemon-reload")
    try:
        yield
    finally:
        dropin.unlink()
        dropin.parent.rmdir()
        machine.must("systemctl", "daemon-reload")


def by_hand(machine: Machine, kind: str) -> str:
    done = machine.run("bash", "-c", BY_HAND.format(kind), user="nobody")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_units_serve_are_replaced_and_leave_nothing(asked: Machine) -> None:
    """By hand and by energyctl, under the whole sandbox; deaths and freezes; the order of the stop."""
    machine = asked
    pids = [str(machine.pid(unit)) for unit in UNITS]
    shown = machine.must("ps", "-o", "user:32=,cls=,ni=", "-p", ",".join(pids)).splitlines()
    assert [line.split() for line in shown] == [
        ["energy-worker", "TS", "0"],
        ["energy-worker", "IDL", "-"],
        ["energy-worker", "IDL", "-"],
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", by_hand(machine, "requetetype1"))
    slot = machine.slot()
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d) slot (\d+)", by_hand(machine, "ReQueteType2\r"))
    assert found
    assert slot <= int(found[2]) <= machine.slot() + 2
    assert machine.run("energyctl", "workers", user="nobody").returncode == 77
    for words in (("report", "--last", "4"), ("forecast", "--for", "4", "--samples", "9")):
        answer = json.loads(machine.must("energyctl", "--json", "ask", *words))
        assert answer, words

    lives = {unit: machine.show(unit, "InvocationID") for unit in UNITS}
    assert machine.kill("energy-worker@1", signal.SIGKILL) < 10
    assert machine.kill("energy-worker@2", signal.SIGSTOP) < 20  # its watchdog has ten seconds
    assert machine.kill("energy-dispatcher", signal.SIGSTOP) < 10
    machine.wait_until(lambda: states(machine) == ["idle", "idle"])
    assert [machine.show(unit, "NRestarts") for unit in UNITS] == ["1", "1", "1"]
    after = {unit: machine.show(unit, "InvocationID") for unit in UNITS}
    assert all(lives[unit] != after[unit] for unit in UNITS)
    workers = [machine.pid(unit) for unit in UNITS[1:]]
    assert machine.kill("energy-dispatcher", signal.SIGKILL) < 10
    machine.wait_until(lambda: states(machine) == ["idle", "idle"])
    assert [machine.pid(unit) for unit in UNITS[1:]] == workers  # a crash of one is none of the other
    by_hand(machine, "requetetype1")
    told = json.loads(machine.must("energyctl", "--json", "workers"))["workers"]
    assert [worker["restarts"] for worker in told] == [1, 1]  # the manager's count: this dispatcher saw none

    with spoiled(machine, "energy-worker@2"):
        machine.must("systemctl", "kill", "--signal=KILL", "energy-worker@2")
        machine.wait_until(lambda: machine.show("energy-worker@2", "ActiveState") == "failed")
        workers_say, status_says = machine.run("energyctl", "workers"), machine.run("energyctl", "status")
        assert (workers_say.returncode, status_says.returncode) == (5, 5), (
            workers_say.stdout + status_says.stdout
        )
        assert "not at work: worker 2 (given up: exit 1" in workers_say.stdout
        assert "energy-worker@2.service is failed: exit 1" in status_says.stdout
        by_hand(machine, "requetetype1")  # the other serves on
    machine.must("energyctl", "start")  # gives it another chance
    machine.wait_until(lambda: states(machine) == ["idle", "idle"])

    since = machine.must("date", "+%s.%N").strip()
    machine.must("systemctl", "stop", "energy.slice", "energy-market.target")
    of = ("-u", "energy-dispatcher", "-u", "energy-worker@*", "-g", "^Stopped ", f"--since=@{since}")
    machine.wait_until(lambda: len(machine.journal(*of).splitlines()) == 3)
    stopped = machine.journal(*of)
    assert ["dispatcher" in line for line in stopped.splitlines()] == [False, False, True], stopped
    assert machine.left() == []
    assert machine.run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/2222").returncode != 0
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout.count("energy-") == 0

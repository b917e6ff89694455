"""Dispatcher and workers as units: asked for by the configuration, watched, replaced, stopped in order."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import pytest

from tests.system.machine import Machine

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap")

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
    assert before.count("workers = 0  #") == 1
    path.write_text(before.replace("workers = 0  #", "workers = 2  #"))
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
        ["energy-worker", "IDL", "19"],
        ["energy-worker", "IDL", "19"],
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

    machine.must("systemctl", "stop", "energy.slice", "energy-market.target")
    of = ("-u", "energy-dispatcher", "-u", "energy-worker@*", "-g", "^Stopped ", "--lines=3")
    stopped = machine.journal(*of).splitlines()
    assert ["dispatcher" in line for line in stopped] == [False, False, True], stopped
    assert machine.left() == []
    assert machine.run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/2222").returncode != 0
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout.count("energy-") == 0

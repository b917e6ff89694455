"""Meters, PV and books as units: sandboxed, with the password as a credential; a home lives by them."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ipc.processes import environment
from tests.system.machine import Machine

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap", "rabbitmqctl")

CONFIGURATION = "etc/energy-market/energy-market.toml"
SECRET = "/etc/credstore/energy-broker-password"  # noqa: S105 where systemd looks for it
UNITS = ("energy-meters", "energy-pv")
BOOKS = "energy-readings"


SCENARIO = """\
schema = 1
title = "A metered home and a simulated one"
[time]
start = 2026-06-15
timezone = "Europe/Berlin"
slot = "5s"
days = 1
speed = 1
[weather]
source = "constant"
[price]
half_life_h = 2
initial = 0.19
[[price.factor]]
name = "base"
alpha = 0.18
[broker]
host = "localhost"
password = "wrong"
[meters]
count = 2
interval_s = 0.1
[meters.pv]
forward = true
[[home]]
name = "metered"
policy = "give"
meter = "Meter_0"
consumption_w = [400]
[[home]]
name = "simulated"
policy = "sell"
consumption_w = [400]
"""


@pytest.fixture
def metered(machine: Machine, tmp_path: Path) -> Iterator[Machine]:
    """Two meters, a home lives by one of them; the password in the file is wrong, the credential is right."""
    own = tmp_path / "energy-market.toml"  # a scenario is called after its file
    own.write_text(SCENARIO)
    told = subprocess.run(
        [sys.executable, "-m", "energymarket.scenario", "compile", str(own), "--json"],
        env={**environment(), "XDG_CACHE_HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    compiled = Path(json.loads(told.stdout)["directory"])  # no compiler is installed in the machine
    carried = machine.tree / "var/cache/energy-market/compiled" / compiled.name
    path = machine.tree / CONFIGURATION
    before = path.read_text()
    machine.run("energyctl", "stop")
    machine.must("energyctl", "reset", "--state")
    shutil.copytree(compiled, carried)
    path.write_text(SCENARIO)
    machine.must("sh", "-c", f"umask 077; mkdir -p /etc/credstore; echo guest > {SECRET}")
    try:
        yield machine
    finally:
        machine.run("energyctl", "stop")
        machine.run("systemctl", "stop", *UNITS, BOOKS, "rabbitmq-server")
        path.write_text(before)
        shutil.rmtree(carried)
        machine.must("rm", SECRET)
        machine.must("energyctl", "reset", "--state")


def rows(machine: Machine) -> list[dict[str, str]]:
    """Whole lines of all files."""
    text = machine.run("sh", "-c", "cat /var/lib/energy-market/pv/*.csv").stdout
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    head = "meter_id,time_s,meter_power_value_w,pv_power_value_kw,sum_meter_pv_w\n"
    return list(csv.DictReader([head, *(line for line in lines if line != head)]))


def lives_by_its_meter(machine: Machine, slot: int) -> bool:
    """Whether in a slot not before this one the home has brought what was metered, with nothing estimated."""
    found = machine.market_says()
    told: list[dict[str, Any]] = found.get("meters") or []
    known = len(told) == 1 and told[0]["meter"] == "Meter_0" and told[0]["estimated_s"] == 0
    return known and told[0]["heard_s"] is not None and found["snapshot"].get("slot", -1) >= slot


def test_meters_and_pv_run_as_units(metered: Machine) -> None:
    """Ready without a broker, with one every sample is written; killed, they come back, and none is doubled.

    With the suite started a home lives by its meter, through the books, before and after the killing.

    Where the machine has no RabbitMQ, samples wait in the spool, and the journal says why.
    """
    machine = metered
    machine.must("systemctl", "start", *UNITS)
    for unit in UNITS:
        assert machine.show(unit, "ActiveState") == "active"
        assert machine.must("ps", "-o", "user=", "-p", str(machine.pid(unit))).strip() == "energy-meter"
        machine.wait_until(lambda unit=unit: machine.journal("-u", unit, "-g", "the broker is away"))
    assert "Meter created: ['Meter_0', 'Meter_1']" in machine.journal("-u", "energy-meters")
    if machine.run("test", "-e", "/usr/sbin/rabbitmq-server").returncode != 0:
        assert machine.must("sh", "-c", "ls /var/lib/energy-market/meters/*.spool")
        return
    machine.must("systemctl", "start", "rabbitmq-server", timeout_s=180)
    machine.wait_until(lambda: len(rows(machine)) > 40, 60)
    # The suite is started, and with it the books: the home lives by its meter, slot by slot.
    machine.must("energyctl", "start", timeout_s=200)
    begun = machine.slot()
    machine.wait_until(lambda: lives_by_its_meter(machine, begun + 2), 90)
    assert machine.must("ps", "-o", "user=", "-p", str(machine.pid(BOOKS))).strip() == "energy-reading"
    for unit in (*UNITS, BOOKS):
        machine.kill(unit, signal.SIGKILL)
    killed = machine.slot()
    known = len(rows(machine))
    machine.wait_until(lambda: len(rows(machine)) > known + 40, 60)
    assert [machine.show(unit, "NRestarts") for unit in UNITS] == ["1", "1"]
    machine.wait_until(lambda: lives_by_its_meter(machine, killed + 2), 60)
    why = json.loads(machine.must("energyctl", "--json", "explain", "home", "1"))
    assert why["metered"]["produced"] - why["metered"]["consumed"] == why["net_wh"]
    assert "it lives by Meter_0" in why["notes"][0]
    machine.must("systemctl", "stop", "energy-meters")
    machine.must("systemctl", "stop", "energy-pv")
    assert [machine.show(unit, "Result") for unit in UNITS] == ["success", "success"]
    written = [(row["meter_id"], row["time_s"]) for row in rows(machine)]
    assert len(set(written)) == len(written)
    listed = json.loads(machine.must("energyctl", "--json", "meters", "list"))
    assert sum(each["rows"] for each in listed["meters"]) == len(written)
    assert [each["missing"] for each in listed["meters"]] == [0, 0]
    modes = machine.must("stat", "-c", "%U %a", "/var/lib/energy-market/pv", "/var/lib/energy-market/meters")
    assert modes.split() == ["energy-meter", "750"] * 2

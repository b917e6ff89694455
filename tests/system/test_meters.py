"""Meters and PV as units: sandboxed, with the broker's password as a credential, and killed."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator

import pytest

from tests.system.machine import Machine

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap", "rabbitmqctl")

CONFIGURATION = "/etc/energy-market/energy-market.toml"
SECRET = "/etc/credstore/energy-broker-password"  # noqa: S105 where systemd looks for it
UNITS = ("energy-meters", "energy-pv")


@pytest.fixture
def metered(machine: Machine) -> Iterator[Machine]:
    """Two meters in the configuration, whose password is wrong: the right one is a credential."""
    machine.must("cp", CONFIGURATION, f"{CONFIGURATION}.kept")
    added = '\n[broker]\nhost = "localhost"\npassword = "wrong"\n[meters]\ncount = 2\ninterval_s = 0.1\n'
    machine.must("sh", "-c", f"cat >> {CONFIGURATION} <<'END'{added}END")
    machine.must("sh", "-c", f"umask 077; mkdir -p /etc/credstore; echo guest > {SECRET}")
    try:
        yield machine
    finally:
        machine.run("systemctl", "stop", *UNITS, "rabbitmq-server")
        machine.must("mv", f"{CONFIGURATION}.kept", CONFIGURATION)
        machine.must("rm", SECRET)


def rows(machine: Machine) -> list[dict[str, str]]:
    """Whole lines of all files."""
    text = machine.run("sh", "-c", "cat /var/lib/energy-market/pv/*.csv").stdout
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    head = "meter_id,time_s,meter_power_value_w,pv_power_value_kw,sum_meter_pv_w\n"
    return list(csv.DictReader([head, *(line for line in lines if line != head)]))


def test_meters_and_pv_run_as_units(metered: Machine) -> None:
    """Ready without a broker, with one every sample is written; killed, they come back, and none is doubled.

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
    for unit in UNITS:
        machine.kill(unit, signal.SIGKILL)
    known = len(rows(machine))
    machine.wait_until(lambda: len(rows(machine)) > known + 40, 60)
    assert [machine.show(unit, "NRestarts") for unit in UNITS] == ["1", "1"]
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

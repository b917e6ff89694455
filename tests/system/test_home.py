"""Single homes under a real systemd: one leaves the running pool, comes and goes, and is never doubled."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.machine import Machine

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap")

HOME = 7
UNIT = f"energy-home@{HOME}"
STATE = "/var/lib/energy-market/homes"


@pytest.fixture(scope="module")
def apart(machine: Machine) -> Iterator[Machine]:
    """The suite with home 7 started by itself; afterwards a suite whose homes are all in the pool again."""
    if not machine.all_serve():
        machine.start()
    machine.must("energyctl", "home", "start", str(HOME))
    machine.wait_until(machine.all_serve)  # the others of its process leave with it, and join again
    yield machine
    machine.run("systemctl", "stop", "energy.slice", "energy-market.target")
    machine.must("energyctl", "reset", "--state")
    machine.start()


def document(machine: Machine, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.must("energyctl", *words, "--json"))
    return found


def trades(machine: Machine) -> bool:
    """Whether home 7 has said in the journal that an order of its own got its receipt."""
    said = machine.journal(f"ENERGY_HOME={HOME}", "-u", UNIT)
    return f"home {HOME} buys" in said or f"home {HOME} sells" in said


def checker_is_content(machine: Machine) -> None:
    assert machine.show("energy-check", "ActiveState") == "active"
    done = machine.run("energyctl", "ledger", "check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_home_of_the_pool_joins_the_running_suite_and_trades(machine: Machine) -> None:
    """`energyctl home start 7`: no unit of the suite is touched, 1,000 homes are joined, home 7 trades."""
    if not machine.all_serve():
        machine.start()
    before = machine.lives()
    machine.must("energyctl", "home", "start", str(HOME))
    machine.wait_until(machine.all_serve)
    assert machine.lives() == before
    assert machine.show(UNIT, "ActiveState") == "active"
    assert document(machine, "homes", str(HOME))["joined"] is True
    assert UNIT + ".service" in {each["unit"] for each in machine.status()["units"]}
    assert machine.must("ls", f"{STATE}/apart").split() == [str(HOME)]
    machine.wait_until(lambda: trades(machine), 120)
    assert f"Home {HOME} has left the pool" in machine.journal(
        "-x", f"ENERGY_HOME={HOME}", "-u", "energy-homes"
    )
    checker_is_content(machine)


def test_killed_it_comes_back_and_the_pool_is_not_touched(apart: Machine) -> None:
    """After SIGKILL of home 7 only its own unit has another life."""
    before = apart.lives()
    apart.kill(UNIT, signal.SIGKILL)
    apart.wait_until(apart.all_serve)
    assert apart.lives() == before
    apart.kill("energy-homes", signal.SIGKILL)
    apart.wait_until(apart.all_serve)
    checker_is_content(apart)


@pytest.mark.on("here")
def test_stopped_it_is_away_until_the_suite_is_started_again(apart: Machine) -> None:
    """`home stop` says how it comes back; it does not return to the pool; the next start starts it."""
    said = apart.must("energyctl", "home", "stop", str(HOME))
    assert f"energyctl home start {HOME}" in said
    status = apart.status()
    apart.wait_until(lambda: apart.market_says()["homes_joined"] == status["homes"] - 1)
    assert document(apart, "homes", str(HOME))["joined"] is False
    apart.must("energyctl", "stop")
    apart.start()
    assert apart.show(UNIT, "ActiveState") == "active"
    assert apart.show("energy-singles", "ActiveState") == "active"
    checker_is_content(apart)


@pytest.mark.on("debian13")
def test_another_number_of_shards_keeps_the_state(apart: Machine) -> None:
    """With more shards than the state has files, the pool starts on what is there."""
    drop_in = apart.tree / "etc/systemd/system/energy-homes.service.d/shards.conf"
    command = apart.show("energy-homes", "ExecStart").partition("argv[]=")[2].partition(" ;")[0]
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    try:
        drop_in.write_text(f"[Service]\nExecStart=\nExecStart={command} --shards 5\n")
        apart.must("systemctl", "daemon-reload")
        apart.must("systemctl", "restart", "energy-homes")
        apart.wait_until(apart.all_serve)
        assert "as their state was cut: 5 are asked for" in apart.journal("-u", "energy-homes", "--lines=40")
    finally:
        drop_in.unlink()
        apart.must("systemctl", "daemon-reload")


@pytest.mark.on("debian13")
def test_a_home_that_there_is_not_is_refused_before_and_behind_the_market(apart: Machine) -> None:
    """2000 of 1,000 homes: exit 4; with the market down the daemon says it, once."""
    done = apart.run("energyctl", "home", "start", "2000")
    assert (done.returncode, "there is no home 2000" in done.stderr) == (4, True)
    apart.must("energyctl", "stop")
    done = apart.run("energyctl", "home", "start", "2000")
    assert done.returncode == 4, done.stderr
    assert apart.show("energy-home@2000", "NRestarts") in {"", "0"}
    assert "the scenario has homes 1 to 1000" in apart.journal("-u", "energy-home@2000", "--lines=10")
    apart.must("systemctl", "reset-failed", "energy-home@2000")
    apart.start()


@pytest.mark.on("here")
def test_a_home_of_the_pool_is_not_stopped_alone(apart: Machine) -> None:
    """Home 8 trades in the pool: exit 1, and how to take it out."""
    done = apart.run("energyctl", "home", "stop", "8")
    assert (done.returncode, "energyctl home start 8" in done.stderr) == (1, True)

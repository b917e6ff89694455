"""One unit fails: exactly the units that the published table names get another life, and all serve again."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.system.machine import Machine

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "packaging/doc/failures.md"
HEADING: Final = "## What a fault of one unit touches"

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap")


def published() -> dict[tuple[str, str], set[str]]:
    """(unit, fault) -> the units that have another life afterwards, as failures.md says."""
    section = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    faults = rows[0][1:]
    return {
        (row[0].strip("`"), fault): set(re.findall(r"`([^`]+)`", cell))
        for row in rows[2:]
        for fault, cell in zip(faults, row[1:], strict=True)
        if cell != "-"
    }


TABLE: Final = published()


@contextmanager
def start_limit(machine: Machine, unit: str, burst: int) -> Iterator[None]:
    """A start limit that is reached within seconds."""
    directory = f"/run/systemd/system/{unit}.service.d"
    text = f"[Unit]\\nStartLimitBurst={burst}\\nStartLimitIntervalSec=600\\n"
    machine.must("sh", "-c", f"mkdir -p {directory} && printf '{text}' > {directory}/90-limit.conf")
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "reset-failed", unit)
    try:
        yield
    finally:
        machine.must("rm", "-r", directory)
        machine.must("systemctl", "daemon-reload")


def reach_the_limit(machine: Machine, unit: str) -> None:
    """Kill it until systemd does not start it any more."""
    for _ in range(4):
        machine.wait_until(lambda: machine.show(unit, "SubState") in {"running", "failed"})
        if machine.show(unit, "ActiveState") == "failed":
            break
        machine.run("kill", "-KILL", str(machine.pid(unit)))
        machine.wait_until(lambda: machine.show(unit, "SubState") != "running")
    machine.wait_until(lambda: machine.show(unit, "ActiveState") == "failed")


def cause(machine: Machine, unit: str, fault: str) -> None:
    """Let it happen; where systemd does not mend it by itself, the operator does."""
    if fault == "killed":
        machine.kill(unit, signal.SIGKILL)
    elif fault == "frozen":
        machine.kill(unit, signal.SIGSTOP)
    elif fault == "restarted":
        machine.must("systemctl", "restart", unit)
    elif fault == "stopped, then started":
        machine.must("systemctl", "stop", unit)
        machine.must("energyctl", "start")
    else:
        assert fault == "start limit, then started"
        with start_limit(machine, unit, 2):
            reach_the_limit(machine, unit)
            if unit == "energy-market":  # whoever knocks at a market that may not start fails its sockets
                machine.wait_until(lambda: machine.show("energy-trade.socket", "ActiveState") == "failed")
            said = machine.run("energyctl", "status")
            assert said.returncode in {3, 5}, said.stdout
            assert f"{unit}.service" in said.stdout
            machine.must("energyctl", "start")


@pytest.mark.parametrize(("unit", "fault"), TABLE, ids=lambda word: word.replace(" ", "-"))
def test_exactly_the_published_units_have_another_life(suite: Machine, unit: str, fault: str) -> None:
    """InvocationIDs before and after differ for the units of the table, and for no other."""
    before = suite.lives()
    cause(suite, unit, fault)
    suite.wait_until(suite.all_serve)
    after = suite.lives()
    changed = {name.removesuffix(".service") for name in before if before[name] != after[name]}
    assert changed == TABLE[unit, fault], suite.journal()


def test_the_table_is_whole() -> None:
    """Every daemon meets every fault; the anchor has no process to kill."""
    faults = {"killed", "frozen", "restarted", "stopped, then started", "start limit, then started"}
    daemons = {"energy-market", "energy-weather", "energy-homes", "energy-check"}
    wanted = {(unit, fault) for unit in daemons for fault in faults}
    assert set(TABLE) == wanted | {("energy-ipc", "restarted"), ("energy-ipc", "stopped, then started")}


@pytest.mark.parametrize("unit", ["energy-market", "energy-weather", "energy-homes", "energy-check"])
def test_a_frozen_daemon_says_where_it_stood(suite: Machine, unit: str) -> None:
    """The watchdog ends it with its Python stack in the journal."""
    life = suite.show(unit, "InvocationID")
    suite.kill(unit, signal.SIGSTOP)
    suite.wait_until(suite.all_serve)
    said = suite.journal(f"_SYSTEMD_INVOCATION_ID={life}")
    assert "Fatal Python error: Aborted" in said
    assert "most recent call first" in said
    assert suite.journal("-u", unit, "-g", "Failed with result 'watchdog'", "--lines=1")


def test_a_frozen_shard_costs_the_pool_nothing(suite: Machine) -> None:
    """The pool's master kills a shard that was stopped and starts another; its unit lives on."""
    life, master = suite.show("energy-homes", "InvocationID"), suite.pid("energy-homes")
    shard = suite.must("pgrep", "-P", str(master)).split()[0]
    suite.must("kill", "-STOP", shard)
    suite.wait_until(lambda: suite.run("kill", "-0", shard).returncode != 0)
    suite.wait_until(suite.all_serve)
    assert suite.show("energy-homes", "InvocationID") == life
    assert "is silent for too long" in suite.journal("-u", "energy-homes", "--lines=20")


def test_the_child_of_outside_events_comes_and_goes_with_the_market(suite: Machine) -> None:
    """`external` killed: another child, the market lives on. The market killed: its child is gone too."""
    life, market = suite.show("energy-market", "InvocationID"), suite.pid("energy-market")
    child = suite.external_pid()
    suite.must("kill", "-KILL", str(child))
    suite.wait_until(lambda: suite.external_pid() not in {0, child})
    assert suite.show("energy-market", "InvocationID") == life
    child = suite.external_pid()
    assert suite.must("ps", "-o", "ppid=", "-p", str(child)).strip() == str(market)
    suite.kill("energy-market", signal.SIGKILL)
    assert suite.run("kill", "-0", str(child)).returncode != 0
    suite.wait_until(suite.all_serve)

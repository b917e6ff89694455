"""Started and stopped again and again, in every way and in any order: nothing is left, and it converges."""

from __future__ import annotations

import subprocess

import pytest

from energymarket.core.chance import Purpose, draw_u64
from tests.system.machine import UNITS, Machine, pause

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap")

STARTS = (("systemctl", "start", "energy-market.target"), ("energyctl", "start"))
STOPS = (
    ("energyctl", "stop"),
    ("systemctl", "stop", "energy.slice", "energy-market.target"),
    ("systemctl", "stop", "energy-market.target"),
)


@pytest.mark.timeout(1800)
def test_cycles_leave_nothing(machine: Machine, *, is_long: bool) -> None:
    """After every stop: no process, object, socket, run file; and PID 1 holds no more than before."""
    cycles = 100 if is_long else 6
    held: list[int] = []
    for number in range(cycles):
        machine.must(*STARTS[number % len(STARTS)])
        machine.wait_until(machine.all_serve)
        how = STOPS[number % len(STOPS)]
        machine.must(*how)
        if how[-1].endswith(".target") and how[0] == "systemctl":  # it does not wait for what it stops
            machine.wait_until(lambda: machine.left() == [])
        assert machine.left() == [], (number, how)
        held.append(len(machine.must("ls", "/proc/1/fd").split()))
    # The least of each half: in between PID 1 holds what a stop that goes on needs.
    half = len(held) // 2
    assert min(held[half:]) <= min(held[:half]) + 2, held
    assert machine.must("systemctl", "list-units", "--failed", "--plain", "--no-legend", "energy*") == ""


ORDERS = (
    ("systemctl", "start", "energy-market.target"),
    ("systemctl", "stop", "energy-market.target"),
    ("systemctl", "restart", "energy-market.target"),
    ("energyctl", "start"),
    ("energyctl", "stop"),
    ("energyctl", "restart"),
    ("systemctl", "restart", "energy-ipc"),
    *(("systemctl", verb, unit) for unit in UNITS for verb in ("start", "stop", "restart")),
    *(("systemctl", "kill", "--signal=KILL", unit) for unit in UNITS),
    ("systemctl", "kill", "--signal=KILL", "energy.slice"),
)


@pytest.mark.timeout(3600)
def test_orders_in_any_order_and_overlap_converge(machine: Machine, *, is_long: bool) -> None:
    """Whatever came before, a start ends with all serving, and a stop with nothing left."""
    rounds, at_once = (60, 8) if is_long else (3, 6)
    for number in range(rounds):
        told: list[subprocess.Popen[str]] = []
        words = [ORDERS[draw_u64(number, Purpose.HOME, at) % len(ORDERS)] for at in range(at_once)]
        for at, order in enumerate(words):
            told.append(machine.begin(*order))
            pause(draw_u64(number, Purpose.HOME, 1000 + at) % 700 / 1000)
        for process in told:
            process.wait(120)
        machine.run("energyctl", "start")
        machine.run(
            "energyctl", "start"
        )  # an order that came from a unit's hook may still have undone the first
        machine.wait_until(machine.all_serve, 60)
        machine.must("energyctl", "stop")
        assert machine.left() == [], (number, words, machine.journal())

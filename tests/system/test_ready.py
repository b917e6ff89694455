"""READY is said when a unit can serve, and not before."""

from __future__ import annotations

import pytest

from tests.system.machine import Machine, pause

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap")

WATCHED_S = 3.0


def told_ready(machine: Machine, unit: str, since: str) -> bool:
    """Whether the manager has told the journal since then that the unit was started."""
    return bool(machine.journal("-u", unit, f"--since=@{since}", "-g", "^Started "))


def test_homes_are_not_ready_before_a_market_has_let_them_in(suite: Machine) -> None:
    """Without a market the pool is `activating`, whatever it could do by itself; with one it is there."""
    suite.must("systemctl", "stop", "energy-market", "energy-homes")
    since = suite.must("date", "+%s.%N").strip()
    suite.must("systemctl", "start", "--no-block", "energy-homes")
    pause(WATCHED_S)
    assert suite.show("energy-homes", "ActiveState") == "activating"
    assert not told_ready(suite, "energy-homes", since)
    suite.must("systemctl", "start", "energy-market")
    suite.wait_until(suite.all_serve)
    assert told_ready(suite, "energy-homes", since)


def test_a_market_that_cannot_write_its_ledger_is_never_ready(suite: Machine) -> None:
    """A ledger that may not be written: the market is restarted, fails, and has never said READY."""
    suite.must("systemctl", "stop", "energy-market")
    ledger = "/var/lib/energy-market/market/ledger.db"
    since = suite.must("date", "+%s.%N").strip()
    suite.must("mount", "--bind", "-o", "ro", ledger, ledger)
    try:
        suite.run("systemctl", "start", "--no-block", "energy-market")
        pause(WATCHED_S)
        assert suite.show("energy-market", "ActiveState") != "active"
        assert int(suite.show("energy-market", "NRestarts")) > 0, suite.journal()
        assert not told_ready(suite, "energy-market", since)
    finally:
        suite.must("umount", "--lazy", ledger)  # the market may be about to fail once more
    suite.must("energyctl", "start")
    suite.wait_until(suite.all_serve)
    assert told_ready(suite, "energy-market", since)


def test_weather_without_a_board_to_post_on_is_never_ready(suite: Machine) -> None:
    """The record of the IPC objects is gone: the weather daemon says no READY until it is there again."""
    suite.must("systemctl", "stop", "energy-weather")
    since = suite.must("date", "+%s.%N").strip()
    suite.must("mv", "/run/energy-market/ipc.json", "/run/energy-market/ipc.kept")
    try:
        suite.run("systemctl", "start", "--no-block", "energy-weather")
        pause(1.0)
        assert suite.show("energy-weather", "ActiveState") != "active"
        assert not told_ready(suite, "energy-weather", since)
    finally:
        suite.must("mv", "/run/energy-market/ipc.kept", "/run/energy-market/ipc.json")
    suite.must("energyctl", "start")
    suite.wait_until(suite.all_serve)

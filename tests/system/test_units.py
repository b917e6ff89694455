"""The installed suite under a real systemd: it starts, survives, reloads, refuses and leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.system.machine import HELD, UNITS, Machine, pause

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap")

CONFIGURATION = "/etc/energy-market/energy-market.toml"

KNOCKING = """
import socket, sys, time
refused = asked = 0
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect("/run/energy-market/control")
        asked += 1
    except OSError:
        refused += 1
    time.sleep(0.002)
print(asked, refused)
"""


def test_start_brings_every_unit_up(machine: Machine) -> None:
    """After the target's start all serve, homes trade, and `external` is the market's child."""
    machine.must("systemctl", "start", "energy-market.target")
    machine.wait_until(machine.all_serve)
    found = machine.status()
    assert {unit["state"] for unit in found["units"]} <= {"active", "not needed"}
    child = int(found["market"]["external_pid"])
    assert machine.must("ps", "-o", "ppid=", "-p", str(child)).strip() == str(machine.pid("energy-market"))
    assert "€/kWh" in machine.must("energyctl", "price")


def test_a_stopped_market_is_not_started_by_who_waits_for_it(suite: Machine) -> None:
    """`systemctl stop energy-market` closes its sockets; homes wait, and go on when it is started."""
    suite.must("systemctl", "stop", "energy-market")
    pause(1.0)
    states = {unit: suite.show(unit, "ActiveState") for unit in ("energy-market", *HELD[2:], "energy-homes")}
    assert states == {
        "energy-market": "inactive",
        "energy-trade.socket": "inactive",
        "energy-control.socket": "inactive",
        "energy-homes": "active",
    }
    suite.must("systemctl", "start", "energy-market")
    suite.wait_until(suite.all_serve)


def test_a_reload_changes_a_coefficient_and_refuses_a_mistake(suite: Machine) -> None:
    """`systemctl reload` says whether it was done; a mistake changes nothing and the journal explains it."""
    life = suite.show("energy-market", "InvocationID")
    file = suite.tree / CONFIGURATION.removeprefix("/")
    text = file.read_text()
    try:
        file.write_text(text.replace("cap = 0.32", "cap = 0.31"))
        suite.must("systemctl", "reload", "energy-market")
        assert "reloaded: price.cap_ueur_per_kwh" in suite.journal("-u", "energy-market", "--lines=20")
        file.write_text(text.replace("cap = 0.32", "cap = many"))
        assert suite.run("systemctl", "reload", "energy-market").returncode != 0
        assert "A reload was refused" in suite.journal("-x", "-u", "energy-market", "--lines=40")
    finally:
        file.write_text(text)
    suite.must("systemctl", "reload", "energy-market")
    assert suite.show("energy-market", "InvocationID") == life


@pytest.mark.on("here")
def test_a_restart_after_a_changed_coefficient_goes_on_with_its_ledger(suite: Machine) -> None:
    """What a reload may change is no other scenario: the suite starts again and the ledger goes on."""
    file = suite.tree / CONFIGURATION.removeprefix("/")
    text, slot = file.read_text(), suite.slot()
    try:
        file.write_text(text.replace("cap = 0.32", "cap = 0.30"))
        suite.must("energyctl", "restart")
        suite.wait_until(suite.all_serve)
        assert suite.slot() > slot
    finally:
        file.write_text(text)
        suite.must("energyctl", "restart")


def test_a_broken_configuration_keeps_everything_closed_and_says_why(machine: Machine) -> None:
    """Exit 78 once, no restart while clients knock, one failure record, `status` names the help.

    The record is another unit's work (`OnFailure=`), begun when this one has failed: later than the answer.
    """
    machine.must("energyctl", "stop")
    file = machine.tree / CONFIGURATION.removeprefix("/")
    text = file.read_text()

    def records() -> set[str]:  # the directory comes with the first of them
        return set(machine.must("sh", "-c", "ls /var/lib/energy-market/failures 2>/dev/null || :").split())

    kept = records()
    try:
        file.write_text(text.replace("schema = 1", "schema = 1\nsede = 2", 1))
        started = machine.run("energyctl", "start")
        assert started.returncode == 78, started.stderr
        for _ in range(20):
            machine.run("python3", "-c", KNOCKING, "0.05")
        assert machine.show("energy-market", "ActiveState") == "inactive"
        assert machine.show("energy-trade.socket", "ActiveState") == "inactive"
        assert machine.show("energy-config-check", "ExecMainStatus") == "78"
        recorder = "energy-failure@energy-config-check.service"
        fresh: set[str] = set()

        def is_told() -> bool:
            fresh.update(records() - kept)
            return bool(fresh) and machine.show(recorder, "ActiveState") == "inactive"

        machine.wait_until(is_told)
        assert len(fresh) == 1, fresh
        record = json.loads(machine.must("cat", f"/var/lib/energy-market/failures/{fresh.pop()}"))
        assert (record["unit"], record["exit_status"]) == ("energy-config-check.service", "78")
        assert any("sede" in line for line in record["said"])
        status = machine.run("energyctl", "status")
        assert status.returncode == 3
        assert "energyctl config check" in status.stdout
    finally:
        file.write_text(text)
    machine.start()


BREAK_THE_CHAIN = """
import sqlite3
db = sqlite3.connect("/var/lib/energy-market/market/ledger.db", isolation_level=None)
db.execute("UPDATE slots SET hash = zeroblob(32) WHERE slot = (SELECT max(slot) FROM slots)")
"""


@contextmanager
def other_ledger(suite: Machine, *spoil: str) -> Iterator[None]:
    """The stopped suite with its ledger spoiled; afterwards the good one again, and all serve."""
    suite.must("energyctl", "stop")
    suite.must("cp", "-a", "/var/lib/energy-market/market", "/var/lib/energy-market/kept")
    try:
        suite.must(*spoil)
        yield
    finally:
        suite.run("systemctl", "stop", "energy.slice", "energy-market.target")
        suite.must("sh", "-c", "cd /var/lib/energy-market && rm -rf market && mv kept market")
    suite.start()


@pytest.mark.on("debian13")
def test_a_market_that_refuses_its_ledger_is_not_started_by_its_clients(suite: Machine) -> None:
    """Exit 78 of the market closes its sockets: homes that wait do not start it again and again."""
    with other_ledger(suite, "python3", "-c", BREAK_THE_CHAIN):
        started = suite.run("energyctl", "start")
        assert started.returncode == 78, started.stderr
        pause(2.0)
        shown = {
            name: suite.show("energy-market", name) for name in ("ActiveState", "Result", "ExecMainStatus")
        }
        assert shown == {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"}
        assert int(suite.show("energy-market", "NRestarts") or 0) == 0
        assert suite.show("energy-trade.socket", "ActiveState") == "inactive"
        assert suite.run("energyctl", "doctor").returncode == 5


def test_a_crash_loop_ends_with_a_reason_and_can_be_revived(suite: Machine) -> None:
    """A market that cannot read its disk gives up within its limits; `energyctl start` revives all of it."""
    with other_ledger(
        suite,
        "sh",
        "-c",
        "rm -f /var/lib/energy-market/market/ledger.db-*; "
        "echo rubbish > /var/lib/energy-market/market/ledger.db",
    ):
        assert suite.run("energyctl", "start").returncode != 0
        suite.wait_until(lambda: suite.show("energy-trade.socket", "ActiveState") == "failed", 60)
        assert suite.show("energy-market", "ActiveState") == "failed"
        assert "exit 74" in suite.run("energyctl", "status").stdout


@pytest.mark.on("here")
def test_a_daemon_that_nobody_knocks_at_reaches_its_start_limit_too(suite: Machine) -> None:
    """A weather daemon that ends at once fails for good within the shipped limits, and can be revived."""
    directory = "/run/systemd/system/energy-weather.service.d"
    broken = "[Service]\\nExecStart=\\nExecStart=/bin/false\\n"
    suite.must("sh", "-c", f"mkdir -p {directory} && printf '{broken}' > {directory}/90-broken.conf")
    suite.must("systemctl", "daemon-reload")
    try:
        suite.must("systemctl", "kill", "--signal=KILL", "energy-weather")
        suite.wait_until(lambda: suite.show("energy-weather", "ActiveState") == "failed", 90)
        status = suite.run("energyctl", "status")
        assert (status.returncode, "energy-weather.service" in status.stdout) == (5, True)
        suite.wait_until(lambda: "the weather is stale" in suite.run("energyctl", "status").stdout)
    finally:
        suite.must("rm", "-r", directory)
        suite.must("systemctl", "daemon-reload")
    suite.must("energyctl", "start")
    suite.wait_until(suite.all_serve)


def test_operators_run_the_suite_and_outsiders_see_nothing(suite: Machine) -> None:
    """Members of energy-ctl need no root; others neither connect, nor read, nor see objects."""
    suite.must("sh", "-c", "id em-operator >/dev/null 2>&1 || useradd -m -G energy-ctl em-operator")
    suite.must("sh", "-c", "id em-outsider >/dev/null 2>&1 || useradd -m em-outsider")
    for words in (("status",), ("reload",), ("stop",), ("start",)):
        done = suite.run("energyctl", *words, user="em-operator")
        assert done.returncode in ({0} if words != ("status",) else {0, 5, 75}), (
            words,
            done.stdout,
            done.stderr,
        )
    suite.wait_until(suite.all_serve)
    for words, code in ((("price",), 77), (("stop",), 77), (("start",), 77), (("reload",), 77)):
        done = suite.run("energyctl", *words, user="em-outsider")
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert "energy-ctl" in done.stderr
    assert suite.run("ls", "/var/lib/energy-market/market", user="em-outsider").returncode != 0
    assert suite.run("cat", "/run/energy-market/ipc.json", user="em-outsider").returncode != 0
    assert suite.run("cat", "/var/lib/energy-market/homes", user="em-outsider").returncode != 0
    objects = suite.run("ipcs", "-a", user="em-outsider").stdout
    assert not [line for line in objects.splitlines() if line.startswith("0x")]
    assert suite.run(
        "systemctl", "--no-ask-password", "restart", "systemd-journald", user="em-operator"
    ).returncode


def test_no_daemon_runs_as_root_or_as_another(suite: Machine) -> None:
    """Market, weather, homes and checker are four users, none of them root."""
    users = [suite.must("ps", "-o", "user:32=", "-p", str(suite.pid(unit))).strip() for unit in UNITS]
    assert users == ["energy-market", "energy-weather", "energy-home", "energy-check"]


def test_a_backup_is_whole(suite: Machine) -> None:
    """The backup unit copies and verifies ledger and registers of a suite that runs."""
    suite.must("systemctl", "start", "energy-backup")
    assert "verified; registers of" in suite.journal("-u", "energy-backup", "--lines=5")

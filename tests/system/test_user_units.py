"""The suite under a user's own service manager: installed, run, killed and stopped without root."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.system.machine import UNITS, Machine

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap")

WHO: Final = "em-alone"
HOME: Final = f"/home/{WHO}"
UNIT_DIR: Final = f"{HOME}/.config/systemd/user"
CONFIGURATION: Final = f"{HOME}/.config/energy-market/energy-market.toml"
STATE: Final = f"{HOME}/.local/state/energy-market"


class Alone:
    """A user of the machine, and what they can do with a manager of their own."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.uid = int(machine.must("id", "-u", WHO))
        self.run_dir = f"/run/user/{self.uid}/energy-market"

    def run(self, *words: str, runtime: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as this user; `runtime` is what a login sets, and su and cron do not."""
        login = [f"XDG_RUNTIME_DIR=/run/user/{self.uid}"] if runtime else []
        return self.machine.run("env", f"HOME={HOME}", *login, *words, user=WHO)

    def must(self, *words: str, runtime: bool = True) -> str:
        """A command that succeeds; what it says."""
        done = self.run(*words, runtime=runtime)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}\n{self.machine.journal()}"
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """One property of a unit of theirs."""
        return self.run("systemctl", "--user", "show", "--value", "-p", name, unit).stdout.strip()

    def status(self, *words: str) -> dict[str, Any]:
        """What energyctl says."""
        found: dict[str, Any] = json.loads(self.run("energyctl", "status", "--json", *words).stdout)
        return found

    def slot(self) -> int:
        """The last slot that is settled, or the first that is open."""
        snapshot = self.status("--user")["snapshot"]
        return int(snapshot.get("slot", snapshot.get("open_slot")))

    def all_serve(self) -> bool:
        """Whether every daemon is up, and all homes trade."""
        said = self.run("systemctl", "--user", "show", "--value", "-p", "ActiveState", *UNITS).stdout.split()
        active = said == ["active"] * len(UNITS)
        found = self.machine.market_says(f"{self.run_dir}/control") if active else {}
        return active and found.get("state") == "running" and found["homes_joined"] == found["homes"]

    def start(self) -> None:
        """Start, and wait until all homes trade."""
        self.must("energyctl", "start", "--user")
        self.machine.wait_until(self.all_serve)

    def left(self) -> list[str]:
        """Processes, kernel objects and run files of theirs that are there."""
        found = self.machine.run("pgrep", "-a", "-u", WHO, "-f", "energymarket").stdout.splitlines()
        found += [line for line in self.machine.must("ipcs", "-a").splitlines() if WHO in line.split()]
        return found + self.machine.run("sh", "-c", f"ls -d {self.run_dir}").stdout.splitlines()


@pytest.fixture(scope="module")
def alone(machine: Machine) -> Iterator[Alone]:
    """A user with a service manager and the units; nothing started, the system's suite neither."""
    machine.must("energyctl", "stop")
    machine.must("sh", "-c", f"id {WHO} >/dev/null 2>&1 || useradd -m {WHO}")
    user = Alone(machine)
    machine.must("systemctl", "start", f"user@{user.uid}.service")
    user.must("energyctl", "install-units", "--user")
    try:
        yield user
    finally:
        user.run("energyctl", "uninstall-units", "--user")
        machine.run("systemctl", "stop", f"user@{user.uid}.service")


@pytest.fixture
def trading(alone: Alone) -> Alone:
    """The user's suite, serving."""
    if not alone.all_serve():
        alone.start()
    return alone


@pytest.fixture
def at_rest(alone: Alone) -> Alone:
    """The user's suite, stopped."""
    if alone.left():
        alone.must("energyctl", "stop", "--user")
    return alone


def test_their_manager_understands_every_line(alone: Alone) -> None:
    """systemd-analyze verify has nothing to say about the units, nor has the manager that loads them."""
    files = alone.must("find", UNIT_DIR, "-maxdepth", "1", "-type", "f").split()
    done = alone.run("systemd-analyze", "--user", "verify", "--man=no", "--recursive-errors=yes", *files)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "energy" in line]) == (0, [])


def test_cycles_leave_nothing(at_rest: Alone, *, is_long: bool) -> None:
    """Started, asked, its market killed and back, stopped: no process, object, socket or directory stays."""
    alone = at_rest
    for _ in range(10 if is_long else 2):
        alone.start()
        found = alone.status("--user")
        assert {unit["state"] for unit in found["units"]} <= {"active", "not needed"}
        assert "€/kWh" in alone.must("energyctl", "price")
        assert len([line for line in alone.left() if line.startswith("0x")]) == len(
            ("queue", "mutex", "bell", "clock", "board")
        )
        before = alone.show("energy-market", "MainPID")
        alone.machine.must("kill", "-KILL", before)
        alone.machine.wait_until(lambda old=before: alone.show("energy-market", "MainPID") not in {"0", old})
        alone.machine.wait_until(alone.all_serve)
        assert alone.show("energy-market", "NRestarts") == "1"
        assert "nothing is left" in alone.must("energyctl", "stop", "--user")
        assert alone.left() == []


def test_what_they_own_is_theirs_only(trading: Alone) -> None:
    """Sockets, state and objects are closed to everybody else."""
    trading.machine.must("sh", "-c", "id em-outsider >/dev/null 2>&1 || useradd -m em-outsider")
    modes = trading.must("stat", "-c", "%a", *(f"{trading.run_dir}/{name}" for name in ("trade", "control")))
    assert modes.split() == ["600", "600"]
    for path in (trading.run_dir, f"{STATE}/market", f"{STATE}/homes"):
        assert trading.machine.run("ls", path, user="em-outsider").returncode != 0
    objects = [line.split() for line in trading.left() if line.startswith("0x")]
    assert {permissions for _, _, _, permissions, *_ in objects} == {"600"}


def test_kill_of_everything_is_survived_and_cleared(trading: Alone) -> None:
    """SIGKILL of all daemons at once: all come back, the ledger goes on, the stop still leaves nothing."""
    slot = trading.slot()
    trading.must("systemctl", "--user", "kill", "--signal=KILL", *UNITS)
    trading.machine.wait_until(trading.all_serve)
    assert trading.slot() >= slot
    trading.must("energyctl", "stop", "--user")
    assert trading.left() == []


@pytest.mark.on("here")
def test_their_manager_may_die_with_all_of_it(trading: Alone) -> None:
    """SIGKILL of the manager takes its processes; the next one finds the objects, and leaves none."""
    manager = trading.machine.show(f"user@{trading.uid}.service", "MainPID")
    trading.machine.must("kill", f"-{signal.SIGKILL}", manager)
    trading.machine.wait_until(
        lambda: trading.machine.run("pgrep", "-u", WHO, "-f", "energymarket").returncode == 1
    )
    trading.machine.must("systemctl", "restart", f"user@{trading.uid}.service")
    trading.start()
    trading.must("energyctl", "stop", "--user")
    assert trading.left() == []


@contextmanager
def no_system_units(machine: Machine) -> Iterator[None]:
    """The machine without the system's units, as it is for those without root."""
    there = "cd /usr/lib/systemd/system && mkdir -p /usr/lib/hidden"
    machine.must("sh", "-c", f"{there} && mv energy* /usr/lib/hidden && systemctl daemon-reload")
    machine.must("rmdir", "/run/energy-market/dispatch", "/run/energy-market")
    try:
        yield
    finally:
        machine.must("sh", "-c", f"{there} && mv /usr/lib/hidden/* . && systemctl daemon-reload")
        machine.must("systemd-tmpfiles", "--create", "energy-market.conf")


@pytest.mark.on("debian13")
def test_without_the_systems_units_nobody_has_to_say_user(at_rest: Alone) -> None:
    """The verbs find manager and run directory by themselves, also where no login has set variables."""
    alone = at_rest
    with no_system_units(alone.machine):
        for runtime in (True, False):
            alone.must("energyctl", "start", runtime=runtime)
            alone.machine.wait_until(alone.all_serve)
            found = json.loads(alone.must("energyctl", "status", "--json", runtime=runtime))
            assert "energy-market.service" in {unit["unit"] for unit in found["units"]}
            alone.must("energyctl", "reload", runtime=runtime)
            alone.must("energyctl", "restart", runtime=runtime)
            alone.must("energyctl", "stop", runtime=runtime)
            assert alone.left() == []
        down = alone.run("energyctl", "price")
        assert (down.returncode, "energyctl start --user" in down.stderr) == (3, True)


@pytest.mark.on("debian13")
def test_doctor_speaks_of_linger(alone: Alone) -> None:
    """`doctor --user` says that a logout ends the suite, until lingering is on."""
    linger = f"/var/lib/systemd/linger/{WHO}"
    alone.machine.must("rm", "-f", linger)
    assert "loginctl enable-linger" in alone.must("energyctl", "doctor", "--user")
    alone.machine.must("sh", "-c", f"mkdir -p {linger.rpartition('/')[0]} && touch {linger}")
    assert "loginctl enable-linger" not in alone.must("energyctl", "doctor", "--user")


@pytest.mark.on("here")
def test_a_broken_configuration_is_refused_and_recorded(at_rest: Alone) -> None:
    """Exit 78, sockets closed, a record in the state; an edited file survives a reinstall."""
    alone = at_rest
    alone.must("sh", "-c", f"cp {CONFIGURATION} /tmp/good.toml && echo 'sede = 2' >>{CONFIGURATION}")
    try:
        started = alone.run("energyctl", "start", "--user")
        assert started.returncode == 78, started.stderr
        assert alone.show("energy-trade.socket", "ActiveState") == "inactive"
        kept = f"{STATE}/failures/*-energy-config-check.service.json"
        alone.machine.wait_until(lambda: alone.run("sh", "-c", f"cat {kept}").returncode == 0)
        record = json.loads(alone.must("sh", "-c", f"cat {kept}"))
        assert (record["unit"], record["exit_status"]) == ("energy-config-check.service", "78")
        assert CONFIGURATION in alone.run("energyctl", "status", "--user").stdout
        alone.must("energyctl", "install-units", "--user")
        assert alone.must("tail", "-n", "1", CONFIGURATION) == "sede = 2\n"
    finally:
        alone.must("sh", "-c", f"cp /tmp/good.toml {CONFIGURATION}")
    alone.start()


@pytest.mark.on("debian13")
def test_units_do_not_take_the_sockets_of_a_run_by_hand(at_rest: Alone) -> None:
    """While `energyctl up` has the run directory, the units refuse to start and the run goes on."""
    alone = at_rest
    alone.must("energyctl", "up", CONFIGURATION, "--detach", "--state", "/tmp/em-by-hand")
    try:
        refused = alone.run("energyctl", "start", "--user")
        assert refused.returncode == 73, refused.stderr
        assert alone.run("systemctl", "--user", "start", "energy-market.target").returncode != 0
        assert alone.status()["state"] in {"running", "starting"}
    finally:
        alone.must("energyctl", "stop")
    assert [line for line in alone.left() if not line.startswith("/")] == []


def test_uninstalled_units_leave_ledger_and_configuration(trading: Alone) -> None:
    """`uninstall-units` stops what runs and removes what it made, but nothing of the user's."""
    foreign = f"{UNIT_DIR}/energy-market.service.d"
    trading.must("sh", "-c", f"mkdir -p {foreign} && echo '[Service]' >{foreign}/mine.conf")
    trading.must("energyctl", "uninstall-units", "--user")
    assert trading.left() == []
    assert trading.must("sh", "-c", f"cd {UNIT_DIR} && find . -type f").split() == [
        "./energy-market.service.d/mine.conf"
    ]
    trading.must("test", "-s", f"{STATE}/market/ledger.db")
    trading.must("test", "-s", CONFIGURATION)
    assert trading.show("energy-market.target", "LoadState") == "not-found"
    trading.must("rm", "-r", foreign)
    trading.must("energyctl", "install-units", "--user", "--enable")
    assert trading.must("systemctl", "--user", "is-enabled", "energy-market.target").strip() == "enabled"
    trading.start()

"""The units: one sandbox for all, exposure at most 1.0; every MESSAGE_ID has its text in the catalog."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from pathlib import Path

import pytest

from energymarket.runtime.occasions import Occasion

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd/system"
SERVICES = sorted(UNITS.glob("*.service"))
CATALOG = ROOT / "systemd/catalog/energy-market.catalog"
EXPOSURE_MAX = 1.0

SANDBOX = {
    "NoNewPrivileges=yes", "CapabilityBoundingSet=", "AmbientCapabilities=", "ProtectSystem=strict",
    "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes", "PrivateMounts=yes", "DevicePolicy=closed",
    "ProtectProc=invisible", "ProcSubset=pid", "ProtectKernelTunables=yes", "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes", "ProtectControlGroups=yes", "ProtectClock=yes", "ProtectHostname=yes",
    "RestrictNamespaces=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes", "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes", "KeyringMode=private", "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service", "SystemCallFilter=~@privileged @resources", "LimitCORE=0",
}  # fmt: skip


def name_of(path: Path) -> str:
    return path.name


def settings(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and line[0] not in "#;["]


def values(path: Path, key: str) -> list[str]:
    return [line.partition("=")[2] for line in settings(path) if line.startswith(f"{key}=")]


@pytest.mark.parametrize("unit", SERVICES, ids=name_of)
def test_every_service_has_the_whole_sandbox(unit: Path) -> None:
    """No service lacks a line of the sandbox."""
    assert set(settings(unit)) >= SANDBOX


@pytest.mark.parametrize("unit", SERVICES, ids=name_of)
def test_no_service_runs_as_root_or_has_a_capability(unit: Path) -> None:
    """Each service names a user of its own, and no capability is given."""
    (user,) = values(unit, "User")
    assert user.startswith("energy-")
    assert values(unit, "CapabilityBoundingSet") == values(unit, "AmbientCapabilities") == [""]


def test_the_state_is_roots_and_its_parts_are_the_users() -> None:
    """Who owns a directory renames what is in it: no unit gives the whole state to its user."""
    parts = {part for unit in SERVICES for words in values(unit, "StateDirectory") for part in words.split()}
    assert {part.partition("/")[0] for part in parts} == {"energy-market"}
    assert all(part.partition("/")[2] for part in parts)
    made = (ROOT / "systemd/tmpfiles.d" / "energy-market.conf").read_text().splitlines()
    assert "d /var/lib/energy-market 0755 root root -" in made


LOOPBACK = {"energy-dispatcher.service", "energy-worker@.service"}
METERS = {"energy-meters.service", "energy-pv.service"}
BOOKS = "energy-readings.service"


def test_only_the_fetcher_and_who_talks_to_this_machine_have_a_network() -> None:
    """Every other service is without; who serves on TCP, or asks a broker, does so on this machine alone."""
    without = {unit.name for unit in SERVICES if values(unit, "PrivateNetwork") != ["yes"]}
    assert without == {"energy-weather-fetch.service", *LOOPBACK, *METERS, BOOKS}
    for name in (*LOOPBACK, *METERS, BOOKS):
        assert values(UNITS / name, "IPAddressDeny") == ["any"]
        assert values(UNITS / name, "IPAddressAllow") == ["localhost"]


def test_workers_work_when_nobody_else_wants_the_machine_and_end_before_the_dispatcher() -> None:
    """Idle priority for processor and disk; ordered after the dispatcher, and so stopped before it."""
    unit = UNITS / "energy-worker@.service"
    assert {"Nice=19", "CPUSchedulingPolicy=idle", "IOSchedulingClass=idle"} <= set(settings(unit))
    assert "energy-dispatcher.service" in " ".join(values(unit, "After")).split()
    for name in LOOPBACK:  # a crash of one must not take the other with it
        tied = " ".join(
            word for key in ("Requires", "BindsTo", "PartOf") for word in values(UNITS / name, key)
        )
        assert not LOOPBACK & set(tied.split())


def test_no_line_of_the_marker_starts_anything_but_a_worker(tmp_path: Path) -> None:
    """The file is written by the market's user and read as root: one or two digits, each number once."""
    (tmp_path / "workers").write_text("1\n2\n2\n0\n007\n100\n12\n3; reboot\n-x\n$(reboot)\n\n")
    (command,) = values(UNITS / "energy-workers.service", "ExecStart")
    assert "\\" not in command.replace("\\\\", "")  # systemd drops a backslash that it does not know
    text = command.removeprefix("+/bin/sh -c '").removesuffix("'")
    for quoted, plain in (("\\\\", "\\"), ("$$", "$"), ("%%", "%")):
        text = text.replace(quoted, plain)  # as in systemd.syntax(7)
    text = text.replace("/var/cache/energy-market", str(tmp_path))
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/called\n')
    (tmp_path / "systemctl").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-c", text], env=environ, check=True, timeout=30)
    called = (tmp_path / "called").read_text().split()
    assert called == ["start", "--no-block", *(f"energy-worker@{number}.service" for number in (1, 2, 12))]


def test_meters_are_started_by_nobody_but_who_asks() -> None:
    """The target names neither of them until they are enabled; their secrets are credentials."""
    named = " ".join(values(UNITS / "energy-market.target", "Wants")).split()
    for name in METERS:
        assert name not in named
        assert values(UNITS / name, "WantedBy") == ["energy-market.target"]
        assert values(UNITS / name, "LoadCredential") == ["energy-broker-password", "energy-broker-ca"]
        assert values(UNITS / name, "SocketBindDeny") == ["any"]
        assert values(UNITS / name, "User") == ["energy-meter"]


def test_the_fetcher_reaches_unicast_and_no_metadata_service() -> None:
    """What may be reached is every unicast address but 0/8, IPv4's link-local and one cloud's /32 of IPv6.

    Nothing is listed twice. fd00:ec2::254 and 169.254.169.254 are the metadata service of EC2.
    """
    listed = " ".join(values(UNITS / "energy-weather-fetch.service", "IPAddressAllow")).split()
    nets = [ip_network(text) for text in listed]
    four = [net for net in nets if isinstance(net, IPv4Network)]
    shut = [IPv4Network("0.0.0.0/8"), IPv4Network("169.254.0.0/16"), IPv4Network("224.0.0.0/3")]
    assert sum(net.num_addresses for net in (*four, *shut)) == 2**32
    assert list(collapse_addresses([*four, *shut])) == [IPv4Network("0.0.0.0/0")]
    assert not any(net.overlaps(one) for net in four for one in shut)
    six = [net for net in nets if isinstance(net, IPv6Network)]
    local, metadata = IPv6Network("fc00::/7"), IPv6Network("fd00:ec2::/32")
    whole = [IPv6Network("::1/128"), IPv6Network("2000::/3"), local, IPv6Network("fe80::/10")]
    assert list(collapse_addresses([*six, metadata])) == whole
    assert sum(net.num_addresses for net in (*six, metadata)) == sum(net.num_addresses for net in whole)
    assert not any(ip_address("fd00:ec2::254") in net for net in six)


def test_a_daemon_that_authorises_by_credentials_sees_them() -> None:
    """PrivateUsers= would make every peer of the market a nobody."""
    assert values(UNITS / "energy-market.service", "PrivateUsers") == []


@pytest.mark.parametrize("unit", SERVICES, ids=name_of)
def test_a_refused_configuration_is_never_restarted(unit: Path) -> None:
    """Whatever restarts, does not after exit codes 73 and 78."""
    if values(unit, "Restart"):
        (prevented,) = values(unit, "RestartPreventExitStatus")
        assert {"73", "78"} <= set(prevented.split())


def test_a_delay_that_never_shrinks_again_is_short() -> None:
    """A unit's restarts are counted for its whole life: at their maximum, delay and start are within 1 s.

    Starting takes up to 0.5 s. Twenty failures at the maximum are within the minute of the limit.
    """
    found = sorted(UNITS.glob("*.d/50-systemd-254.conf"))
    named = {path.parent.name.removesuffix(".d") for path in found}
    assert named == {unit.name for unit in SERVICES if values(unit, "RestartSec") == ["100ms"]}
    for path in found:
        (most,) = values(path, "RestartMaxDelaySec")
        assert int(most.removesuffix("ms")) <= 500, path


@dataclass(frozen=True)
class Singles:
    """The command that starts homes by themselves, with directories and a systemctl of the test."""

    path: Path

    @property
    def scenario(self) -> Path:
        """The numbers that the scenario names."""
        return self.path / "singles"

    @property
    def apart(self) -> Path:
        """The directory whose files homes that left the pool are."""
        return self.path / "apart"

    def run(self) -> tuple[list[str], str]:
        """Words that systemctl was called with, one call after another; and what the journal gets."""
        (command,) = values(UNITS / "energy-singles.service", "ExecStart")
        text = command.removeprefix("+/bin/sh -c '").removesuffix("'")
        for quoted, plain in (("\\\\", "\\"), ("$$", "$"), ("%%", "%")):
            text = text.replace(quoted, plain)  # as in systemd.syntax(7)
        text = text.replace("/var/cache/energy-market/singles", str(self.scenario))
        text = text.replace("/var/lib/energy-market/homes/apart", str(self.apart))
        systemctl = self.path / "systemctl"
        systemctl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {self.path}/called\n')
        systemctl.chmod(0o755)
        done = subprocess.run(
            ["/bin/sh", "-c", text],
            env={"PATH": f"{self.path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        called = self.path / "called"
        return called.read_text().splitlines() if called.exists() else [], done.stderr


@pytest.fixture
def singles(tmp_path: Path) -> Singles:
    """Nobody has left the pool."""
    made = Singles(tmp_path)
    made.apart.mkdir()
    return made


def test_homes_of_the_scenario_and_those_that_left_the_pool_are_started_once(singles: Singles) -> None:
    """One call of systemctl, without waiting; without any such home, none."""
    assert singles.run() == ([], "")
    singles.scenario.write_text("2\n1234567\n")
    for home in (2, 7):
        (singles.apart / str(home)).touch()
    (verb, option, *units), said = singles.run()
    assert (verb, option, said) == ("start", "--no-block", "")
    assert sorted(units) == [f"energy-home@{home}.service" for home in (1234567, 2, 7)]


def test_nothing_but_numbers_of_regular_files_reaches_root(singles: Singles) -> None:
    """Words, options, eight digits, a leading zero; a pipe, a link, a directory; a pipe for the list."""
    os.mkfifo(singles.scenario)
    names = ["sshd.service", "--root=x", "$(id)", "7;id", "12345678", "07", "7 8", "9\nsshd", "-1", "٣"]
    for name in names:
        (singles.apart / name).touch()
    os.mkfifo(singles.apart / "3")
    (singles.apart / "4").symlink_to("9\nsshd")
    (singles.apart / "5").mkdir()
    (singles.apart / "6").touch()
    called, said = singles.run()
    assert set(called) <= {"start", "--no-block", "energy-home@6.service", "energy-home@9.service"}
    assert ("energy-home@6.service" in called, said) == (True, "")


def test_a_flood_of_names_starts_a_thousand_homes_and_says_so(singles: Singles) -> None:
    """The scenario's own are among them, and the journal has a warning."""
    singles.scenario.write_text("7654321\n")
    for home in range(1, 3001):
        (singles.apart / str(home)).touch()
    (_, _, *units), said = singles.run()
    assert len(units) == len(set(units)) == 1000
    assert "energy-home@7654321.service" in units
    assert said.startswith("<4>more than 1000 homes")
    assert values(UNITS / "energy-singles.service", "TimeoutStartSec") == ["30"]


def test_the_target_requires_nothing_that_restarts_by_itself() -> None:
    """Before systemd 254 a required unit that comes back would restart the target and all of the suite."""
    required = " ".join(values(UNITS / "energy-market.target", "Requires")).split()
    assert required
    assert all(values(UNITS / name, "Restart") == [] for name in required)


def test_sockets_wait_for_the_check_without_a_circle() -> None:
    """A socket after a service cannot come before sockets.target, which services wait for at boot."""
    for unit in UNITS.glob("*.socket"):
        assert values(unit, "After") != []
        assert values(unit, "DefaultDependencies") == ["no"], unit.name
        assert values(unit, "Before") == values(unit, "Conflicts") == ["shutdown.target"], unit.name


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", SERVICES, ids=name_of)
def test_exposure_is_small(unit: Path) -> None:
    """systemd-analyze security gives each service at most 1.0."""
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", answer.stdout)
    assert found, answer.stderr
    assert float(found[1]) <= EXPOSURE_MAX


def catalog() -> dict[str, str]:
    """MESSAGE_ID -> entry."""
    parts = re.split(r"^-- ([0-9a-f]{32})$", CATALOG.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_occasion_is_in_the_catalog_and_no_other() -> None:
    """The catalog explains exactly the occasions that the code knows."""
    assert set(catalog()) == {occasion.value for occasion in Occasion}


@pytest.mark.parametrize("occasion", Occasion, ids=lambda occasion: occasion.name)
def test_an_entry_says_what_happened_and_names_a_page(occasion: Occasion) -> None:
    """Each entry has a subject, a manual page and a text."""
    head, _, text = catalog()[occasion.value].strip().partition("\n\n")
    assert "Subject: " in head
    assert "Documentation: man:energy" in head
    assert len(text) > len("nothing")


@pytest.mark.parametrize("occasion", Occasion, ids=lambda occasion: occasion.name)
def test_every_occasion_occurs(occasion: Occasion) -> None:
    """Each is used somewhere in the daemons."""
    sources = (ROOT / "daemons/energymarket").rglob("*.py")
    assert any(f"Occasion.{occasion.name}" in path.read_text() for path in sources)

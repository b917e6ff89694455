"""The units: one sandbox for all, exposure at most 1.0; every MESSAGE_ID has its text in the catalog."""

from __future__ import annotations

import re
import subprocess
from ipaddress import IPv4Network, collapse_addresses, ip_network
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


def test_only_the_fetcher_has_a_network() -> None:
    """Every service but the weather fetcher is without a network."""
    without = {unit.name for unit in SERVICES if values(unit, "PrivateNetwork") != ["yes"]}
    assert without == {"energy-weather-fetch.service"}


def test_the_fetcher_reaches_unicast_and_no_metadata_service() -> None:
    """What may be reached is every unicast address but 0/8 and IPv4's link-local; nothing is listed twice."""
    listed = " ".join(values(UNITS / "energy-weather-fetch.service", "IPAddressAllow")).split()
    nets = [ip_network(text) for text in listed]
    four = [net for net in nets if isinstance(net, IPv4Network)]
    shut = [IPv4Network("0.0.0.0/8"), IPv4Network("169.254.0.0/16"), IPv4Network("224.0.0.0/3")]
    assert sum(net.num_addresses for net in (*four, *shut)) == 2**32
    assert list(collapse_addresses([*four, *shut])) == [IPv4Network("0.0.0.0/0")]
    assert not any(net.overlaps(one) for net in four for one in shut)


def test_a_daemon_that_authorises_by_credentials_sees_them() -> None:
    """PrivateUsers= would make every peer of the market a nobody."""
    assert values(UNITS / "energy-market.service", "PrivateUsers") == []


@pytest.mark.parametrize("unit", SERVICES, ids=name_of)
def test_a_refused_configuration_is_never_restarted(unit: Path) -> None:
    """Whatever restarts, does not after exit codes 73 and 78."""
    if values(unit, "Restart"):
        (prevented,) = values(unit, "RestartPreventExitStatus")
        assert {"73", "78"} <= set(prevented.split())


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

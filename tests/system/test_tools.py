"""systemd's own tools on the installed suite: verify, security, journal, varlinkctl."""

from __future__ import annotations

import json
import re

import pytest

from tests.system.machine import Machine

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap")

EXPOSURE_MAX = 1.0


def test_verify_finds_nothing(machine: Machine) -> None:
    """systemd-analyze verify has nothing to say about the installed units, nor about their manual pages."""
    files = machine.must("sh", "-c", "ls -d /usr/lib/systemd/system/energy*.*[a-z]").split()
    files = [name for name in files if not name.endswith(".d")]
    assert len(files) > 10
    done = machine.run("systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", *files)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "energy" in line]) == (0, [])


def test_exposure_is_small(suite: Machine) -> None:
    """systemd-analyze security gives every loaded service of the suite at most 1.0."""
    listed = suite.must("sh", "-c", "cd /usr/lib/systemd/system && ls energy-*.service").split()
    found = {}
    for unit in listed:
        name = unit.replace("@.", "@1.")
        said = suite.run("systemd-analyze", "security", "--no-pager", name).stdout
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        assert level, (name, said)
        found[name] = float(level[1])
    assert {name: level for name, level in found.items() if level > EXPOSURE_MAX} == {}


def test_the_journal_tells_the_story_by_fields(suite: Machine) -> None:
    """Every daemon's lines carry its component; an event raised by hand its id, kind, slot and text."""
    suite.must("energyctl", "event", "raise", "strike")
    for unit in ("energy-market", "energy-weather", "energy-homes", "energy-check"):
        assert suite.journal(f"ENERGY_COMPONENT={unit}", "--lines=1"), unit
    line = json.loads(
        suite.run("journalctl", "--quiet", "-o", "json", "ENERGY_EVENT=strike", "--lines=1").stdout
    )
    assert line["MESSAGE_ID"] == "ef7520c397b5450f8712f9f5197443cb"
    assert line["ENERGY_SLOT"].isdecimal()
    said = suite.run("journalctl", "--quiet", "-x", "-o", "short", "ENERGY_EVENT=strike", "--lines=1").stdout
    assert "An outside event has begun or ended" in said
    assert "energyctl event clear strike" in said
    suite.must("energyctl", "event", "clear", "strike")


@pytest.mark.parametrize("machine", ["debian13"], indirect=True)
@pytest.mark.parametrize(
    ("socket", "interface"),
    [("trade", "io.energymarket.Trade"), ("control", "io.energymarket.Control")],
)
def test_varlinkctl_introspects_and_calls(suite: Machine, socket: str, interface: str) -> None:
    """The client of systemd reads both interfaces and gets a price and a status."""
    path = f"/run/energy-market/{socket}"
    assert suite.must("varlinkctl", "info", path)
    assert interface in suite.must("varlinkctl", "list-interfaces", path)
    assert f"interface {interface}" in suite.must("varlinkctl", "introspect", path, interface)
    answer = json.loads(suite.must("varlinkctl", "call", "-j", path, f"{interface}.Price", "{}"))
    price = answer.get("price_ueur_per_kwh") or answer["current"]["price_ueur_per_kwh"]
    assert 90_000 <= price <= 320_000  # floor and cap of the default scenario
    refused = suite.run("varlinkctl", "call", path, f"{interface}.Nothing", "{}")
    assert refused.returncode != 0
    assert "MethodNotFound" in refused.stderr

"""Units of a Ray cluster: no node without the token, private networks only, nothing for systemd to say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.house.test_units import SANDBOX, settings, values

ROOT = Path(__file__).resolve().parents[2]
UNITS = [ROOT / "packaging/ray" / f"energy-ray-{kind}.service" for kind in ("head", "worker")]
WITHOUT = {  # Ray reads /proc, lowers its workers' priority, and may map code
    "ProcSubset=pid", "MemoryDenyWriteExecute=yes", "SystemCallFilter=~@privileged @resources",
}  # fmt: skip
EXPOSURE_MAX = 1.5


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_no_node_starts_without_the_token_or_talks_to_the_internet(unit: Path) -> None:
    """The token comes as a credential, without it is no start; addresses are private; nothing is reported."""
    assert values(unit, "AssertFileNotEmpty") == ["/etc/energy-ray/token"]
    assert values(unit, "LoadCredential") == ["token:/etc/energy-ray/token"]
    environment = " ".join(values(unit, "Environment")).split()
    assert {"RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN_PATH=%d/token", "RAY_USAGE_STATS_ENABLED=0"} <= set(
        environment
    )
    assert values(unit, "IPAddressDeny") == ["any"]
    (allowed,) = values(unit, "IPAddressAllow")
    assert "any" not in allowed.split()
    assert not [word for word in allowed.split() if word.endswith("/0")]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_node_has_the_sandbox_but_for_what_ray_needs(unit: Path) -> None:
    """Every other line of the suite's sandbox, a user of its own, and a killed actor ends no node."""
    assert set(settings(unit)) >= SANDBOX - WITHOUT
    assert values(unit, "User") == values(unit, "Group") == ["energy-ray"]
    assert values(unit, "OOMPolicy") == ["continue"]
    assert values(unit, "Restart") == ["always"]


def test_head_and_worker_differ_in_how_they_start_only() -> None:
    """What is hardened in one is hardened in the other."""
    head, worker = (set(settings(unit)) for unit in UNITS)
    names = {line.partition("=")[0] for line in head ^ worker}
    assert names == {"Description", "Conflicts", "EnvironmentFile", "ExecStart"}


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """Verify has nothing to say, security little: in a tree that has the program."""
    library = tmp_path / "usr/lib/energy-ray/bin"
    library.mkdir(parents=True)
    (library / "ray").write_text("#!/bin/sh\n")
    (library / "ray").chmod(0o755)
    place = tmp_path / "etc/systemd/system"
    place.mkdir(parents=True)
    for unit in UNITS:
        (place / unit.name).write_bytes(unit.read_bytes())
    for target in ("basic", "shutdown", "sysinit", "network-online", "multi-user"):
        (place / f"{target}.target").write_text("[Unit]\nDescription=as elsewhere\n")
    names = [unit.name for unit in UNITS]
    environ = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={tmp_path}", *names],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for name in names:
        words = ["systemd-analyze", "security", "--offline=true", f"--root={tmp_path}", "--no-pager"]
        done = subprocess.run([*words, name], capture_output=True, text=True, check=True)
        assert float(done.stdout.rpartition(": ")[2].split()[0]) <= EXPOSURE_MAX

"""One machine for all tests of a worker."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.machine import Machine


def lacking() -> str | None:
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("systemd-nspawn") is None:
        return "needs systemd-nspawn (Debian: apt install systemd-container)"
    if not Path("/usr/bin/python3").exists() or not Path("/lib/systemd/systemd").exists():
        return "needs systemd and the system's Python on this machine, whose tree the test machine has"
    probe = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True
    )
    return None if probe.returncode == 0 else "needs to be allowed to mount"


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A booted machine with the suite installed and nothing started."""
    why = lacking()
    if why:
        pytest.skip(why)
    made = Machine(f"energy-test-{os.getpid()}")
    try:
        yield made.open()
    finally:
        made.close()


@pytest.fixture
def suite(machine: Machine) -> Machine:
    """The machine with the whole suite serving."""
    if not machine.all_serve():
        machine.start()
    return machine

"""Fast-forward in an installed suite: no compiler, another Python, another NumPy; the ledger is the same."""

from __future__ import annotations

import json

from energymarket.engine import api
from energymarket.scenario import compiled
from tests.system.machine import Machine

SLOTS = 200


def test_the_installed_suite_makes_the_ledger_that_this_python_makes(machine: Machine) -> None:
    """The same compiled scenario has one hash: on Debian 12 and 13, on Python 3.11 and 3.13."""
    found = json.loads(machine.must("energyctl", "scenario", "compile", "--json"))
    directory = machine.tree / found["directory"].lstrip("/")
    expected = api.simulate(compiled.load(directory), duration=SLOTS, engine="embedded").ledger_hash
    for engine in ("embedded", "local"):
        words = ("energyctl", "simulate", "--for", str(SLOTS), "--engine", engine, "--json")
        answer = json.loads(machine.must(*words, "--out", f"/var/tmp/simulated-{engine}"))
        assert answer["ledger_hash"] == expected, engine
    said = machine.must("energyctl", "ledger", "verify", "--state", "/var/tmp/simulated-local")
    assert expected in said
    python = machine.must("/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2], sep='.')")
    assert python.strip() == {"here": "3.11", "debian13": "3.13"}.get(machine.base.name, python.strip())

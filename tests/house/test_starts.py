"""What a start imports: no daemon and no command pays for the libraries of the scenario compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIELD = {"pandas", "scipy", "pvlib", "windpowerlib", "demandlib", "matplotlib"}
DAEMONS = (
    "marketd", "weatherd", "homesd", "homed", "external", "checkd", "anchor", "explain", "replay", "kpi",
    "importing", "meterd", "pvd", "meter_files",
)  # fmt: skip


def imported_by(statement: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter imports for a statement."""
    return {name.partition(".")[0] for name in modules_of(statement)}


def modules_of(statement: str) -> set[str]:
    """All modules that a fresh interpreter imports for a statement."""
    paths = os.pathsep.join((str(ROOT / "daemons"), str(ROOT / "ctl")))
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    lines = [line for line in answer.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def existing(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (ROOT / f"daemons/energymarket/{name}.py").exists()]


@pytest.mark.parametrize("name", existing(DAEMONS))
def test_daemon_starts_without_the_compiler(name: str) -> None:
    """A daemon's module imports neither pandas nor any other library of the field."""
    assert not imported_by(f"import energymarket.{name}") & FIELD


@pytest.mark.parametrize("name", ["weatherd", "homesd", "homed"])
def test_who_is_given_a_compiled_scenario_reads_no_toml(name: str) -> None:
    """The schema of scenarios is a fifth of the start of a daemon that has no use for it."""
    found = modules_of(f"import energymarket.{name}")
    assert "energymarket.scenario.compiled" in found
    assert not found & {"energymarket.scenario.schema", "energymarket.scenario.toml", "tomllib"}


@pytest.mark.parametrize("name", existing(DAEMONS))
def test_no_daemon_pays_for_the_broker_s_library(name: str) -> None:
    """Pika is imported when a link to a broker is made, and not before."""
    assert "pika" not in imported_by(f"import energymarket.{name}")


def test_energyctl_starts_light() -> None:
    """A command imports neither NumPy nor msgspec nor rich before it knows that it needs them."""
    heavy = imported_by("import energyctl.app") & (FIELD | {"numpy", "msgspec", "rich", "sqlite3", "asyncio"})
    assert not heavy


def test_asking_a_worker_starts_light() -> None:
    """Finding the dispatcher, talking to it and drawing a band take the standard library and typer."""
    parts = "asking, band_plot, place, waiting"
    names = imported_by(f"import energyctl.verbs.ask; from energyctl.dispatch import {parts}")
    assert not names & (FIELD | {"numpy", "msgspec", "rich", "sqlite3", "asyncio", "tomllib"})


@pytest.mark.parametrize("module", ["wire/messages", "scenario/toml", "exits"])
def test_shared_modules_need_the_standard_library_only(module: str) -> None:
    """What energyctl shares with the daemons imports nothing that was installed."""
    names = imported_by(f"import energymarket.{module.replace('/', '.')}")
    assert not names & (FIELD | {"numpy", "msgspec", "rich", "typer", "click"})

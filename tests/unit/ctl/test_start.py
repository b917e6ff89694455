"""A command starts fast: what it imports (tests/bench/bench_status.py measures what that costs)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ENVIRON = {**os.environ, "PYTHONPATH": f"{ROOT / 'daemons'}:{ROOT / 'ctl'}"}
HEAVY = {
    "numpy",
    "msgspec",
    "rich",
    "pandas",
    "sysv_ipc",
    "sdnotify",
    "daemon",
    "importlib.metadata",
    "asyncio",
}


def modules_after(words: list[str]) -> set[str]:
    code = (
        "import sys, io\n"
        f"sys.argv = ['energyctl', '--run', '/nonexistent', *{words!r}]\n"
        "from energyctl.app import main\n"
        "out, sys.stderr = sys.stdout, io.StringIO()\n"
        "sys.stdout = io.StringIO()\n"
        "code = main()\n"
        "out.write(' '.join(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRON, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_price_imports_only_typer_and_the_standard_library() -> None:
    """No NumPy, msgspec, rich or daemon is loaded by the commonest command."""
    loaded = modules_after(["price"])
    assert loaded & HEAVY == set()
    assert {name for name in loaded if name.startswith("energymarket.")} <= {
        "energymarket.wire",
        "energymarket.wire.messages",
        "energymarket.exits",
        "energymarket.once",
    } | {name for name in loaded if name in {"energymarket.runtime", "energymarket.runtime.clock"}}
    assert {name for name in loaded if name.startswith("energyctl.verbs.")} == {"energyctl.verbs.price"}


def test_checking_a_configuration_needs_no_arrays() -> None:
    """`config check` runs where NumPy does not."""
    assert modules_after(["config", "check"]) & {"numpy", "msgspec", "rich", "pandas"} == set()


@pytest.mark.parametrize("words", [["status"], ["wait", "--timeout", "0.01"], ["check"], ["reload"]])
def test_what_an_operator_runs_all_day_loads_nothing_heavy(words: list[str]) -> None:
    """Status, wait, check and reload start as fast as the price does."""
    assert modules_after(words) & HEAVY == set()


def test_the_help_loads_no_daemon_and_no_rich() -> None:
    """All verbs together import no more than one."""
    loaded = modules_after(["--help"])
    assert loaded & HEAVY == set()
    assert not {name for name in loaded if name.endswith(("marketd", "weatherd", "homesd", "homed"))}

"""A command starts fast: what it imports, and what it costs beside a typer application that does nothing."""

from __future__ import annotations

import os
import resource
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

EMPTY = """
import typer
app = typer.Typer(add_completion=False)
@app.command()
def price() -> None: ...
app()
"""
RUN = "import sys; from energyctl.app import main; sys.exit(main())"


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


def cpu_s(words: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], env=ENVIRON, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_price_costs_little_more_than_an_empty_application() -> None:
    """At most 1.3 times the processor time of a typer application that does nothing.

    The best of nine each; a busy machine gets three rounds, because noise only ever adds.
    """
    ours_s, empty_s = [], []
    for _ in range(3):
        for _ in range(9):
            empty_s.append(cpu_s(["-c", EMPTY]))
            ours_s.append(cpu_s(["-c", RUN, "--run", "/nonexistent", "price"]))
        if min(ours_s) <= 1.3 * min(empty_s):
            return
    raise AssertionError(f"{min(ours_s) * 1000:.0f} ms against {min(empty_s) * 1000:.0f} ms")

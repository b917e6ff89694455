"""The way out of programs that answer once: what a shell does with their output leaves no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN_ONCE = (
    "import sys\n"
    "from energymarket.exits import *\n"
    "from energymarket.runtime import service\n"
    "def act(stop):\n"
    "    {}\n"
    "sys.exit(service.run_once('energy-test', act, as_json={}))\n"
)
PROGRAMS = {
    "energy-test": ["-c", RUN_ONCE.format("print('x' * 100_000); return 0", False)],
    "energy-ipc": ["-m", "energymarket.anchor", "list", "--run", "/nonexistent"],
    "energy-scenario": ["-m", "energymarket.scenario", "show", "classic"],
}


def environ() -> dict[str, str]:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**buffered, "PYTHONPATH": os.pathsep.join(sys.path)}


def ran(words: list[str], **streams: Any) -> subprocess.CompletedProcess[str]:
    environment = environ()
    return subprocess.run(
        [sys.executable, *words], stderr=subprocess.PIPE, text=True, env=environment, check=False, **streams
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_reader_that_has_gone_is_no_failure(program: str) -> None:
    """`energyctl ipc ls | true`: exit 0 and no word, neither of ours nor of the interpreter's end."""
    reader, writer = os.pipe()
    os.close(reader)
    done = ran(PROGRAMS[program], stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_full_disk_is_one_line(program: str) -> None:
    """Exit 74 with the system's word for it."""
    with Path("/dev/full").open("w") as full:
        done = ran(PROGRAMS[program], stdout=full)
    assert (done.returncode, done.stderr) == (74, f"{program}: No space left on device\n")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_closed_output_is_none_to_fail_at(program: str) -> None:
    """`>&-`: there is nobody to tell."""
    closed = f'exec {sys.executable} "$@" >&-'
    environment = environ()
    done = subprocess.run(
        ["/bin/sh", "-c", closed, "sh", *PROGRAMS[program]], capture_output=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_failed_call_is_one_line_without_traceback() -> None:
    """`energyctl ledger export /dev/null` named the file once in fifteen lines."""
    done = ran(["-c", RUN_ONCE.format("import os; os.mkdir('/dev/null')", False)])
    assert (done.returncode, done.stderr) == (74, "energy-test: /dev/null: File exists\n")


@pytest.mark.parametrize(
    ("body", "code", "name", "message", "hint"),
    [
        ("raise NoSuchObject('no slot 7', 'see 8')", 4, "no_such_object", "no slot 7", "see 8"),
        (
            "raise PermissionError(13, 'Permission denied', '/x')",
            77,
            "permission",
            "/x: Permission denied",
            "",
        ),
    ],
)
def test_a_failure_is_a_document_for_programs(
    body: str, code: int, name: str, message: str, hint: str
) -> None:
    """With --json, in the form of energyctl's own errors."""
    done = ran(["-c", RUN_ONCE.format(body, True)])
    assert done.returncode == code
    assert json.loads(done.stderr) == {
        "type": "error", "code": code, "name": name, "message": message, "hint": hint,
    }  # fmt: skip


def test_the_answer_of_a_checker_outlives_its_reader() -> None:
    """`energyctl ledger check | true` still says by its code that something is wrong."""
    reader, writer = os.pipe()
    os.close(reader)
    done = ran(["-c", RUN_ONCE.format("print('bad'); return 5", False)], stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (5, "")


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "price", "--ledger"],
        ["checkd", "--ledger"],
        ["report", "--out", "/nonexistent/out", "--ledger"],
        ["ledger_tool", "verify", "--ledger"],
    ],
)
def test_every_program_of_a_verb_keeps_the_promise_of_json(words: list[str]) -> None:
    """A ledger that is not there: exit 4, told in the form that was asked for."""
    program, *others = words
    done = ran(["-m", f"energymarket.{program}", *others, "/nonexistent/ledger.db", "--json"])
    assert done.returncode == 4
    assert json.loads(done.stderr)["name"] == "no_such_object"


@pytest.mark.needs("root")
def test_a_closed_door_is_the_missing_permission(tmp_path: Path) -> None:
    """`energyctl ipc ls` of somebody else's run: 77, in one line."""
    (tmp_path / "run").mkdir(mode=0o700)
    code = (
        "import os, sys, argparse, gettext, locale, re, shutil, energymarket.anchor as anchor\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"sys.exit(anchor.main(['list', '--run', {str(tmp_path / 'run')!r}]))\n"
    )
    done = ran(["-c", code])
    assert done.returncode == 77
    assert done.stderr.startswith("energy-ipc: /")
    assert done.stderr.endswith(": Permission denied\n")

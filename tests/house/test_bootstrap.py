"""The bootstrap of ./run and ./test: which Python it takes, and that the second start costs nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
USED = ("cat", "cut", "sha256sum")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory of programs that holds what the bootstrap needs, but no Python."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in USED:
        (programs / name).symlink_to(str(shutil.which(name)))
    return programs


def shell(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", f'. "{ROOT}/packaging/setup.sh"; {script}'],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(path)},
    )


def program(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def test_a_name_that_does_not_run_is_passed_over(path: Path) -> None:
    """A shim that ends with 127 and a Python that is too old do not hide the one that works."""
    program(path / "python3", 'echo "python3: command not found" >&2; exit 127')
    program(path / "python3.13", "exit 0")  # what an older one does: it prints nothing
    (path / "python3.12").symlink_to(sys.executable)
    answer = shell("find_python", path)
    assert answer.returncode == 0, answer.stderr
    found = subprocess.run(
        [answer.stdout.strip(), "-c", "import sys; print(sys.version_info >= (3, 11))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "True\n"


def prepared(place: Path) -> Path:
    """A tree with an environment that looks finished for its list."""
    root = place / "tree"
    (root / ".venv/bin").mkdir(parents=True)
    shutil.copytree(ROOT / "packaging/lock", root / "packaging/lock")
    shutil.copy(ROOT / "pyproject.toml", root)
    program(root / ".venv/bin/python", "exit 0")
    return root


def test_a_finished_environment_is_left_alone(path: Path, tmp_path: Path) -> None:
    """With the right stamp the set-up says nothing, starts nothing and makes nothing."""
    root = prepared(tmp_path)
    stamp = shell(f'root="{root}" venv="{root}/.venv" kind=run; wanted_stamp', path).stdout
    assert len(stamp.strip()) == 64
    (root / ".venv/.stamp-run").write_text(stamp)
    before = sorted(root.rglob("*"))
    answer = shell(f'setup "{root}" run', path)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert sorted(root.rglob("*")) == before


def test_another_list_wants_another_stamp(path: Path, tmp_path: Path) -> None:
    """A changed list, another kind and a moved tree are each noticed."""
    root = prepared(tmp_path)
    words = f'root="{root}" venv="{root}/.venv" kind=run'
    stamps = {
        shell(f"{words}; wanted_stamp", path).stdout,
        shell(f"{words}; kind=test; wanted_stamp", path).stdout,
        shell(f"{words}; venv=/elsewhere; wanted_stamp", path).stdout,
    }
    with (root / "packaging/lock/run.txt").open("a") as file:
        file.write("# changed\n")
    stamps.add(shell(f"{words}; wanted_stamp", path).stdout)
    assert len(stamps) == 4

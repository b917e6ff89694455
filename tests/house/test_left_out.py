"""What is left out is listed with its reason, and in CI nothing is left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENES = '''
import pytest

@pytest.mark.needs("tmux-of-another-world")
def test_without_its_program():
    """Needs what is nowhere."""

@pytest.mark.xfail(reason="known", strict=True)
def test_known_failure():
    """Fails, as known."""
    assert False

def test_over_data(shared_data):
    """Needs the data sets beside the checkout."""

def test_plain():
    """Needs nothing."""
'''


def played(place: Path, *, ci: bool) -> subprocess.CompletedProcess[str]:
    """The scenes above under this conftest, in a checkout of their own."""
    tests = place / "checkout" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(ROOT / "tests/conftest.py", tests)
    (tests / "needs.txt").write_text("tmux-of-another-world tmux-package\n")
    (tests / "test_scenes.py").write_text(SCENES)
    (place / "checkout" / "pytest.ini").write_text("[pytest]\nmarkers = needs(*names): x\n    alone: x\n")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("CI", "PYTEST"))}
    environment["TMPDIR"] = str(place)  # locks of their own: the test around them holds the others
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests"],
        cwd=place / "checkout",
        capture_output=True,
        text=True,
        check=False,
        env=environment | ({"CI": "true"} if ci else {}),
    )


def test_what_is_left_out_is_listed_before_the_closing_line(tmp_path: Path) -> None:
    """On a desk: success, a list by reason with the package to install, and pytest's own line last."""
    answer = played(tmp_path, ci=False)
    assert answer.returncode == 0, answer.stdout
    lines = answer.stdout.splitlines()
    listed = lines.index("needs tmux-of-another-world (Debian: apt install tmux-package):")
    assert lines[listed + 1] == "    tests/test_scenes.py::test_without_its_program"
    assert "1 passed, 2 skipped, 1 xfailed" in lines[-1]


def test_in_ci_a_skip_is_a_failure(tmp_path: Path) -> None:
    """In CI: the missing program fails the run, data beside the checkout may be absent."""
    answer = played(tmp_path, ci=True)
    assert answer.returncode == 1
    assert "1 passed, 1 skipped, 1 xfailed, 1 error" in answer.stdout.splitlines()[-1]
    assert "in CI nothing may be left out: needs tmux-of-another-world" in answer.stdout

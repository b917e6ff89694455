"""A test marked `alone` has the machine to itself, however many workers there are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENES = """
import time
from pathlib import Path
import pytest

def lasting(name):
    begin = time.monotonic()
    time.sleep(0.03)
    Path(name).write_text(f"{begin} {time.monotonic()}")

@pytest.mark.parametrize("number", range(12))
def test_together(number):
    lasting(f"together-{number}")

@pytest.mark.alone
@pytest.mark.parametrize("number", range(4))
def test_alone(number):
    lasting(f"alone-{number}")
"""


def test_nothing_runs_beside_a_test_that_wants_to_be_alone(tmp_path: Path) -> None:
    """With three workers, no other test's time overlaps that of a test marked alone."""
    tests = tmp_path / "tests"
    tests.mkdir()
    shutil.copy(ROOT / "tests/conftest.py", tests)
    (tests / "test_scenes.py").write_text(SCENES)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone: x\n    needs(*names): x\n")
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST")}
    environment["TMPDIR"] = str(tmp_path)  # locks of their own: the tests around this one hold the others
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "3", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert answer.returncode == 0, answer.stdout
    spans: dict[str, tuple[float, float]] = {}
    for path in [*tmp_path.glob("together-*"), *tmp_path.glob("alone-*")]:
        first, last = path.read_text().split()
        spans[path.name] = (float(first), float(last))
    assert len(spans) == 16
    for name in [name for name in spans if name.startswith("alone")]:
        mine = spans.pop(name)
        overlapping = [other for other, span in spans.items() if span[0] < mine[1] and mine[0] < span[1]]
        assert not overlapping, name

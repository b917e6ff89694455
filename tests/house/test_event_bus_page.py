"""The page of the event bus: its programs run as they stand there, with nothing installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import event_bus

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "packaging/doc/event-bus.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$.*?^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("program", "shown"), PROGRAMS, ids=["quick start", "when one dies"])
def test_a_program_of_the_page_prints_what_the_page_says(tmp_path: Path, program: str, shown: str) -> None:
    """As a script without a main guard, with the library's directory and the standard library only."""
    assert "__main__" not in program
    shutil.copytree(ROOT / "daemons/event_bus", tmp_path / "event_bus")
    script = tmp_path / "script.py"
    script.write_text(program)
    answer = subprocess.run(
        [sys.executable, "-S", "-W", "error", str(script)],  # -S: no site-packages
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: text for name, text in os.environ.items() if not name.startswith("PYTHON")},
    )
    assert answer.returncode == 0, answer.stderr
    assert sorted(answer.stdout.splitlines()) == shown.splitlines()


def test_every_public_name_is_on_the_page() -> None:
    """What `event_bus` exports stands in its API."""
    api = PAGE.partition("## API")[2].partition("## Guarantees")[0]
    assert [name for name in event_bus.__all__ if not re.search(rf"`{name}\b", api)] == []

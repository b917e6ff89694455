"""What a shell does with energyctl's streams, and what a user may type: never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EMPTY = "/nonexistent-run"
DEEP = '{"x": ' + "[" * 50_000 + "]" * 50_000 + "}"


def ran(shell: str, *words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """`energyctl` with the redirections that a shell gives it."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["/bin/sh", "-c", f'{sys.executable} -m energyctl "$@" {shell}', "sh", "--run", EMPTY, *words],
        env={**kept, "PYTHONPATH": os.pathsep.join(sys.path), **environ},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("shell", "words", "code"),
    [
        (">&-", ["scenario", "list"], 0),
        (">&-", ["scenario", "compile", "nothing-of-this-name"], 78),
        ("2>&-", ["homes", "99"], 3),
        ("2>/dev/full", ["homes", "99"], 3),
        (">&- 2>&-", ["price"], 3),
        ("<&- >&- 2>&-", ["price"], 3),
        (">/dev/full", ["scenario", "list"], 74),
        (">/dev/full", ["ipc", "ls"], 74),
    ],
)
def test_the_code_is_the_same_whatever_the_streams_are(shell: str, words: list[str], code: int) -> None:
    """Closed or full: the exit code is that of the table, and nobody sees the inside of the program."""
    done = ran(shell, *words)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize(
    "environ",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_letters_that_the_output_has_not_are_replaced(environ: dict[str, str], tmp_path: Path) -> None:
    """A title with a sign that latin-1 and ASCII have not."""
    text = (Path(__file__).parents[3] / "daemons/energymarket/scenario/shipped/classic.toml").read_text()
    file = tmp_path / "sign.toml"
    file.write_text("\n".join(f'title = "π {n}"' if n == 0 else line for n, line in _titled(text)))
    done = ran("", "config", "show", str(file), **environ)
    assert done.returncode == 0, done.stderr
    assert b'"? 0"' in done.stdout


def _titled(text: str) -> list[tuple[int, str]]:
    return [(0 if line.startswith("title =") else 1, line) for line in text.splitlines()]


@pytest.mark.parametrize("given", ['{"x": 1e999}', '{"x": NaN}', DEEP], ids=["infinite", "nan", "deep"])
def test_what_is_no_json_of_ours_is_wrong_words(given: str) -> None:
    """Infinite numbers, and a depth that Python's reader does not go to."""
    done = ran("", "call", "Status", given)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: the parameters are no JSON")

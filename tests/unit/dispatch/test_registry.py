"""Types of request are found by their files; what is none is refused before anything is served."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from energymarket.exits import ConfigError
from energymarket.requests.registry import known_types

TYPE = """
from energymarket.requests.kind import RequestType
REQUEST = RequestType({name!r}, ticketed=True, answer=lambda question, context: question)
"""


def test_another_type_is_one_file(tmp_path: Path) -> None:
    """A file with a REQUEST is known beside those of the package; the two classic names are among these."""
    (tmp_path / "further.py").write_text(TYPE.format(name="further"))
    ours, more = known_types(), known_types(tmp_path)
    assert set(more) == {*ours, "further"}
    assert {name for name, kind in ours.items() if not kind.ticketed} == {"requetetype1", "requetetype2"}
    assert {"report", "forecast"} <= set(ours)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no REQUEST"),
        ("REQUEST = 7", "has no REQUEST"),
        (TYPE.format(name="Upper"), "is no name of a request type"),
        (TYPE.format(name="two words"), "is no name of a request type"),
        (TYPE.format(name="report"), "another request type report"),
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("def", "invalid syntax"),
    ],
)
def test_a_file_that_is_no_type_is_refused_with_its_path(tmp_path: Path, text: str, said: str) -> None:
    """It is a mistake of whoever configured it: exit 78, and the file is named."""
    path = tmp_path / "wrong.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        known_types(tmp_path)
    assert str(path) in str(caught.value)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """No silent start without the types that were asked for."""
    with pytest.raises(ConfigError, match="is no directory"):
        known_types(tmp_path / "nowhere")


@pytest.mark.parametrize("module", ["dispatcherd", "workerd"])
def test_neither_daemon_starts_with_what_only_answers_need(module: str) -> None:
    """NumPy, pandas and their like come with the answering, in a worker, and never into the dispatcher."""
    code = (
        f"import sys, energymarket.{module}\n"
        "from energymarket.requests.registry import known_types\n"
        "known_types()\n"
        "print(sorted({'numpy', 'pandas', 'scipy', 'pvlib', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"

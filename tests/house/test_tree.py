"""The tree keeps the rules of the house: first lines, facts in tests, names of files, no workplace in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / "daemons", ROOT / "ctl"]
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "tools", "daemon"}
LINES_MAX = 400
FUNCTION_LINES_MAX = 70
GENERATED = {
    *(".git", ".venv", ".hypothesis", ".import_linter_cache", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
    *("__pycache__", "out", "dist"),
}


def tracked() -> list[Path]:
    """Files that git has or would take; outside a repository (an unpacked sdist) all but the generated."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        names = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    else:
        names = [path for path in ROOT.rglob("*") if not GENERATED & set(path.relative_to(ROOT).parts)]
    return sorted(path for path in names if path.is_file() and not path.is_symlink())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def offenders(paths: list[Path], wrong: Callable[[Path], object]) -> dict[str, object]:
    """File -> what is wrong with it, of those with whom something is."""
    return {name_of(path): found for path in paths if (found := wrong(path))}


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(parsed(path))
    if not docstring:
        return "no docstring"
    if not path.read_text().lstrip().startswith(('"""', 'r"""', "#!")):
        return "something stands before the docstring"
    lines = docstring.splitlines()
    is_sentence = len(lines[0]) > len("...") and (lines[0].endswith((".", ":")) or len(lines) > 1)
    return "" if is_sentence else f"not a sentence: {lines[0]}"


def test_first_line_says_what_lives_here() -> None:
    """Every module begins with a docstring whose first line is a sentence of its own."""
    assert offenders(MODULES + TESTS, _first_line) == {}


@pytest.mark.parametrize("path", sorted((ROOT / "tests/bench").glob("*.py")), ids=name_of)
def test_benchmarks_run_as_programs(path: Path) -> None:
    """A script that needs the tests' modules says where they are: Python looks beside the script only."""
    tree = parsed(path)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    wants = [node.lineno for node in imports if (node.module or "").partition(".")[0] == "tests"]
    says = [node.lineno for node in tree.body if ast.unparse(node).startswith("sys.path.insert(0, ")]
    assert not wants or (says and says[0] < min(wants)), "python SCRIPT would not find `tests`"


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_every_test_states_a_fact() -> None:
    """Every test has a docstring."""

    def silent(path: Path) -> list[str]:
        tests = [node for node in functions(path) if node.name.startswith("test_")]
        return [f"{node.name} (line {node.lineno})" for node in tests if not ast.get_docstring(node)]

    assert offenders(TESTS, silent) == {}


def test_files_are_nouns_with_a_meaning() -> None:
    """No file is a drawer for what belongs nowhere, and none hides python-daemon."""
    assert offenders(MODULES, lambda path: VAGUE & {path.stem, path.parent.name}) == {}


def test_no_file_hides_a_standard_module_from_a_script_beside_it() -> None:
    """A module at the top of a package directory is not named like one of the standard library."""
    tops = [path for path in MODULES if path.parent in PACKAGES]
    assert offenders(tops, lambda path: path.stem in sys.stdlib_module_names) == {}


def test_a_long_file_wants_to_be_two() -> None:
    """No module is longer than 400 lines."""

    def beyond(path: Path) -> int:
        lines = len(path.read_text().splitlines())
        return lines if lines > LINES_MAX else 0

    assert offenders(MODULES, beyond) == {}


def test_a_function_fits_a_screen() -> None:
    """No function is longer than 70 lines."""

    def long(path: Path) -> list[str]:
        lengths = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions(path)]
        return [f"{name}: {lines} lines" for name, lines in lengths if lines > FUNCTION_LINES_MAX]

    assert offenders(MODULES, long) == {}


# Put together from pieces, so that this file does not find itself.
WORKPLACE = re.compile("|".join(("/" + "work/", "/" + "root/", "/" + r"home/\w+/", "/" + "opt/pypi")))


def test_no_path_of_a_workplace_is_in_the_tree() -> None:
    """No file names a directory of the machine that it was written on."""
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if WORKPLACE.search(line) and "ProtectHome" not in line:
                found.append(f"{name_of(path)}:{number}: {line.strip()[:80]}")
    assert not found


def test_top_level_is_what_the_layout_says() -> None:
    """Beside files, the top of the tree holds the five fixed folders and nothing else."""
    folders = {path.relative_to(ROOT).parts[0] for path in tracked() if path.parent != ROOT}
    assert folders - {".ci"} <= {"daemons", "ctl", "systemd", "tests", "packaging"}

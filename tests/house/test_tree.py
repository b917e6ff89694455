"""The tree keeps the rules of the house: first lines, facts in tests, names of files, no workplace in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / "daemons", ROOT / "ctl"]
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "tools", "daemon"}
LINES_MAX = 400
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


@pytest.mark.parametrize("path", MODULES + TESTS, ids=name_of)
def test_first_line_says_what_lives_here(path: Path) -> None:
    """Every module begins with a docstring whose first line is a sentence of its own."""
    text = path.read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "no docstring"
    assert text.lstrip().startswith(('"""', 'r"""', "#!")), "something stands before the docstring"
    first = docstring.splitlines()[0]
    assert len(first) > len("..."), first
    assert first.endswith((".", ":")) or len(docstring.splitlines()) > 1, f"not a sentence: {first}"


@pytest.mark.parametrize("path", sorted((ROOT / "tests/bench").glob("*.py")), ids=name_of)
def test_benchmarks_run_as_programs(path: Path) -> None:
    """A script that needs the tests' modules says where they are: Python looks beside the script only."""
    tree = ast.parse(path.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    wants = [node.lineno for node in imports if (node.module or "").partition(".")[0] == "tests"]
    says = [node.lineno for node in tree.body if ast.unparse(node).startswith("sys.path.insert(0, ")]
    assert not wants or (says and says[0] < min(wants)), "python SCRIPT would not find `tests`"


def facts_of(path: Path) -> list[ast.FunctionDef]:
    return [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_every_test_states_a_fact(path: Path) -> None:
    """Every test has a docstring."""
    silent = [f"{node.name} (line {node.lineno})" for node in facts_of(path) if not ast.get_docstring(node)]
    assert not silent


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_are_nouns_with_a_meaning(path: Path) -> None:
    """No file is a drawer for what belongs nowhere, and none hides python-daemon."""
    assert path.stem not in VAGUE
    assert path.parent.name not in VAGUE


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_hides_a_standard_module_from_a_script_beside_it(path: Path) -> None:
    """A module at the top of a package directory is not named like one of the standard library."""
    if path.parent in PACKAGES:
        assert path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_long_file_wants_to_be_two(path: Path) -> None:
    """No module is longer than 400 lines."""
    assert len(path.read_text().splitlines()) <= LINES_MAX


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_function_fits_a_screen(path: Path) -> None:
    """No function is longer than 70 lines."""
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in functions(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > 70
    ]
    assert not long


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

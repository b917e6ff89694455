"""The documents: every file, function, test, link, command and scenario that they name is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from energyctl import verbs
from energymarket.audit.findings import Kind
from energymarket.exits import Exit
from energymarket.scenario import toml

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ROOT / "packaging/doc"
PAGES = sorted([*DOCUMENTS.glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])
FAILURES = DOCUMENTS / "failures.md"
BASES = (ROOT, ROOT / "daemons/energymarket", ROOT / "daemons")

GENERATED = re.compile(r"<!-- generated: .*?<!-- end -->", re.DOTALL)


def written(path: Path) -> str:
    """What a person has written of a page."""
    return GENERATED.sub("", path.read_text())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def file_of(name: str) -> Path | None:
    """The file that a page means by a path from the top or from the package."""
    return next((base / name for base in BASES if (base / name).is_file()), None)


@cache
def defined_in(path: Path) -> frozenset[str]:
    """Names of a module's functions and classes, methods as Class.method."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return frozenset(names)


UNITS_TOUCHED = "## What a fault of one unit touches"
"""A table of its own kind: tests/system/test_faults.py reads it."""


def rows(path: Path) -> list[list[str]]:
    """The cells of every row of a page's tables, heads and rules left out."""
    lines = path.read_text().partition(UNITS_TOUCHED)[0].splitlines()
    heads = {at - 1 for at, line in enumerate(lines) if line.startswith("|---")}
    found = [line for at, line in enumerate(lines) if at not in heads and re.match(r"\|(?!---)", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in found]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_and_function_that_a_page_names_is_there(page: Path) -> None:
    """`core/pricing.py` is a file, and `core/pricing.py:terms` a function or class in it."""
    missing = []
    for name, inside in re.findall(r"`([\w./-]+\.(?:py|toml))(?::([\w.]+))?`", written(page)):
        found = file_of(name)
        if name.endswith(".toml") and ("/" not in name or name.startswith("/")):
            continue  # an example, pyproject.toml, or a file of an installation
        if found is None or (inside and inside not in defined_in(found)):
            missing.append(f"{name}:{inside}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    """`tests/unit/x.py::test_y` is a test."""
    named = re.findall(r"`(tests/[\w./]+\.py)::(test_\w+)`", written(page))
    missing = [
        f"{name}::{test}"
        for name, test in named
        if not (ROOT / name).is_file() or test not in defined_in(ROOT / name)
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file(page: Path) -> None:
    """Links within the tree are not broken."""
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_page_names_is_one(page: Path) -> None:
    """`energyctl VERB` has the verb, and `energyctl up NAME` a shipped scenario or a file to be."""
    text = written(page)
    named = set(re.findall(r"(?:^|`)energyctl ([a-z][a-z-]*)", text, re.MULTILINE))
    assert named <= set(verbs.MODULES) | {"up"}
    scenarios = set(re.findall(r"energyctl (?:up|config check) ([a-z][\w.-]*)", text))
    assert {name for name in scenarios if not name.endswith(".toml")} <= set(toml.shipped())


def test_every_line_of_the_assignment_has_a_file_and_a_test() -> None:
    """Each line of the assignment says what does it and what proves it."""
    found = rows(DOCUMENTS / "assignment.md")
    assert len(found) > 30
    short = [
        row[0]
        for row in found
        if not re.search(r"`tests/\S+::test_\w+`", row[-1]) or not re.search(r"`[\w/]+\.py`", row[-2])
    ]
    assert short == []


# the failures


def test_every_table_of_failures_has_the_same_columns() -> None:
    """One form for all phases of life."""
    text = FAILURES.read_text().partition(UNITS_TOUCHED)[0]
    heads = {
        text.splitlines()[at - 1] for at, line in enumerate(text.splitlines()) if line.startswith("|---")
    }
    assert heads == {"| name | how it shows | what answers | energy and money | test |"}


def test_a_failure_has_one_name() -> None:
    """No two failures share a name, and no cell of any is empty."""
    found = rows(FAILURES)
    names = [row[0] for row in found]
    assert len(names) == len(set(names))
    assert len(names) > 100
    assert [row[0] for row in found if len(row) != 5 or not all(row)] == []


def test_findings_are_named_as_the_checker_names_them() -> None:
    """A name in small letters is a kind of finding; all others are words in capitals."""
    small = {row[0] for row in rows(FAILURES) if not re.fullmatch(r"(?:[A-Z][a-z]+)+", row[0])}
    assert small <= {kind.value for kind in Kind}


@pytest.mark.parametrize("row", rows(FAILURES), ids=lambda row: row[0])
def test_every_failure_has_an_answer_and_a_test(row: list[str]) -> None:
    """The answer names a directive that stands in a unit, or a file that is there; the test is a test."""
    words = re.findall(r"`([^`]+)`", row[2])
    directives = [word for word in words if re.match(r"[A-Z]\w+=", word)]
    files = [word for word in words if "/" in word or word.endswith(".py")]
    unknown = [word for word in directives if not stands_in_a_unit(word)]
    missing = [word for word in files if "=" not in word and file_of(word) is None]
    assert (unknown, missing) == ([], [])
    assert directives or files
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", row[4])


def stands_in_a_unit(directive: str) -> bool:
    """Whether a unit or a drop-in has the line; one without a value names the key only."""
    if directive.endswith("="):
        return any(line.startswith(directive) for line in unit_lines())
    return directive in unit_lines()


@cache
def unit_lines() -> frozenset[str]:
    """Every line of every unit."""
    paths = [path for path in (ROOT / "systemd/system").rglob("*") if path.is_file()]
    return frozenset(line for path in paths for line in path.read_text().splitlines())


@pytest.mark.parametrize("row", rows(FAILURES), ids=lambda row: row[0])
def test_what_a_failure_shows_is_said_by_the_suite(row: list[str]) -> None:
    """Words in italics are a subject of the catalog or of the programs; an exit code is one of the table."""
    said = re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", row[1])
    assert [words for words in said if words not in subjects() and words not in sources()] == []
    codes = {int(code) for code in re.findall(r"exit (\d+)", row[1])}
    assert codes <= {int(code) for code in Exit}


@cache
def subjects() -> frozenset[str]:
    """Subjects of the catalog; a field that is filled in is its bare name."""
    text = (ROOT / "systemd/catalog/energy-market.catalog").read_text()
    return frozenset(
        re.sub(r"@ENERGY_(\w+)@", r"\1", each) for each in re.findall(r"^Subject: (.+)$", text, re.MULTILINE)
    )


@cache
def sources() -> str:
    """Every program's text."""
    return "\n".join(path.read_text() for top in ("daemons", "ctl") for path in (ROOT / top).rglob("*.py"))


def test_every_document_is_reached_from_the_readme() -> None:
    """README names each document."""
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in DOCUMENTS.glob("*.md") if page.name not in readme] == []

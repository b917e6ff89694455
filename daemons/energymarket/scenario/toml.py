"""Scenario files: read and checked, printed, and the ones that are shipped. Standard library only."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from energymarket.scenario import checks, reader, resolve
from energymarket.scenario.lines import key_lines
from energymarket.scenario.problems import Problem, did_you_mean, render_problems
from energymarket.scenario.schema import Document, Scenario
from energymarket.scenario.show import show

__all__ = [
    "Problem",
    "Scenario",
    "default_text",
    "from_tables",
    "parse",
    "read",
    "render_problems",
    "shipped",
    "show",
]

FILE_BYTES_MAX: Final = 64 << 20
"""A file of a list with a value per slot of the longest period stays below."""
_LINE: Final = re.compile(r"\s*\(at line (\d+), column (\d+)\)|\s*\(at end of document\)")


def parse(text: str, name: str) -> tuple[Scenario | None, list[Problem]]:
    """A scenario from the text of a file, or all that is wrong with it. `name` is the file's path."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [_syntax_problem(str(error), text, name)]
    except RecursionError:
        return None, [Problem(name, 0, "", "tables or lists are nested too deep")]
    return _checked(raw, text, reader.Findings(name, key_lines(text)))


def from_tables(raw: Mapping[str, Any], name: str) -> tuple[Scenario | None, list[Problem]]:
    """A scenario from the tables of a file whose lines are not known; its text is empty."""
    return _checked(raw, "", reader.Findings(name, {(): 0}))


def _checked(
    raw: Mapping[str, Any], text: str, findings: reader.Findings
) -> tuple[Scenario | None, list[Problem]]:
    document = reader.read_table(Document, raw, (), findings)
    if document is not None:
        checks.check(document, raw, findings)
    if document is None or findings.problems:
        return None, findings.problems
    return resolve.scenario(document, Path(findings.file).stem, findings.file, text), []


def _syntax_problem(message: str, text: str, name: str) -> Problem:
    found = _LINE.search(message)
    line = int(found.group(1)) if found and found.group(1) else text.count("\n") + 1
    reason = _LINE.sub("", message)
    column = f", column {found.group(2)}" if found and found.group(2) else ""
    return Problem(name, line, "", f"this is no TOML: {reason}{column}", "a missing quote, bracket or = ?")


def read(name_or_path: str) -> tuple[Scenario | None, list[Problem]]:
    """A scenario by the name of a shipped one, or from a file."""
    if name_or_path in shipped():
        path = _shipped_directory() / f"{name_or_path}.toml"
        return parse(path.read_text("utf-8"), str(path))
    path = Path(name_or_path)
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return None, [Problem(name_or_path, 0, "", f"the file is larger than {FILE_BYTES_MAX >> 20} MiB")]
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        return None, [Problem(name_or_path, 0, "", f"the file is not UTF-8: {error.reason}")]
    except FileNotFoundError:
        hint = did_you_mean(name_or_path, shipped()) or "energyctl scenario list names the shipped ones"
        return None, [Problem(name_or_path, 0, "", "there is no such scenario or file", hint)]
    except OSError as error:
        return None, [Problem(name_or_path, 0, "", f"cannot be read: {error.strerror}")]
    return parse(text, name_or_path)


def shipped() -> tuple[str, ...]:
    """Names of the scenarios that come with the program."""
    return tuple(sorted(path.stem for path in _shipped_directory().glob("*.toml")))


def _shipped_directory() -> Path:
    return Path(str(resources.files("energymarket.scenario"))) / "shipped"


def default_text() -> str:
    """The default configuration with the meaning of every key; reads back to the default scenario."""
    scenario, problems = read("default")
    if scenario is None:
        raise ValueError(render_problems(problems))
    return show(scenario, explained=True)

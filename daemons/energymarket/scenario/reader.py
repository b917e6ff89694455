"""Reads TOML tables into the classes of the schema, and collects all that is wrong with them."""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from energymarket.scenario.kinds import Key, RefusedError
from energymarket.scenario.lines import line_of
from energymarket.scenario.problems import Path, Problem, did_you_mean, path_text

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


@dataclass(slots=True)
class Findings:
    """The problems of one file so far."""

    file: str
    lines: dict[Path, int]
    problems: list[Problem] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    root: type[Any] | None = None  # of the file's tables; None: it is a scenario

    def add(self, path: Path, message: str, hint: str = "") -> None:
        """Note a problem of a key or table."""
        self.problems.append(Problem(self.file, line_of(self.lines, path), path_text(path), message, hint))
        self.paths.append(path)

    def conclude(self, path: Path, message: str, hint: str = "") -> None:
        """Note a problem that follows from values; not if one of them was refused already."""
        if not self.refused(path):
            self.add(path, message, hint)

    def refused(self, path: Path) -> bool:
        """Whether there is a problem at a path or inside it."""
        return any(found[: len(path)] == path for found in self.paths)


def keys_of(table: type[Any]) -> dict[str, tuple[Field[Any], Key]]:
    """The keys of a table as written in a file."""
    pairs = [(entry, cast("Key", entry.metadata["key"])) for entry in fields(table)]
    return {noted.name or entry.name: (entry, noted) for entry, noted in pairs}


def read_table(table: type[T], raw: Mapping[str, object], path: Path, findings: Findings) -> T | None:
    """A table's object; a refused value is replaced by its default; None if a required one is missing."""
    known = keys_of(table)
    hints = ""
    for name in raw:
        if name not in known:
            hint = did_you_mean(name, known) or _elsewhere(name, table, findings.root)
            findings.add((*path, name), "unknown key", hint)
            hints += hint
    values: dict[str, object] = {}
    complete = True
    for name, (entry, noted) in known.items():
        there = (*path, name)
        if name in raw:
            value = _read(noted, raw[name], there, findings)
            if value is not None:
                values[entry.name] = value
                continue
        elif _required(entry) and f'"{name}"' not in hints:  # else it is there, but misspelt
            findings.add(there, "is missing", f"{noted.doc}; write {name} = ...")
        complete &= not _required(entry)
    return table(**values) if complete else None


def _required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _read(noted: Key, value: object, path: Path, findings: Findings) -> object | None:
    if noted.kind is not None:
        try:
            return noted.kind.read(value)
        except RefusedError as refused:
            hint = refused.hint or did_you_mean(refused.found, refused.choices)
            findings.add(path, refused.reason, hint)
            return None
    assert noted.table is not None  # noqa: S101 - a key is a value or a table
    name = path[-1]
    if not noted.many:
        if not isinstance(value, dict):
            findings.add(path, "expected a table", f"write [{path_text(path)}]")
            return None
        return read_table(noted.table, value, path, findings)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        findings.add(path, "expected an array of tables", f"write [[{name}]] for each")
        return None
    items: list[object] = []
    for index, item in enumerate(value):
        found: object | None = read_table(noted.table, item, (*path, index), findings)
        if found is not None:
            items.append(found)
    return tuple(items)


def _elsewhere(name: str, table: type[Any], root: type[Any] | None) -> str:
    """Where a key of this name does belong, if it is known at all."""
    from energymarket.scenario.schema import Document

    places = _places(root or Document, "")
    found = [
        place for place, known in places.items() if place and name in keys_of(known) and known is not table
    ]
    return f"{name} belongs to [{found[0]}]" if found else ""


def _places(table: type[Any], prefix: str) -> dict[str, type[Any]]:
    places = {prefix: table}
    for name, (_, noted) in keys_of(table).items():
        if noted.table is not None:
            places |= _places(noted.table, f"{prefix}.{name}" if prefix else name)
    return places

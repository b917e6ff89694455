"""Parameters: paths into a scenario, found in its schema, and set in what its file says.

`tariff.export` is a key of a table. Of an array of tables, `price.factor[imbalance].alpha` is a key of the
one of that name, [0] is the first one, [*] each. `homes.battery.share` is a key in each group of homes
that has that table; `homes[*].battery.share` gives one, with its defaults, to the others as well. `homes`
is how many homes there are in all: groups keep their proportions.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from energymarket.core.limits import HOMES_MAX
from energymarket.scenario.kinds import Kind, RefusedError, whole
from energymarket.scenario.reader import keys_of
from energymarket.scenario.schema import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from energymarket.scenario.kinds import Key
    from energymarket.scenario.problems import Path as Place

HOMES: Final = "homes"
SEED: Final = "seed"
EACH: Final = "*"

_FIXED: Final = frozenset({"schema", "title"})
"""Keys of a scenario that say nothing about how it goes."""

_PART: Final = re.compile(r'([A-Za-z0-9_-]+)(?:\[(?:"([^"\]]+)"|([^"\]]+))\])?')


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a path: a name and, of an array of tables, which of them are meant."""

    name: str
    chosen: str = ""  # "": those that have what follows
    many: bool = False

    def tables(self, raw: dict[str, Any]) -> list[tuple[Place, dict[str, Any]]]:
        """The tables that are meant, out of what the file says; a single one is made if it is absent."""
        if not self.many:
            return [((self.name,), raw.setdefault(self.name, {}))]
        listed: list[tuple[Place, dict[str, Any]]] = [
            ((self.name, at), each) for at, each in enumerate(raw.get(self.name, []))
        ]
        if self.chosen in {"", EACH}:
            return listed
        if self.chosen.isdecimal():
            return listed[int(self.chosen) :][:1]
        return [(place, each) for place, each in listed if each.get("name") == self.chosen]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A key of a scenario that a study sets."""

    path: str
    steps: tuple[Step, ...]  # the tables on the way
    leaf: str
    kind: Kind[Any]
    meaning: str

    def read(self, value: object) -> object:
        """Check a value as the scenario's own reader does. RefusedError."""
        return self.kind.read(value)

    @property
    def is_whole(self) -> bool:
        """Whether it takes whole numbers only."""
        return _takes(self.kind, 1) and not _takes(self.kind, 1.0)

    def put(self, raw: dict[str, Any], value: object) -> list[Place]:
        """Set the value in what a scenario's file says; where. RefusedError if there is no such table."""
        found: list[tuple[Place, dict[str, Any]]] = [((), raw)]
        for at, step in enumerate(self.steps):
            later = self.steps[at + 1 :]
            found = [
                ((*place, *below), inner)
                for place, table in found
                for below, inner in step.tables(table)
                if _is_meant(step, later, inner)
            ]
        if not found:
            raise RefusedError(f"the scenario has nothing that {self.path} names", self._how_to_make_it())
        for _, table in found:
            table[self.leaf] = value
        return [(*place, self.leaf) for place, _ in found]

    def _how_to_make_it(self) -> str:
        at = next((at for at, step in enumerate(self.steps) if step.many), None)
        if at is None or self.steps[at].chosen not in {"", EACH} or at + 1 == len(self.steps):
            return "energyctl scenario show prints what it has"
        step, rest = self.steps[at], [each.name for each in self.steps[at + 1 :]]
        before = [each.name for each in self.steps[:at]]
        return f"{'.'.join([*before, f'{step.name}[*]', *rest, self.leaf])} gives [{rest[0]}] to each"


def _is_meant(step: Step, later: tuple[Step, ...], table: dict[str, Any]) -> bool:
    """Of an array without a choice, those tables are meant that have the table which follows."""
    return not step.many or bool(step.chosen) or not later or later[0].name in table


def _takes(kind: Kind[Any], value: float) -> bool:
    try:
        kind.read(value)
    except RefusedError as refused:
        return "expected" not in refused.reason
    return True


def parameter(path: str) -> Parameter:
    """The parameter of a path. RefusedError says what is wrong with it, and what may be meant."""
    if path == HOMES:
        kind = whole(1, HOMES_MAX, "homes")
        return Parameter(path, (), path, kind, "homes in all; the groups keep their proportions")
    table: type[Any] = Document
    steps: list[Step] = []
    parts = _parts(path)
    for at, (name, chosen) in enumerate(parts):
        known = keys_of(table)
        if name not in known or (not steps and name in _FIXED):
            raise RefusedError(f"there is no parameter {path}", _suggestion(path))
        noted, is_last = known[name][1], at + 1 == len(parts)
        if chosen and not noted.many:
            raise RefusedError(f"{name} is one table or value: [{chosen}] has nothing to choose from")
        if noted.kind is not None:
            if not is_last:
                raise RefusedError(f"{'.'.join(n for n, _ in parts[: at + 1])} is a value, and has no keys")
            return Parameter(path, tuple(steps), name, noted.kind, noted.doc)
        assert noted.table is not None  # noqa: S101 - a key is a value or a table
        steps.append(Step(name, chosen, noted.many))
        table = noted.table
    raise RefusedError(f"{path} is a table: name one of its keys", _some(path, keys_of(table)))


def _parts(path: str) -> list[tuple[str, str]]:
    """Names with their choices, "" where there is none. RefusedError."""
    parts, at = [], 0
    while True:
        found = _PART.match(path, at)
        if found is None:
            raise RefusedError(f"{path!r} is no path", "names joined by dots, such as homes[flats].pv.share")
        parts.append((found[1], found[2] or found[3] or ""))
        at = found.end()
        if at == len(path):
            return parts
        if path[at] != ".":
            raise RefusedError(f"{path!r} is no path", f"a dot is missing before {path[at:]!r}")
        at += 1


def _suggestion(path: str) -> str:
    """The path whose end looks most like this one; of two alike the one of all homes."""
    plain = re.sub(r"\[[^\]]*\]", "", path)
    count = plain.count(".") + 1
    endings: dict[str, str] = {}
    for each in sorted(all_paths(), reverse=True):  # `homes.` before `home.`
        endings.setdefault(".".join(each.split(".")[-count:]), each)
    close = difflib.get_close_matches(plain, endings, n=1, cutoff=0.6)
    return f'did you mean "{endings[close[0]]}"?' if close else "energyctl config default shows every key"


def _some(path: str, known: dict[str, Any]) -> str:
    return "such as " + ", ".join(f"{path}.{name}" for name in list(known)[:3])


def all_paths() -> Iterator[str]:
    """Every path that a scenario can have, without choices."""
    yield HOMES
    yield from (path for path in _below(Document, "") if path not in _FIXED)


def _below(table: type[Any], prefix: str) -> Iterator[str]:
    for name, (_, noted) in keys_of(table).items():
        path = f"{prefix}.{name}" if prefix else name
        if noted.kind is not None:
            yield path
        elif noted.table is not None:
            yield from _below(noted.table, path)


def flattened(
    settings: dict[str, Any], before: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    """Parameters with their values; joined by dots, the names are the path.

    `tariff.export = 1` without quotes is a table in a table to TOML, and means the same.
    """
    for name, value in settings.items():
        names = (*before, name)
        if isinstance(value, dict) and _is_table(".".join(names)):
            yield from flattened(value, names)
        else:
            yield names, value


def _is_table(path: str) -> bool:
    table: type[Any] = Document
    try:
        parts = _parts(path)
    except RefusedError:
        return False
    for name, _ in parts:
        noted: Key | None = keys_of(table)[name][1] if name in keys_of(table) else None
        if noted is None or noted.table is None:
            return False
        table = noted.table
    return True

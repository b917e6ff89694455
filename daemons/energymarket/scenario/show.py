"""Writes a scenario as TOML, resolved, with or without explanations; it reads back to the same scenario."""

from __future__ import annotations

from dataclasses import MISSING, Field
from typing import TYPE_CHECKING, Any, Final

from energymarket.scenario.reader import keys_of
from energymarket.scenario.schema import SCHEMA, Document
from energymarket.scenario.uses import used

if TYPE_CHECKING:
    from energymarket.scenario.kinds import Key
    from energymarket.scenario.schema import Scenario

_WIDTH: Final = 110
_HEAD: Final = """\
# Default configuration of energy-market: every key with its default value and its meaning.
# Lines that begin with "# " followed by a key show keys that are absent by default, with an example.
# Prices and coefficients are in €/kWh, powers in W or kW as the key says.
# Check a changed file with: energyctl config check FILE
"""


def show(scenario: Scenario, *, explained: bool = False) -> str:
    """The scenario with all its defaults written out; `explained` adds the meaning of each key."""
    document = Document(
        schema=SCHEMA,
        title=scenario.title,
        seed=scenario.seed,
        time=scenario.time,
        place=scenario.place,
        weather=scenario.weather,
        tariff=scenario.tariff,
        grid=scenario.grid,
        price=scenario.price,
        sharing=scenario.sharing,
        elasticity=scenario.elasticity,
        load=scenario.load,
        service=scenario.service,
        broker=scenario.broker,
        meters=scenario.meters,
        dispatch=scenario.dispatch,
        data=scenario.data,
        home=scenario.homes,
        homes=scenario.groups,
    )
    writer = _Writer(explained=explained)
    writer.table(document, "")
    return (_HEAD + "\n" if explained else "") + "\n".join(writer.lines).strip("\n") + "\n"


class _Writer:
    """Collects lines of TOML; a table's values come before its tables, as TOML wants it."""

    def __init__(self, *, explained: bool) -> None:
        self.lines: list[str] = []
        self._explained = explained
        self._shown: set[type] = set()  # tables whose keys have been written: likewise
        self._known: set[str] = set()  # keys whose words have been written: once is enough

    def table(self, section: object, path: str) -> None:
        self._shown.add(type(section))
        effective = used(section)
        for name, (entry, noted) in keys_of(type(section)).items():
            value = getattr(section, entry.name)
            if noted.kind is None:
                continue
            if value is not None and name in effective:
                self._value(f"{name} = {noted.kind.write(value)}", noted.doc, type(section).__name__ + name)
            elif self._explained:
                self._value(f"# {name} = {_example(entry, noted)}", noted.doc, type(section).__name__ + name)
        for name, (entry, noted) in keys_of(type(section)).items():
            value = getattr(section, entry.name)
            inner = f"{path}.{name}" if path else name
            if noted.table is None:
                continue
            if not value:
                self._absent(noted, inner)
                continue
            for item in value if noted.many else [value]:
                self.lines.append("")
                self._words(noted.doc, inner)
                self.lines.append(f"[[{inner}]]" if noted.many else f"[{inner}]")
                self.table(item, inner)

    def _absent(self, noted: Key, path: str) -> None:
        """A table that is not there, as comments with defaults and examples, once."""
        if not self._explained or noted.table is None or noted.table in self._shown:
            return
        self._shown.add(noted.table)
        self.lines += ["", f"# {noted.doc}", f"# [[{path}]]" if noted.many else f"# [{path}]"]
        for name, (entry, inner) in keys_of(noted.table).items():
            if inner.kind is not None:
                known = entry.default is not MISSING and entry.default is not None
                value = (
                    inner.kind.write(entry.default) if known else inner.example or f"..., {inner.kind.words}"
                )
                self.lines.append(f"# {name} = {value}  # {inner.doc}")
        for name, (_, inner) in keys_of(noted.table).items():
            if inner.table is not None:
                self._absent(inner, f"{path}.{name}")

    def _value(self, line: str, doc: str, key: str) -> None:
        if not self._explained or key in self._known:
            self.lines.append(line)
            return
        self._known.add(key)
        if len(line) + len(doc) + 4 <= _WIDTH:
            self.lines.append(f"{line}  # {doc}")
        else:
            self.lines += [f"# {doc}", line]

    def _words(self, doc: str, key: str) -> None:
        if self._explained and key not in self._known:
            self._known.add(key)
            self.lines.append(f"# {doc}")


def _example(entry: Field[Any], noted: Key) -> str:
    """The default of a key that is not in use, or its example."""
    if noted.kind is None or entry.default is MISSING or entry.default is None:
        return noted.example or "..."
    return noted.kind.write(entry.default)

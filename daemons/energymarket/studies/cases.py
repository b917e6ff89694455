"""The scenario of a case: the base with the case's settings, as somebody would have written it by hand."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from energymarket.exits import ConfigError
from energymarket.scenario import toml, uses
from energymarket.scenario.compile import CompileError, with_overrides
from energymarket.scenario.kinds import RefusedError
from energymarket.scenario.problems import render_problems
from energymarket.scenario.reader import Findings, read_table
from energymarket.scenario.schema import Document
from energymarket.studies.parameters import HOMES, SEED, parameter

if TYPE_CHECKING:
    from energymarket.scenario.problems import Path as Place
    from energymarket.scenario.schema import Scenario
    from energymarket.studies.axes import Setting


@dataclass(frozen=True, slots=True)
class Order:
    """A case to be played, with all that it takes: it may travel to another machine."""

    number: int
    base: Scenario
    settings: tuple[Setting, ...]
    duration: str | None
    scratch: str  # directory for what is made and thrown away
    keep: str | None = None  # directory in which the case's ledger and registers stay

    @property
    def scenario(self) -> Scenario:
        """What is played."""
        return scenario_of(self.base, self.settings)


def scenario_of(base: Scenario, settings: tuple[Setting, ...]) -> Scenario:
    """The base with these settings. ConfigError says what cannot be.

    Name, title and place of the file stay: the result is the scenario of a copy edited by hand. What has
    no effect in this case is left out, as it would have to be there.
    """
    values = dict(settings)
    homes, seed = _whole(values.pop(HOMES, None)), _whole(values.pop(SEED, None))
    try:
        return with_overrides(_with(base, values) if values else base, homes, seed)
    except CompileError as error:
        raise ConfigError(str(error)) from error


def idle_of(base: Scenario, settings: tuple[Setting, ...]) -> set[str]:
    """Those parameters that have no effect in a case. ConfigError as `scenario_of`."""
    values = {path: value for path, value in settings if path not in {HOMES, SEED}}
    raw: dict[str, Any] = tomllib.loads(base.text)
    places = _put(raw, values)
    idle = set(_idle(raw))
    return {path for path, those in places.items() if idle.issuperset(those)}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _with(base: Scenario, values: dict[str, object]) -> Scenario:
    raw: dict[str, Any] = tomllib.loads(base.text)
    _put(raw, values)
    for place in _idle(raw):
        _remove(raw, place)
    found, problems = toml.from_tables(raw, base.path)
    if found is None:
        raise ConfigError(render_problems(problems))
    found = replace(found, name=base.name)
    return replace(found, text=toml.show(found))


def _put(raw: dict[str, Any], values: dict[str, object]) -> dict[str, list[Place]]:
    places = {}
    for path, value in values.items():
        try:
            places[path] = parameter(path).put(raw, value)
        except RefusedError as refused:
            raise ConfigError(refused.reason, refused.hint) from refused
    return places


def _idle(raw: dict[str, Any]) -> list[Place]:
    document = read_table(Document, raw, (), Findings("", {(): 0}))  # what is wrong is found when it is used
    return [] if document is None else [place for place, _ in uses.idle(document, raw)]


def _remove(raw: dict[str, Any], place: Place) -> None:
    table: Any = raw
    for name in place[:-1]:
        table = table[name]
    table.pop(place[-1], None)

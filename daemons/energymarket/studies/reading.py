"""Reads a study: its file, the scenario it plays, and every value that it sets, before anything is run."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energymarket.engine.api import slots_in
from energymarket.exits import ConfigError, Failure
from energymarket.scenario import toml
from energymarket.scenario.kinds import RefusedError
from energymarket.scenario.lines import key_lines
from energymarket.scenario.problems import did_you_mean, render_problems
from energymarket.scenario.reader import Findings, read_table
from energymarket.studies import shipped
from energymarket.studies.axes import Axis, Choice, cases_of, grid_size, shown_of
from energymarket.studies.cases import idle_of
from energymarket.studies.document import CASES_MAX, Method, Study
from energymarket.studies.parameters import HOMES, SEED, flattened, parameter

if TYPE_CHECKING:
    from energymarket.scenario.problems import Path as Place
    from energymarket.scenario.schema import Scenario
    from energymarket.studies.axes import Case, Setting
    from energymarket.studies.document import Level, Vary
    from energymarket.studies.parameters import Parameter

FILE_BYTES_MAX: Final = 1 << 20

LOOKED_AT_MAX: Final = 200
"""Cases that are looked at for one in which a parameter has an effect; mostly the first one has."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A study that has passed every check."""

    path: str
    name: str
    said: dict[str, Any]  # what the file says
    study: Study
    base: Scenario
    common: tuple[Setting, ...]
    axes: tuple[Axis, ...]
    cases: tuple[Case, ...]


def plan_of(name_or_path: str) -> Plan:
    """A shipped study by its name, or one from a file. ConfigError with all that is wrong with it."""
    text, path = _text_of(name_or_path)
    try:
        said = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: this is no TOML: {error}", "a missing quote, bracket or = ?") from error
    findings = Findings(path, key_lines(text), root=Study)
    study = read_table(Study, said, (), findings)
    if study is None:
        raise ConfigError(render_problems(findings.problems))
    common = _settings(study.set or {}, ("set",), findings)
    method = study.sampling.method
    axes = tuple(_axis(vary, method, ("vary", at), findings) for at, vary in enumerate(study.vary))
    _check_together(study, axes, common, findings)
    if findings.problems:
        raise ConfigError(render_problems(findings.problems))
    base = _base(study, path)
    _check_duration(study, base, findings)
    cases = tuple(cases_of(axes, study.sampling))
    _check_effect(base, common, axes, cases, findings)
    if findings.problems:
        raise ConfigError(render_problems(findings.problems))
    return Plan(path, Path(path).stem, said, study, base, common, axes, cases)


def _text_of(name_or_path: str) -> tuple[str, str]:
    known = shipped.names()
    path = shipped.path_of(name_or_path) if name_or_path in known else Path(name_or_path)
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        hint = did_you_mean(name_or_path, known) or "energyctl study --list names the shipped ones"
        raise ConfigError(f"{name_or_path}: there is no such study or file", hint) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {FILE_BYTES_MAX >> 20} MiB")
    try:
        return data.decode("utf-8"), str(path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error.reason}") from error


def _base(study: Study, path: str) -> Scenario:
    """The scenario that is played; a file lies beside the study."""
    name = study.scenario
    if name not in toml.shipped():
        name = str(Path(path).parent / name)
    found, problems = toml.read(name)
    if found is None:
        raise ConfigError(render_problems(problems))
    return found


def _settings(said: dict[str, Any], place: Place, findings: Findings) -> tuple[Setting, ...]:
    """Parameters with a value each, checked."""
    found: list[Setting] = []
    for names, value in flattened(said):
        path, there = ".".join(names), (*place, *names)
        known = _parameter(path, there, findings)
        if known is not None and _is_taken(known, value, there, findings):
            found.append((path, value))
    return tuple(found)


def _parameter(path: str, place: Place, findings: Findings) -> Parameter | None:
    try:
        return parameter(path)
    except RefusedError as refused:
        findings.add(place, refused.reason, refused.hint)
        return None


def _is_taken(known: Parameter, value: object, place: Place, findings: Findings) -> bool:
    try:
        known.read(value)
    except RefusedError as refused:
        hint = refused.hint or did_you_mean(refused.found, refused.choices)
        findings.add(place, f"{known.path}: {refused.reason}", hint)
        return False
    return True


def _axis(vary: Vary, method: Method, place: Place, findings: Findings) -> Axis:
    """An axis; where something is wrong with it, findings say so and it is of no use."""
    name = vary.name or vary.key or "levels"
    axis = Axis(name, column_of(name), "", "")
    given = [vary.values is not None, vary.low is not None or vary.high is not None, bool(vary.level)]
    if sum(given) != 1:
        findings.add(place, "values, a range (from, to), or levels: one of them", "and only one")
        return axis
    if vary.level:
        if vary.key is not None:
            findings.add((*place, "key"), "levels name their own parameters", "leave key out, give a name")
        return replace(axis, meaning="levels", choices=_levels(vary.level, place, findings))
    if vary.key is None:
        findings.add((*place, "key"), "is missing", "the parameter that is varied")
        return axis
    known = _parameter(vary.key, (*place, "key"), findings)
    if known is None:
        return axis
    axis = replace(axis, path=known.path, meaning=known.meaning, is_whole=known.is_whole)
    if vary.values is None:
        return _spanned(axis, vary, known, method, place, findings)
    there = (*place, "values")
    taken = [value for value in vary.values if _is_taken(known, value, there, findings)]
    choices = tuple(Choice(shown_of(value), ((known.path, value),)) for value in taken)
    _check_once([choice.shown for choice in choices], there, findings)
    return replace(axis, choices=choices)


def _spanned(
    axis: Axis, vary: Vary, known: Parameter, method: Method, place: Place, findings: Findings
) -> Axis:
    if vary.low is None or vary.high is None:
        findings.add(place, "a range has two ends", "from = ..., to = ...")
        return axis
    if vary.low >= vary.high:
        findings.add((*place, "from"), "has to be below to", f"{vary.low:g} is not below {vary.high:g}")
        return axis
    ends = (("from", vary.low), ("to", vary.high))
    if not all(_is_taken(known, value, (*place, name), findings) for name, value in ends):
        return axis
    axis = replace(axis, span=(vary.low, vary.high))
    if method is not Method.GRID:
        return axis
    if vary.steps is None:
        findings.add((*place, "steps"), "is missing", "a grid takes so many values of a range")
        return axis
    return replace(axis, choices=axis.spread(vary.steps))


def _levels(levels: tuple[Level, ...], place: Place, findings: Findings) -> tuple[Choice, ...]:
    choices = tuple(
        Choice(level.name, _settings(level.set, (*place, "level", at, "set"), findings))
        for at, level in enumerate(levels)
    )
    _check_once([choice.shown for choice in choices], (*place, "level"), findings)
    return choices


def _check_once(shown: list[Any], place: Place, findings: Findings) -> None:
    twice = next((value for at, value in enumerate(shown) if value in shown[:at]), None)
    if twice is not None:
        findings.add(place, f"{twice} is there twice", "each value once")


def _check_together(
    study: Study, axes: tuple[Axis, ...], common: tuple[Setting, ...], findings: Findings
) -> None:
    """What only shows when all axes are looked at."""
    seen: dict[str, int] = {}
    paths = {path for path, _ in common}
    for at, axis in enumerate(axes):
        place = ("vary", at)
        if axis.column in seen:
            findings.add(place, f"is called as vary[{seen[axis.column]}] is: {axis.name}", "name = ...")
        seen.setdefault(axis.column, at)
        mine = {path for choice in axis.choices for path, _ in choice.settings} | ({axis.path} - {""})
        for path in sorted(mine & paths):
            findings.add(place, f"{path} is set elsewhere in this study", "set a parameter in one place")
        paths |= mine
    if findings.problems:
        return
    if study.sampling.method is Method.GRID and (size := grid_size(axes)) > CASES_MAX:
        hint = "fewer values, or sampling.method = random"
        findings.add(("vary",), f"the grid has {size:,} cases, {CASES_MAX:,} are the most", hint)


def _check_duration(study: Study, base: Scenario, findings: Findings) -> None:
    try:
        slots_in(study.duration, base.market.period)
    except Failure as failure:
        findings.add(("duration",), str(failure.args[0]), failure.hint)


def _check_effect(
    base: Scenario,
    common: tuple[Setting, ...],
    axes: tuple[Axis, ...],
    cases: tuple[Case, ...],
    findings: Findings,
) -> None:
    """Refuse what names nothing in this scenario, and what has no effect in any of the cases."""
    places: dict[str, Place] = {path: ("set", path) for path, _ in common}
    for at, axis in enumerate(axes):
        inside = {path for choice in axis.choices for path, _ in choice.settings}
        places |= dict.fromkeys(inside | ({axis.path} - {""}), ("vary", at))
    for path, place in places.items():
        try:
            parameter(path).put(tomllib.loads(base.text), None)
        except RefusedError as refused:
            findings.add(place, refused.reason, refused.hint)
    idle = set() if findings.problems else set(places) - {HOMES, SEED}
    for case in cases[:: max(1, len(cases) // LOOKED_AT_MAX)]:
        settings = common + case.settings
        idle &= idle_of(base, settings) | (set(places) - {path for path, _ in settings})
        if not idle:
            return
    for path in sorted(idle):
        findings.add(
            places[path], f"{path} has no effect in any case", "another key decides that it has none"
        )


def column_of(name: str) -> str:
    """What the table calls a parameter: as the study does, in letters, digits and underscores."""
    return "param_" + re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")

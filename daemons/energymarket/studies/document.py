"""A study as a file says it: each key with its kind, default and words, read as a scenario's are."""

# ruff: noqa: RUF009 - fields are declared by functions that answer a dataclass field

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from energymarket.scenario.kinds import (
    Kind,
    RefusedError,
    choice,
    key,
    optional,
    section,
    sections,
    text,
    whole,
)

SCHEMA: Final = 1
CASES_MAX: Final = 100_000
"""A table of so many rows opens everywhere, and a page of so many dots does not: it shows a part."""

VALUES_MAX: Final = 10_000


class Method(StrEnum):
    """Which cases of all that the parameters allow are played."""

    GRID = "grid"
    RANDOM = "random"
    LATIN_HYPERCUBE = "latin_hypercube"


def _listed() -> Kind[tuple[Any, ...]]:
    """Values of any kind: the parameter that they are for refuses what it does not take."""
    words = "a list of values"

    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise RefusedError(f"expected {words}, found {type(value).__name__}", "write [0.1, 0.2]")
        if not 1 <= len(value) <= VALUES_MAX:
            raise RefusedError(f"expected 1 .. {VALUES_MAX} values, found {len(value)}")
        return tuple(value)

    return Kind(words, read, repr, f"1 to {VALUES_MAX} values")


def _end() -> Kind[float]:
    """One end of a range: a number, whole or not."""
    words = "a number"

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise RefusedError(f"expected {words}, found {value!r}", "words and lists go into values = [...]")
        return value

    return Kind(words, read, repr)


def _settings() -> Kind[dict[str, Any]]:
    """Parameters and a value for each."""
    words = 'parameters with a value each, such as { "tariff.export" = 0.06 }'

    def read(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise RefusedError(f"expected {words}, found {type(value).__name__}")
        return value

    return Kind(words, read, repr)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """[sampling]: which cases are played."""

    method: Method = key(
        choice(Method),
        "grid (every value with every other), random (independent draws), or latin_hypercube (each range cut "
        "into as many parts as there are samples, each part drawn from once)",
        Method.GRID,
    )
    samples: int = key(whole(1, CASES_MAX, "cases"), "random, latin_hypercube: number of cases", 100)
    seed: int = key(whole(0, (1 << 63) - 1), "of these draws; the scenario's chance has its own", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """[[vary.level]]: several parameters at once, as one value under a name."""

    name: str = key(text(60), "what table and pictures call it", required=True)
    set: dict[str, Any] = key(_settings(), "parameters and their values", required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vary:
    """[[vary]]: one parameter and the values that it takes: values, from and to, or levels."""

    key: str | None = optional(text(200), "the parameter; not with levels", '"homes.battery.share"')
    name: str | None = optional(
        text(60), "what table and pictures call it, instead of the key", '"battery share"'
    )
    values: tuple[Any, ...] | None = optional(
        _listed(), "each of them; random draws from them with equal chances", "[0, 0.5, 1]"
    )
    low: float | None = optional(_end(), "lower end of a range, instead of values", "0.02", name="from")
    high: float | None = optional(_end(), "its upper end", "0.12", name="to")
    steps: int | None = optional(
        whole(2, VALUES_MAX), "grid: so many values from one end to the other, both included", "6"
    )
    level: tuple[Level, ...] = sections(Level, "several parameters at once, as one value under a name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The file as it is written."""

    schema: int = key(whole(SCHEMA, SCHEMA), "version of this layout", required=True)
    title: str = key(text(120), "one line about the study", required=True)
    scenario: str = key(text(), "a shipped scenario, or a file beside the study", "default")
    duration: str | None = optional(
        text(20), "market time or slots that each case plays; without it the scenario's period", '"7d"'
    )
    set: dict[str, Any] | None = optional(
        _settings(), "parameters that differ from the scenario's in all cases", '{ "homes" = 50 }'
    )
    sampling: Sampling = section(Sampling, "which cases are played")
    vary: tuple[Vary, ...] = sections(Vary, "what is varied, one table for each parameter")

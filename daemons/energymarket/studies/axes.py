"""Axes of a study: what each parameter can be; and cases, one value of every axis."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final, TypeAlias

from energymarket.core import chance
from energymarket.studies.document import Method

if TYPE_CHECKING:
    from energymarket.studies.document import Sampling

Shown: TypeAlias = "int | float | str"
"""A value as the table has it: a number where the parameter is one, else words."""

Setting: TypeAlias = "tuple[str, object]"
"""The path of a parameter, and its value as a scenario's file would say it."""

DIGITS: Final = 6
"""Significant digits of a drawn number: what a person can type again is enough."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of an axis: how it is shown, and what it sets."""

    shown: Shown
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter that is varied: choices, or a span of numbers between two ends."""

    name: str
    column: str
    path: str  # "" where levels set several
    meaning: str
    choices: tuple[Choice, ...] = ()
    span: tuple[float, float] | None = None
    is_whole: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether all that it can be are numbers."""
        return self.span is not None or all(not isinstance(each.shown, str) for each in self.choices)

    @property
    def kind(self) -> str:
        """The type of its column: int, float or text."""
        if not self.is_numeric:
            return "text"
        if self.span is not None and not self.choices:
            return "int" if self.is_whole else "float"
        return "int" if all(isinstance(each.shown, int) for each in self.choices) else "float"

    def at(self, share: float) -> Choice:
        """The value at a share (0 .. 1, without 1) of its choices or of its span."""
        if self.span is None:
            return self.choices[int(share * len(self.choices))]
        low, high = self.span
        if self.is_whole:
            return self._number(math.floor(low + share * (high - low + 1)))
        value = float(f"{low + share * (high - low):.{DIGITS}g}")
        return self._number(min(max(value, low), high))

    def spread(self, steps: int) -> tuple[Choice, ...]:
        """Values from one end of the span to the other, both included, all equally far apart."""
        low, high = self.span or (0, 0)
        values = [low + (high - low) * at / (steps - 1) for at in range(steps)]
        if self.is_whole:
            return tuple(self._number(value) for value in dict.fromkeys(round(value) for value in values))
        return tuple(self._number(float(f"{value:.12g}")) for value in values)

    def _number(self, value: float) -> Choice:
        return Choice(value, ((self.path, value),))


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a study: a choice of each axis, in their order. Cases count from 1."""

    number: int
    choices: tuple[Choice, ...]

    @property
    def shown(self) -> tuple[Shown, ...]:
        """A value per axis."""
        return tuple(each.shown for each in self.choices)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All that it sets, in the order of the axes."""
        return tuple(setting for each in self.choices for setting in each.settings)


def cases_of(axes: Sequence[Axis], sampling: Sampling) -> list[Case]:
    """The cases of a study, in order; without axes there is one, the scenario as it is."""
    if sampling.method is Method.GRID:
        grid = product(*(axis.choices for axis in axes))
        return [Case(number, choices) for number, choices in enumerate(grid, 1)]
    shares = _random if sampling.method is Method.RANDOM else _latin
    columns = [
        [axis.at(share) for share in shares(sampling.seed, sampling.samples, at)]
        for at, axis in enumerate(axes)
    ]
    return [Case(number, choices) for number, choices in enumerate(zip(*columns, strict=True), 1)]


def grid_size(axes: Sequence[Axis]) -> int:
    """How many cases a grid has."""
    return math.prod(len(axis.choices) for axis in axes)


def _random(seed: int, samples: int, axis: int) -> list[float]:
    """Independent draws, uniform between 0 and 1."""
    return [_uniform(seed, at, 2 * axis) for at in range(samples)]


def _latin(seed: int, samples: int, axis: int) -> list[float]:
    """One draw from each of as many equal parts as there are samples, in an order of its own.

    McKay, Beckman, Conover 1979: every axis alone is covered evenly, whatever the others do.
    """
    order = sorted(range(samples), key=lambda at: (_drawn(seed, at, 2 * axis + 1), at))
    return [(part + _uniform(seed, at, 2 * axis)) / samples for at, part in enumerate(order)]


def _drawn(seed: int, at: int, item: int) -> int:
    return chance.draw_u64(seed, chance.Purpose.SAMPLE, at, item)


def _uniform(seed: int, at: int, item: int) -> float:
    return (_drawn(seed, at, item) >> 11) / (1 << 53)


def shown_of(value: object) -> Shown:
    """A value as table and pictures show it: numbers as they are, words without quotes, the rest as JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float, str)):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{name} {shown_of(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " to ".join(str(shown_of(each)) for each in value) if len(value) == 2 else json.dumps(value)
    return str(value)

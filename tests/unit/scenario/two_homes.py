"""The smallest scenario that says something of everything, and what is wrong with a changed one."""

from __future__ import annotations

from energymarket.scenario import toml
from energymarket.scenario.problems import Problem

SMALL = """\
schema = 1
title = "two homes"
seed = 7

[time]
start = 2025-06-16
timezone = "UTC"
slots = 4

[weather]
source = "constant"

[price]
form = "scaled"
half_life_h = 6

[[price.factor]]
name = "base"
alpha = 0.25

[[price.factor]]
name = "imbalance"
alpha = 0.05

[[home]]
name = "a"
production_wh = [0, 500]

[[home]]
name = "b"
policy = 2
consumption_wh = 300
"""


def problems_of(text: str) -> list[Problem]:
    """What is wrong with a scenario; it is read if nothing is."""
    scenario, problems = toml.parse(text, "x.toml")
    assert (scenario is None) == bool(problems)
    return problems


def changed(old: str, new: str) -> str:
    """The scenario with one thing changed."""
    assert SMALL.count(old) == 1
    return SMALL.replace(old, new)

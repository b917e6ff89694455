"""How a daemon comes to its scenario: a compiled directory, or a name or file that was compiled before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from energymarket.exits import ConfigError
from energymarket.scenario import compiled

if TYPE_CHECKING:
    import argparse

    from energymarket.scenario.compiled import Compiled


def open_scenario(words: argparse.Namespace) -> Compiled:
    """The compiled scenario that --compiled or --scenario names. ConfigError says what is wrong with it."""
    directory = words.compiled
    if directory is None:
        if not words.scenario:
            raise ConfigError("no scenario", "give --compiled DIR or --scenario NAME")
        # Who is given a directory, as under systemd and `up`, reads no TOML.
        from energymarket.scenario import cache, toml

        scenario, problems = toml.read(words.scenario)
        if scenario is None:
            raise ConfigError(toml.render_problems(problems))
        directory = cache.locate(scenario)
        if directory is None:
            hint = f"run: energyctl scenario compile {words.scenario}"
            raise ConfigError(f"scenario {words.scenario} is not compiled", hint)
    try:
        return compiled.load(directory)
    except compiled.CompiledError as error:
        raise ConfigError(str(error)) from error


def metered_homes(compiled: Compiled) -> dict[int, str]:
    """The meters of the homes that live by one."""
    return {int(home): str(meter) for home, meter in compiled.settings.get("metered_homes", {}).items()}


def speed(text: str) -> float:
    """The value of `--speed`: market seconds per real second."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(text)  # argparse says it: invalid value
    return value


class Words(Protocol):
    """A command line that may ask for lockstep."""

    @property
    def lockstep(self) -> bool:
        """Whether it does."""


def is_lockstep(words: Words | argparse.Namespace, compiled: Compiled) -> bool:
    """Whether a daemon runs without a clock: its command line says so, or the scenario's [service]."""
    return bool(words.lockstep or compiled.settings.get("service", {}).get("lockstep", False))

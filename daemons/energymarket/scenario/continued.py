"""The compiled scenario that a ledger was begun with, found again while the file still says the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energymarket.scenario import compiled, likeness, toml
from energymarket.scenario.compile import CompileError, with_overrides
from energymarket.scenario.kept import compiled_with

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.scenario.compiled import Compiled
    from energymarket.scenario.schema import Scenario


def begun_with(scenario_hash: str, scenario: Scenario) -> Path | None:
    """Its directory, if what the scenario says now differs at most by the price; else None.

    A changed coefficient is no reason to begin a ledger anew: a reload brings it, and the ledger keeps it.
    """
    found = compiled_with(scenario_hash)
    return found.directory if found is not None and _says_the_same(found, scenario) else None


def _says_the_same(found: Compiled, scenario: Scenario) -> bool:
    text = (found.directory / compiled.TOML_NAME).read_text(encoding="utf-8")
    before, _ = toml.parse(text, scenario.path)
    if before is None:
        return False
    try:
        before = with_overrides(before, found.homes_count, found.seed)
    except CompileError:
        return False
    return likeness.same_but_for_the_price(before, scenario)

"""A validated reload: new coefficients of the price take effect with the next slot, nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from energymarket.scenario import toml

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.core.market import Market
    from energymarket.scenario.compiled import Compiled
    from energymarket.scenario.schema import Scenario

_LIVE = ("gamma", "factors", "events", "floor_ueur_per_kwh", "cap_ueur_per_kwh")


class Reloader:
    """Reads the scenario's file (or a text) again and exchanges the coefficients."""

    def __init__(self, compiled: Compiled, source: Path) -> None:
        self._compiled = compiled
        self._source = source

    def reload(self, market: Market, text: str | None) -> tuple[list[str], list[str], list[str]]:
        """(problems, changed, needs restart). With problems nothing has changed."""
        if text is None:
            try:
                text = self._source.read_text(encoding="utf-8")
            except OSError as error:
                return [f"{self._source}: {error.strerror}"], [], []
        scenario, problems = toml.parse(text, str(self._source))
        if scenario is None:
            return [str(problem) for problem in problems], [], []
        old, new = market.rules.price, scenario.market.price
        if [kind.name for kind in old.events] != [kind.name for kind in new.events]:
            return ["price.events: the kinds of events cannot change while the market runs"], [], []
        changed = [f"price.{name}" for name in _LIVE if getattr(old, name) != getattr(new, name)]
        market.rules = replace(
            market.rules, price=replace(new, initial_ueur_per_kwh=old.initial_ueur_per_kwh)
        )
        return [], changed, self._needs_restart(scenario)

    def _needs_restart(self, scenario: Scenario) -> list[str]:
        facts = {
            "sharing": (scenario.market.sharing, self._compiled.sharing),
            "tariff": (scenario.market.tariff, self._compiled.tariff),
            "time": (scenario.market.period.slot_s, self._compiled.period.slot_s),
            "seed": (scenario.market.seed, self._compiled.seed),
            "homes": (scenario.homes_count, self._compiled.homes_count),
        }
        return [name for name, (new, old) in facts.items() if new != old]

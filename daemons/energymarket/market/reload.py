"""A validated reload: new coefficients of the price take effect with the next slot, nothing else changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from energymarket.scenario import likeness, resolve, toml
from energymarket.scenario.compiled import TOML_NAME
from energymarket.scenario.problems import in_order

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.core.parameters import PriceModel
    from energymarket.scenario.compiled import Compiled

_LIVE = ("gamma", "factors", "events", "floor_ueur_per_kwh", "cap_ueur_per_kwh")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reload found: problems and the old model, or what changes and the new one."""

    model: PriceModel
    problems: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()  # differs from what runs, and stays as it runs


class Reloader:
    """Reads the scenario's file, or a text in its place, again."""

    def __init__(self, compiled: Compiled, source: Path) -> None:
        self.compiled = compiled
        self._source = source

    def read(self, old: PriceModel, text: str | None = None) -> Reading:
        """The coefficients as they stand there now. Nothing is changed here."""
        if text is None:
            try:
                text = self._source.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                return Reading(old, (f"{self._source}: {error}",))
        scenario, problems = toml.parse(text, str(self._source))
        if scenario is None:
            return Reading(old, tuple(str(problem) for problem in in_order(problems)))
        # By the slots and the rule that run: the file may have others by now, which take another ledger.
        rule, slot_s = self.compiled.sharing.rule, self.compiled.period.slot_s
        model = resolve.slot_price(scenario.price, rule, slot_s)
        new = replace(model, initial_ueur_per_kwh=old.initial_ueur_per_kwh)
        if [kind.name for kind in old.events] != [kind.name for kind in new.events]:
            return Reading(old, ("price.events: the kinds of events cannot change while the market runs",))
        changed = tuple(f"price.{name}" for name in _LIVE if getattr(old, name) != getattr(new, name))
        # What differs from the file that runs, as the compiler keeps it, the next start would refuse.
        kept = self.compiled.directory / TOML_NAME
        try:
            running, problems = toml.parse(kept.read_text(encoding="utf-8"), str(kept))
        except (OSError, UnicodeDecodeError) as error:
            return Reading(old, (f"{kept}: {error}",))
        if running is None:
            return Reading(old, tuple(str(problem) for problem in in_order(problems)))
        return Reading(new, (), changed, likeness.differing(running, scenario))

"""Whether two scenarios are the same run: neither what a reload changes counts, nor what the grid emits."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final

from energymarket.scenario.schema import GridSection

if TYPE_CHECKING:
    from energymarket.scenario.schema import Scenario

_SAID_ELSEWHERE: Final = frozenset({"price", "market", "homes_count"})
"""What a reload brings, and what is made of the other tables."""


def same_but_for_the_price(before: Scenario, after: Scenario) -> bool:
    """Whether they differ at most by coefficients; kinds of events have their places in the ledger.

    Another carbon intensity of the grid is no other run either: no slot depends on it.
    """
    before, after = _as_slots_see_it(before), _as_slots_see_it(after)
    market = replace(after.market, price=before.market.price)
    same_kinds = [kind.name for kind in before.market.price.events] == [
        kind.name for kind in after.market.price.events
    ]
    return same_kinds and replace(after, market=market, price=before.price) == before


def differing(before: Scenario, after: Scenario) -> tuple[str, ...]:
    """The tables and keys, beside the price, in which they differ: each makes it another run."""
    before, after = _as_slots_see_it(before), _as_slots_see_it(after)
    names = (field.name for field in fields(before) if field.compare and field.name not in _SAID_ELSEWHERE)
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))


def _as_slots_see_it(scenario: Scenario) -> Scenario:
    data = scenario.data and replace(scenario.data, use_carbon=False)
    return replace(scenario, grid=GridSection(), data=data)

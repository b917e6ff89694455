"""Whether two scenarios are the same run: what a reload can change does not count."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from energymarket.scenario.schema import Scenario

_SAID_ELSEWHERE: Final = frozenset({"price", "market", "homes_count"})
"""What a reload brings, and what is made of the other tables."""


def same_but_for_the_price(before: Scenario, after: Scenario) -> bool:
    """Whether they differ at most by coefficients; kinds of events have their places in the ledger."""
    market = replace(after.market, price=before.market.price)
    same_kinds = [kind.name for kind in before.market.price.events] == [
        kind.name for kind in after.market.price.events
    ]
    return same_kinds and replace(after, market=market, price=before.price) == before


def differing(before: Scenario, after: Scenario) -> tuple[str, ...]:
    """The tables and keys, beside the price, in which they differ: each makes it another run."""
    names = (field.name for field in fields(before) if field.compare and field.name not in _SAID_ELSEWHERE)
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))

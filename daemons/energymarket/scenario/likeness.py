"""Whether two scenarios are the same run: what a reload can change does not count."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from energymarket.scenario.schema import Scenario


def same_but_for_the_price(before: Scenario, after: Scenario) -> bool:
    """Whether they differ at most by coefficients; kinds of events have their places in the ledger."""
    market = replace(after.market, price=before.market.price)
    same_kinds = [kind.name for kind in before.market.price.events] == [
        kind.name for kind in after.market.price.events
    ]
    return same_kinds and replace(after, market=market, price=before.price) == before

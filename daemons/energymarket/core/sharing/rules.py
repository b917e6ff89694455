"""The table of sharing rules by name. Gifts over the queue are played, not computed: they are not in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from energymarket.core.parameters import Rule
from energymarket.core.sharing import dynamic_key, grid_only, mid_market, need_first, pro_rata, static_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from energymarket.core.sharing.flows import Flows, Shares

RULES: Final[dict[Rule, Callable[[Flows], Shares]]] = {
    Rule.PRO_RATA: pro_rata.share,
    Rule.NEED_FIRST: need_first.share,
    Rule.STATIC_KEY: static_key.share,
    Rule.DYNAMIC_KEY: dynamic_key.share,
    Rule.MID_MARKET: mid_market.share,
    Rule.GRID_ONLY: grid_only.share,
}

GIFTS: Final = frozenset({Rule.QUEUE, Rule.PRO_RATA, Rule.NEED_FIRST})
"""Rules under which homes give by their policy; under the others the meters decide."""

"""Gifts to the greatest need first: what is offered levels what homes lack.

"First" is meant of every watt-hour: the next one goes to the home that at this moment lacks most. Serving
the whole greatest need before the second one would leave a home that lacks a little less with nothing.
So the greatest remaining lack becomes as small as it can (the maximin, or water-filling, allocation of
the literature: Bertsekas and Gallager, Data Networks, 2nd ed. 1992, chapter 6, turned round).
"""

from __future__ import annotations

import numpy as np

from energymarket.core.sharing.apportion import apportion, fill
from energymarket.core.sharing.flows import Flows, Shares, total


def share(flows: Flows) -> Shares:
    """Gifts of T = min(all offers, all needs): from givers in proportion, to takers by level."""
    offered = flows.offered_wh()
    supply, demand = total(offered), total(flows.need_wh)
    moved = np.minimum(supply, demand)
    received = flows.need_wh if (supply >= demand).all() else fill(moved, flows.need_wh)
    return Shares.gifts(apportion(moved, offered), received)

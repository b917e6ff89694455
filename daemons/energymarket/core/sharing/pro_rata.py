"""Gifts in proportion: what is offered goes to all who lack, as much of its need to each.

Every giver contributes the same part of its offer, every taker is met to the same part of its need.
"""

from __future__ import annotations

from energymarket.core.sharing.apportion import match_pro_rata
from energymarket.core.sharing.flows import Flows, Shares


def share(flows: Flows) -> Shares:
    """Gifts of T = min(all offers, all needs): offer_i T / offers from each, need_j T / needs to each."""
    return Shares.gifts(*match_pro_rata(flows.offered_wh(), flows.need_wh))

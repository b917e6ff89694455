"""The mid-market rate: members trade half way between what the grid asks and what it pays.

C. Long, J. Wu, C. Zhang, L. Thomas, M. Cheng, N. Jenkins: Peer-to-peer energy trading in a community
microgrid, IEEE Power & Energy Society General Meeting 2017. With mid = (r + e) / 2, all
generation G and all demand D of a slot:

    G = D:  everybody pays and is paid mid
    G > D:  demand pays mid; generation is paid (D mid + (G − D) e) / G
    G < D:  generation is paid mid; demand pays (G mid + (D − G) r) / D

A single price for the long side is the same as a single part of it that trades within the community:
each sells D / G of its surplus at mid and the rest at e, each buys G / D of its need at mid and the rest
at r. So the rule is the dynamic key at another price, and the price of the slot is `mid` (`mid_price.py`).
"""

from __future__ import annotations

from energymarket.core.sharing import dynamic_key
from energymarket.core.sharing.flows import Flows, Shares


def share(flows: Flows) -> Shares:
    """As under the dynamic key."""
    return dynamic_key.share(flows)

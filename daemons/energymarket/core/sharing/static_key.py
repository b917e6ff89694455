"""The static key: every member has a fixed part of the community's generation in every slot.

Austria: "statische" Aufteilung, section 16e ElWOG 2010: a fixed ideal share of the plant for each member;
what it does not use in the quarter-hour is fed into the grid and is nobody else's. France: "clé de
répartition statique", articles L315-2 and D315-6 Code de l'énergie. Germany: fixed "Aufteilungsschlüssel"
of section 42b (5) EnWG, equal parts where nothing was agreed.
What is allocated is traded at the price between members; the grid buys and sells the rest.
"""

from __future__ import annotations

import numpy as np

from energymarket.core.sharing.apportion import apportion
from energymarket.core.sharing.flows import Flows, Shares, total


def share(flows: Flows) -> Shares:
    """min(weight_j G / weights, need_j) to each of generation G; each generator sells the same part."""
    generation = total(flows.surplus_wh)
    bought = np.minimum(apportion(generation, flows.weights), flows.need_wh)
    return Shares.allocation(apportion(total(bought), flows.surplus_wh), bought)

"""The static key: every member has a fixed part of the community's generation in every slot.

Austria: "statische Aufteilung" (sections 16a and 16e ElWOG 2010, section 79 EAG; the Koordinationsstelle
für Energiegemeinschaften, "Energiezuteilung in Energiegemeinschaften": what a member does not use of its
part in the quarter-hour is surplus fed into the grid). France: coefficients announced beforehand,
articles D315-4 and D315-6 Code de l'énergie, at most what is consumed. Germany: a fixed key in the
contract of section 42b EnWG (gemeinschaftliche Gebäudeversorgung).
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

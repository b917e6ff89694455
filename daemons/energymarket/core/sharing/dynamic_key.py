"""The dynamic key: the community's generation of a slot goes to its members by what they draw in it.

Austria: "dynamische" Aufteilung, section 16e ElWOG 2010 with the communities of section 16c and section 79
EAG: energy of a quarter-hour is allocated by each member's consumption in it, never more than that.
France: "clé de répartition dynamique par défaut", autoconsommation collective, articles L315-2 and D315-6
Code de l'énergie. Germany: "Aufteilungsschlüssel" of common supply in a building, section 42b (5) EnWG.
What is allocated is traded at the price between members; the grid buys and sells the rest.
"""

from __future__ import annotations

from energymarket.core.sharing.apportion import match_pro_rata
from energymarket.core.sharing.flows import Flows, Shares


def share(flows: Flows) -> Shares:
    """A = min(generation, demand): demand_j A / demand to each, generation_i A / generation from each."""
    return Shares.allocation(*match_pro_rata(flows.surplus_wh, flows.need_wh))

"""The dynamic key: the community's generation of a slot goes to its members by what they draw in it.

Austria: "dynamische Aufteilung" (sections 16a and 16e ElWOG 2010, section 79 EAG; the Koordinationsstelle
für Energiegemeinschaften, "Energiezuteilung in Energiegemeinschaften": in relation to the consumption
measured in the quarter-hour). France: article D315-6 Code de l'énergie, the default of collective
self-consumption: in proportion to consumption, at most what is consumed. Germany: a key that the
contract of section 42b EnWG (gemeinschaftliche Gebäudeversorgung) may set, by the quarter-hour.
What is allocated is traded at the price between members; the grid buys and sells the rest.
"""

from __future__ import annotations

from energymarket.core.sharing.apportion import match_pro_rata
from energymarket.core.sharing.flows import Flows, Shares


def share(flows: Flows) -> Shares:
    """A = min(generation, demand): demand_j A / demand to each, generation_i A / generation from each."""
    return Shares.allocation(*match_pro_rata(flows.surplus_wh, flows.need_wh))

"""The twin of a whole neighbourhood: plain objects in a loop, or agents of mesa. Stores nothing.

    python tests/bench/twin_mesa.py INPUTS.json [--framework mesa|plain]

Runs in mesa's own environment; INPUTS is made by `twin_inputs.py`. Prints one line of JSON: CPU seconds of
the slots, totals over all homes, and the last price.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.twin_home import (
    TwinHome,
    columns_as_homes,
    factor_of,
    share_out,
    totals_of,
    trade_rest,
)


class Market:
    """The price of each slot, from what flowed in the slot before."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        self.model = inputs["price"]
        self.elasticity = inputs["elasticity"]
        self.price = self.model["initial_ueur_per_kwh"]
        self.flowed = (0, 0)

    def open(self, slot: dict[str, Any]) -> SimpleNamespace:
        """The slot with its price and how the homes answer it."""
        consumed, produced = self.flowed
        both = consumed + produced
        price = round(self.model["gamma"] * self.price) + slot["outside_ueur"]
        price += round(self.model["imbalance_ueur"] * (consumed - produced) / both) if both else 0
        self.price = min(max(price, self.model["floor_ueur_per_kwh"]), self.model["cap_ueur_per_kwh"])
        factors = [
            factor_of(each["grid_ueur_per_kwh"], each["factor_permille"], self.price)
            for each in self.elasticity
        ]
        return SimpleNamespace(**slot, factors=[1.0, *factors])


def played_plain(inputs: dict[str, Any]) -> tuple[float, dict[str, int], int]:
    """CPU seconds, totals and last price of objects in a loop."""
    shift_slots = [each["shift_slots"] for each in inputs["elasticity"]]
    homes = [TwinHome(own, shift_slots) for own in columns_as_homes(inputs["homes"])]
    keys, market = inputs["profile"], Market(inputs)
    began = time.process_time()
    before = (0, 0)
    for slot in inputs["slots"]:
        shared = market.open(slot)
        profile = shared.profile_wh
        for home, key, noise in zip(homes, keys, shared.noise, strict=True):
            home.step(shared, profile[key], noise)
        share_out(homes[shared.start :] + homes[: shared.start])
        trade_rest(homes, market.price)
        sums = (sum(h.consumption_wh for h in homes), sum(h.production_wh for h in homes))
        market.flowed = (sums[0] - before[0], sums[1] - before[1])
        before = sums
    return time.process_time() - began, totals_of(homes), market.price


def played_mesa(inputs: dict[str, Any]) -> tuple[float, dict[str, int], int]:
    """CPU seconds, totals and last price of a mesa model: an agent per home, `AgentSet.do` per slot."""
    mesa = importlib.import_module("mesa")
    shift_slots = [each["shift_slots"] for each in inputs["elasticity"]]

    class House(TwinHome, mesa.Agent):  # type: ignore[misc, name-defined] # mesa is not installed here
        """A home as an agent."""

        def __init__(self, model: Any, own: dict[str, Any], at: int) -> None:
            mesa.Agent.__init__(self, model)
            TwinHome.__init__(self, own, shift_slots)
            self.at = at
            self.key = inputs["profile"][at]

        def live(self) -> None:
            """One slot."""
            shared = self.model.shared
            self.step(shared, shared.profile_wh[self.key], shared.noise[self.at])

    class Neighbourhood(mesa.Model):  # type: ignore[misc, name-defined]
        """Homes and their market."""

        def __init__(self) -> None:
            super().__init__(seed=1)
            self.market = Market(inputs)
            self.before = (0, 0)
            self.shared: Any = None
            self.waiting = iter(inputs["slots"])
            self.houses = [House(self, own, at) for at, own in enumerate(columns_as_homes(inputs["homes"]))]

        def step(self) -> None:
            """One slot of everybody."""
            self.shared = self.market.open(next(self.waiting))
            self.agents.do("live")
            start = self.shared.start
            share_out(self.houses[start:] + self.houses[:start])
            trade_rest(self.houses, self.market.price)
            sums = (
                sum(house.consumption_wh for house in self.houses),
                sum(house.production_wh for house in self.houses),
            )
            self.market.flowed = (sums[0] - self.before[0], sums[1] - self.before[1])
            self.before = sums

    model = Neighbourhood()
    began = time.process_time()
    for _ in inputs["slots"]:
        model.step()
    return time.process_time() - began, totals_of(model.houses), model.market.price


def main() -> None:
    """Play, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--framework", choices=("mesa", "plain"), default="plain")
    words = parser.parse_args()
    inputs = json.loads(words.inputs.read_bytes())
    played = played_mesa if words.framework == "mesa" else played_plain
    cpu_s, totals, price = played(inputs)
    said = {"cpu_s": cpu_s, "totals": totals, "price_ueur_per_kwh": price}
    if words.framework == "mesa":
        said["version"] = importlib.import_module("importlib.metadata").version("mesa")
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()

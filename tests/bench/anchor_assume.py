"""ASSUME clears the homes' net loads: a demand unit per home, a plant unit per home with a surplus, a grid.

    python tests/bench/anchor_assume.py NET.json [--operators each|one]

Runs in ASSUME's own environment, with no output stored. NET has each home's net at the meter in Wh, slot by
slot of a quarter of an hour (above zero a surplus). One pay-as-clear market per slot; every unit bids with
ASSUME's naive strategies. Load, PV, batteries and elasticity are in the net loads already; gifts, bills,
ledger and persistence it does not have. Prints CPU seconds and the demand that was met.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path

import pandas as pd
from assume import World
from assume.common.forecaster import DemandForecaster, PowerplantForecaster
from assume.common.market_objects import MarketConfig, MarketProduct
from dateutil import rrule as rr
from dateutil.relativedelta import relativedelta

KW_PER_WH = 4 / 1000
START = datetime(2025, 6, 16)
QUARTER = timedelta(minutes=15)


def built(world: World, net_wh: list[list[int]], operators: str) -> list[str]:
    """Put market, operators and units into a world; the demand units' names."""
    slots = len(net_wh[0])
    end = START + slots * QUARTER
    index = pd.date_range(START, end, freq="15min")
    world.setup(start=START, end=end, save_frequency_hours=None, simulation_id="bench")
    world.add_market_operator(id="operator")
    world.add_market(
        "operator",
        MarketConfig(
            market_id="energy",
            opening_hours=rr.rrule(rr.MINUTELY, interval=15, dtstart=START, until=end - QUARTER),
            opening_duration=QUARTER,
            market_mechanism="pay_as_clear",
            market_products=[MarketProduct(relativedelta(minutes=15), 1, relativedelta(0))],
            maximum_bid_volume=1e9,
            volume_unit="kW",
        ),
    )
    demands = []
    for number, wh in enumerate(net_wh, 1):
        operator = f"home {number}" if operators == "each" else "homes"
        if operators == "each" or number == 1:
            world.add_unit_operator(operator)
        need = [-max(0, -each) * KW_PER_WH for each in wh]
        if any(need):
            demands.append(f"need {number}")
            series = pd.Series([*need, 0.0], index)
            parameters = {
                "technology": "demand", "min_power": 0, "max_power": min(need), "price": 400,
                "bidding_strategies": {"energy": "demand_energy_naive"},
            }  # fmt: skip
            world.add_unit(
                demands[-1], "demand", operator, parameters, DemandForecaster(index, demand=series)
            )
        surplus = [max(0, each) * KW_PER_WH for each in wh]
        if any(surplus):
            most = max(surplus)
            share = pd.Series([*(each / most for each in surplus), 0.0], index)
            _plant(
                world,
                f"surplus {number}",
                operator,
                most,
                80,
                PowerplantForecaster(index, availability=share),
            )
    world.add_unit_operator("grid")
    _plant(world, "grid", "grid", 20.0 * len(net_wh), 330, PowerplantForecaster(index))
    return demands


def _plant(
    world: World, name: str, operator: str, most_kw: float, cost: float, forecaster: PowerplantForecaster
) -> None:
    parameters = {
        "technology": "plant", "min_power": 0, "max_power": most_kw, "additional_cost": cost,
        "bidding_strategies": {"energy": "powerplant_energy_naive"},
    }  # fmt: skip
    world.add_unit(name, "power_plant", operator, parameters, forecaster)


def main() -> None:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("net", type=Path)
    parser.add_argument("--operators", choices=("each", "one"), default="each")
    words = parser.parse_args()
    logging.disable(logging.WARNING)
    # The last slot's dispatch does not reach the units before the world ends: an empty one goes last.
    net_wh = [[*each, 0] for each in json.loads(words.net.read_bytes())["net_wh"]]
    world = World(export_csv_path="", log_level="ERROR")
    demands = built(world, net_wh, words.operators)
    began = time.process_time()
    world.run()
    cpu_s = time.process_time() - began
    met_kw = 0.0
    for operator in world.unit_operators.values():
        for name, unit in operator.units.items():
            if name in demands:
                met_kw -= float(unit.outputs["energy"].data.sum())
    said = {"cpu_s": cpu_s, "demand_wh": met_kw / KW_PER_WH, "version": metadata.version("assume-framework")}
    sys.stdout.write(f"\n{json.dumps(said)}\n")


if __name__ == "__main__":
    main()

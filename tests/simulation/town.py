"""A neighbourhood of sixty-two homes in several processes, for the tests that kill or freeze its daemons."""

from __future__ import annotations

from tests.simulation.market_place import Place, soon

HOMES = 62

TRADER = 2
"""The home for which the test itself buys; it never hands in a reading."""

SCENE = """
schema = 1
title = "A neighbourhood to be killed"
seed = 5
[time]
start = 2025-06-16
timezone = "UTC"
slots = 5000
[weather]
source = "constant"
temperature_c = [20, 3, 12]
[place]
latitude = 49.49
longitude = 8.47
[tariff]
energy = 0.15
grid_fee = 0.1
tax = 0.05
export = 0.05
gift_fee = 0.02
[price]
form = "raw"
initial = 0.2
gamma = 0.5
floor = 0.05
cap = 0.5
[[price.factor]]
name = "base"
alpha = 0.1
[[price.factor]]
name = "imbalance"
alpha = 0.02
[price.events.strike]
beta = 0.01
probability_per_slot = 0.2
duration = "1h"
[service]
shards = 2
start_wait_s = 20
[[home]]
name = "Alone"
policy = "give_then_sell"
process = "single"
production_w = [900, 0]
consumption_w = 300
[[home]]
name = "Trader"
policy = "sell"
process = "single"
consumption_w = 1
[[homes]]
name = "givers"
count = 20
policy = "give"
production_w = 800
[homes.load]
kind = "constant"
power_w = 250
[[homes]]
name = "both"
count = 10
policy = "give_then_sell"
production_w = 700
[homes.battery]
kwh = 5
kw = 2
[[homes]]
name = "takers"
count = 30
policy = "sell"
[homes.load]
kind = "constant"
power_w = 610
"""


def begin(place: Place, *names: str) -> None:
    """Start the daemons and wait for the first slots."""
    for name in names or ("market", "weather", "homes", "home-1"):
        place.start(name)
    soon(lambda: place.committed() >= 0, 30, "a first slot", place.log.read_text)


def goes_on(place: Place, beyond: int) -> bool:
    """Whether every home is back and a slot beyond that one is committed; the others must be alive."""
    dead = {name: each.returncode for name, each in place.daemons.items() if each.poll() is not None}
    assert not dead, f"{dead}\n{place.log.read_text()}"
    status = place.status()
    return status.get("homes_joined") == HOMES and status["snapshot"].get("slot", -1) > beyond

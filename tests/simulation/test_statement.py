"""The assignment through the product: its example, an event raised by hand, its six homes as processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.market_place import KINDS, Place, soon

EXAMPLE = """
schema = 1
title = "The statement's example: 0.99 x 0.145 + 0.001 / 5 + 0.01 = 0.15375"
[time]
start = 2025-01-20
timezone = "Europe/Paris"
slots = 40
[weather]
source = "constant"
temperature_c = 5
[place]
latitude = 45.76
longitude = 4.84
[tariff]
follows_price = true
[price]
form = "raw"
initial = 0.145
gamma = 0.99
[[price.factor]]
name = "inverse_temperature"
alpha = 0.001
[price.events.gas_shortage]
beta = 0.01
probability_per_slot = 0
[service]
shards = 1
[[home]]
name = "Balance"
production_w = 400
consumption_w = 400
"""

SLOTS_AFTER = 12
"""How many slots the rest of an event is followed for."""


@pytest.fixture
def example(place: Place) -> Place:
    """The market of the example, without homes and weather: it waits for them before its first slot."""
    scenario = place.path / "example.toml"
    scenario.write_text(EXAMPLE)
    place.compile(str(scenario))
    place.speed, place.slots = 900 / 0.2, SLOTS_AFTER + 1
    place.start("market")
    soon(lambda: place.ctl("event", "list").returncode == 0, 10, "the market answers", place.log.read_text)
    return place


def _to_the_end(place: Place) -> None:
    place.start("weather")
    place.start("homes")
    soon(place.ended, 60, "the market ends", place.log.read_text)


def _explained(place: Place, slot: int) -> dict[str, Any]:
    done = place.ctl("--json", "price", "--explain", "--slot", str(slot))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_statements_example_is_exact_and_explained_in_its_three_terms(example: Place) -> None:
    """0.99 · 0.145 + 0.001 · 1/5 + 0.01 = 0.14355 + 0.0002 + 0.01 = 0.15375, as text and as JSON."""
    raised = example.ctl("event", "raise", "gas_shortage", "--for", "1")
    assert raised.returncode == 0, raised.stderr
    _to_the_end(example)
    (first, *_) = example.control("Price", last=100)["prices"]
    said = example.ctl("price", "--explain", "--slot", str(first["slot"])).stdout
    for part in (
        "0.153750 =", "0.143550 inertia (0.99 × 0.145000)", "+ 0.000200 inverse_temperature",
        "+ 0.010000 gas_shortage",
    ):  # fmt: skip
        assert part in said
    explained = _explained(example, first["slot"])
    assert explained["price_ueur_per_kwh"] == 153_750
    assert [(term["name"], term["value_ueur_per_kwh"]) for term in explained["terms"]] == [
        ("inertia", 143_550),
        ("inverse_temperature", 200),
        ("gas_shortage", 10_000),
    ]
    example.stop()
    assert example.check().returncode == 0


def test_an_event_moves_the_price_by_beta_and_decays_as_inertia(example: Place, tmp_path: Path) -> None:
    """Two markets from the same P₀, one with the event: they differ by β, then by βγⁿ, which is inertia."""
    assert example.ctl("event", "raise", "gas_shortage", "--for", "1").returncode == 0
    _to_the_end(example)
    first = example.control("Price", last=100)["prices"][0]["slot"]
    after = [_explained(example, first + n) for n in range(SLOTS_AFTER + 1)]
    example.stop()
    other = Place(tmp_path / "without", example.run, example.cache, example.compiled, example.speed, 13)
    other.path.mkdir()
    try:
        other.start("market")
        _to_the_end(other)
        without = [row["price_ueur_per_kwh"] for row in other.control("Price", last=100)["prices"]]
        other.stop()
    finally:
        other.end()
    prices = [found["price_ueur_per_kwh"] for found in after]
    assert prices[0] - without[0] == 10_000
    for n in range(1, SLOTS_AFTER + 1):
        left = 10_000 * 0.99**n
        # Both markets round once a slot, by half a µ€ at most; earlier roundings fade with γ.
        assert abs(prices[n] - without[n] - left) <= n
        assert [term["name"] for term in after[n]["terms"]] == ["inertia", "inverse_temperature"]
        (rest,) = after[n]["inertia_of_events"]
        assert rest["name"] == "gas_shortage"
        assert abs(rest["value_ueur_per_kwh"] - left) <= 1
        assert after[n]["events"] == []


def test_an_event_raised_in_the_run_acts_from_the_next_slot_until_it_is_cleared(example: Place) -> None:
    """Raised by hand while slots pass: β in every slot from the named one to the one before clearing."""
    example.start("weather")
    example.start("homes")
    soon(lambda: example.committed() >= 0, 20, "the first slot", example.log.read_text)
    raised = json.loads(example.ctl("--json", "event", "raise", "gas_shortage").stdout)
    soon(lambda: example.committed() > raised["from_slot"], 20, "two slots", example.log.read_text)
    cleared = json.loads(example.ctl("--json", "event", "clear", "gas_shortage").stdout)
    assert cleared["cleared"] == 1
    soon(example.ended, 60, "the market ends", example.log.read_text)
    example.stop()
    acted = {}
    for slot, found in example.ledger().items():
        acted[slot] = dict(found.head.terms).get("gas_shortage", 0)
    expected = {slot: 10_000 * (raised["from_slot"] <= slot < cleared["from_slot"]) for slot in acted}
    assert acted == expected
    assert 10_000 in acted.values()


def test_the_assignments_six_homes_run_as_six_processes_and_trade(place: Place) -> None:
    """Six homes, market, weather, external; queue, semaphores, pages; gifts, sales, purchases; checked."""
    facts = place.compile("classic")
    place.speed = 900 / 0.5
    names = ["market", "weather", *(f"home-{home}" for home in range(1, 7))]
    for name in names:
        place.start(name)
    soon(lambda: place.committed() >= facts["first_slot"] + 7, 40, "eight slots", place.log.read_text)
    assert len(place.processes("energymarket.homed")) == 6
    assert len(place.processes("energymarket.external")) == 1
    assert len(place.processes()) == 9
    objects = place.control("Resources")["resources"]
    assert {each["kind"] for each in objects if each["exists"]} == {
        "queue",
        "mutex",
        "bell",
        "clock",
        "board",
    }
    held = [line for kind in KINDS for line in Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]]
    assert len(held) >= 5
    place.stop()
    ledger = place.ledger()
    for slot in ledger.values():
        assert set(slot.homes) == set(range(1, 7))
        homes = slot.homes
        # By hand: at Lyon's winter night 900, 1,100 and 1,500 W exceed 450, 600 and 550 W at any U-curve
        # of 0 to 10 °C (1.1 to 1.6 times); Daubenton and Fresnel have no plant, Becquerel's PV is dark.
        assert homes[1]["given_wh"] + homes[1]["expired_wh"] == homes[1]["exported_wh"] > 0
        assert homes[3]["sold_wh"] == homes[3]["exported_wh"] > 0
        assert homes[5]["given_wh"] + homes[5]["sold_wh"] == homes[5]["exported_wh"] > 0
        for home in (2, 4, 6):
            assert homes[home]["received_wh"] + homes[home]["bought_wh"] == homes[home]["imported_wh"] > 0
        assert slot.totals["taken_wh"] == slot.totals["received_wh"] > 0
        assert slot.totals["bought_wh"] > 0
    checked = place.check()
    assert checked.returncode == 0, checked.stdout

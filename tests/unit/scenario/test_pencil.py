"""The pencil scenes through price, exchange and settlement: the ledger is the one computed by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import pytest

from energymarket.core import exchange, pricing
from energymarket.core.parameters import Rule
from energymarket.core.records import CLAIM, SLOT_COLUMNS
from energymarket.core.settlement import Batch, Prices, Readings, Settlement, no_orders, settle
from energymarket.core.sharing.settling import restate
from energymarket.scenario import toml
from energymarket.scenario.homes_schema import Group, Home, Load, LoadKind, Scene
from tests.unit.scenario import pencil_ledger

PENCILS = [name for name in toml.shipped() if name.startswith("pencil-")]


@dataclass
class Played:
    """One home as a scene plays it: energies per slot by the formulas of the file."""

    policy: int
    scene: Scene
    production_wh: list[int]
    consumption_wh: list[int]
    carry: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("p", "c", "i", "e"), 0))


def _each(values: tuple[float, ...] | None, slots: int, hours: Fraction = Fraction(1)) -> list[int]:
    exact = (
        [Fraction(values[k % len(values)]).limit_denominator(10**6) * hours for k in range(slots)]
        if values
        else []
    )
    assert all(value.denominator == 1 for value in exact), "a pencil scene is in whole Wh"
    return [int(value) for value in exact] or [0] * slots


def _load_w(load: Load, temperature_c: float) -> tuple[float, ...]:
    if load.kind is LoadKind.CONSTANT:
        return (load.power_w,)
    assert load.kind is LoadKind.U_CURVE
    return (load.power_w * (1 + load.curvature * (temperature_c - load.comfort_c) ** 2),)


def _played(owner: Home | Group, policy: int, scenario: toml.Scenario) -> Played:
    slots, hours = scenario.market.period.slots, Fraction(scenario.market.period.slot_s, 3600)
    produced = _each(owner.production_w, slots, hours)
    consumed = [0] * slots
    if owner.load is not None:
        consumed = _each(_load_w(owner.load, scenario.weather.temperature_c[0]), slots, hours)
    if isinstance(owner, Home):
        produced = _each(owner.production_wh, slots) if owner.production_wh else produced
        consumed = _each(owner.consumption_wh, slots) if owner.consumption_wh else consumed
    return Played(policy, owner.scene if isinstance(owner, Home) else Scene(), produced, consumed)


def _homes(scenario: toml.Scenario) -> list[Played]:
    by_hand = [_played(home, home.policy.number, scenario) for home in scenario.homes]
    groups = [_played(group, 1, scenario) for group in scenario.groups for _ in range(group.count)]
    assert all(group.policy.give == 1 for group in scenario.groups)
    return by_hand + groups


def _batches(homes: list[Played], scenario: toml.Scenario, k: int) -> list[Batch]:
    """One batch per home, with the teaching aids applied; a late home's registers go on without a batch."""
    slot = scenario.market.period.first_slot + k
    net = np.array([home.production_wh[k] - home.consumption_wh[k] for home in homes], np.int64)
    ids = np.arange(1, len(homes) + 1, dtype=np.uint32)
    policies = np.array([home.policy for home in homes])
    need, surplus = np.maximum(-net, 0), np.maximum(net, 0)
    phantoms = {}
    for index, home in enumerate(homes):
        claim = home.scene.phantom_claim
        if claim is not None and k in claim.slots:
            phantoms[index] = np.array([(claim.giver, index + 1, claim.energy_wh, 0, 0)], CLAIM)
            need[index] -= claim.energy_wh
    sharing = scenario.market.sharing
    if sharing.rule is Rule.QUEUE:
        result = exchange.outcome(ids, surplus, need, policies, sharing, scenario.seed, slot)
    else:  # nobody has taken anything: homes state what they have over and lack
        result = exchange.outcome(ids, surplus, need * 0, policies, sharing, scenario.seed, slot)
        result = replace(
            result, bought_wh=need, returned_wh=need * 0, sold_wh=result.sold_wh - result.returned_wh
        )
    batches = []
    for index, home in enumerate(homes):
        for name, flow in zip(
            "pcie", (home.production_wh[k], home.consumption_wh[k], -net[index], net[index]), strict=True
        ):
            home.carry[name] += max(0, int(flow))
        if k in home.scene.late_slots:
            continue
        columns, claims = exchange.batch_columns(result, index + 1, 1)
        wrong = _each(home.scene.misreports_wh, k + 1)[k]
        ordered = int(columns["sold_wh"][0]) - int(columns["bought_wh"][0]) + wrong
        if wrong:
            columns["sold_wh"][0], columns["bought_wh"][0] = max(0, ordered), max(0, -ordered)
        registers = zip(("production", "consumption", "import", "export"), "pcie", strict=True)
        columns |= {f"{register}_wh": np.array([home.carry[name]]) for register, name in registers}
        claims = np.concatenate((claims, phantoms.get(index, claims[:0])))
        batches.append(Batch(f"{k}-{index}", index + 1, 1, columns, claims))
    return batches


def _play(name: str) -> list[tuple[Prices, Settlement]]:
    scenario, problems = toml.read(name)
    assert scenario is not None, problems
    homes, found = _homes(scenario), []
    readings = Readings(*(np.zeros(len(homes), np.int64) for _ in range(4)))
    price = scenario.market.price.initial_ueur_per_kwh
    temperature_c, consumed, produced = 0.0, 0, 0
    for k in range(scenario.market.period.slots):
        temperatures = scenario.weather.temperature_c
        if k not in scenario.weather.silent_slots:
            temperature_c = temperatures[k % len(temperatures)]
        tariff = scenario.market.tariff
        flat = (tariff.import_ueur_per_kwh, tariff.export_ueur_per_kwh)
        price = pricing.terms(
            scenario.market.price, price, round(temperature_c * 1000), consumed, produced, [], *flat
        ).published_ueur_per_kwh
        prices = Prices(
            price, *((price, price) if tariff.follows_price else flat), tariff.gift_fee_ueur_per_kwh
        )
        batches, rule = _batches(homes, scenario, k), scenario.market.sharing.rule
        if rule is not Rule.QUEUE:
            weights = np.array([round(1000 * home.key_share) for home in scenario.homes])
            everybody = np.ones(len(homes), np.bool_)
            batches = restate(rule, batches, readings, everybody, no_orders(), weights)
        settled = settle(readings, batches, no_orders(), prices, len(homes))
        readings, consumed, produced = (
            settled.readings,
            settled.totals.consumed_wh,
            settled.totals.produced_wh,
        )
        found.append((prices, settled))
    return found


@pytest.mark.parametrize("name", PENCILS)
def test_a_pencil_scene_ends_as_computed_by_hand(name: str) -> None:
    """Rows, sums and prices of every slot are those in the comment of the scene's file."""
    scenario, _ = toml.read(name)
    assert scenario is not None
    expected = pencil_ledger.read(scenario.text)
    played = _play(name)
    assert sorted(expected) == list(range(len(played)))
    for k, (prices, settled) in enumerate(played):
        rows = list(zip(*(settled.columns[column].tolist() for column in SLOT_COLUMNS), strict=True))
        ledger = {row[0]: dict(zip(SLOT_COLUMNS[1:], row[1:], strict=True)) for row in rows}
        zeros = dict.fromkeys(SLOT_COLUMNS[1:], 0)
        for home, listed in expected[k].homes.items():
            assert ledger[home] == zeros | listed, (k, home)
        assert not expected[k].absent & set(ledger)
        totals = settled.totals.by_name()
        assert {column: totals[column] for column in expected[k].total} == expected[k].total, k
        facts = {
            "price_ueur_per_kwh": prices.price,
            "import_ueur_per_kwh": prices.import_,
            "export_ueur_per_kwh": prices.export,
            "weather_stale": int(k in scenario.weather.silent_slots),
        }
        assert {column: facts[column] for column in expected[k].market} == expected[k].market, k


def test_the_sharing_scenes_all_end_differently() -> None:
    """Six models, the same homes: six different ledgers."""
    names = [name for name in PENCILS if name.startswith("pencil-sharing-")]
    ends = {
        repr([{c: s.columns[c].tolist() for c in SLOT_COLUMNS} for _, s in _play(name)]) for name in names
    }
    assert len(ends) == len(names) == 6

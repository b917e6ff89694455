"""Homes as columns: by hand, in groups, with plants; and the overrides of the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from energymarket.core.parameters import Rule
from energymarket.scenario import toml
from energymarket.scenario.compile import compile_into, with_overrides
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compiled import Compiled, load
from energymarket.scenario.schema import Scenario

HEAD = """
schema = 1
title = "a test"
[time]
start = 2025-01-06
timezone = "UTC"
slots = 96
[weather]
source = "constant"
temperature_c = 5
[price]
half_life_h = 6
[[price.factor]]
name = "base"
alpha = 0.2
"""


def scenario_of(text: str, directory: Path) -> Scenario:
    """A scenario from the text of a file in a directory."""
    scenario, problems = toml.parse(HEAD + text, str(directory / "a.toml"))
    assert scenario is not None, toml.render_problems(problems)
    return scenario


def compiled_of(text: str, directory: Path) -> Compiled:
    """The same, compiled."""
    place = directory / "compiled"
    place.mkdir()
    compile_into(place, scenario_of(text, directory))
    return load(place)


def test_a_home_by_hand_has_its_series_to_the_wh(tmp_path: Path) -> None:
    """Two lists of Wh repeat over the slots; a mean power of 1,000 W is 250 Wh in a quarter-hour."""
    compiled = compiled_of(
        """
[[home]]
name = "giver"
policy = "give"
production_wh = [0, 250]
[[home]]
name = "taker"
policy = 2
process = "single"
consumption_w = 1000
""",
        tmp_path,
    )
    assert compiled.homes["policy"].tolist() == [1, 2]
    assert compiled.homes["single"].tolist() == [0, 1]
    giver, taker = compiled.homes["series"].tolist()
    assert compiled.tables["series_production_wh"][:4, giver].tolist() == [0, 250, 0, 250]
    assert compiled.tables["series_consumption_wh"][:2, taker].tolist() == [250, 250]
    assert compiled.homes["load_scale"].tolist() == [0, 0]
    assert compiled.settings["names"] == ["giver", "taker"]


def test_a_csv_by_the_hour_keeps_its_energy(tmp_path: Path) -> None:
    """24 rows in kW over 96 slots: each hour's four slots sum to its kWh."""
    rows = "\n".join(f"{hour / 10}" for hour in range(24))
    (tmp_path / "load.csv").write_text(f"load_kw\n{rows}\n", encoding="utf-8")
    compiled = compiled_of(
        """
[[home]]
name = "measured"
[home.load]
kind = "csv"
file = "load.csv"
column = "load_kw"
scale_w = 1000
""",
        tmp_path,
    )
    hours = compiled.tables["series_consumption_wh"][:, 0].reshape(24, 4).sum(axis=1)
    assert np.allclose(hours, np.arange(24) * 100)


def test_the_shares_of_a_group_are_exact(tmp_path: Path) -> None:
    """Of 200 homes: 60, 60, 80 by policy; 50 have a roof plant, 100 a battery, 20 answer the price."""
    compiled = compiled_of(
        """
[[homes]]
name = "street"
count = 200
policy = { give = 0.3, sell = 0.3, give_then_sell = 0.4 }
elastic_share = 0.1
[homes.load]
kind = "constant"
power_w = 400
[homes.pv]
share = 0.25
kwp = [4, 10]
[homes.battery]
share = 0.5
kwh = 8
kw = 4
efficiency = 0.81
initial = 0.25
""",
        tmp_path,
    )
    homes = compiled.homes
    assert np.bincount(homes["policy"]).tolist() == [0, 60, 60, 80]
    assert int((homes["pv_kwp"] > 0).sum()) == 50
    assert int((homes["elasticity_class"] == 1).sum()) == 20
    owners = homes["battery_capacity_wh"] > 0
    assert int(owners.sum()) == 100
    assert set(homes["battery_capacity_wh"][owners].tolist()) == {8_000}
    assert set(homes["battery_initial_wh"][owners].tolist()) == {2_000}
    assert np.allclose(homes["battery_charge_efficiency"][owners], 0.9)  # 0.9 × 0.9 = 0.81
    sizes = homes["pv_kwp"][homes["pv_kwp"] > 0]
    assert sizes.min() >= 4
    assert sizes.max() <= 10
    assert float(sizes.mean()) == pytest.approx(7, abs=0.5)


def test_households_have_the_asked_energy(tmp_path: Path) -> None:
    """Annual energies spread over 2,000 .. 5,500 kWh; more people go with more consumption."""
    compiled = compiled_of(
        """
[load]
archetypes = 6
[[homes]]
name = "street"
count = 300
[homes.load]
kind = "household"
annual_kwh = [2000, 5500]
persons = [1, 5]
""",
        tmp_path,
    )
    scale = compiled.homes["load_scale"]
    assert scale.min() >= 2.0
    assert scale.max() <= 5.5
    assert float(scale.mean()) == pytest.approx(3.75, abs=0.15)
    persons = compiled.homes["load_class"] % 6 + 1
    assert float(np.corrcoef(persons, scale)[0, 1]) > 0.8
    assert persons.max() <= 5
    assert compiled.tables["load_wh"].shape == (96, 6)


def test_a_cluster_follows_the_standard_profile(tmp_path: Path) -> None:
    """BDEW's profile stands after the archetypes; a day in January of H0 is above the year's mean day."""
    compiled = compiled_of(
        """
[[homes]]
name = "block"
count = 1
[homes.load]
kind = "bdew"
annual_kwh = 100000
""",
        tmp_path,
    )
    assert compiled.homes["load_scale"].tolist() == [100]
    day_wh = float(compiled.tables["load_wh"][:, 0].sum())
    assert 1.05 < day_wh / (1e6 / 365) < 1.4


def test_a_heat_pump_takes_heat_over_cop(tmp_path: Path) -> None:
    """At 5 °C all year, 10 K below 15 °C, 8,760 kWh are 1 kW of heat; the COP is 3.6 - 2 × 0.08 = 3.44."""
    compiled = compiled_of(
        """
[[homes]]
name = "warm"
count = 1
[homes.heat_pump]
heat_kwh = 8760
""",
        tmp_path,
    )
    per_slot_and_k = float(compiled.homes["heat_wh_per_k"][0])
    assert per_slot_and_k == pytest.approx(1000 / 3.44 / 10 / 4, rel=1e-4)
    assert compiled.homes["load_response"].tolist() == [1]


def test_two_u_curves_in_one_scenario_are_refused(tmp_path: Path) -> None:
    """The curve is one for all homes: a second one is refused with the keys' names."""
    homes = [
        f'[[home]]\nname = "h{curvature}"\n[home.load]\nkind = "u_curve"\ncurvature = {curvature}\n'
        for curvature in (0.002, 0.003)
    ]
    scenario = scenario_of("\n".join(homes), tmp_path)
    with pytest.raises(CompileError, match="curvature"):
        compile_into(tmp_path, scenario)


def test_a_tariff_by_the_slot_becomes_a_table(tmp_path: Path) -> None:
    """Import prices of two slots alternate; the export price stays flat."""
    compiled = compiled_of(
        """
[tariff]
import_prices = [0.36, 0.24]
[[home]]
name = "h"
consumption_w = 100
""",
        tmp_path,
    )
    first = compiled.period.first_slot
    assert [compiled.import_export_at(first + slot) for slot in (0, 1, 2, 97)] == [
        (360_000, 80_000),
        (240_000, 80_000),
        (360_000, 80_000),
        (240_000, 80_000),
    ]


def test_the_number_of_homes_can_be_set(tmp_path: Path) -> None:
    """Groups of 30 and 10 become 75 and 25 with one home by hand kept: 101 in all."""
    text = '[[home]]\nname = "h"\nconsumption_w = 1\n'
    load = '[homes.load]\nkind = "constant"\n'
    text += f'[[homes]]\nname = "a"\ncount = 30\n{load}[[homes]]\nname = "b"\ncount = 10\n{load}'
    scenario = scenario_of(text, tmp_path)
    more = with_overrides(scenario, 101, 9)
    assert [group.count for group in more.groups] == [75, 25]
    assert (more.homes_count, more.seed, more.market.seed) == (101, 9, 9)
    with pytest.raises(CompileError, match="cannot have 1 homes"):
        with_overrides(scenario, 1, None)


def test_homes_keep_their_plants_when_others_join(tmp_path: Path) -> None:
    """Chance is by home id: the first homes of a longer street have the sizes they had in the shorter one."""
    text = '[[homes]]\nname = "a"\ncount = {count}\n[homes.pv]\nkwp = [4, 10]\n'
    sizes = []
    for count in (20, 40):
        directory = tmp_path / str(count)
        directory.mkdir()
        sizes.append(compiled_of(text.format(count=count), directory).homes["pv_kwp"])
    assert sizes[0].tolist() == sizes[1][:20].tolist()


TWO = """
[[home]]
name = "one"
consumption_w = 100
%s
[[homes]]
name = "others"
count = 2
production_w = 100
%s
%s
"""


def test_shares_of_the_static_key_become_weights(tmp_path: Path) -> None:
    """In thousandths, by hand and by group; where all are the same there is no column."""
    compiled = compiled_of(TWO % ("key_share = 0", "key_share = 2.5", ""), tmp_path)
    weights = compiled.key_weights()
    assert weights is not None
    assert weights.tolist() == [0, 2500, 2500]
    (tmp_path / "same").mkdir()
    assert compiled_of(TWO % ("key_share = 3", "key_share = 3", ""), tmp_path / "same").key_weights() is None


def test_a_rule_is_carried_and_the_default_one_leaves_no_trace(tmp_path: Path) -> None:
    """Schema 2 for who must know rules; a scenario of gifts over the queue is written as it always was."""
    for rule, schema in (("static_key", 2), ("queue", 1)):
        (tmp_path / rule).mkdir()
        compiled = compiled_of(TWO % ("", "", f'[sharing]\nrule = "{rule}"'), tmp_path / rule)
        written = json.loads((compiled.directory / "scenario.json").read_text())
        assert (compiled.sharing.rule, written["schema"]) == (Rule(rule), schema)
        assert ("rule" in written["sharing"]) == (schema == 2)


def test_the_mid_market_rate_takes_the_place_of_the_linear_price(tmp_path: Path) -> None:
    """Two factors of one half, no inertia and no events, whatever [price] says."""
    compiled = compiled_of(TWO % ("", "", '[sharing]\nrule = "mid_market"'), tmp_path)
    factors = [(factor.name, factor.alpha_ueur_per_kwh) for factor in compiled.price.factors]
    assert factors == [("import_price", 0.5), ("export_price", 0.5)]
    assert (compiled.price.gamma, compiled.price.events) == (0, ())

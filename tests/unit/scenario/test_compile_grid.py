"""The grid's carbon intensity from numbers and files: per slot, in mg/kWh, and seen by no price."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from energymarket.core.kpi.tally import Tally
from energymarket.scenario import likeness, toml
from energymarket.scenario.cache import source_hash
from energymarket.scenario.compile import compile_into
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compiled import Compiled, load
from energymarket.scenario.indicators import carbon_of, expectation_of, frame_of
from energymarket.scenario.schema import Scenario
from tests.unit.core.kpi.made_passages import passage

TEXT = """
schema = 1
title = "one home"
[time]
start = "2025-06-16T00:45"
timezone = "UTC"
slots = 8
[weather]
source = "constant"
temperature_c = [5, 25]
[tariff]
gift_fee = 0.01
[price]
half_life_h = 6
cap = 0.4
[[price.factor]]
name = "base"
alpha = 0.2
[[price.factor]]
name = "heating_degrees"
alpha = 0.01
[[home]]
name = "a"
consumption_wh = 300
"""


def scenario_of(directory: Path, grid: str = "") -> Scenario:
    """The scenario with a [grid]."""
    scenario, problems = toml.parse(TEXT + grid, str(directory / "s.toml"))
    assert scenario is not None, toml.render_problems(problems)
    return scenario


def compiled_of(directory: Path, grid: str = "") -> Compiled:
    """The same, compiled."""
    place = directory / "compiled"
    place.mkdir()
    compile_into(place, scenario_of(directory, grid))
    return load(place)


def test_without_a_grid_nothing_is_known(tmp_path: Path) -> None:
    """No table, no intensity."""
    compiled = compiled_of(tmp_path)
    found = carbon_of(compiled, compiled.period.first_slot, 2)
    assert (found.average_mg_per_kwh, found.marginal_mg_per_kwh) == (None, None)


def test_a_list_repeats_and_so_do_the_tables_beyond_the_period(tmp_path: Path) -> None:
    """Three values in eight slots, from slot 7 on over the end: as `table_row` turns."""
    compiled = compiled_of(
        tmp_path, "[grid]\nco2_g_per_kwh = [100, 200.5, 300]\nco2_marginal_g_per_kwh = 700"
    )
    found = carbon_of(compiled, compiled.period.first_slot + 6, 4)
    assert found.average_mg_per_kwh is not None
    assert found.marginal_mg_per_kwh is not None
    assert found.average_mg_per_kwh.tolist() == [100_000, 200_500, 100_000, 200_500]
    assert found.marginal_mg_per_kwh.tolist() == [700_000] * 4


def test_a_file_by_the_hour_has_each_hour_s_value_in_its_slots(tmp_path: Path) -> None:
    """Two rows, eight slots of 15 min: four of the first, four of the second."""
    (tmp_path / "co2.csv").write_text("mean,edge\n120,800\n240.25,900\n", encoding="utf-8")
    grid = "[grid]\nfile = 'co2.csv'\nco2_column = 'mean'\nco2_marginal_column = 'edge'"
    compiled = compiled_of(tmp_path, grid)
    assert compiled.tables["co2_mg_per_kwh"].tolist() == [120_000] * 4 + [240_250] * 4
    assert compiled.tables["co2_marginal_mg_per_kwh"].tolist() == [800_000] * 4 + [900_000] * 4


def test_an_impossible_intensity_in_a_file_is_refused(tmp_path: Path) -> None:
    """Grams per MWh are no grams per kWh: the file is named."""
    (tmp_path / "co2.csv").write_text("mean\n363000\n", encoding="utf-8")
    with pytest.raises(CompileError, match=r"co2\.csv: a carbon intensity is not one of 0 \.\. 5000"):
        compiled_of(tmp_path, "[grid]\nfile = 'co2.csv'\nco2_column = 'mean'")


def test_another_file_is_another_scenario(tmp_path: Path) -> None:
    """The cache looks into the file: changed carbon intensities are compiled anew."""
    grid = "[grid]\nfile = 'co2.csv'\nco2_column = 'mean'"
    (tmp_path / "co2.csv").write_text("mean\n100\n", encoding="utf-8")
    before = source_hash(scenario_of(tmp_path, grid))
    (tmp_path / "co2.csv").write_text("mean\n101\n", encoding="utf-8")
    assert source_hash(scenario_of(tmp_path, grid)) != before


def test_another_intensity_is_no_other_run(tmp_path: Path) -> None:
    """A ledger goes on when [grid] comes, goes or changes, as with another price; with another tariff not."""
    before = scenario_of(tmp_path)
    after = scenario_of(tmp_path, "[grid]\nco2_g_per_kwh = 363")
    assert likeness.same_but_for_the_price(before, after)
    assert likeness.differing(before, after) == ()
    dearer = replace(before, tariff=replace(before.tariff, energy_ueur_per_kwh=1))
    assert not likeness.same_but_for_the_price(before, dearer)
    assert likeness.differing(after, dearer) == ("tariff",)


def test_a_tally_knows_its_scenario_and_its_price(tmp_path: Path) -> None:
    """Fee, floor and cap; 5 and 25 °C in turn are 5 heating degrees: 0.2 + 0.05 €/kWh, half-life 24 slots."""
    compiled = compiled_of(tmp_path)
    frame = frame_of(compiled)
    assert (frame.homes, frame.slot_s, frame.gift_fee_ueur_per_kwh) == (1, 900, 10_000)
    assert (frame.floor_ueur_per_kwh, frame.cap_ueur_per_kwh) == (0, 400_000)
    tally = Tally(frame)
    assert expectation_of(compiled, tally) is None
    tally.add(
        passage(compiled.period.first_slot, np.zeros(8, np.int64), 0, 0, {"imported_wh": np.zeros((8, 1))})
    )
    found = expectation_of(compiled, tally)
    assert found is not None
    assert found.mean_ueur_per_kwh == pytest.approx(250_000, abs=1)
    assert found.half_life_slots == pytest.approx(24)

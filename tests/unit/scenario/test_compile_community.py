"""The community year: its clock, its energy, and CityLearn's layout of the same."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from energymarket.scenario import toml
from energymarket.scenario.compile import compile_into
from energymarket.scenario.compile_community import community_of
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compiled import Compiled, load
from energymarket.scenario.indicators import carbon_of
from energymarket.scenario.schema import GridSection, Scenario

TEXT = """
schema = 1
title = "a community"
[time]
start = 2023-01-01
timezone = "America/Los_Angeles"
slot = "{slot}"
days = 365
[place]
latitude = 34.09
longitude = -117.44
altitude_m = 380
[weather]
source = "constant"
[price]
half_life_h = 6
[[price.factor]]
name = "base"
alpha = 0.2
[data]
file = "{file}"
homes = {homes}
layout = "{layout}"
exclude = {exclude}
use_tariff = true
"""


def scenario_of(file: Path, **values: object) -> Scenario:
    """A scenario over a data set."""
    fill = {"slot": "15min", "homes": 17, "layout": "community", "exclude": [], "file": file.name} | values
    scenario, problems = toml.parse(TEXT.format(**fill), str(file.parent / "c.toml"))
    assert scenario is not None, toml.render_problems(problems)
    return scenario


@pytest.fixture(scope="module")
def fontana(shared_data: Path) -> Path:
    """The 17 homes of Fontana."""
    return shared_data / "fontana17.csv.gz"


@pytest.fixture(scope="module")
def table(fontana: Path) -> dict[str, npt.NDArray[np.float64]]:
    """Its columns, read without our code."""
    with gzip.open(fontana, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def compiled_of(scenario: Scenario, directory: Path) -> Compiled:
    """The scenario, compiled."""
    place = directory / "compiled"
    place.mkdir()
    compile_into(place, scenario)
    return load(place)


def test_every_kwh_of_the_community_arrives(
    fontana: Path, table: dict[str, npt.NDArray[np.float64]], tmp_path: Path
) -> None:
    """Per home and year, load and PV in slots of a quarter-hour sum to the file's, to a millionth."""
    compiled = compiled_of(scenario_of(fontana), tmp_path)
    assert compiled.homes_count == 17
    series = compiled.homes["series"]
    for home in range(17):
        for kind, name in (("consumption", "load"), ("production", "pv")):
            ours = compiled.tables[f"series_{kind}_wh"][:, series[home]].sum(dtype=np.float64)
            assert float(ours) == pytest.approx(table[f"{name}{home + 1}_kwh"].sum() * 1e3, rel=1e-6)


def test_the_community_s_first_row_is_the_last_hour_of_july(
    fontana: Path, table: dict[str, npt.NDArray[np.float64]]
) -> None:
    """Row 0 is hour 24 with no other row left of July: 31 July 23:00 .. 24:00 of the turned year."""
    community = community_of(scenario_of(fontana))
    assert community is not None
    assert community.hours is not None
    place = (181 + 30) * 24 + 23
    assert community.load_wh[place, 0] == pytest.approx(table["load1_kwh"][0] * 1e3)
    assert community.load_wh[place + 1, 0] == pytest.approx(table["load1_kwh"][1] * 1e3)
    assert community.hours.temperature_c[place] == table["temp_c"][0]


def test_miswired_homes_can_be_left_out(fontana: Path, tmp_path: Path) -> None:
    """Without 12 and 15 there are fifteen homes."""
    compiled = compiled_of(scenario_of(fontana, exclude=[12, 15]), tmp_path)
    assert compiled.homes_count == 15


def test_its_price_is_the_import_price(
    fontana: Path, table: dict[str, npt.NDArray[np.float64]], tmp_path: Path
) -> None:
    """The mean over the year is the file's, and it takes the file's values only."""
    compiled = compiled_of(scenario_of(fontana, slot="1h"), tmp_path)
    prices = compiled.tables["import_ueur_per_kwh"]
    assert float(prices.mean()) / 1e6 == pytest.approx(table["price_usd_kwh"].mean(), abs=1e-6)
    assert set(prices.tolist()) == set(np.rint(np.unique(table["price_usd_kwh"]) * 1e6).astype(int).tolist())


def test_its_carbon_intensity_is_the_grid_s(
    fontana: Path, table: dict[str, npt.NDArray[np.float64]], tmp_path: Path
) -> None:
    """Slots of an hour have the file's values in mg/kWh, in the turned year's order."""
    hours = compiled_of(scenario_of(fontana, slot="1h"), tmp_path)
    found = hours.tables["co2_mg_per_kwh"]
    assert np.abs(np.sort(found) - np.sort(table["co2_kg_kwh"] * 1e6)).max() <= 0.5 + 1e-6
    place = (181 + 30) * 24 + 23  # of the file's first row in the turned year
    carbon = carbon_of(hours, hours.period.first_slot + place, 2)
    assert carbon.average_mg_per_kwh is not None
    assert carbon.average_mg_per_kwh.tolist() == np.rint(table["co2_kg_kwh"][:2] * 1e6).astype(int).tolist()
    assert carbon.marginal_mg_per_kwh is None


def test_a_community_s_carbon_intensity_can_be_left_or_overruled(fontana: Path, tmp_path: Path) -> None:
    """`use_carbon = false` leaves it out; a number in [grid] stands before it. Nothing else changes."""
    scenario = scenario_of(fontana, slot="1h")
    assert scenario.data is not None
    without = replace(scenario, data=replace(scenario.data, use_carbon=False))
    number = replace(
        scenario, grid=GridSection(co2_g_per_kwh=(250.5,), co2_marginal_g_per_kwh=(700.0, 800.0))
    )
    made = []
    for name, each in (("a", without), ("b", number)):
        (tmp_path / name).mkdir()
        made.append(compiled_of(each, tmp_path / name))
    assert "co2_mg_per_kwh" not in made[0].tables
    assert set(made[1].tables["co2_mg_per_kwh"].tolist()) == {250_500}
    assert made[1].tables["co2_marginal_mg_per_kwh"][:3].tolist() == [700_000, 800_000, 700_000]
    others = set(made[1].tables) - {"co2_mg_per_kwh", "co2_marginal_mg_per_kwh"}
    assert others == set(made[0].tables)
    assert all(np.array_equal(made[0].tables[name], made[1].tables[name]) for name in others)


def test_its_sun_shines_in_the_weather(
    fontana: Path, table: dict[str, npt.NDArray[np.float64]], tmp_path: Path
) -> None:
    """The file's diffuse light is there; homes' PV, of many orientations, follows the global light."""
    compiled = compiled_of(scenario_of(fontana, slot="1h"), tmp_path)
    weather = compiled.weather
    assert float(weather["dhi_dw_per_m2"].sum()) / 10 >= 0.99 * table["dhi_w_m2"].sum()
    pv = compiled.tables["series_production_wh"].sum(axis=1)
    assert float(np.corrcoef(weather["ghi_dw_per_m2"], pv)[0, 1]) > 0.8


def written_as_citylearn(table: dict[str, npt.NDArray[np.float64]], directory: Path) -> None:
    """Two homes of the community in CityLearn's directory layout, as of its version 2."""

    def write(name: str, columns: dict[str, npt.NDArray[np.float64]]) -> None:
        with (directory / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))

    buildings = {}
    for home in (1, 2):
        name = f"Building_{home}.csv"
        write(
            name,
            {
                "month": table["month"], "hour": table["hour"], "day_type": table["day_type"],
                "non_shiftable_load": table[f"load{home}_kwh"],
                "solar_generation": table[f"pv{home}_kwh"] / 4.0 * 1e3,  # W per kW of a plant of 4 kW
            },
        )  # fmt: skip
        buildings[f"Building_{home}"] = {
            "include": True, "energy_simulation": name, "weather": "weather.csv", "pricing": "pricing.csv",
            "carbon_intensity": "carbon_intensity.csv",
            "pv": {"type": "citylearn.energy_model.PV", "attributes": {"nominal_power": 4.0}},
        }  # fmt: skip
    write(
        "weather.csv",
        {
            "outdoor_dry_bulb_temperature": table["temp_c"],
            "diffuse_solar_irradiance": table["dhi_w_m2"],
            "direct_solar_irradiance": table["dni_w_m2"],
        },
    )
    write("pricing.csv", {"electricity_pricing": table["price_usd_kwh"]})
    write("carbon_intensity.csv", {"carbon_intensity": table["co2_kg_kwh"]})
    (directory / "schema.json").write_text(json.dumps({"buildings": buildings}), encoding="utf-8")


def test_citylearn_s_directory_is_the_same_community(
    fontana: Path, table: dict[str, npt.NDArray[np.float64]], tmp_path: Path
) -> None:
    """Two homes written in CityLearn's layout are read to the same hours as from the compact form."""
    directory = tmp_path / "set"
    directory.mkdir()
    written_as_citylearn(table, directory)
    there = community_of(scenario_of(directory, layout="citylearn", homes=2))
    here = community_of(scenario_of(fontana))
    assert there is not None
    assert here is not None
    assert there.hours is not None
    assert here.hours is not None
    assert np.allclose(there.load_wh, here.load_wh[:, :2])
    assert np.allclose(there.production_wh, here.production_wh[:, :2], atol=1e-6)
    assert np.array_equal(there.hours.temperature_c, here.hours.temperature_c)
    assert there.co2_g_per_kwh is not None
    assert here.co2_g_per_kwh is not None
    assert np.array_equal(there.co2_g_per_kwh, here.co2_g_per_kwh)


def test_a_wrong_number_of_homes_is_refused(fontana: Path) -> None:
    """The scenario says how many homes the set has, and the file is held to it."""
    with pytest.raises(CompileError, match=r"has 17 homes, data\.homes says 16"):
        community_of(scenario_of(fontana, homes=16))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Not a year, or no homes: an error that names the file."""
    path = tmp_path / "c.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(CompileError, match="has 1 rows"):
        community_of(scenario_of(path))
    path.write_text("a,b\n" + "1,2\n" * 8760, encoding="utf-8")
    with pytest.raises(CompileError, match="no community file"):
        community_of(scenario_of(path))

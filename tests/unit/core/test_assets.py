"""PV against pvlib, wind by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from energymarket.core import assets
from energymarket.core.fleet import Fleet, step
from tests.unit.core.made_fleet import FIRST_SLOT, Recipe, states, weather

if TYPE_CHECKING:
    from energymarket.core.weather import Sample

SYSTEM = assets.PvSystem()
SUN = {"ghi_dw_per_m2": 6_000, "dni_dw_per_m2": 7_000, "dhi_dw_per_m2": 1_000}
ROOF = {"pv_beam": [[0.9]], "pv_sky": [[0.95]], "pv_ground": [0.02]}


def produced_wh(recipe: Recipe, samples: list[Sample]) -> list[int]:
    """What home 1 produces in each slot from the first on."""
    fleet = Fleet(recipe.made(), 1, 1)
    before, after = states(fleet)
    energies = []
    for slot, sample in enumerate(samples, FIRST_SLOT):
        step(fleet, before, after, slot, sample, None)
        energies.append(int(after.production_wh[0] - before.production_wh[0]))
        before, after = after, before
    return energies


def test_plane_of_array_by_hand() -> None:
    """700 W/m² · 0.9 + 100 · 0.95 + 600 · 0.02 = 630 + 95 + 12 = 737 W/m²."""
    roof = {name: np.array(value, np.float32).reshape(-1) for name, value in ROOF.items()}
    sunny = np.atleast_1d(weather(**SUN))
    poa = assets.plane_of_array_w_per_m2(sunny, roof["pv_beam"], roof["pv_sky"], roof["pv_ground"])
    assert poa[0] == pytest.approx([737.0], rel=1e-6)


def test_dc_power_is_pvlibs() -> None:
    """PVWatts' DC power agrees with pvlib at irradiances from dusk to beyond 1,000 W/m², -20 to 80 °C."""
    from pvlib.pvsystem import pvwatts_dc

    poa, cell = (grid.ravel() for grid in np.meshgrid([0.0, 5.0, 200.0, 800.0, 1_150.0], [-20.0, 25.0, 80.0]))
    expected = pvwatts_dc(poa, cell, 1_000.0, SYSTEM.temperature_coefficient_per_k)
    assert assets.pvwatts_dc_w(poa, cell, SYSTEM) == pytest.approx(expected, rel=1e-12)


def test_ac_power_is_pvlibs() -> None:
    """The inverter agrees with pvlib's, from nothing over its threshold to clipping."""
    from pvlib.inverter import pvwatts

    dc_w = np.array([0.0, 1.0, 5.0, 6.0, 50.0, 300.0, 700.0, 940.0, 950.0, 1_200.0])
    rated_ac_w = 1_000.0 / SYSTEM.dc_to_ac_ratio
    expected = pvwatts(dc_w, rated_ac_w / SYSTEM.inverter_efficiency, SYSTEM.inverter_efficiency)
    power_w = assets.pvwatts_ac_w(dc_w, SYSTEM)
    assert power_w == pytest.approx(np.maximum(expected, 0), rel=1e-9, abs=1e-9)
    assert power_w[0] == 0
    assert power_w[-1] == rated_ac_w


@pytest.mark.parametrize(
    ("temperature_mc", "wind_mm_per_s"), [(-10_000, 0), (20_000, 1_000), (35_000, 9_000)]
)
def test_cell_temperature_is_pvlibs_faiman(temperature_mc: int, wind_mm_per_s: int) -> None:
    """Cells are as warm as in pvlib, with the wind brought down from 10 m to 2 m by (2/10) ** 0.2."""
    from pvlib.temperature import faiman

    poa = np.array([0.0, 400.0, 1_000.0])
    wind = wind_mm_per_s / 1000 * (2 / 10) ** 0.2
    expected = faiman(poa, temperature_mc / 1000, wind)
    columns = (np.array([[value]]) for value in (temperature_mc, wind_mm_per_s))
    assert assets.cell_temperature_c(poa, *columns)[0] == pytest.approx(expected, abs=0.01)


def test_a_home_produces_what_the_libraries_say() -> None:
    """5 kWp in 737 W/m² at 20 °C and 2 m/s for a quarter of an hour, by pvlib's chain, to the Wh."""
    from pvlib.inverter import pvwatts
    from pvlib.pvsystem import pvwatts_dc
    from pvlib.temperature import faiman

    cell = faiman(737.0, 20.0, 2 * (2 / 10) ** 0.2)
    dc_w = pvwatts_dc(737.0, cell, 5_000.0, -0.0035) * (1 - 0.14)
    expected_wh = pvwatts(dc_w, 5_000 / 1.1 / 0.96, 0.96) / 4
    recipe = Recipe({"pv_kwp": 5}, ROOF, slots=1)
    sample = weather(temperature_mc=20_000, wind_mm_per_s=2_000, **SUN)
    energies = produced_wh(recipe, [sample] * 8)
    assert sum(energies) == pytest.approx(8 * expected_wh, abs=1.01)
    assert max(energies) - min(energies) <= 1


def test_night_gives_nothing_and_keeps_the_fraction() -> None:
    """In the dark PV gives exactly 0 and the fraction carried from the day is still there after it."""
    fleet = Fleet(Recipe({"pv_kwp": 5}, ROOF, slots=1).made(), 1, 1)
    before, after = states(fleet)
    step(fleet, before, after, FIRST_SLOT, weather(temperature_mc=20_000, **SUN), None)
    carried = after.pv_carry_wh.copy()
    step(fleet, after, before, FIRST_SLOT + 1, weather(temperature_mc=20_000), None)
    assert 0 < carried[0] < 1
    assert before.pv_carry_wh.tolist() == carried.tolist()
    assert before.production_wh.tolist() == after.production_wh.tolist()


@pytest.mark.parametrize(
    ("wind_mm_per_s", "power_w"),
    [(0, 0), (100, 100), (150, 250), (199, 397), (200, 400), (250, 400), (90_000, 400)],
)
def test_wind_power_is_interpolated(wind_mm_per_s: int, power_w: float) -> None:
    """A curve of 0, 100, 400 W at 0, 0.1, 0.2 m/s gives 250 W at 0.15 m/s and stays at its end beyond it."""
    curve = np.array([[0, 100, 400]], np.float32)
    assert assets.wind_w_per_kw(curve, np.array([wind_mm_per_s]))[0] == pytest.approx([power_w], rel=1e-12)


def test_turbine_of_a_home() -> None:
    """2.5 kW rated at 0.15 m/s on that curve: 625 W are 156.25 Wh a slot and 625 Wh an hour."""
    recipe = Recipe({"wind_kw": 2.5}, {"wind_curve_w": [[0, 100, 400]]})
    assert produced_wh(recipe, [weather(wind_mm_per_s=150)] * 4) == [156, 156, 156, 157]


def test_wind_and_sun_and_series_add_up() -> None:
    """A home with all three produces the sum of three homes with one each, to the Wh that each carries."""
    tables = {
        **ROOF,
        "wind_curve_w": [[0, 100, 400]],
        "series_production_wh": [[100]],
        "series_consumption_wh": [[0]],
    }
    samples = [weather(wind_mm_per_s=150, temperature_mc=20_000, **SUN)] * 10
    alone: list[dict[str, float]] = [{"pv_kwp": 5}, {"wind_kw": 2.5}, {"series": 0}]
    parts: list[int] = [sum(produced_wh(Recipe(homes, tables, slots=1), samples)) for homes in alone]
    whole = sum(produced_wh(Recipe({"pv_kwp": 5, "wind_kw": 2.5, "series": 0}, tables, slots=1), samples))
    assert whole == pytest.approx(sum(parts), abs=1)

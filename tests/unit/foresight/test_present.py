"""What is known now: how the newest sample differs from the scenario's, and for how long that counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from energymarket.core.weather import LIMITS
from energymarket.foresight.climate import Climate, Memory, light_of
from energymarket.foresight.present import deviation_now
from energymarket.foresight.weather_paths import Deviation
from energymarket.scenario.compiled import Compiled
from tests.simulation.small_market import compile_small
from tests.unit.core.made_fleet import FIRST_SLOT

CLIMATE = Climate(Memory(4.0, 0.9), Memory(0.3, 0.8), Memory(0.5, 0.7), 365)


@pytest.fixture
def compiled(tmp_path: Path) -> Compiled:
    """Four homes under a weather that is always the same."""
    return compile_small(tmp_path / "compiled")


def sample(compiled: Compiled, slot: int, **fields: int) -> dict[str, int]:
    """The scenario's weather of a slot as a market tells it, but for some fields."""
    row = compiled.weather[compiled.table_row(slot)]
    return {"slot": slot, **{name: int(row[name]) for name in LIMITS}} | fields


def test_the_scenario_s_own_weather_deviates_by_nothing(compiled: Compiled) -> None:
    """Also where the newest sample is that of the slot before: it is held against its own slot's."""
    light = light_of(compiled.weather, compiled.period)
    for slot in (FIRST_SLOT + 3, FIRST_SLOT + 2):
        now = deviation_now(sample(compiled, slot), compiled, light, CLIMATE, FIRST_SLOT + 3)
        assert now == Deviation()
    assert deviation_now(None, compiled, light, CLIMATE, FIRST_SLOT) == Deviation()


def test_what_differs_fades_with_the_sample_s_age(compiled: Compiled) -> None:
    """3 K warmer an hour ago, of which nine tenths are left after an hour."""
    light = light_of(compiled.weather, compiled.period)
    warmer = sample(compiled, FIRST_SLOT, temperature_mc=23_000)
    assert deviation_now(warmer, compiled, light, CLIMATE, FIRST_SLOT).temperature == pytest.approx(3.0)
    later = deviation_now(warmer, compiled, light, CLIMATE, FIRST_SLOT + 4)
    assert later.temperature == pytest.approx(2.7)
    assert (later.clearness, later.wind) == (0.0, 0.0)

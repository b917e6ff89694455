"""What the compiler keeps between scenarios: it saves time and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from energymarket.scenario import compile_days, compile_solar, toml
from energymarket.scenario.compile import compile_into, with_overrides
from energymarket.scenario.compile_days import ANNUAL_KWH, MINUTES_PER_DAY, HouseDays, LocalYear
from energymarket.scenario.compile_memo import KEPT_MAX, Memo, climate
from energymarket.scenario.compile_solar import Lit, Roof
from energymarket.scenario.compile_weather import Sky
from energymarket.scenario.schema import Scenario, WeatherSource

SYNTHETIC = """
schema = 1
title = "A few homes under a sky that is drawn"
[time]
start = 2025-06-16
slot = "1h"
days = 20
[weather]
source = "synthetic"
[price]
half_life_h = 2
[[price.factor]]
name = "base"
alpha = 0.1
[load]
archetypes = 3
[[homes]]
name = "houses"
count = 6
[homes.load]
kind = "household"
[homes.pv]
azimuth_deg = "varied"
[homes.heat_pump]
"""


@pytest.fixture(autouse=True)
def quick_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days that follow the sky, as the norm's do, and are made at once: the norm takes two seconds."""

    def days_of(year: LocalYear, sky: Sky, region: int) -> HouseDays:
        minute = np.arange(year.days * MINUTES_PER_DAY)
        warmth = float(sky.samples["temperature_mc"].mean()) / 1e4 + region / 100
        shapes = {persons: 2 + np.sin(minute * (persons + warmth) / 500) for persons in range(1, 7)}
        wh = {persons: shape * (ANNUAL_KWH * 1000 / shape.sum()) for persons, shape in shapes.items()}
        return HouseDays(wh, np.full(MINUTES_PER_DAY, 1 / MINUTES_PER_DAY))

    monkeypatch.setattr(compile_days, "house_days", days_of)


def scenario_of(text: str = SYNTHETIC) -> Scenario:
    found, problems = toml.parse(text, "drawn.toml")
    assert found is not None, problems
    return found


def hash_of(scenario: Scenario, place: Path, memo: Memo | None = None) -> str:
    place.mkdir()
    return compile_into(place, scenario, memo=memo)


def test_where_a_scenario_lies_counts_only_if_it_reads_files_beside_it() -> None:
    """Copied elsewhere it has the same sky; a file of the same name beside the copy may be another one."""
    base = scenario_of()
    assert climate(replace(base, path="/elsewhere/drawn.toml")) == climate(base)
    measured = replace(base, weather=replace(base.weather, file="station.epw"))
    assert climate(replace(measured, path="/elsewhere/drawn.toml")) != climate(measured)


def test_the_arrays_are_those_that_are_made_alone(tmp_path: Path) -> None:
    """Another seed, place and load, one after the other with one memo, and again."""
    base = scenario_of()
    assert base.weather.source is WeatherSource.SYNTHETIC
    steady = scenario_of(SYNTHETIC.replace('"synthetic"', '"constant"'))  # no chance in its weather
    others = [
        base,
        steady,
        with_overrides(steady, None, 9),
        with_overrides(base, None, 9),
        scenario_of(SYNTHETIC.replace("[weather]", "[place]\nlatitude = 30\n[weather]")),
        scenario_of(SYNTHETIC.replace("archetypes = 3", "archetypes = 3\nstep_share = 0.1")),
    ]
    alone = [hash_of(each, tmp_path / f"alone-{at}") for at, each in enumerate(others)]
    assert len(set(alone)) == len(others)
    memo = Memo()
    for turn in range(2):
        together = [hash_of(each, tmp_path / f"{turn}-{at}", memo) for at, each in enumerate(others)]
        assert together == alone


def test_what_is_the_same_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of homes under the same sky: of the roofs only new ones are lit."""
    lit: list[Roof] = []
    light = compile_solar._light

    def counted(roof: Roof, *rest: object) -> object:
        lit.append(roof)
        return light(roof, *rest)  # type: ignore[arg-type] # handed on as it came

    monkeypatch.setattr(compile_solar, "_light", counted)
    memo, base = Memo(), scenario_of()
    hash_of(base, tmp_path / "first", memo)
    assert lit
    hash_of(replace(base, title="the same homes"), tmp_path / "second", memo)
    assert len(lit) == len(set(lit))
    hash_of(with_overrides(base, None, 9), tmp_path / "another sky", memo)
    assert len(lit) > len(set(lit))


def test_no_more_is_kept_than_said() -> None:
    """The one that was asked for longest ago makes room."""
    memo, made = Memo(), []

    def make(key: int) -> int:
        made.append(key)
        return key

    for key in [*range(KEPT_MAX), 0, KEPT_MAX, 0, 1]:
        assert memo.of("stage", key, lambda key=key: make(key)) == key  # type: ignore[misc] # bound now
    assert made == [*range(KEPT_MAX), KEPT_MAX, 1]


def test_kept_roofs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of bytes all others go, the new one stays."""
    monkeypatch.setattr(compile_solar, "LIT_BYTES_MAX", 1_000)
    lit = Lit()
    for tilt in range(30):
        lit.keep(Roof(tilt, 180), (np.zeros(40), 0.0, 0.0))
        assert len(lit.roofs) <= 3
    assert Roof(29, 180) in lit.roofs

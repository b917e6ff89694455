"""What a reload brings: the keys that the manual marks as live, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from energymarket.market.reload import Reloader
from energymarket.scenario import toml

if TYPE_CHECKING:
    from energymarket.scenario.compiled import Compiled

PAGE = Path(__file__).resolve().parents[3] / "packaging/man/energy-market.toml.5"
BASE = """\
schema = 1
title = "Two homes"
seed = 7
[time]
start = 2025-06-16
slot = "15min"
speed = 900
[weather]
source = "constant"
temperature_c = 10
[tariff]
energy = 0.14
[price]
initial = 0.19
half_life_h = 2
floor = 0.05
cap = 0.40
[[price.factor]]
name = "heating_degrees"
alpha = 0.001
reference_c = 15
[price.events.strike]
beta = 0.01
per_year = 6
duration = "8h"
intensity = 1
rain_factor = 1
[sharing]
take = "exact"
[service]
gate_at = 0.8
[[home]]
name = "one"
policy = "sell"
load = { kind = "constant", power_w = 300 }
"""


def reloader(path: Path) -> Reloader:
    """A reload of a market that runs with the file above; it compares with the compiler's copy."""
    scenario, problems = toml.parse(BASE, str(path))
    assert scenario is not None, problems
    market = scenario.market
    (path.parent / "scenario.toml").write_text(BASE)
    running = SimpleNamespace(period=market.period, directory=path.parent, sharing=market.sharing)
    return Reloader(cast("Compiled", running), path)


def is_live_in_the_manual(table: str, key: str) -> bool:
    """Whether the page marks a key as live."""
    text = PAGE.read_text().replace("\\&", "").replace("\\%", "")
    _, _, section = text.partition(f".Ss {table}\n")
    found = re.search(rf"^\.It Ic {key} .*\n((?:[^.].*\n)+)", section, re.MULTILINE)
    assert found, (table, key)
    return "live" in found[1]


@pytest.mark.parametrize(
    ("table", "before", "after"),
    [
        ("[time]", "speed = 900", "speed = 60"),
        ("[time]", 'slot = "15min"', 'slot = "30min"'),
        ("[weather]", "temperature_c = 10", "temperature_c = 11"),
        ("[tariff]", "energy = 0.14", "energy = 0.15"),
        ("[price]", "initial = 0.19", "initial = 0.20"),
        ("[price]", "floor = 0.05", "floor = 0.06"),
        ("[price]", "cap = 0.40", "cap = 0.41"),
        ("[[price.factor]]", "alpha = 0.001", "alpha = 0.002"),
        ("[[price.factor]]", "reference_c = 15", "reference_c = 14"),
        ("[price.events.KIND]", "beta = 0.01", "beta = 0.02"),
        ("[price.events.KIND]", "per_year = 6", "per_year = 7"),
        ("[price.events.KIND]", 'duration = "8h"', 'duration = "9h"'),
        ("[price.events.KIND]", "intensity = 1", "intensity = 2"),
        ("[price.events.KIND]", "rain_factor = 1", "rain_factor = 2"),
        ("[sharing]", 'take = "exact"', 'take = "greedy"'),
        ("[service]", "gate_at = 0.8", "gate_at = 0.9"),
    ],
)
def test_the_manual_says_what_a_reload_brings(tmp_path: Path, table: str, before: str, after: str) -> None:
    """A changed key is taken over exactly where the manual calls it live; else the model stays as it runs."""
    old, _ = toml.parse(BASE, "scenario.toml")
    assert old is not None
    assert BASE.count(before) == 1
    price = old.market.price
    reading = reloader(tmp_path / "scenario.toml").read(price, BASE.replace(before, after))
    assert reading.problems == ()
    live = is_live_in_the_manual(table, before.partition(" ")[0])
    assert bool(reading.changed) == live
    assert (reading.model != price) == live
    assert bool(reading.needs_restart) == (not table.startswith(("[price", "[[price")))


def test_a_half_life_is_live_although_it_changes_every_coefficient(tmp_path: Path) -> None:
    """Steady effects are made raw by it: gamma and the factors are named."""
    old, _ = toml.parse(BASE, "scenario.toml")
    assert old is not None
    text = BASE.replace("half_life_h = 2", "half_life_h = 4")
    reading = reloader(tmp_path / "scenario.toml").read(old.market.price, text)
    assert {"price.gamma", "price.factors"} <= set(reading.changed)
    # half of an effect is left after 4 h of 16 slots: 0.5 ** (1 / 16)
    assert reading.model.gamma == pytest.approx(0.957603, abs=1e-6)


def test_a_mistake_changes_nothing(tmp_path: Path) -> None:
    """The model that runs is kept, and every problem is told."""
    old, _ = toml.parse(BASE, "scenario.toml")
    assert old is not None
    text = BASE.replace("cap = 0.40", "cap = 0.01").replace("seed = 7", "seeds = 7")
    reading = reloader(tmp_path / "scenario.toml").read(old.market.price, text)
    assert len(reading.problems) == 2
    assert reading.model is old.market.price
    assert reading.changed == ()


def test_kinds_of_events_stay(tmp_path: Path) -> None:
    """Their numbers travel between processes: a market that runs refuses others."""
    old, _ = toml.parse(BASE, "scenario.toml")
    assert old is not None
    reading = reloader(tmp_path / "s.toml").read(
        old.market.price, BASE.replace("events.strike", "events.war")
    )
    assert reading.changed == ()
    assert "kinds of events" in reading.problems[0]


def test_what_the_next_start_would_refuse_is_named(tmp_path: Path) -> None:
    """Seed and title make it another run: "nothing has changed" would be the wrong answer."""
    old, _ = toml.parse(BASE, "scenario.toml")
    assert old is not None
    text = BASE.replace("seed = 7", "seed = 8").replace("Two homes", "Three homes")
    reading = reloader(tmp_path / "s.toml").read(old.market.price, text)
    assert (reading.changed, reading.needs_restart) == ((), ("title", "seed"))


def test_another_rule_waits_for_a_restart_and_brings_no_other_price(tmp_path: Path) -> None:
    """A file that has gone over to the mid-market rate changes no coefficient of the market that runs."""
    path = tmp_path / "market.toml"
    reload = reloader(path)
    path.write_text(BASE.replace('take = "exact"', 'rule = "mid_market"'))
    scenario, _ = toml.parse(BASE, str(path))
    assert scenario is not None
    reading = reload.read(scenario.market.price)
    assert (reading.problems, reading.changed) == ((), ())
    assert reading.model == scenario.market.price
    assert reading.needs_restart == ("sharing",)

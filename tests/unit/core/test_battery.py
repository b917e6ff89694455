"""Batteries: a day by hand, limits, and no energy out of nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.fleet import Fleet, step
from tests.unit.core.made_fleet import FIRST_SLOT, Recipe, states, weather

BATTERY: dict[str, Any] = {
    "battery_capacity_wh": 2_000,
    "battery_charge_w": 2_000,
    "battery_discharge_w": 1_600,
    "battery_charge_efficiency": 0.95,
    "battery_discharge_efficiency": 0.95,
}

DAY = [
    # production - consumption, then by hand: in, out, content, losses, import, export
    (300, 300, 0, 285, 15, 0, 0),
    (800, 500, 0, 760, 25, 0, 300),  # 2 kW are 500 Wh a slot
    (800, 500, 0, 1235, 25, 0, 300),
    (800, 500, 0, 1710, 25, 0, 300),
    (800, 306, 0, 2000, 16, 0, 494),  # 290 Wh of room: 306 · 0.95 = 290.7, and 0.7 is carried
    (800, 0, 0, 2000, 0, 0, 800),
    (-100, 0, 100, 1895, 5, 0, 0),  # 105 · 0.95 + 0.7 = 100.45
    (-600, 0, 400, 1474, 21, 200, 0),  # 1.6 kW are 400 Wh a slot; 421 · 0.95 + 0.45 = 400.4
    (-600, 0, 400, 1053, 21, 200, 0),
    (-600, 0, 400, 632, 21, 200, 0),
    (-600, 0, 400, 211, 21, 200, 0),  # 400.25
    (-600, 0, 200, 0, 11, 400, 0),  # 211 · 0.95 + 0.25 = 200.7
    (-600, 0, 0, 0, 0, 600, 0),
]


def run(nets_wh: list[int], battery: dict[str, Any], slot_s: int = 900) -> list[tuple[int, ...]]:
    """(in, out, content, losses, import, export) of each slot."""
    tables = {
        "series_production_wh": [[max(net, 0)] for net in nets_wh],
        "series_consumption_wh": [[max(-net, 0)] for net in nets_wh],
    }
    fleet = Fleet(Recipe({"series": 0, **battery}, tables, slots=len(nets_wh), slot_s=slot_s).made(), 1, 1)
    before, after = states(fleet)
    rows: list[tuple[int, ...]] = []
    for slot in range(FIRST_SLOT, FIRST_SLOT + len(nets_wh)):
        step(fleet, before, after, slot, weather(), None)
        rows.append(
            (
                int(after.battery_in_wh[0] - before.battery_in_wh[0]),
                int(after.battery_out_wh[0] - before.battery_out_wh[0]),
                int(after.battery_wh[0]),
                int(after.losses_wh[0] - before.losses_wh[0]),
                int(after.import_wh[0] - before.import_wh[0]),
                int(after.export_wh[0] - before.export_wh[0]),
            )
        )
        before, after = after, before
    return rows


def test_a_day_by_hand() -> None:
    """A 2 kWh battery at 95 % each way, charged, filled, drained and empty: every Wh as on paper."""
    assert run([row[0] for row in DAY], BATTERY) == [row[1:] for row in DAY]


def test_two_efficiencies_by_hand() -> None:
    """At 90 % in and 80 % out, 1,000 Wh of surplus store 900 Wh, which cover 720 Wh."""
    battery = {
        "battery_capacity_wh": 5_000,
        "battery_charge_w": 8_000,
        "battery_discharge_w": 8_000,
        "battery_charge_efficiency": 0.9,
        "battery_discharge_efficiency": 0.8,
    }
    assert run([1_000, -1_000], battery) == [(1_000, 0, 900, 100, 0, 0), (0, 720, 0, 180, 280, 0)]


def test_a_lossless_battery_gives_back_all() -> None:
    """With efficiency 1 what went in comes out."""
    battery = {**BATTERY, "battery_charge_efficiency": 1, "battery_discharge_efficiency": 1}
    assert run([333, -400], battery) == [(333, 0, 333, 0, 0, 0), (0, 333, 0, 0, 67, 0)]


def test_standby_drains_the_cells_and_is_a_loss() -> None:
    """6 W are 1.5 Wh a slot, 6 Wh an hour, taken from the cells until they are empty."""
    battery = {**BATTERY, "battery_initial_wh": 8, "battery_standby_w": 6}
    assert FIRST_SLOT % 2 == 0
    assert [row[2:4] for row in run([0] * 8, battery)] == [
        (7, 1), (5, 2), (4, 1), (2, 2), (1, 1), (0, 1), (0, 0), (0, 0),
    ]  # fmt: skip


def test_slots_of_a_second_use_the_whole_power() -> None:
    """2 kW in slots of 1 s are 5/9 Wh each: in 3,600 of them 2,000 Wh go in, and 1,900 Wh are stored."""
    battery = {**BATTERY, "battery_capacity_wh": 10_000}
    rows = run([5] * 3_600, battery, slot_s=1)
    assert {row[0] for row in rows} == {0, 1}
    assert sum(row[0] for row in rows) == 2_000
    assert rows[-1][2] == 1_900


def test_a_battery_of_megawatts_is_counted_in_64_bits() -> None:
    """8 MW in a slot of a quarter of an hour: 2 MWh in at 95 % store 1.9 MWh."""
    battery = {**BATTERY, "battery_capacity_wh": 9_000_000, "battery_charge_w": 8_000_000}
    assert run([2_500_000], battery) == [(2_000_000, 0, 1_900_000, 100_000, 0, 500_000)]


@pytest.mark.parametrize("efficiency", [0.0, -0.5, 1.01, float("nan")])
def test_impossible_efficiencies_are_refused(efficiency: float) -> None:
    """A battery that gives back more than it takes, or nothing, is no battery."""
    recipe = Recipe({**BATTERY, "battery_charge_efficiency": efficiency})
    with pytest.raises(ValueError, match="efficienc"):
        Fleet(recipe.made(), 1, 1)


@given(
    nets=st.lists(st.integers(-3_000, 3_000), min_size=1, max_size=60),
    charge=st.integers(1, 10_000),
    discharge=st.integers(1, 10_000),
    power=st.tuples(st.integers(0, 12_000), st.integers(0, 12_000)),
    capacity=st.integers(1, 6_000),
)
def test_losses_are_exact_and_nothing_is_made(
    nets: list[int], charge: int, discharge: int, power: tuple[int, int], capacity: int
) -> None:
    """Never more out than in; over time losses are those of the efficiencies, to the Wh that is carried."""
    battery = {
        "battery_capacity_wh": capacity,
        "battery_charge_w": power[0],
        "battery_discharge_w": power[1],
        "battery_charge_efficiency": charge / 10_000,
        "battery_discharge_efficiency": discharge / 10_000,
    }
    level = into = out = lost = drawn = 0
    for net, (charged, given_back, content, losses, bought, fed) in zip(
        nets, run(nets, battery), strict=True
    ):
        assert 0 <= content <= capacity
        assert losses >= 0
        assert content == level + charged - given_back - losses
        assert charged <= -(-power[0] // 4)
        assert given_back <= -(-power[1] // 4)
        assert net + given_back + bought == charged + fed
        drawn += given_back + losses if net < 0 else 0
        level, into, out, lost = content, into + charged, out + given_back, lost + losses
    ideal = into * (10_000 - charge) / 10_000 + drawn * (10_000 - discharge) / 10_000
    assert lost == pytest.approx(ideal, abs=1)

"""Loads: profiles, U curve, degrees, noise, elasticity with shifting."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.demand import Degrees, Elasticity, UCurve
from energymarket.core.fleet import Fleet, State, step
from tests.unit.core.made_fleet import FIRST_SLOT, Made, Recipe, states, weather

CLASS: dict[str, Any] = {
    "reference_ueur_per_kwh": 300_000,
    "grid_ueur_per_kwh": [100_000, 300_000, 500_000],
    "factor_permille": [1100, 1000, 800],
    "shift_share_permille": 500,
    "shift_slots": 4,
}


def consumed_wh(made: Made, prices: list[int | None], **fields: int) -> list[int]:
    """What home 1 consumes in each slot from the first on, at these prices."""
    return [slot[0] for slot in run(made, prices, **fields)[0]]


def run(made: Made, prices: list[int | None], **fields: int) -> tuple[list[list[int]], State]:
    """Consumption per slot and home, and the last state."""
    fleet = Fleet(made, 1, made.homes["policy"].size)
    before, after = states(fleet)
    slots = []
    for slot, price in enumerate(prices, FIRST_SLOT):
        step(fleet, before, after, slot, weather(slot, **fields), price)
        slots.append((after.consumption_wh - before.consumption_wh).tolist())
        before, after = after, before
    return slots, before


def steady(wh: float, **homes: Any) -> Made:
    """A home that consumes the same in each slot, by a series."""
    tables = {"series_consumption_wh": [[wh]], "series_production_wh": [[0]]}
    settings = {"elasticity": [CLASS]}
    return Recipe({"series": 0, **homes}, tables, settings, slots=1).made()


@pytest.mark.parametrize(
    ("temperature_mc", "rain_um_per_h", "factor"),
    [(17_000, 0, "1"), (27_000, 0, "1.2"), (-3_000, 0, "1.8"), (27_000, 1, "1.44"), (16_500, 0, "1.0005")],
)
def test_u_curve_is_the_statements(temperature_mc: int, rain_um_per_h: int, factor: str) -> None:
    """Load is c (1 + 0.002 (T - 17)²): 10 K away gives 1 + 0.2, 20 K 1 + 0.8; rain multiplies by 1.2."""
    assert UCurve().factor(temperature_mc, rain_um_per_h) == pytest.approx(float(Fraction(factor)), rel=1e-12)


def test_u_curve_bends_the_load_of_those_who_follow_it() -> None:
    """Of two homes of 1,000 Wh at -3 °C in rain, the one with the curve consumes 1,000 · 1.8 · 1.2 Wh."""
    made = steady(1000, load_response=[0, 2])
    slots, _ = run(made, [None], temperature_mc=-3_000, rain_um_per_h=700)
    assert slots == [[1000, 2160]]


def test_load_is_profile_times_scale_some_slots_later() -> None:
    """A profile of 10, 20, 30, 40 Wh at 1 MWh a year, 3.5 MWh a year and one slot late: 140, 35, 70, 105."""
    tables = {"load_wh": [[10, 0], [20, 0], [30, 0], [40, 0]]}
    made = Recipe({"load_scale": 3.5, "load_shift": 1}, tables).made()
    assert consumed_wh(made, [None] * 5) == [140, 35, 70, 105, 140]


def test_load_shift_below_zero_is_earlier() -> None:
    """With shift -1 the first slot has the second row, and the last row is followed by the first."""
    made = Recipe({"load_scale": 1, "load_shift": -1}, {"load_wh": [[10], [20], [30], [40]]}).made()
    assert consumed_wh(made, [None] * 4) == [20, 30, 40, 10]


def test_degrees_count_below_and_above_limits() -> None:
    """With limits of 15 and 24 °C: 5 °C is 10 heating degrees, 30 °C is 6 cooling degrees, 20 °C neither."""
    degrees = Degrees(15.0, 24.0)
    cold = (degrees.heating_k(5_000), degrees.cooling_k(5_000))
    hot = (degrees.heating_k(30_000), degrees.cooling_k(30_000))
    assert (cold, hot) == ((10.0, 0.0), (0.0, 6.0))
    assert (degrees.heating_k(20_000), degrees.cooling_k(20_000)) == (0.0, 0.0)


def test_heating_follows_degrees_and_the_shape_of_the_day() -> None:
    """20 Wh/K at 10 heating degrees is 200 Wh, half of it in slots where the shape is 0.5."""
    shape = np.ones(96)
    shape[(FIRST_SLOT + 1) % 96] = 0.5
    homes = {"heat_wh_per_k": 20, "cool_wh_per_k": 50, "load_response": 1}
    made = Recipe(homes, {"heat_shape": shape}).made()
    assert consumed_wh(made, [None, None], temperature_mc=5_000) == [200, 100]
    assert consumed_wh(made, [None], temperature_mc=30_000) == [300]


@pytest.mark.parametrize(
    ("price", "factor"),
    [
        (0, 1.1),
        (100_000, 1.1),
        (200_000, 1.05),
        (300_000, 1.0),
        (400_000, 0.9),
        (500_000, 0.8),
        (10**8, 0.8),
        (None, 1.0),
    ],
)
def test_elasticity_is_interpolated_between_its_points(price: int | None, factor: float) -> None:
    """Half-way between the points lies half the change; beyond the ends the factor stays."""
    assert Elasticity.of(CLASS).factor(price) == pytest.approx(factor, rel=1e-12)


def test_what_is_shifted_is_paid_back() -> None:
    """1,000 Wh at factor 0.8: 800 now, 100 saved, 100 owed; then a fourth of the debt a slot, rounded up.

    Debts: 100, 75, 56, 42, 31, 23, ...; by hand.
    """
    made = steady(1000, elasticity_class=1)
    slots, state = run(made, [500_000, None, None, None, None, None])
    assert [slot[0] for slot in slots] == [800, 1025, 1019, 1014, 1011, 1008]
    assert state.deferred_wh.tolist() == [23]


def test_cheap_energy_is_used_and_nothing_is_owed_for_it() -> None:
    """At factor 1.1 a home of 1,000 Wh consumes 1,100 Wh and owes nothing."""
    slots, state = run(steady(1000, elasticity_class=1), [100_000, None])
    assert (slots, state.deferred_wh.tolist()) == ([[1100], [1000]], [0])


def test_inelastic_homes_ignore_the_price() -> None:
    """Class 0 consumes the same at any price."""
    assert consumed_wh(steady(1000), [10**8, 0, None]) == [1000, 1000, 1000]


def test_debts_are_paid_in_full() -> None:
    """After a dear day and a cheap one all that was shifted is consumed: 96 · 900 Wh of 96,000."""
    made = steady(1000, elasticity_class=1)
    slots, state = run(made, [500_000] * 96 + [None] * 96)
    assert state.deferred_wh.tolist() == [0]
    assert sum(slot[0] for slot in slots) == 96 * 900 + 96 * 1000


@given(
    wh=st.floats(0, 5_000, width=32),
    share=st.integers(0, 1000),
    shifts=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    prices=st.lists(st.integers(0, 600_000), min_size=1, max_size=40),
)
def test_shifting_conserves(wh: float, share: int, shifts: tuple[int, int], prices: list[int]) -> None:
    """Consumed plus owed is what the factors leave plus their shifted share; debts never fall below zero."""
    classes = [{**CLASS, "shift_share_permille": share, "shift_slots": slots} for slots in shifts]
    tables = {"series_consumption_wh": [[wh]], "series_production_wh": [[0]]}
    homes = {"series": 0, "elasticity_class": [1, 2]}
    slots, state = run(Recipe(homes, tables, {"elasticity": classes}, slots=1).made(), list(prices))
    factors = [Elasticity.of(CLASS).factor(price) for price in prices]
    kept = sum(wh * (factor + max(0.0, 1 - factor) * share / 1000) for factor in factors)
    for home in range(2):
        accounted = sum(slot[home] for slot in slots) + int(state.deferred_wh[home])
        assert accounted == pytest.approx(kept, abs=2.1)  # two carries of less than 1 Wh
        assert min(slot[home] for slot in slots) >= 0
        assert state.deferred_wh[home] >= 0


def test_noise_has_mean_one_and_lasts_an_hour() -> None:
    """Noise of 1 - a .. 1 + 1.5 a: mean 1, standard deviation a √(17/60), 12/17 of the variance hourly."""
    count, amplitude = 20_000, 0.6
    made = steady(100_000, noise_permille=[int(1000 * amplitude)] * count)
    slots, _ = run(made, [None] * 5)
    factors = np.array(slots) / 100_000
    assert FIRST_SLOT % 4 == 0
    assert factors.mean(axis=1) == pytest.approx(1, abs=0.01)
    assert factors.std() == pytest.approx(amplitude * (17 / 60) ** 0.5, rel=0.01)
    assert factors.min() >= 1 - amplitude
    assert factors.max() <= 1 + 1.5 * amplitude
    correlation = np.asarray(np.corrcoef(factors))
    assert correlation[0, 3] == pytest.approx(12 / 17, abs=0.02)
    assert correlation[3, 4] == pytest.approx(0, abs=0.03)


def test_noise_depends_on_the_seed() -> None:
    """Another seed draws other noise for the same home and slot."""
    tables = {"series_consumption_wh": [[100_000]], "series_production_wh": [[0]]}
    recipe = Recipe({"series": 0, "noise_permille": 500}, tables, slots=1)
    assert consumed_wh(recipe.made(1), [None]) != consumed_wh(recipe.made(2), [None])

"""The linear price: the statement's example, events and inertia, and a stability that a run confirms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core import pricing
from energymarket.core.parameters import EventKind, Factor, PriceModel

STATEMENT = PriceModel(
    initial_ueur_per_kwh=145_000,
    gamma=0.99,
    factors=(Factor("inverse_temperature", 1_000.0),),
    events=(EventKind("gas_shortage", 10_000.0, 0.0, 1.0), EventKind("law", -3_000.0, 0.0, 1.0)),
    floor_ueur_per_kwh=-10_000_000,
    cap_ueur_per_kwh=10_000_000,
)
BASE_AND_IMBALANCE = replace(STATEMENT, factors=(Factor("base", 6_000.0), Factor("imbalance", 4_000.0)))


def _price(model: PriceModel, previous: int, **given_facts: object) -> pricing.Terms:
    facts: dict[str, object] = {"temperature_mc": 5_000, "consumed_wh": 0, "produced_wh": 0, "events": []}
    return pricing.terms(model, previous, **(facts | given_facts))  # type: ignore[arg-type]


def test_the_example_of_the_statement_is_exact() -> None:
    """Gamma 0.99, P 0.145, alpha 0.001 on 1/5, beta 0.01 with u = 1 make 0.15375 €/kWh, by three terms."""
    price = _price(STATEMENT, 145_000, events=[(0, 1000)])
    assert price.items == (("inertia", 143_550), ("inverse_temperature", 200), ("gas_shortage", 10_000))
    assert price.unclipped_ueur_per_kwh == price.published_ueur_per_kwh == 153_750


@pytest.mark.parametrize(
    ("name", "temperature_mc", "consumed_wh", "produced_wh", "expected"),
    [
        ("base", -7_000, 5, 9, 1_000),
        ("heating_degrees", 5_000, 0, 0, 10_000),
        ("heating_degrees", 15_500, 0, 0, 0),
        ("cooling_degrees", 27_500, 0, 0, 12_500),
        ("cooling_degrees", 15_000, 0, 0, 0),
        ("inverse_temperature", 4_000, 0, 0, 250),
        ("inverse_temperature", 1_000, 0, 0, 1_000),
        ("inverse_temperature", -20_000, 0, 0, 1_000),
        ("imbalance", 0, 300, 100, 500),
        ("imbalance", 0, 100, 300, -500),
        ("imbalance", 0, 100, 0, 1_000),
        ("imbalance", 0, 0, 0, 0),
    ],
)
def test_each_factor_is_the_one_of_the_rules(
    name: str, temperature_mc: int, consumed_wh: int, produced_wh: int, expected: int
) -> None:
    """Degrees beside 15 °C, 1/max(T, 1 °C), (C - G)/(C + G) of consumption C, production G, alpha 1000."""
    model = replace(STATEMENT, factors=(Factor(name, 1_000.0, 15.0),))
    price = _price(model, 0, temperature_mc=temperature_mc, consumed_wh=consumed_wh, produced_wh=produced_wh)
    assert dict(price.items)[name] == expected


def test_a_factor_that_nobody_knows_is_a_bug_of_ours() -> None:
    """An unknown name of a factor raises; the configuration is checked before."""
    with pytest.raises(ValueError, match="moon"):
        _price(replace(STATEMENT, factors=(Factor("moon", 1.0),)), 0)


@given(
    previous=st.integers(-1_000_000, 1_000_000),
    temperature_mc=st.integers(-40_000, 50_000),
    consumed_wh=st.integers(0, 10**9),
    produced_wh=st.integers(0, 10**9),
    intensity=st.integers(1, 5_000),
)
def test_an_event_moves_the_price_by_beta_times_its_intensity(
    previous: int, temperature_mc: int, consumed_wh: int, produced_wh: int, intensity: int
) -> None:
    """From the same previous price, with and without: 10,000 µ€/kWh x intensity, to the µ€; terms add up."""
    facts = {"temperature_mc": temperature_mc, "consumed_wh": consumed_wh, "produced_wh": produced_wh}
    without = _price(BASE_AND_IMBALANCE, previous, **facts)
    with_it = _price(BASE_AND_IMBALANCE, previous, **facts, events=[(0, intensity)])
    assert with_it.unclipped_ueur_per_kwh - without.unclipped_ueur_per_kwh == 10 * intensity
    assert sum(value for _, value in with_it.items) == with_it.unclipped_ueur_per_kwh


def test_floor_and_cap_bound_what_is_published() -> None:
    """The price before clipping is kept beside the published one."""
    model = replace(STATEMENT, floor_ueur_per_kwh=100_000, cap_ueur_per_kwh=150_000)
    high, low = _price(model, 145_000, events=[(0, 1000)]), _price(model, 50_000)
    assert (high.unclipped_ueur_per_kwh, high.published_ueur_per_kwh) == (153_750, 150_000)
    assert (low.unclipped_ueur_per_kwh, low.published_ueur_per_kwh) == (49_700, 100_000)


def test_the_rest_of_an_event_decays_by_gamma_in_each_slot() -> None:
    """After an event of 10,000 µ€/kWh the inertia holds 9,900, 9,801, 9,703 (0.99^n) of it."""
    price = _price(STATEMENT, 145_000, events=[(0, 1000)])
    kept = pricing.follow(STATEMENT, (), price)
    found = []
    for _ in range(3):
        found.append(pricing.rests(STATEMENT, kept))
        price = _price(STATEMENT, price.published_ueur_per_kwh)
        kept = pricing.follow(STATEMENT, kept, price)
    assert found == [(("gas_shortage", 9_900),), (("gas_shortage", 9_801),), (("gas_shortage", 9_703),)]


def test_rests_are_the_difference_to_a_market_without_the_event() -> None:
    """Two runs, one with two kinds of events for some slots: rests explain their distance up to rounding."""
    with_it = without = 145_000
    kept: tuple[float, ...] = ()
    for slot in range(200):
        events = [(0, 700)] * (20 <= slot < 40) + [(1, 1500)] * (30 <= slot < 35)
        price = _price(STATEMENT, with_it, events=events)
        kept = pricing.follow(STATEMENT, kept, price)
        with_it = price.published_ueur_per_kwh
        without = _price(STATEMENT, without).published_ueur_per_kwh
        # each slot rounds the inertia of both runs by half a µ€ at most: 2 x 0.5 / (1 - 0.99)
        assert abs(sum(kept) - (with_it - without)) <= 100


def test_what_a_cap_cut_off_is_explained_as_clipping() -> None:
    """A price cut by 3,750 at the cap: the next inertia holds 0.99 x 3,750 less, and that is said."""
    model = replace(STATEMENT, cap_ueur_per_kwh=150_000)
    price = _price(model, 145_000, events=[(0, 1000)])
    kept = pricing.follow(model, (), price)
    assert dict(pricing.rests(model, kept)) == {"gas_shortage": 9_900, "clipping": -3_712}


def test_half_life_agrees_with_a_run() -> None:
    """Gamma 0.99 halves an offset in ln 2 / -ln 0.99 = 68.97 slots: between the 68th and the 69th."""
    found = pricing.stability(STATEMENT, 0.0)
    assert found.half_life_slots == pytest.approx(68.97, abs=0.005)
    distance, slots = 1.0, 0
    while distance > 0.5:
        distance, slots = distance * STATEMENT.gamma, slots + 1
    assert slots - 1 < found.half_life_slots <= slots


@pytest.mark.parametrize(
    ("consumed_wh", "events", "end"), [(1, [], "calm"), (3, [(0, 1000)], "max"), (0, [(1, 1000)], "min")]
)
def test_steady_prices_agree_with_a_run(consumed_wh: int, events: list[tuple[int, int]], end: str) -> None:
    """The recursion under constant facts ends at the steady price, within the stated rounding."""
    produced_wh = {"calm": 1, "max": 0, "min": 2}[end]
    found = pricing.stability(BASE_AND_IMBALANCE, 0.0)
    price = 145_000
    for _ in range(3_000):
        price = _price(
            BASE_AND_IMBALANCE, price, consumed_wh=consumed_wh, produced_wh=produced_wh, events=events
        ).published_ueur_per_kwh
    steady = getattr(found, f"steady_{end}_ueur_per_kwh")
    assert abs(price - steady) <= found.rounding_ueur_per_kwh


def test_steady_prices_by_hand() -> None:
    """Base 6,000, imbalance 4,000, events +10,000 and -3,000, gamma 0.99: 0.6, 2.0 and -0.1 €/kWh."""
    found = pricing.stability(BASE_AND_IMBALANCE, 0.0)
    assert found.steady_calm_ueur_per_kwh == pytest.approx(600_000)
    assert found.steady_max_ueur_per_kwh == pytest.approx(2_000_000)
    assert found.steady_min_ueur_per_kwh == pytest.approx(-100_000)


def _run_loop(gamma: float, alpha: float, slope: float, offset: float, slots: int) -> list[float]:
    """P_t = gamma P + (1 - gamma) 200,000 + alpha b; demand 1 + slope (P - 200,000), production 1."""
    price, found = 200_000.0 + offset, []
    for _ in range(slots):
        demand = 1 + slope * (price - 200_000)
        price = gamma * price + (1 - gamma) * 200_000 + alpha * (demand - 1) / (demand + 1)
        found.append(price - 200_000)
    return found


@pytest.mark.parametrize("elasticity", [-0.1, -0.4, 0.3])
def test_closed_loop_gain_agrees_with_a_run(elasticity: float) -> None:
    """A small offset at C = G shrinks per slot by gamma + (1 - gamma) gain, as the analysis says."""
    slope = elasticity / 200_000
    model = replace(STATEMENT, gamma=0.9, factors=(Factor("imbalance", 30_000.0),))
    found = pricing.stability(model, slope)
    assert found.closed_loop_gain == pytest.approx(30_000 / 0.1 * slope / 2)
    run = _run_loop(0.9, 30_000.0, slope, 10.0, 2)
    assert run[1] / run[0] == pytest.approx(0.9 + 0.1 * found.closed_loop_gain, rel=1e-4)


@pytest.mark.parametrize(("gain", "grows"), [(0.9, False), (1.1, True)])
def test_a_gain_of_one_is_where_a_run_begins_to_explode(gain: float, grows: bool) -> None:
    """Below 1 an offset dies out, above it grows: the analysis accepts the first and refuses the second."""
    alpha, slope = 30_000.0, gain * 2 * 0.1 / 30_000
    run = _run_loop(0.9, alpha, slope, 1.0, 400)
    found = pricing.stability(replace(STATEMENT, gamma=0.9, factors=(Factor("imbalance", alpha),)), slope)
    assert (abs(run[-1]) > 1.0) is grows
    assert found.ok is not grows
    assert ("gain = 1.1" in found.reason) is grows


@pytest.mark.parametrize("gamma", [1.0, -1.0, 1.5])
def test_a_gamma_of_one_or_more_is_refused_with_the_reason(gamma: float) -> None:
    """|gamma| >= 1: the half-life is infinite, and the words name gamma."""
    found = pricing.stability(replace(STATEMENT, gamma=gamma), 0.0)
    assert not found.ok
    assert math.isinf(found.half_life_slots)
    assert "gamma" in found.reason


def test_the_steepest_slope_of_a_demand_curve_is_relative() -> None:
    """From 1.0 to 0.8 within 0.1 €/kWh, relative to 0.8: -0.2 / 100,000 / 0.8 = -2.5e-6 per µ€/kWh."""
    points = ((100_000, 1.05), (200_000, 1.0), (300_000, 0.8))
    assert pricing.steepest_slope(points) == pytest.approx(-2.5e-6)
    assert pricing.steepest_slope(((200_000, 1.0),)) == 0

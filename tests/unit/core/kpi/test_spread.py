"""Jain's index against its paper's cases, quantiles, and the price's series against series of known law."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core import pricing, stability
from energymarket.core.kpi.expectation import expect
from energymarket.core.kpi.price_moments import PriceMoments, half_life_slots
from energymarket.core.kpi.spread import jain, quantiles, worse_off
from energymarket.core.parameters import EventKind, Factor, PriceModel
from energymarket.core.weather import WEATHER
from tests.unit.core.made_fleet import Numbers


def test_jain_is_one_where_all_are_equal_and_one_over_n_where_one_has_all() -> None:
    """The two ends of the index, and its paper's example: 20 dollars to 2 of 10 are 0.2."""
    assert jain([0.3] * 5).index == pytest.approx(1.0)
    assert jain([0.0, 0.0, 0.0, 7.0]).index == 0.25
    assert jain([10.0, 10.0] + [0.0] * 8).index == pytest.approx(0.2)


def test_jain_takes_what_is_below_zero_as_zero_and_says_so() -> None:
    """A home that earns pays nothing; -1, 1, 1 is 0, 1, 1: (2²)/(3 · 2)."""
    found = jain([-1.0, 1.0, 1.0])
    assert found.index == pytest.approx(2 / 3)
    assert found.below_zero == 1
    assert jain([0.0, 0.0]).index == 1.0
    assert jain([]).index is None


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=30), st.floats(0.01, 100))
def test_jain_does_not_depend_on_the_unit(values: list[float], scale: float) -> None:
    """1/n <= J <= 1, and euros or cents are the same."""
    found, scaled = jain(values).index, jain([scale * value for value in values]).index
    assert found is not None
    assert scaled is not None
    assert 1 / len(values) - 1e-9 <= found <= 1 + 1e-9
    if min(values) > 1e-100 or not any(values):
        assert scaled == pytest.approx(found)


def test_quantiles_leave_out_what_is_not_known() -> None:
    """0 .. 10 have P10 = 1, P50 = 5, P90 = 9, whatever lies between that is NaN."""
    values = np.array([*range(11), math.nan], np.float64)
    assert quantiles(values) == (1.0, 5.0, 9.0)
    assert quantiles(np.array([math.nan])) is None


def test_rounding_makes_nobody_worse_off() -> None:
    """2 µ€ per slot may be rounding; one more is not."""
    bill = np.array([1_000_020, 1_000_021])
    assert worse_off(bill, np.array([10**9, 10**9]), 10).tolist() == [False, True]


def moments(prices: list[int], first_slot: int = 0) -> PriceMoments:
    """Of one series."""
    found = PriceMoments()
    found.add(first_slot, np.array(prices, np.int64))
    return found


@given(st.lists(st.integers(-100_000_000, 100_000_000), min_size=3, max_size=60))
def test_moments_are_those_of_numpy(prices: list[int]) -> None:
    """Mean, both deviations and r1 as NumPy has them of the whole series in floats."""
    found, series = moments(prices), np.array(prices, np.float64)
    assert found.mean is not None
    assert found.variance is not None
    assert found.change_variance is not None
    assert float(found.mean) == pytest.approx(series.mean(), abs=1e-6)
    assert math.sqrt(found.variance) == pytest.approx(series.std(), rel=1e-6, abs=1e-2)
    assert math.sqrt(found.change_variance) == pytest.approx(np.diff(series).std(), rel=1e-6, abs=1e-2)
    deviation = series - series.mean()
    if (deviation**2).sum() > 1:
        r1 = (deviation[:-1] * deviation[1:]).sum() / (deviation**2).sum()
        assert found.autocorrelation is not None
        assert float(found.autocorrelation) == pytest.approx(r1, abs=1e-6)


def test_slots_that_are_missing_make_no_pair() -> None:
    """1, 2 | 9, 8 with a hole between: changes are +1 and -1, none of +7."""
    found = moments([1, 2])
    found.add(7, np.array([9, 8]))
    assert found.pairs == 2
    assert found.change_variance == 1


def test_a_price_that_never_moves_has_no_half_life() -> None:
    """Neither does one that swings, or never forgets."""
    assert moments([5, 5, 5]).autocorrelation is None
    assert half_life_slots(None) is None
    assert half_life_slots(-0.5) is None
    assert half_life_slots(1.0) is None
    assert half_life_slots(0.5) == 1.0


# a long run of the linear price


def model(gamma: float, **more: EventKind) -> PriceModel:
    """A base of 0.2 €/kWh in the steady state, heating degrees, and events."""
    keep = 1 - gamma
    factors = (
        Factor("base", 200_000 * keep),
        Factor("heating_degrees", 2_000 * keep, 15),
        Factor("imbalance", 50_000 * keep),
    )
    return PriceModel(250_000, gamma, factors, tuple(more.values()), -(10**7), 10**7)


def warmth(*temperature_mc: int) -> npt.NDArray[Any]:
    """Weather of these temperatures."""
    samples = np.zeros(len(temperature_mc), WEATHER)
    samples["temperature_mc"] = temperature_mc
    return samples


def test_constant_factors_lead_to_the_expected_mean() -> None:
    """5 °C and an imbalance of 1/5: 0.2 + 10 · 0.002 + 0.2 · 0.05 = 0.23 €/kWh, and the run comes to it."""
    linear = model(0.9)
    expected = expect(linear, warmth(5_000), 0.2)
    assert expected.mean_ueur_per_kwh == pytest.approx(230_000)
    assert expected.half_life_slots == pytest.approx(math.log(2) / -math.log(0.9))
    price, series = 250_000, []
    for _ in range(4_000):
        price = pricing.terms(linear, price, 5_000, 600, 400, ()).published_ueur_per_kwh
        series.append(price)
    found = moments(series[200:]).mean
    assert found is not None
    most = stability.stability(linear, 0.0).rounding_ueur_per_kwh
    assert abs(float(found) - 230_000) <= most


def test_independent_shocks_decay_with_the_expected_half_life() -> None:
    """AR(1): with an imbalance that is new in every slot r1 is gamma, and the half-life that of the model."""
    linear = model(0.9)
    price, series = 200_000, []
    for consumed in Numbers(11, 60_000).whole(0, 1_000).tolist():
        price = pricing.terms(linear, price, 15_000, consumed, 1000 - consumed, ()).published_ueur_per_kwh
        series.append(price)
    found = moments(series)
    assert found.autocorrelation is not None
    assert found.mean is not None
    # standard error of r1: sqrt((1 - gamma²) / n) = 0.0018; of the mean: std · sqrt((1 + g)/(1 - g)/n)
    assert float(found.autocorrelation) == pytest.approx(0.9, abs=0.008)
    assert half_life_slots(found.autocorrelation) == pytest.approx(6.58, abs=0.5)
    assert float(found.mean) == pytest.approx(200_000, abs=600)


def test_events_enter_with_their_expected_number() -> None:
    """One in 100 slots, for 10 slots, of mean intensity 1.5: when dry, 0.1 · 1.5 · beta / (1 - gamma)."""
    strike = EventKind("strike", 1_000, 0.01, 10, 1, 2, rain_factor=3)
    linear = model(0.9, strike=strike)
    dry = expect(linear, warmth(15_000, 20_000), 0.0).mean_ueur_per_kwh
    assert dry == pytest.approx(200_000 + 0.1 * 1.5 * 1_000 / 0.1)
    wet = warmth(15_000, 20_000)
    wet["rain_um_per_h"] = (1, 0)  # rain in half of the slots: twice the rate, on average
    assert expect(linear, wet, 0.0).mean_ueur_per_kwh == pytest.approx(200_000 + 2 * 0.1 * 1.5 * 1_000 / 0.1)

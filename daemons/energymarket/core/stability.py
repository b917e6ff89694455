"""Is the linear price stable: its half-life, its steady range, the gain of the loop through demand.

Free of NumPy, because the configuration is checked by programs that do not carry it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from energymarket.core.sharing import mid_price

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.core.parameters import Factor, PriceModel

TEMPERATURE_MC_MIN: Final = -30_000
TEMPERATURE_MC_MAX: Final = 45_000
TEMPERATURE_MC_CALM: Final = 15_000
INVERSE_TEMPERATURE_MC_MIN: Final = 1_000  # 1 / max(T, 1 °C)


@dataclass(frozen=True, slots=True)
class Stability:
    """What `config check` says about a price model. Prices are before floor and cap."""

    half_life_slots: float  # infinite where |gamma| >= 1
    steady_min_ueur_per_kwh: float
    steady_max_ueur_per_kwh: float
    steady_calm_ueur_per_kwh: float  # at 15 °C, consumption = production, no event
    closed_loop_gain: float
    rounding_ueur_per_kwh: float  # most by which the rounding of terms can move the steady price
    ok: bool
    reason: str  # "" if ok


def factor_value(
    factor: Factor,
    temperature_mc: int,
    consumed_wh: int,
    produced_wh: int,
    import_ueur_per_kwh: int = 0,
    export_ueur_per_kwh: int = 0,
) -> float:
    """The value of an internal factor; imbalance is 0 where nothing was consumed or produced."""
    match factor.name:
        case "base":
            return 1.0
        case "heating_degrees":
            return max(0.0, factor.reference_c - temperature_mc / 1000)
        case "cooling_degrees":
            return max(0.0, temperature_mc / 1000 - factor.reference_c)
        case "inverse_temperature":
            return 1000 / max(temperature_mc, INVERSE_TEMPERATURE_MC_MIN)
        case "imbalance":
            total_wh = consumed_wh + produced_wh
            return (consumed_wh - produced_wh) / total_wh if total_wh else 0.0
        case mid_price.IMPORT:
            return float(import_ueur_per_kwh)
        case mid_price.EXPORT:
            return float(export_ueur_per_kwh)
        case _:
            raise ValueError(factor.name)


def stability(
    model: PriceModel, demand_slope: float, import_ueur_per_kwh: int = 0, export_ueur_per_kwh: int = 0
) -> Stability:
    """Analyse P_t = gamma P_{t-1} + terms.

    demand_slope is the steepest relative change of consumption per µ€/kWh, (dC/dP)/C, below zero
    where demand falls with the price. Steady prices are sum(terms) / (1 - gamma), taken over
    -30 .. 45 °C, imbalance -1 .. 1 and every kind of event once at its strongest or not at all; the
    grid's prices matter under the mid-market rate.

    The gain is that of a small change once round the loop at rest: the price moves consumption by
    the slope, consumption the imbalance b = (C - G)/(C + G) by db = 2 C G/(C + G)^2 dC/C, at most
    1/2 (where C = G), and the imbalance the steady price by alpha/(1 - gamma). The slowest mode of
    the closed loop is then gamma + (1 - gamma) gain.
    """
    if abs(model.gamma) >= 1:
        reason = f"|gamma| = {abs(model.gamma):g} is not below 1: the price never forgets and runs away"
        return Stability(math.inf, -math.inf, math.inf, math.nan, math.nan, math.inf, ok=False, reason=reason)
    rest = 1 - model.gamma
    tariff = (import_ueur_per_kwh, export_ueur_per_kwh)
    by_temperature = [
        _warmth(model, mc, tariff) for mc in range(TEMPERATURE_MC_MIN, TEMPERATURE_MC_MAX + 1, 100)
    ]
    alpha = sum(factor.alpha_ueur_per_kwh for factor in model.factors if factor.name == "imbalance")
    events = [kind.beta_ueur_per_kwh * kind.intensity_max for kind in model.events]
    low = min(by_temperature) - abs(alpha) + sum(min(0.0, event) for event in events)
    high = max(by_temperature) + abs(alpha) + sum(max(0.0, event) for event in events)
    gain = alpha / rest * demand_slope / 2
    ok = abs(gain) < 1
    return Stability(
        half_life_slots=math.log(0.5) / math.log(abs(model.gamma)) if model.gamma else 0.0,
        steady_min_ueur_per_kwh=low / rest,
        steady_max_ueur_per_kwh=high / rest,
        steady_calm_ueur_per_kwh=_warmth(model, TEMPERATURE_MC_CALM, tariff) / rest,
        closed_loop_gain=gain,
        rounding_ueur_per_kwh=0.5 * (1 + len(model.factors) + len(model.events)) / rest,
        ok=ok,
        reason="" if ok else _why(gain),
    )


def steady_mean(
    model: PriceModel, slots_by_temperature_mc: Mapping[int, int], imbalance: float, rainy: float = 0.0
) -> float:
    """Mean price before floor and cap: by linearity the mean of the terms over 1 - gamma, in µ€/kWh.

    The terms' means follow from the weather (slots at each temperature, share of rainy slots), the mean
    imbalance factor, and of each kind of event its mean intensity times the mean number that is active:
    arrivals per slot times mean duration (Little 1961). NaN where |gamma| >= 1: there is no steady price.
    """
    slots = sum(slots_by_temperature_mc.values())
    if abs(model.gamma) >= 1 or not slots:
        return math.nan
    terms = 0.0
    for factor in model.factors:
        if factor.name == "imbalance":
            terms += factor.alpha_ueur_per_kwh * imbalance
            continue
        values = (factor_value(factor, mc, 0, 0) * count for mc, count in slots_by_temperature_mc.items())
        terms += factor.alpha_ueur_per_kwh * math.fsum(values) / slots
    for kind in model.events:
        arrivals = kind.arrivals_per_slot * (1 + (kind.rain_factor - 1) * rainy)
        active = arrivals * kind.duration_slots_mean
        terms += kind.beta_ueur_per_kwh * (kind.intensity_min + kind.intensity_max) / 2 * active
    return terms / (1 - model.gamma)


def steepest_slope(points: tuple[tuple[int, float], ...]) -> float:
    """Steepest relative change of demand per µ€/kWh of a curve of (price, factor), linear between points.

    Relative to the smaller factor of each piece, where the same watt weighs most.
    """
    slopes = [0.0]
    for (first_ueur, first), (second_ueur, second) in pairwise(points):
        slopes.append((second - first) / (second_ueur - first_ueur) / max(min(first, second), 1e-6))
    return max(slopes, key=abs)


def _warmth(model: PriceModel, temperature_mc: int, tariff: tuple[int, int]) -> float:
    """Sum of the terms that temperature and the grid's tariff decide, per slot."""
    return sum(
        factor.alpha_ueur_per_kwh * factor_value(factor, temperature_mc, 0, 0, *tariff)
        for factor in model.factors
    )


def _why(gain: float) -> str:
    return (
        f"closed-loop gain = {gain:.3g}, its size is not below 1: a change of the price comes back through "
        "demand and imbalance as large as it left"
    )

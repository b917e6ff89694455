"""What the linear price should have shown: mean and half-life by its formula, to hold a run against."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from energymarket.core.kpi.price_moments import half_life_slots
from energymarket.core.stability import steady_mean

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.core.parameters import PriceModel


@dataclass(frozen=True, slots=True)
class Expectation:
    """Of the price before floor and cap."""

    mean_ueur_per_kwh: float
    half_life_slots: float | None


def expect(model: PriceModel, weather: npt.NDArray[Any], imbalance_mean: float) -> Expectation:
    """From the run's own weather (WEATHER, one sample per slot) and mean imbalance factor.

    Events enter with their expected number, so a run with few of them lies beside the mean; so does one
    shorter than some half-lives, one that floor or cap has clipped, and one in which an operator raised
    events.
    """
    slots = Counter(weather["temperature_mc"].tolist())
    rainy = float(np.count_nonzero(weather["rain_um_per_h"] > 0)) / max(1, len(weather))
    mean = steady_mean(model, slots, imbalance_mean, rainy)
    return Expectation(mean, half_life_slots(model.gamma))

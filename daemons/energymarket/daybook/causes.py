"""The price taken apart by cause: what of each slot's price each factor and kind of event still holds.

The price is linear, so each cause's part follows c_t = gamma c_{t−1} + its term, and the parts add up to the
price. Read so, inertia is no cause of its own: it is the memory of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.audit.figures import Figures

BASE: Final = "base"
TEMPERATURE: Final = "temperature"
IMBALANCE: Final = "imbalance"
EVENTS: Final = "events"
LIMITS: Final = "floor and cap"
CAUSES: Final = (BASE, TEMPERATURE, IMBALANCE, EVENTS, LIMITS)

_TEMPERATURE: Final = frozenset({"heating_degrees", "cooling_degrees", "inverse_temperature"})


def causes_of(slots: Sequence[Figures]) -> dict[str, npt.NDArray[np.float64]]:
    """Per cause its part of each slot's price in µ€/kWh; they add up to the price.

    What was before the first slot, or before a stretch without detail, counts as base.
    """
    parts = dict.fromkeys(CAUSES, 0.0)
    found: dict[str, list[float]] = {name: [] for name in CAUSES}
    first = True
    for each in slots:
        if not each.terms:  # compacted: only the price is known
            parts = dict.fromkeys(CAUSES, 0.0) | {BASE: float(each.price_ueur_per_kwh)}
        else:
            if first:
                parts[BASE] = float(each.previous_ueur_per_kwh or 0)
            parts = _follow(parts, each)
        first = False
        for name, part in parts.items():
            found[name].append(part)
    return {name: np.array(values) for name, values in found.items()}


def _follow(parts: dict[str, float], each: Figures) -> dict[str, float]:
    gamma = float(each.meta.get("gamma", 0.0))
    after = {name: gamma * part for name, part in parts.items()}
    for name, value in each.terms[1:]:
        after[_cause_of(name)] += value
    if each.unclipped_ueur_per_kwh is not None:
        after[LIMITS] += each.price_ueur_per_kwh - each.unclipped_ueur_per_kwh
    # Each term was rounded to a whole µ€/kWh; what that leaves is the base's.
    after[BASE] += each.price_ueur_per_kwh - sum(after.values())
    return after


def _cause_of(term: str) -> str:
    if term in {BASE, IMBALANCE}:
        return term
    return TEMPERATURE if term in _TEMPERATURE else EVENTS

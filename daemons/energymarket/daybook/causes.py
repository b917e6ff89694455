"""The price taken apart by cause: what of each slot's price each factor and kind of event still holds.

The price is linear, so each cause's part follows c_t = gamma c_{t−1} + its term, and the parts add up to the
price. Read so, inertia is no cause of its own: it is the memory of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.audit.figures import ABSENT, F64

if TYPE_CHECKING:
    from energymarket.audit.figures import Figures

BASE: Final = "base"
TEMPERATURE: Final = "temperature"
IMBALANCE: Final = "imbalance"
EVENTS: Final = "events"
LIMITS: Final = "floor and cap"
CAUSES: Final = (BASE, TEMPERATURE, IMBALANCE, EVENTS, LIMITS)

_INERTIA: Final = "inertia"
_TEMPERATURE: Final = frozenset({"heating_degrees", "cooling_degrees", "inverse_temperature"})


def causes_of(slots: Figures) -> dict[str, F64]:
    """Per cause its part of each slot's price in µ€/kWh, shape (S,); they add up to the price.

    What was before the first slot, or before a stretch without detail, counts as base.
    """
    terms = _terms_by_cause(slots)
    prices = slots.price_ueur_per_kwh.astype(np.float64)
    found = {name: np.zeros(len(slots)) for name in CAUSES}
    parts = dict.fromkeys(CAUSES, 0.0)
    if len(slots) and slots.detailed[0]:
        parts[BASE] = float(slots.previous_ueur_per_kwh[0])
    columns = zip(slots.detailed.tolist(), slots.gamma.tolist(), prices.tolist(), strict=True)
    added = zip(*(terms[name].tolist() for name in CAUSES), strict=True)
    for at, ((detailed, gamma, price), values) in enumerate(zip(columns, added, strict=True)):
        if detailed:
            parts = {
                name: gamma * part + value for (name, part), value in zip(parts.items(), values, strict=True)
            }
            # Each term was rounded to a whole µ€/kWh; what that leaves is the base's.
            parts[BASE] += price - sum(parts.values())
        else:  # compacted: only the price is known
            parts = dict.fromkeys(CAUSES, 0.0) | {BASE: price}
        for name, part in parts.items():
            found[name][at] = part
    return found


def _terms_by_cause(slots: Figures) -> dict[str, F64]:
    found = {name: np.zeros(len(slots)) for name in CAUSES}
    for name, column in slots.terms.items():
        if name != _INERTIA:
            found[_cause_of(name)] += np.where(column == ABSENT, 0, column)
    held = slots.clipped
    found[LIMITS][held] += (slots.price_ueur_per_kwh - slots.unclipped_ueur_per_kwh)[held]
    return found


def _cause_of(term: str) -> str:
    if term in {BASE, IMBALANCE}:
        return term
    return TEMPERATURE if term in _TEMPERATURE else EVENTS

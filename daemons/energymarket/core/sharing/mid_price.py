"""The price of the mid-market rate as terms. Free of NumPy: the configuration is checked without it."""

from __future__ import annotations

from typing import Final

from energymarket.core.limits import PRICE_UEUR_PER_KWH_MAX
from energymarket.core.parameters import Factor, PriceModel

IMPORT: Final = "import_price"
EXPORT: Final = "export_price"


def mid_ueur_per_kwh(import_ueur_per_kwh: int, export_ueur_per_kwh: int) -> int:
    """(r + e) / 2 as the slot's price has it: two terms, each rounded half even by itself."""
    return round(import_ueur_per_kwh / 2) + round(export_ueur_per_kwh / 2)


def price_model(initial_ueur_per_kwh: int) -> PriceModel:
    """Half of r and half of e; no inertia, no events, neither floor nor cap."""
    factors = (Factor(IMPORT, 0.5), Factor(EXPORT, 0.5))
    most = PRICE_UEUR_PER_KWH_MAX
    return PriceModel(initial_ueur_per_kwh, 0.0, factors, (), -most, most)

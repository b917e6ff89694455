"""Amounts as the report shows them: few digits for eyes; where exactness counts, `telling` has all."""

from __future__ import annotations

import math


def energy(energy_wh: float) -> str:
    """1234567 Wh -> `1,235 kWh`; from 10 MWh on in MWh."""
    size = abs(energy_wh)
    if size >= 10_000_000:
        return f"{_signed(energy_wh / 1e6, _digits(size / 1e6))} MWh"
    return f"{_signed(energy_wh / 1e3, _digits(size / 1e3))} kWh"


def power(power_kw: float) -> str:
    """Mean power of a slot."""
    return f"{_signed(power_kw, _digits(abs(power_kw)))} kW"


def price(price_ueur_per_kwh: float) -> str:
    """µ€/kWh -> €/kWh with four digits."""
    return f"{_signed(price_ueur_per_kwh / 1e6, 4)} €/kWh"


def money(money_eur: float) -> str:
    """Euros, with cents where they are seen."""
    return f"{_signed(money_eur, 0 if abs(money_eur) >= 10_000 else 2)} €"


def share(value: float) -> str:
    """A share as a percentage; a dash where there is nothing to share."""
    return "–" if math.isnan(value) else f"{_signed(100 * value, 1)} %"


def _digits(size: float) -> int:
    return 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.01 or size == 0 else 3


def _signed(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")

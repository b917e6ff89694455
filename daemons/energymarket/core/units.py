"""Units of energy, money and price, and the one rounding of money.

Energy is in Wh, money in micro-euro (µ€), prices in µ€/kWh: all integers.
People see kWh, € and €/kWh.
"""

from __future__ import annotations

from typing import NewType

import numpy as np
import numpy.typing as npt

Wh = NewType("Wh", int)
Ueur = NewType("Ueur", int)
UeurPerKwh = NewType("UeurPerKwh", int)

UEUR_PER_EUR = 1_000_000
WH_PER_KWH = 1_000

I64 = npt.NDArray[np.int64]


def money_ueur(energy_wh: int, price_ueur_per_kwh: int) -> Ueur:
    """Price times energy, rounded half up (towards plus infinity) to a whole µ€.

    Half up is the rounding that a pencil does; it differs from half even only at exact ties.
    The same rounding serves both sides of a posting, so that they always cancel.
    """
    return Ueur((energy_wh * price_ueur_per_kwh + WH_PER_KWH // 2) // WH_PER_KWH)


def money_ueur_array(energy_wh: npt.NDArray[np.integer], price_ueur_per_kwh: int | I64) -> I64:
    """`money_ueur` for energies of any integer width, at one price or at prices that broadcast; int64."""
    product: I64 = energy_wh.astype(np.int64) * np.asarray(price_ueur_per_kwh, np.int64)
    product += WH_PER_KWH // 2
    product //= WH_PER_KWH
    return product


def whole_ueur(value_ueur: float) -> int:
    """A real number of µ€ (or µ€/kWh) rounded half even to a whole one."""
    return round(value_ueur)

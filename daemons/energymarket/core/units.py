"""Units of energy, money and price, and the one rounding of money.

Energy is in Wh, money in micro-euro (µ€), prices in µ€/kWh: all integers.
People see kWh, € and €/kWh.
"""

from __future__ import annotations

from typing import Any, NewType

import numpy as np
import numpy.typing as npt

Wh = NewType("Wh", int)
Ueur = NewType("Ueur", int)
UeurPerKwh = NewType("UeurPerKwh", int)

UEUR_PER_EUR = 1_000_000
WH_PER_KWH = 1_000

I64 = npt.NDArray[np.int64]
Signed = npt.NDArray[np.signedinteger[Any]]


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


def narrow_money_ueur(energy_wh: npt.NDArray[np.integer], price_ueur_per_kwh: int) -> Signed:
    """`money_ueur_array` of one price: in 32 bits where every product fits them, which is twice as fast."""
    most = max(int(energy_wh.max()), -int(energy_wh.min())) if energy_wh.size else 0
    if most * abs(price_ueur_per_kwh) > _INT32_MAX - WH_PER_KWH or abs(price_ueur_per_kwh) > _INT32_MAX:
        return money_ueur_array(energy_wh, price_ueur_per_kwh)
    product: Signed = np.multiply(energy_wh, np.int32(price_ueur_per_kwh), dtype=np.int32, casting="unsafe")
    product += np.int32(WH_PER_KWH // 2)
    product //= np.int32(WH_PER_KWH)
    return product


_INT32_MAX = 2**31 - 1


def whole_ueur(value_ueur: float) -> int:
    """A real number of µ€ (or µ€/kWh) rounded half even to a whole one."""
    return round(value_ueur)

"""How outcomes spread over homes: quantiles, the share that is worse off than alone, Jain's index."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Sequence

F64 = npt.NDArray[np.float64]

QUANTILES: Final = (0.1, 0.5, 0.9)
ROUNDING_UEUR_PER_SLOT: Final = 2
"""Sale, purchase, fee, and imbalance are rounded to whole µ€ in every slot: half a µ€ each, at most."""


@dataclass(frozen=True, slots=True)
class Jain:
    """Jain's index, and how many values below zero entered it as zero."""

    index: float | None
    below_zero: int


def quantiles(values: F64) -> tuple[float, ...] | None:
    """P10, P50 and P90, linear between order statistics (Hyndman and Fan 1996, type 7); None of nothing."""
    known = values[~np.isnan(values)]
    return tuple(np.quantile(known, QUANTILES).tolist()) if len(known) else None


def jain(values: Sequence[float] | F64) -> Jain:
    """(Σx)² / (n Σx²): 1 where all are equal, 1/n where one has all.

    Jain, Chiu, Hawe: "A Quantitative Measure of Fairness and Discrimination for Resource Allocation in
    Shared Computer Systems", DEC Research Report TR-301 (1984). The index is made for shares that are not
    below zero. A home that earns more than it pays enters with 0, since it pays nothing, and is counted;
    zeros enter as they are. Where all are zero all are equal: 1. None without homes.
    """
    found = np.asarray(values, np.float64)
    below_zero = int(np.count_nonzero(found < 0))
    if not len(found):
        return Jain(None, below_zero)
    paid = np.maximum(found, 0.0)
    squares = math.fsum((paid * paid).tolist())
    index = math.fsum(paid.tolist()) ** 2 / (len(paid) * squares) if squares else 1.0
    return Jain(index, below_zero)


def worse_off(bill_ueur: I64, alone_mueur: I64, slots: int) -> npt.NDArray[np.bool_]:
    """Homes that pay more than alone, by more than rounding explains (ROUNDING_UEUR_PER_SLOT).

    Alone, the same meter settles each slot with the grid: import at r, export at e. That is the meter as it
    was: what a home would have done at other prices is not asked.
    """
    worse: npt.NDArray[np.bool_] = 1000 * bill_ueur - alone_mueur > 1000 * ROUNDING_UEUR_PER_SLOT * slots
    return worse

"""From samples to a band: quantiles of each slot, with the truth between P10 and P90 in four of five."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from energymarket.core.units import I64

QUANTILES: Final = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


def band(samples: I64) -> dict[str, list[int]]:
    """P10, P50 and P90 of each slot from (samples, slots), rounded to whole numbers.

    By p (n + 1), type 6 of Hyndman and Fan (The American Statistician 50, 1996): if the truth is one more
    draw of the same kind, it lies below the k-th of n in k of n + 1 cases, whatever the distribution.
    """
    found = np.quantile(samples, list(QUANTILES.values()), axis=0, method="weibull")
    return dict(zip(QUANTILES, np.rint(found).astype(np.int64).tolist(), strict=True))

"""Figures of slots made by hand: what is not given is zero, or tells nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from energymarket.audit.figures import ABSENT, Figures

FIRST_SLOT = 1_944_480  # 2025-06-16 00:00 UTC in quarters of an hour: 20,255 days after 1970-01-01


def figures(
    *,
    price: Sequence[int],
    first_slot: int = FIRST_SLOT,
    tariff: tuple[int, int] = (300_000, 80_000),
    totals: Mapping[str, Sequence[int]] | None = None,
    terms: Mapping[str, Sequence[int]] | None = None,
    events: Mapping[str, Sequence[int]] | None = None,
    gamma: float = 0.5,
    previous: Sequence[int] | None = None,
    unclipped: Sequence[int] | None = None,
    detailed: bool = True,
) -> Figures:
    """As many slots as there are prices, from first_slot on."""
    count = len(price)

    def column(values: Sequence[int] | None, filling: int = 0) -> Any:
        return np.full(count, filling, np.int64) if values is None else np.array(values, np.int64)

    named: dict[str, Any] = {
        name: {key: column(value) for key, value in (found or {}).items()}
        for name, found in (("totals", totals), ("terms", terms), ("events", events))
    }
    flags: dict[str, Any] = {name: np.zeros(count, np.bool_) for name in ("gap", "weather_stale")}
    return Figures(
        slot=np.arange(first_slot, first_slot + count, dtype=np.int64),
        price_ueur_per_kwh=column(price),
        import_ueur_per_kwh=column(None, tariff[0]),
        export_ueur_per_kwh=column(None, tariff[1]),
        gift_fee_ueur_per_kwh=column(None),
        previous_ueur_per_kwh=column(previous, 0 if detailed else ABSENT),
        unclipped_ueur_per_kwh=column(unclipped if unclipped is not None else price),
        detailed=np.full(count, detailed),
        gamma=np.full(count, gamma),
        late_batches=column(None),
        shed_offers=column(None),
        refusals=column(None),
        hashes=bytes(32 * count),
        **flags,
        **named,
    )

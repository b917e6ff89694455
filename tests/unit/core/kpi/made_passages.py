"""Passages made by hand, by chance, and from a year of meters; all as settlement would have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from energymarket.core.passage import Passage
from energymarket.core.records import SLOT_COLUMNS
from tests.unit.core.made_fleet import Numbers

COLUMNS = SLOT_COLUMNS[1:]
Table = npt.NDArray[np.int64]


def passage(
    first_slot: int,
    prices: Sequence[int] | Table,
    import_ueur_per_kwh: int | Table,
    export_ueur_per_kwh: int | Table,
    columns: Mapping[str, Any],
    kind: type[np.signedinteger[Any]] = np.int64,
) -> Passage:
    """Columns that are not named are zero; r and e may be one number for all slots."""
    p = np.asarray(prices, np.int64)
    shape = np.asarray(next(iter(columns.values()))).shape
    filled = {name: np.asarray(columns.get(name, np.zeros(shape)), kind) for name in COLUMNS}
    r, e = (
        np.broadcast_to(np.asarray(each, np.int64), p.shape).copy()
        for each in (import_ueur_per_kwh, export_ueur_per_kwh)
    )
    return Passage(first_slot, p, r, e, filled)


def cut(whole: Passage, places: Sequence[int]) -> list[Passage]:
    """The same slots in several passages, cut at these places."""
    edges = [0, *sorted(places), whole.slots]
    return [part(whole, start, stop) for start, stop in pairwise(edges)]


def part(whole: Passage, start: int, stop: int) -> Passage:
    """Some slots of a passage."""
    return Passage(
        whole.first_slot + start,
        whole.price_ueur_per_kwh[start:stop],
        whole.import_ueur_per_kwh[start:stop],
        whole.export_ueur_per_kwh[start:stop],
        {name: column[start:stop] for name, column in whole.columns.items()},
    )


def by_chance(seed: int, slots: int, homes: int, kind: type[np.signedinteger[Any]] = np.int64) -> Passage:
    """Every column full of numbers, out of balance too: no physics, much arithmetic."""
    cells, per_slot = Numbers(seed, slots * homes), Numbers(seed + 1, slots)
    columns: dict[str, Any] = {
        name: (cells.whole(0, 5_000) * cells.owns(0.5)).reshape(slots, homes) for name in COLUMNS
    }
    columns["money_ueur"] = cells.whole(-10_000_000, 10_000_000).reshape(slots, homes)
    prices = per_slot.whole(-50_000, 400_000)
    asked = per_slot.whole(0, 500_000)
    return passage(1_000, prices, asked, asked - 250_000, columns, kind)


def from_meters(
    first_slot: int,
    price_ueur_per_kwh: Table,
    import_ueur_per_kwh: Table,
    export_ueur_per_kwh: Table,
    production_wh: Table,
    consumption_wh: Table,
) -> Passage:
    """Homes without batteries and gifts: each buys what it lacks at p and sells what it has over."""
    net = consumption_wh - production_wh
    lack, over = np.maximum(net, 0), np.maximum(-net, 0)
    p = price_ueur_per_kwh[:, None]
    columns = {
        "produced_wh": production_wh,
        "consumed_wh": consumption_wh,
        "imported_wh": lack,
        "exported_wh": over,
        "sold_wh": over,
        "bought_wh": lack,
        "money_ueur": (over * p + 500) // 1000 - (lack * p + 500) // 1000,
    }
    return passage(first_slot, price_ueur_per_kwh, import_ueur_per_kwh, export_ueur_per_kwh, columns)

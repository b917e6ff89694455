"""Settlement of a slot: registers, claims and orders in; ledger columns, gifts and double entry out.

Contract of a home = given + expired − received + sold − bought. Imbalance = metered net − contract:
short is billed at the import price, long is paid at the export price. The result is a function of the
set of accepted batches, never of their order or of how the homes are cut into batches.

A home without a batch has no row: its next batch carries the gap, settled then as imbalance. A home
with a single order and no batch has a row whose registers stand still. (`admission.check` has let
every batch pass before it comes here.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.admission import READING_COLUMNS, Batch, Readings, check
from energymarket.core.matching import VoidClaim, find, is_range, match
from energymarket.core.postings import Orders, Prices, post
from energymarket.core.records import (
    BATCH_COLUMNS,
    ORDER_COLUMNS,
    RECEIPT_COLUMNS,
    Policy,
)
from energymarket.core.totals import Totals, UnbalancedError
from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Batch",
    "Columns",
    "Prices",
    "Readings",
    "Settlement",
    "Totals",
    "UnbalancedError",
    "VoidClaim",
    "check",
    "no_orders",
    "receipt_columns",
    "settle",
]

Columns: TypeAlias = dict[str, I64]
Stated: TypeAlias = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Settlement:
    """A slot, settled."""

    columns: Columns  # SLOT_COLUMNS
    gifts: Columns  # GIFT_COLUMNS
    void_claims: int
    voids: tuple[VoidClaim, ...]  # the first of them, by (giver, index, taker)
    imbalance_wh: I64  # by row
    readings: Readings  # the registers after the slot
    totals: Totals


def no_orders() -> Columns:
    """ORDER_COLUMNS of a slot without single orders."""
    return {name: np.zeros(0, np.int64) for name in ORDER_COLUMNS}


def settle(
    readings: Readings, batches: Sequence[Batch], orders: Mapping[str, I64], prices: Prices, homes: int
) -> Settlement:
    """Settle a slot. `orders` are the single orders, each with its own rounded total.

    Raises ValueError when two batches overlap or an id is not one of 1 .. homes: the market's mistake.
    """
    home, stated = _rows(batches, orders["home"], readings, homes)
    flows, after = _meter(home, stated, readings)
    matched = match(home, stated["offered_wh"], batches)
    flows["given_wh"], flows["received_wh"] = matched.given_wh, matched.received_wh
    flows["sold_wh"], flows["bought_wh"] = stated["sold_wh"], stated["bought_wh"]
    posted = post(
        {name: column[None] for name, column in flows.items()},
        offered_wh=stated["offered_wh"][None],
        returned_wh=stated["returned_wh"][None],
        policy=stated["policy"],
        prices=(prices,),
        gifts=(len(matched.gifts["giver"]),),
        void_claims=(matched.void_claims,),
        orders=_orders(home, orders),
    )
    return Settlement(
        columns={"home": home, **{name: column[0] for name, column in posted.columns.items()}},
        gifts=matched.gifts,
        void_claims=matched.void_claims,
        voids=matched.voids,
        imbalance_wh=posted.imbalance_wh[0],
        readings=after,
        totals=posted.totals[0],
    )


def _orders(home: I64, orders: Mapping[str, I64]) -> Orders | None:
    if not len(orders["home"]):
        return None
    row, _ = find(home, orders["home"])
    return Orders(row, orders["energy_wh"], orders["total_ueur"])


# rows


def _rows(batches: Sequence[Batch], order_homes: I64, readings: Readings, homes: int) -> tuple[I64, Stated]:
    """Home ids ascending, and what each home states, as int64 columns (policy as it is)."""
    batches = sorted((batch for batch in batches if batch.count), key=lambda batch: batch.first)
    end = 1
    for batch in batches:
        if batch.first < end:
            raise ValueError(f"batch {batch.id} overlaps another at home {batch.first}")
        end = batch.first + batch.count
    if end - 1 > homes or (len(order_homes) and not 1 <= order_homes.min() <= order_homes.max() <= homes):
        raise ValueError(f"a batch or an order is of a home that is not one of 1 .. {homes}")
    ranges = [np.arange(batch.first, batch.first + batch.count, dtype=np.int64) for batch in batches]
    home = np.concatenate(ranges) if ranges else np.zeros(0, np.int64)
    stated: Stated = {}
    for name, kind in BATCH_COLUMNS:
        parts = [batch.columns[name] for batch in batches]
        wide = kind if name == "policy" else np.dtype(np.int64)
        stated[name] = np.concatenate(parts, dtype=wide) if parts else np.zeros(0, wide)
    if len(order_homes):
        alone = np.setdiff1d(order_homes, home)
        if len(alone):
            return _with_orders_alone(home, stated, alone, readings)
    return home, stated


def _with_orders_alone(home: I64, stated: Stated, alone: I64, readings: Readings) -> tuple[I64, Stated]:
    """Rows for homes that have an order but no batch: their registers stand still."""
    home = np.concatenate((home, alone))
    order = np.argsort(home)
    for name, column in stated.items():
        extra = np.zeros(len(alone), column.dtype)
        if name in READING_COLUMNS:
            extra = getattr(readings, name)[alone - 1]
        elif name == "policy":
            extra[:] = Policy.SELL
        stated[name] = np.concatenate((column, extra))[order]
    return home[order], stated


def _meter(home: I64, stated: Stated, readings: Readings) -> tuple[Columns, Readings]:
    """What flowed since each home's last reading, and the readings after the slot."""
    at = slice(int(home[0]) - 1, int(home[-1])) if is_range(home) else home - 1
    flows: Columns = {}
    after = []
    names = ("produced_wh", "consumed_wh", "imported_wh", "exported_wh")
    for name, register in zip(names, READING_COLUMNS, strict=True):
        before: I64 = getattr(readings, register)
        now = stated[register]
        flows[name] = now - before[at]
        if len(now) < len(before):
            whole = before.copy()
            whole[at] = now
            now = whole
        after.append(now)
    return flows, Readings(*after)


def receipt_columns(settled: Settlement, first: int, count: int) -> dict[str, npt.NDArray[Any]]:
    """RECEIPT_COLUMNS for a range of homes; zeros for a home without a row in the slot."""
    home = settled.columns["home"]
    low, high = np.searchsorted(home, (first, first + count)).tolist()
    at = home[low:high] - first
    columns: dict[str, npt.NDArray[Any]] = {}
    for name, kind in RECEIPT_COLUMNS:
        source = settled.imbalance_wh if name == "imbalance_wh" else settled.columns[name]
        columns[name] = np.zeros(count, kind)
        columns[name][at] = source[low:high]
    return columns

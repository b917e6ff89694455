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
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.admission import READING_COLUMNS, Batch, Readings, check
from energymarket.core.limits import REGISTER_JUMP_WH_MAX
from energymarket.core.matching import Match, VoidClaim, find, is_range, match
from energymarket.core.records import (
    BATCH_COLUMNS,
    ORDER_COLUMNS,
    RECEIPT_COLUMNS,
    SLOT_COLUMNS,
    Policy,
)
from energymarket.core.totals import Totals, UnbalancedError
from energymarket.core.units import I64, money_ueur, money_ueur_array

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

_SUMMED: Final = tuple(name for name in SLOT_COLUMNS if name not in {"home", "money_ueur"})


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of a slot in µ€/kWh."""

    price: int  # p: between homes and operator
    import_: int  # r: what the grid asks
    export: int  # e: what the grid pays
    gift_fee: int = 0  # what a taker pays the local grid for a gift


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
    columns, after = _meter(home, stated, readings)
    matched = match(home, stated["offered_wh"], batches)
    columns["given_wh"], columns["received_wh"] = matched.given_wh, matched.received_wh
    _end_offers(columns, stated)
    columns["sold_wh"] = stated["sold_wh"] + columns["rest_sold_wh"]
    columns["bought_wh"] = stated["bought_wh"]
    legs = _Legs(prices, len(home))
    money = money_ueur_array(columns["sold_wh"], prices.price)
    money -= money_ueur_array(columns["bought_wh"], prices.price)
    _add_orders(home, columns, money, orders)
    legs.operator_ueur = -legs.sum(money)
    if prices.gift_fee:
        fee = money_ueur_array(columns["received_wh"], prices.gift_fee)
        legs.fees_ueur = legs.sum(fee)
        money -= fee
    imbalance = _imbalance(columns)
    legs.settle_imbalance(imbalance, money)
    columns["money_ueur"] = money
    totals = _totals(columns, stated, matched, legs)
    totals.check()
    return Settlement(
        columns={name: columns[name] for name in SLOT_COLUMNS},
        gifts=matched.gifts,
        void_claims=matched.void_claims,
        voids=matched.voids,
        imbalance_wh=imbalance,
        readings=after,
        totals=totals,
    )


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
    columns: Columns = {"home": home}
    after = []
    names = ("produced_wh", "consumed_wh", "imported_wh", "exported_wh")
    for name, register in zip(names, READING_COLUMNS, strict=True):
        before: I64 = getattr(readings, register)
        now = stated[register]
        columns[name] = now - before[at]
        if len(now) < len(before):
            whole = before.copy()
            whole[at] = now
            now = whole
        after.append(now)
    return columns, Readings(*after)


# offers, orders, money


def _end_offers(columns: Columns, stated: Stated) -> None:
    """Each part of an offer ends in one state. What was claimed cannot also have been taken back."""
    left = stated["offered_wh"] - columns["given_wh"]
    returned = np.minimum(stated["returned_wh"], left)
    left -= returned
    expired = left * (stated["policy"] == Policy.GIVE)
    columns["returned_wh"] = returned
    columns["expired_wh"] = expired
    columns["rest_sold_wh"] = left - expired


def _add_orders(home: I64, columns: Columns, money: I64, orders: Mapping[str, I64]) -> None:
    if not len(orders["home"]):
        return
    row, _ = find(home, orders["home"])
    energy = orders["energy_wh"]
    np.add.at(columns["sold_wh"], row, np.maximum(energy, 0))
    np.add.at(columns["bought_wh"], row, np.maximum(-energy, 0))
    np.add.at(money, row, orders["total_ueur"])


def _imbalance(columns: Columns) -> I64:
    """Metered net minus contract."""
    imbalance = columns["exported_wh"] - columns["imported_wh"]
    imbalance -= columns["given_wh"]
    imbalance -= columns["expired_wh"]
    imbalance += columns["received_wh"]
    imbalance -= columns["sold_wh"]
    imbalance += columns["bought_wh"]
    return imbalance


class _Legs:
    """The other side of the homes' money."""

    def __init__(self, prices: Prices, rows: int) -> None:
        self.prices = prices
        dearest = max(abs(prices.price), abs(prices.import_), abs(prices.export), abs(prices.gift_fee))
        most_ueur = money_ueur(10 * REGISTER_JUMP_WH_MAX, dearest)  # of one home: all legs together
        self.fits = rows * most_ueur < 2**63
        self.operator_ueur = 0
        self.fees_ueur = 0
        self.imbalance_ueur = 0  # to the homes
        self.short_wh = 0
        self.long_wh = 0

    def sum(self, column_ueur: I64) -> int:
        """The exact sum; in two halves where a fleet at an absurd price could overflow."""
        if self.fits:
            return int(column_ueur.sum())
        return (int((column_ueur >> 32).sum()) << 32) + int((column_ueur & 0xFFFFFFFF).sum())

    def settle_imbalance(self, imbalance_wh: I64, money_ueur_: I64) -> None:
        """Long is paid at e, short billed at r; both go into the homes' money. Few homes are out."""
        out = np.flatnonzero(imbalance_wh != 0)
        if not len(out):
            return
        wh = imbalance_wh[out]
        long_wh = np.maximum(wh, 0)
        short_wh = long_wh - wh
        paid = money_ueur_array(long_wh, self.prices.export)
        paid -= money_ueur_array(short_wh, self.prices.import_)
        money_ueur_[out] += paid
        self.imbalance_ueur = self.sum(paid)
        self.long_wh = int(long_wh.sum())
        self.short_wh = int(short_wh.sum())


def _totals(columns: Columns, stated: Stated, matched: Match, legs: _Legs) -> Totals:
    """Sums, and the double entry: what homes trade, the operator passes on to the grid at r or e."""
    sums = {name: int(columns[name].sum()) for name in _SUMMED}
    net_wh = sums["sold_wh"] - sums["bought_wh"]
    net_ueur = (
        money_ueur(net_wh, legs.prices.export) if net_wh > 0 else -money_ueur(-net_wh, legs.prices.import_)
    )
    return Totals(
        homes=len(columns["home"]),
        gifts=len(matched.gifts["giver"]),
        void_claims=matched.void_claims,
        offered_wh=int(stated["offered_wh"].sum()),
        taken_wh=sums.pop("given_wh"),
        **sums,
        short_wh=legs.short_wh,
        long_wh=legs.long_wh,
        homes_energy_wh=sums["imported_wh"] - sums["exported_wh"],
        operator_energy_wh=sums["sold_wh"] - sums["bought_wh"] - net_wh,
        grid_energy_wh=net_wh + sums["expired_wh"] + legs.long_wh - legs.short_wh,
        fees_energy_wh=0,
        homes_money_ueur=legs.sum(columns["money_ueur"]),
        operator_money_ueur=legs.operator_ueur + net_ueur,
        grid_money_ueur=-net_ueur - legs.imbalance_ueur,
        fees_money_ueur=legs.fees_ueur,
    )


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

"""What follows from meters and agreements: how offers end, imbalance, money, and the double entry.

For K slots of N rows at once: every column is an integer array of shape (K, N), every price one of
shape (K,). One slot is K = 1. No row and no slot knows of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.limits import REGISTER_JUMP_WH_MAX
from energymarket.core.records import SLOT_COLUMNS, Policy
from energymarket.core.totals import Totals
from energymarket.core.units import I64, money_ueur, money_ueur_array

if TYPE_CHECKING:
    from collections.abc import Sequence

Integers: TypeAlias = npt.NDArray[np.signedinteger[Any]]
Columns: TypeAlias = dict[str, Integers]

_SUMMED: Final = tuple(name for name in SLOT_COLUMNS if name not in {"home", "money_ueur"})


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of a slot in µ€/kWh."""

    price: int  # p: between homes and operator
    import_: int  # r: what the grid asks
    export: int  # e: what the grid pays
    gift_fee: int = 0  # what a taker pays the local grid for a gift


@dataclass(frozen=True, slots=True)
class Posted:
    """Settled rows: `columns` has all of SLOT_COLUMNS but `home`."""

    columns: Columns
    imbalance_wh: Integers
    totals: tuple[Totals, ...]  # of each slot


def post(
    columns: Columns,
    *,
    offered_wh: Integers,
    returned_wh: Integers,
    policy: npt.NDArray[np.integer[Any]],
    prices: Sequence[Prices],
    gifts: Sequence[int],
    void_claims: Sequence[int],
    orders: Orders | None = None,
) -> Posted:
    """Settle rows of which the registers' differences, gifts and stated orders are known.

    `columns` has produced, consumed, imported, exported, given, received, sold (stated) and bought;
    `policy` (N) or (K, N) says what becomes of an offer's rest; `gifts` and `void_claims` are the numbers
    of claims that did and did not count, by slot. The rest is added to `columns`, and given back.
    """
    _end_offers(columns, offered_wh, returned_wh, policy)
    columns["sold_wh"] = columns["sold_wh"] + columns["rest_sold_wh"]
    legs = _Legs(prices, offered_wh.shape[1])
    money = money_ueur_array(columns["sold_wh"], legs.price)
    money -= money_ueur_array(columns["bought_wh"], legs.price)
    if orders is not None:
        orders.add_to(columns, money)
    legs.operator_ueur = [-paid for paid in legs.sums(money)]
    if any(each.gift_fee for each in prices):
        fee = money_ueur_array(columns["received_wh"], legs.gift_fee)
        legs.fees_ueur = legs.sums(fee)
        money -= fee
    imbalance_wh = _imbalance(columns)
    legs.settle_imbalance(imbalance_wh, money)
    columns["money_ueur"] = money
    totals = _totals(columns, offered_wh, gifts, void_claims, legs)
    for each in totals:
        each.check()
    return Posted({name: columns[name] for name in SLOT_COLUMNS[1:]}, imbalance_wh, totals)


@dataclass(frozen=True, slots=True)
class Orders:
    """Single orders of one slot, by row: energy and total above zero are a sale."""

    row: npt.NDArray[np.intp] | I64
    energy_wh: I64
    total_ueur: I64

    def add_to(self, columns: Columns, money_ueur: I64) -> None:
        """Add them to what was sold and bought, and to the money of their rows."""
        np.add.at(columns["sold_wh"][0], self.row, np.maximum(self.energy_wh, 0))
        columns["bought_wh"] = columns["bought_wh"].copy()
        np.add.at(columns["bought_wh"][0], self.row, np.maximum(-self.energy_wh, 0))
        np.add.at(money_ueur[0], self.row, self.total_ueur)


def _end_offers(
    columns: Columns, offered_wh: Integers, returned_wh: Integers, policy: npt.NDArray[np.integer[Any]]
) -> None:
    """Each part of an offer ends in one state. What was claimed cannot also have been taken back."""
    left = offered_wh - columns["given_wh"]
    returned = np.minimum(returned_wh, left)
    left -= returned
    expired = left * (policy == Policy.GIVE)
    columns["returned_wh"] = returned
    columns["expired_wh"] = expired
    columns["rest_sold_wh"] = left - expired


def _imbalance(columns: Columns) -> Integers:
    """Metered net minus contract."""
    imbalance = columns["exported_wh"] - columns["imported_wh"]
    imbalance -= columns["given_wh"]
    imbalance -= columns["expired_wh"]
    imbalance += columns["received_wh"]
    imbalance -= columns["sold_wh"]
    imbalance += columns["bought_wh"]
    return imbalance


class _Legs:
    """The other side of the homes' money, slot by slot."""

    def __init__(self, prices: Sequence[Prices], rows: int) -> None:
        self.prices = prices
        self.price, self.import_, self.export, self.gift_fee = np.array(
            [(each.price, each.import_, each.export, each.gift_fee) for each in prices], np.int64
        ).T[:, :, None]
        dearest = max(abs(price) for each in prices for price in (each.price, each.import_, each.export))
        dearest = max(dearest, *(abs(each.gift_fee) for each in prices))
        most_ueur = money_ueur(10 * REGISTER_JUMP_WH_MAX, dearest)  # of one home: all legs together
        self.fits = rows * most_ueur < 2**63
        self.operator_ueur = [0] * len(prices)
        self.fees_ueur = [0] * len(prices)
        self.imbalance_ueur = [0] * len(prices)  # to the homes
        self.short_wh = [0] * len(prices)
        self.long_wh = [0] * len(prices)

    def sums(self, column_ueur: I64) -> list[int]:
        """The exact sum of each slot; in two halves where a fleet at an absurd price could overflow."""
        if self.fits:
            return _sums(column_ueur)
        high, low = _sums(column_ueur >> 32), _sums(column_ueur & 0xFFFFFFFF)
        return [(upper << 32) + lower for upper, lower in zip(high, low, strict=True)]

    def settle_imbalance(self, imbalance_wh: Integers, money_ueur_: I64) -> None:
        """Long is paid at e, short billed at r; both go into the homes' money. Few homes are out."""
        slot, row = np.nonzero(imbalance_wh)
        if not len(slot):
            return
        wh = imbalance_wh[slot, row].astype(np.int64)
        long_wh = np.maximum(wh, 0)
        short_wh = long_wh - wh
        paid = money_ueur_array(long_wh, self.export[slot, 0])
        paid -= money_ueur_array(short_wh, self.import_[slot, 0])
        money_ueur_[slot, row] += paid
        whole = np.zeros((3, len(self.prices)), np.int64)
        for sums, values in zip(whole, (long_wh, short_wh, paid), strict=True):
            np.add.at(sums, slot, values)
        self.long_wh, self.short_wh, self.imbalance_ueur = whole.tolist()
        if not self.fits:
            self.imbalance_ueur = [sum(paid[slot == at].tolist()) for at in range(len(self.prices))]


def _sums(column: Integers) -> list[int]:
    totals: list[int] = column.sum(axis=1, dtype=np.int64).tolist()
    return totals


def _totals(
    columns: Columns, offered_wh: Integers, gifts: Sequence[int], void_claims: Sequence[int], legs: _Legs
) -> tuple[Totals, ...]:
    """Sums, and the double entry: what homes trade, the operator passes on to the grid at r or e."""
    sums = {name: _sums(columns[name]) for name in _SUMMED}
    offered, homes_ueur = _sums(offered_wh), legs.sums(columns["money_ueur"])
    found = []
    for at, prices in enumerate(legs.prices):
        of = {name: each[at] for name, each in sums.items()}
        net_wh = of["sold_wh"] - of["bought_wh"]
        net_ueur = money_ueur(net_wh, prices.export) if net_wh > 0 else -money_ueur(-net_wh, prices.import_)
        found.append(
            Totals(
                homes=offered_wh.shape[1],
                gifts=gifts[at],
                void_claims=void_claims[at],
                offered_wh=offered[at],
                taken_wh=of.pop("given_wh"),
                **of,
                short_wh=legs.short_wh[at],
                long_wh=legs.long_wh[at],
                homes_energy_wh=of["imported_wh"] - of["exported_wh"],
                operator_energy_wh=of["sold_wh"] - of["bought_wh"] - net_wh,
                grid_energy_wh=net_wh + of["expired_wh"] + legs.long_wh[at] - legs.short_wh[at],
                fees_energy_wh=0,
                homes_money_ueur=homes_ueur[at],
                operator_money_ueur=legs.operator_ueur[at] + net_ueur,
                grid_money_ueur=-net_ueur - legs.imbalance_ueur[at],
                fees_money_ueur=legs.fees_ueur[at],
            )
        )
    return tuple(found)

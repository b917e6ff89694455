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
from energymarket.core.nothing import has_nothing, is_nothing, zeros
from energymarket.core.records import SLOT_COLUMNS, Policy
from energymarket.core.sums import looked
from energymarket.core.totals import Totals
from energymarket.core.units import I64, money_ueur, money_ueur_array, narrow_money_ueur

if TYPE_CHECKING:
    from collections.abc import Sequence

Integers: TypeAlias = npt.NDArray[np.signedinteger[Any]]
Columns: TypeAlias = dict[str, Integers]
Bounds: TypeAlias = tuple[Integers, Integers]
"""The smallest and the largest value of each of K slots, (K,) each, and zero, which is always among them."""

_SUMMED: Final = tuple(name for name in SLOT_COLUMNS if name not in {"home", "money_ueur"})
_LEGS: Final = (
    "offered_wh", "long_wh", "short_wh", "homes_ueur", "operator_ueur", "imbalance_ueur", "fees_ueur",
)  # fmt: skip


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
    legs = Legs(prices, offered_wh.shape[1])
    imbalance_wh = legs.post(columns, offered_wh, returned_wh, policy, orders)
    totals = legs.totals(offered_wh.shape[1], gifts, void_claims)
    return Posted({name: columns[name] for name in SLOT_COLUMNS[1:]}, imbalance_wh, totals)


@dataclass(frozen=True, slots=True)
class Orders:
    """Single orders of one slot, by row: energy and total above zero are a sale."""

    row: npt.NDArray[np.intp] | I64
    energy_wh: I64
    total_ueur: I64

    def add_to(self, columns: Columns, money_ueur: I64) -> None:
        """Add them to what was sold and bought, and to the money of their rows."""
        for name, energy_wh in (("sold_wh", self.energy_wh), ("bought_wh", -self.energy_wh)):
            columns[name] = columns[name].copy()
            np.add.at(columns[name][0], self.row, np.maximum(energy_wh, 0))
        np.add.at(money_ueur[0], self.row, self.total_ueur)


def _end_offers(
    columns: Columns, offered_wh: Integers, returned_wh: Integers, policy: npt.NDArray[np.integer[Any]]
) -> None:
    """Each part of an offer ends in one state. What was claimed cannot also have been taken back."""
    if has_nothing(offered_wh):  # of many a block of homes, and by night of all
        none = zeros(offered_wh.shape, offered_wh.dtype)
        columns |= {"returned_wh": none, "expired_wh": none, "rest_sold_wh": none}
        return
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
    for name, step in _CONTRACT:
        if not is_nothing(columns[name]):
            step(imbalance, columns[name], out=imbalance)
    return imbalance


_CONTRACT: Final = (
    ("given_wh", np.subtract), ("expired_wh", np.subtract), ("received_wh", np.add),
    ("sold_wh", np.subtract), ("bought_wh", np.add),
)  # fmt: skip


class Legs:
    """The other side of the homes' rows, slot by slot: it hears rows block by block, then has the totals."""

    def __init__(self, prices: Sequence[Prices], rows: int) -> None:
        """`rows`: of all blocks together."""
        self.prices = prices
        self.price, self.import_, self.export, self.gift_fee = np.array(
            [(each.price, each.import_, each.export, each.gift_fee) for each in prices], np.int64
        ).T[:, :, None]
        dearest = max(abs(price) for each in prices for price in (each.price, each.import_, each.export))
        dearest = max(dearest, *(abs(each.gift_fee) for each in prices))
        most_ueur = money_ueur(10 * REGISTER_JUMP_WH_MAX, dearest)  # of one home: all legs together
        self.fits = rows * most_ueur < 2**63
        self._sums = {name: [0] * len(prices) for name in (*_SUMMED, *_LEGS)}
        self.bounds: dict[str, Bounds] = {}  # of the energies of the rows that were heard last

    def post(
        self,
        columns: Columns,
        offered_wh: Integers,
        returned_wh: Integers,
        policy: npt.NDArray[np.integer[Any]],
        orders: Orders | None = None,
    ) -> Integers:
        """Settle some rows: what `post` says is added to `columns`; their imbalance."""
        _end_offers(columns, offered_wh, returned_wh, policy)
        if not has_nothing(columns["rest_sold_wh"]):
            columns["sold_wh"] = columns["sold_wh"] + columns["rest_sold_wh"]
        money = self._traded(columns)
        if orders is not None:
            money = money.astype(np.int64)
            orders.add_to(columns, money)
        traded_ueur = self.sums(money)
        self._add("operator_ueur", [-paid for paid in traded_ueur])
        settled = money
        if any(each.gift_fee for each in self.prices):
            fee = money_ueur_array(columns["received_wh"], self.gift_fee)
            self._add("fees_ueur", self.sums(fee))
            settled = money - fee
        imbalance_wh = _imbalance(columns)
        settled = self._settle_imbalance(imbalance_wh, settled)
        columns["money_ueur"] = settled
        for name in _SUMMED:
            sums, self.bounds[name] = _looked(columns[name])
            self._add(name, sums)
        self._add("offered_wh", _sums(offered_wh))
        self._add("homes_ueur", traded_ueur if settled is money else self.sums(settled))
        return imbalance_wh

    def _traded(self, columns: Columns) -> Integers:
        """What homes have for what they sold, less what they pay for what they bought; may be narrow."""
        found: list[Integers | None] = []
        for name in ("sold_wh", "bought_wh"):  # by day many a block buys nothing, by night none sells
            energy_wh = columns[name]
            found.append(None if has_nothing(energy_wh) else self._ueur(energy_wh))
        sold, bought = found
        if bought is None:
            return zeros(columns["sold_wh"].shape, np.int32) if sold is None else sold
        return np.negative(bought, out=bought) if sold is None else sold - bought

    def _ueur(self, energy_wh: Integers) -> Integers:
        """At the price of each slot."""
        if len(self.prices) == 1:
            return narrow_money_ueur(energy_wh, self.prices[0].price)
        return money_ueur_array(energy_wh, self.price)

    def _add(self, name: str, values: Sequence[int]) -> None:
        for at, value in enumerate(values):
            self._sums[name][at] += value

    def sums(self, column_ueur: Integers) -> list[int]:
        """The exact sum of each slot; in two halves where a fleet at an absurd price could overflow."""
        if self.fits or column_ueur.itemsize < 8:
            return _sums(column_ueur)
        high, low = _sums(column_ueur >> 32), _sums(column_ueur & 0xFFFFFFFF)
        return [(upper << 32) + lower for upper, lower in zip(high, low, strict=True)]

    def _settle_imbalance(self, imbalance_wh: Integers, money: Integers) -> Integers:
        """Long is paid at e, short billed at r; the homes' money with both. Few homes are out."""
        if not imbalance_wh.any():
            return money
        slot, row = np.nonzero(imbalance_wh)
        wh = imbalance_wh[slot, row].astype(np.int64)
        long_wh = np.maximum(wh, 0)
        short_wh = long_wh - wh
        paid = money_ueur_array(long_wh, self.export[slot, 0])
        paid -= money_ueur_array(short_wh, self.import_[slot, 0])
        settled = money.astype(np.int64)
        settled[slot, row] += paid
        whole = np.zeros((3, len(self.prices)), np.int64)
        for sums, values in zip(whole, (long_wh, short_wh, paid), strict=True):
            np.add.at(sums, slot, values)
        imbalance_ueur = whole[2].tolist()
        if not self.fits:
            imbalance_ueur = [sum(paid[slot == at].tolist()) for at in range(len(self.prices))]
        self._add("long_wh", whole[0].tolist())
        self._add("short_wh", whole[1].tolist())
        self._add("imbalance_ueur", imbalance_ueur)
        return settled

    def totals(self, rows: int, gifts: Sequence[int], void_claims: Sequence[int]) -> tuple[Totals, ...]:
        """Sums, and the double entry: what homes trade, the operator passes on to the grid at r or e.

        Raises UnbalancedError where that does not cancel.
        """
        found = []
        for at, prices in enumerate(self.prices):
            of = {name: self._sums[name][at] for name in _SUMMED}
            leg = {name: self._sums[name][at] for name in _LEGS}
            net_wh = of["sold_wh"] - of["bought_wh"]
            net_ueur = (
                money_ueur(net_wh, prices.export) if net_wh > 0 else -money_ueur(-net_wh, prices.import_)
            )
            found.append(
                Totals(
                    homes=rows,
                    gifts=gifts[at],
                    void_claims=void_claims[at],
                    offered_wh=leg["offered_wh"],
                    taken_wh=of.pop("given_wh"),
                    **of,
                    short_wh=leg["short_wh"],
                    long_wh=leg["long_wh"],
                    homes_energy_wh=of["imported_wh"] - of["exported_wh"],
                    operator_energy_wh=of["sold_wh"] - of["bought_wh"] - net_wh,
                    grid_energy_wh=net_wh + of["expired_wh"] + leg["long_wh"] - leg["short_wh"],
                    fees_energy_wh=0,
                    homes_money_ueur=leg["homes_ueur"],
                    operator_money_ueur=leg["operator_ueur"] + net_ueur,
                    grid_money_ueur=-net_ueur - leg["imbalance_ueur"],
                    fees_money_ueur=leg["fees_ueur"],
                )
            )
        for each in found:
            each.check()
        return tuple(found)


def _sums(column: Integers) -> list[int]:
    if column.itemsize < 8:
        return _looked(column)[0]
    totals: list[int] = column.sum(axis=1, dtype=np.int64).tolist()
    return totals


def _looked(column: Integers) -> tuple[list[int], Bounds]:
    """The sum of each slot, and its bounds."""
    if column.shape[0] == 1:
        found, least, most = looked(column[0])
        return [found], (np.array((least,)), np.array((most,)))
    low, high = column.min(axis=1, initial=0), column.max(axis=1, initial=0)
    narrow = column.itemsize < 8 and max(int(high.max()), -int(low.min())) * column.shape[1] < 2**31
    totals: list[int] = column.sum(
        axis=1, dtype=np.int32 if narrow else np.int64
    ).tolist()  # five times as fast
    return totals, (low, high)

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
from energymarket.core.block import NARROW_HOMES
from energymarket.core.matching import VoidClaim, match
from energymarket.core.nothing import has_nothing, is_nothing, zeros
from energymarket.core.postings import Legs, Orders, Prices
from energymarket.core.records import (
    BATCH_COLUMNS,
    ORDER_COLUMNS,
    RECEIPT_COLUMNS,
    SLOT_COLUMNS,
    Policy,
)
from energymarket.core.rows import find, is_range, rows_of
from energymarket.core.totals import Totals, UnbalancedError
from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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

Columns: TypeAlias = dict[str, npt.NDArray[np.signedinteger[Any]]]
Rows: TypeAlias = "Mapping[str, npt.NDArray[np.signedinteger[Any]]]"
Stated: TypeAlias = dict[str, npt.NDArray[Any]]


FLOWS: Final = ("produced_wh", "consumed_wh", "imported_wh", "exported_wh")
"""What flowed since the last reading, by register: the ledger's names of READING_COLUMNS."""

_MATCHED: Final = ("given_wh", "received_wh")
_MADE: Final = (*(name for name in SLOT_COLUMNS[1:] if name not in _MATCHED), "imbalance_wh")
_AGREED: Final = ("offered_wh", "returned_wh", "sold_wh", "bought_wh")


@dataclass(frozen=True, slots=True)
class Settlement:
    """A slot, settled."""

    columns: Columns  # SLOT_COLUMNS; without FLOWS where only receipts are kept (`Closed.for_receipts`)
    gifts: Columns  # GIFT_COLUMNS
    void_claims: int
    voids: tuple[VoidClaim, ...]  # the first of them, by (giver, index, taker)
    imbalance_wh: npt.NDArray[np.signedinteger[Any]]  # by row
    before: Readings  # the registers before the slot; whoever owns them may move them on afterwards
    totals: Totals

    @property
    def readings(self) -> Readings:
        """The registers after the slot; as long as nobody has moved `before` on, and flows are known."""
        after = [getattr(self.before, name).copy() for name in READING_COLUMNS]
        for register, flow in zip(after, FLOWS, strict=True):
            register[self.columns["home"] - 1] += self.columns[flow]
        return Readings(*after)


def no_orders() -> Columns:
    """ORDER_COLUMNS of a slot without single orders."""
    return {name: np.zeros(0, np.int64) for name in ORDER_COLUMNS}


def settle(
    readings: Readings, batches: Sequence[Batch], orders: Mapping[str, I64], prices: Prices, homes: int
) -> Settlement:
    """Settle a slot. `orders` are the single orders, each with its own rounded total.

    Raises ValueError when two batches overlap or an id is not one of 1 .. homes: the market's mistake.
    """
    home, pieces = _pieces(batches, orders["home"], readings, homes)
    matched = match(home, [piece.stated["offered_wh"] for piece in pieces], batches)
    legs, rows = Legs((prices,), len(home)), 0
    flows = _as_stated(pieces, batches)
    made = {name: _Column(len(home), money=name == "money_ueur") for name in _MADE if name not in flows}
    for piece in pieces:
        for start in range(0, len(piece.home), BLOCK_ROWS):
            block = piece.part(start, start + BLOCK_ROWS)
            here = slice(rows, rows + len(block.home))
            columns = _meter(block, readings)
            columns |= {name: block.stated[name] for name in _AGREED}
            columns |= {"given_wh": matched.given_wh[here], "received_wh": matched.received_wh[here]}
            its_orders = _orders(block.home, orders)
            width = _width_of_sums(columns.values()) if its_orders is None else np.int64
            columns = {name: _widened(column, width)[None] for name, column in columns.items()}
            offered, returned = columns.pop("offered_wh"), columns.pop("returned_wh")
            columns["imbalance_wh"] = legs.post(
                columns, offered, returned, block.stated["policy"], its_orders
            )
            for name, column in made.items():
                column.put(here, columns[name][0])
            rows = here.stop
    columns = {"home": home, "given_wh": matched.given_wh, "received_wh": matched.received_wh}
    columns |= flows | {name: column.values for name, column in made.items()}
    (totals,) = legs.totals(rows, (len(matched.gifts["giver"]),), (matched.void_claims,))
    return Settlement(
        columns={name: columns[name] for name in SLOT_COLUMNS},
        gifts=matched.gifts,
        void_claims=matched.void_claims,
        voids=matched.voids,
        imbalance_wh=made["imbalance_wh"].values,
        before=readings,
        totals=totals,
    )


class _Column:
    """A column that is filled block by block: of 16 bits, money of 32, until a value wants more.

    As long as all are zero it takes no room: a single zero stands for all of them.
    """

    def __init__(self, rows: int, *, money: bool) -> None:
        self.values: npt.NDArray[np.signedinteger[Any]] = zeros(rows, np.int32 if money else np.int16)

    def put(self, here: slice, values: npt.NDArray[np.signedinteger[Any]]) -> None:
        """Fill a block; blocks come in order, each once."""
        if not self.values.flags.writeable:
            if has_nothing(values):
                return
            self.values = np.empty(self.values.shape, self.values.dtype)
            self.values[: here.start] = 0
        if values.itemsize > self.values.itemsize:
            low, high = int(np.minimum.reduce(values)), int(np.maximum.reduce(values))
            while not -(most := int(np.iinfo(self.values.dtype).max)) <= low <= high <= most:
                self.values = self.values.astype(f"<i{2 * self.values.itemsize}")
        self.values[here] = values


def _width_of_sums(columns: Iterable[npt.NDArray[Any]]) -> type[np.signedinteger[Any]]:
    """The narrowest integers that hold a sum of all columns of a home: what is narrow is added up sooner."""
    most = sum(int(np.maximum.reduce(column)) for column in columns if not is_nothing(column))
    if most <= _INT16_MAX:
        return np.int16
    return np.int32 if most <= _INT32_MAX else np.int64


def _widened(
    column: npt.NDArray[Any], width: type[np.signedinteger[Any]]
) -> npt.NDArray[np.signedinteger[Any]]:
    return zeros(len(column), width) if is_nothing(column) else column.astype(width, copy=False)


_INT16_MAX: Final = 2**15 - 1
_INT32_MAX: Final = 2**31 - 1
BLOCK_ROWS: Final = NARROW_HOMES
"""Rows that are settled together."""


def _orders(home: I64, orders: Mapping[str, I64]) -> Orders | None:
    """The single orders of the homes of some rows."""
    if not len(orders["home"]):
        return None
    row, known = find(home, orders["home"])
    if not known.any():
        return None
    return Orders(row[known], orders["energy_wh"][known], orders["total_ueur"][known])


# rows


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some homes, ascending, and what each states."""

    home: I64
    stated: Stated
    grown: bool  # the registers are stated as growth

    def part(self, start: int, stop: int) -> _Piece:
        """Some of them, as views."""
        stated = {name: column[start:stop] for name, column in self.stated.items()}
        return _Piece(self.home[start:stop], stated, self.grown)


def _pieces(
    batches: Sequence[Batch], order_homes: I64, readings: Readings, homes: int
) -> tuple[I64, tuple[_Piece, ...]]:
    """The homes of the slot, and its rows: a piece per batch, or one of all where homes have orders alone."""
    batches = sorted((batch for batch in batches if batch.count), key=lambda batch: batch.first)
    end = 1
    for batch in batches:
        if batch.first < end:
            raise ValueError(f"batch {batch.id} overlaps another at home {batch.first}")
        end = batch.first + batch.count
    if end - 1 > homes or (len(order_homes) and not 1 <= order_homes.min() <= order_homes.max() <= homes):
        raise ValueError(f"a batch or an order is of a home that is not one of 1 .. {homes}")
    home = _homes_of(batches)
    ends = np.cumsum([0, *(batch.count for batch in batches)])
    pieces = tuple(
        _Piece(home[start : start + batch.count], dict(batch.columns), batch.since is not None)
        for start, batch in zip(ends, batches, strict=False)
    )
    alone = np.setdiff1d(order_homes, home) if len(order_homes) else order_homes
    if not len(alone):
        return home, pieces
    stated = {
        name: np.concatenate([*(_flows_of(piece, name, readings) for piece in pieces), np.zeros(0, kind)])
        for name, kind in BATCH_COLUMNS
    }
    home, stated = _with_orders_alone(home, stated, alone)
    return home, (_Piece(home, stated, grown=True),)


def _flows_of(piece: _Piece, name: str, readings: Readings) -> npt.NDArray[Any]:
    """A column of a piece; what has flowed, if it is a register."""
    return _flow(piece, name, readings) if name in READING_COLUMNS else piece.stated[name]


def _homes_of(batches: Sequence[Batch]) -> I64:
    """The homes of batches in order; of batches that follow each other made at once."""
    if not batches:
        return np.zeros(0, np.int64)
    first, end = batches[0].first, batches[-1].first + batches[-1].count
    if end - first == sum(batch.count for batch in batches):
        return np.arange(first, end, dtype=np.int32)
    return np.concatenate(
        [np.arange(batch.first, batch.first + batch.count, dtype=np.int32) for batch in batches]
    )


def _with_orders_alone(home: I64, stated: Stated, alone: I64) -> tuple[I64, Stated]:
    """Rows for homes that have an order but no batch: their registers stand still."""
    home = np.concatenate((home, alone))
    order = np.argsort(home)
    for name, column in stated.items():
        extra = np.zeros(len(alone), column.dtype)
        if name == "policy":
            extra[:] = Policy.SELL
        stated[name] = np.concatenate((column, extra))[order]
    return home[order], stated


def _meter(rows: _Piece, readings: Readings) -> Columns:
    """What flowed since each home's last reading."""
    return {
        flow: _flow(rows, register, readings) for flow, register in zip(FLOWS, READING_COLUMNS, strict=True)
    }


def _as_stated(pieces: Sequence[_Piece], batches: Sequence[Batch]) -> Columns:
    """What flowed, where one batch states it of all homes of a slot: there is nothing to put together."""
    if len(batches) != 1 or len(pieces) != 1:
        return {}
    (piece,), (batch,) = pieces, batches
    if not piece.grown or len(piece.home) != batch.count:
        return {}
    return {flow: piece.stated[register] for flow, register in zip(FLOWS, READING_COLUMNS, strict=True)}


def _flow(rows: _Piece, register: str, readings: Readings) -> npt.NDArray[np.signedinteger[Any]]:
    said: npt.NDArray[np.signedinteger[Any]] = rows.stated[register]
    if rows.grown:
        return said
    home, last = rows.home, getattr(readings, register)
    before: I64 = last[int(home[0]) - 1 : int(home[-1])] if is_range(home) else last[home - 1]
    return said - before


def receipt_columns(settled: Settlement, first: int, count: int) -> dict[str, npt.NDArray[Any]]:
    """RECEIPT_COLUMNS or narrower for a range of homes; zeros for a home without a row in the slot."""
    home = settled.columns["home"]
    rows = rows_of(home, first, count)
    facts = settled.columns | {"imbalance_wh": settled.imbalance_wh}
    if rows.stop - rows.start == count:  # all of them have a row
        return {name: facts[name][rows] for name, _ in RECEIPT_COLUMNS}
    at = home[rows] - first
    columns: dict[str, npt.NDArray[Any]] = {}
    for name, kind in RECEIPT_COLUMNS:
        columns[name] = np.zeros(count, kind)
        columns[name][at] = facts[name][rows]
    return columns

"""What passages add up to per home: energy, money at the slot's prices, peaks; exact, whatever the cuts.

Money stays in products Wh x µ€/kWh, that is in thousandths of a µ€, so that nothing is rounded on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.core.passage import Passage

SUMMED: Final = (
    "produced_wh",
    "consumed_wh",
    "imported_wh",
    "exported_wh",
    "given_wh",
    "received_wh",
    "expired_wh",
    "sold_wh",
    "bought_wh",
    "money_ueur",
)
"""Columns of the ledger that are added up as they are."""

PRICED: Final = (
    "purchases_mueur",  # bought at p
    "sales_mueur",  # sold at p
    "alone_mueur",  # the meter alone: import at r less export at e
    "imbalance_mueur",  # short at r less long at e
)
"""Sums of Wh x µ€/kWh, in thousandths of a µ€."""

COUNTED: Final = (*SUMMED, "short_wh", "long_wh", "peak_import_wh", "peak_export_wh", *PRICED)
EMITTED: Final = ("average_ug", "marginal_ug")
"""Import x carbon intensity, Wh x mg/kWh = µg; only where intensities are given."""

_BLOCK_HOMES: Final = (
    16_384  # their sums stay in the cache, and so does a column of 64 slots while it is read
)
_ROOM: Final = 1 << 62
_NARROW_WH: Final = 1 << 27  # seven of them, added or taken away, fit int32
_PEAKS: Final = {"imported_wh": "peak_import_wh", "exported_wh": "peak_export_wh"}
_CONTRACT: Final = {
    "exported_wh": 1,
    "imported_wh": -1,
    "given_wh": -1,
    "expired_wh": -1,
    "received_wh": 1,
    "sold_wh": -1,
    "bought_wh": 1,
}
"""Imbalance = metered net less contract, as core/settlement.py settles it."""

Column = npt.NDArray[np.signedinteger[Any]]


class HomeSums:
    """One int64 per home and name of COUNTED (and of EMITTED, once there are intensities)."""

    def __init__(self, homes: int) -> None:
        self.homes = homes
        self.columns: dict[str, I64] = {name: np.zeros(homes, np.int64) for name in COUNTED}

    def add(self, passage: Passage, intensities: Mapping[str, I64], totals: dict[str, I64]) -> None:
        """Add a passage of the same homes, and to `totals` its slots' sums over all homes.

        `intensities`: (K,) in mg/kWh by a name of EMITTED; `totals`: (K,) by the names of columns.
        Raises ValueError for a passage of other homes, and OverflowError where a sum would leave 63 bits:
        some homes then have the passage and some have not, and the sums are of no more use.
        """
        if passage.homes != self.homes:
            raise ValueError(f"a passage of {passage.homes} homes, not of {self.homes}")
        names = (*COUNTED, *intensities)
        for name in intensities:
            self.columns.setdefault(name, np.zeros(self.homes, np.int64))
        room = np.empty((len(names), min(self.homes, _BLOCK_HOMES)), np.int64)
        for start in range(0, self.homes, _BLOCK_HOMES):
            part = slice(start, min(start + _BLOCK_HOMES, self.homes))
            found = dict(zip(names, room[:, : part.stop - part.start], strict=True))
            for column in found.values():
                column[:] = 0
            _Block(passage, part, found).add(intensities, totals)
            self._take(part, found)

    def _take(self, part: slice, found: Mapping[str, I64]) -> None:
        for name, column in found.items():
            mine = self.columns[name][part]
            if name in _PEAKS.values():
                np.maximum(mine, column, out=mine)
            elif _size(mine) + _size(column) >= _ROOM:
                raise OverflowError(f"{name} of a home is beyond what 63 bits hold")
            else:
                mine += column


class _Block:
    """Some homes of a passage. All work on a column is done while it is in the cache."""

    def __init__(self, passage: Passage, part: slice, out: Mapping[str, I64]) -> None:
        self._passage = passage
        self._part = part
        self._out = out
        self._imbalance_wh: Column | None = None

    def add(self, intensities: Mapping[str, I64], totals: dict[str, I64]) -> None:
        """Go through the columns once."""
        passage, out = self._passage, self._out
        for name in SUMMED:
            column = passage.columns[name][:, self._part]
            kind = _wide_enough(column, signed=name == "money_ueur")
            out[name][:] = np.add.reduce(column, axis=0, dtype=kind)
            if name in totals:
                totals[name] += np.add.reduce(column, axis=1, dtype=kind)
            if name == "money_ueur" or not out[name].any():
                continue  # no energy of a slot is below zero: a sum of 0 is a column of 0
            if name in _PEAKS:
                column.max(axis=0, out=out[_PEAKS[name]])
            self._price(name, column, intensities)
            if name in _CONTRACT:
                self._balance(name, column)
        if self._imbalance_wh is not None and self._imbalance_wh.any():
            self._settle(self._imbalance_wh)

    def _price(self, name: str, column: Column, intensities: Mapping[str, I64]) -> None:
        passage, out = self._passage, self._out
        match name:
            case "bought_wh":
                out["purchases_mueur"][:] = _dot(passage.price_ueur_per_kwh, column, out[name])
            case "sold_wh":
                out["sales_mueur"][:] = _dot(passage.price_ueur_per_kwh, column, out[name])
            case "imported_wh":
                out["alone_mueur"][:] += _dot(passage.import_ueur_per_kwh, column, out[name])
                for kind, each in intensities.items():
                    out[kind][:] = _dot(each, column, out[name])
            case "exported_wh":
                out["alone_mueur"][:] -= _dot(passage.export_ueur_per_kwh, column, out[name])
            case _:
                pass

    def _balance(self, name: str, column: Column) -> None:
        narrow = column.dtype.itemsize <= 4 and _size(self._out[name]) < _NARROW_WH
        if self._imbalance_wh is None:
            self._imbalance_wh = np.zeros(column.shape, np.int32 if narrow else np.int64)
        elif not narrow:
            self._imbalance_wh = self._imbalance_wh.astype(np.int64, copy=False)
        change = np.add if _CONTRACT[name] > 0 else np.subtract
        change(self._imbalance_wh, column, out=self._imbalance_wh)

    def _settle(self, imbalance_wh: Column) -> None:
        """Few homes are out of balance in a slot: they are looked for, and the rest costs no products."""
        passage, out = self._passage, self._out
        slot, home = np.nonzero(imbalance_wh)
        wh = imbalance_wh[slot, home].astype(np.int64)
        long_wh = np.maximum(wh, 0)
        short_wh = long_wh - wh
        np.add.at(out["long_wh"], home, long_wh)
        np.add.at(out["short_wh"], home, short_wh)
        asked, paid = passage.import_ueur_per_kwh[slot], passage.export_ueur_per_kwh[slot]
        if _size(wh) * max(_size(asked), _size(paid)) * passage.slots >= _ROOM:
            raise OverflowError("imbalance times price of a home is beyond what 63 bits hold")
        np.add.at(out["imbalance_mueur"], home, short_wh * asked - long_wh * paid)


def _wide_enough(column: Column, *, signed: bool) -> type[np.signedinteger[Any]]:
    """What sums along either side fit in. The narrow sum is twice as fast, the look at the sizes included."""
    if column.dtype.itemsize > 4 or not column.size:
        return np.int64
    size = _size(column) if signed else int(column.max())
    return np.int32 if size * max(column.shape) < 1 << 31 else np.int64


def _dot(per_kwh: I64, energy_wh: Column, sums_wh: I64) -> I64:
    """Per home, the sum of energy times a number of the slot. No energy of a slot is below zero."""
    if _size(sums_wh) * _size(per_kwh) >= _ROOM:
        raise OverflowError("energy times price of a home is beyond what 63 bits hold")
    if (per_kwh == per_kwh[0]).all():
        return sums_wh * int(per_kwh[0])
    product: I64 = np.einsum("k,kn->n", per_kwh, energy_wh)
    return product


def _size(column: Column) -> int:
    """The largest absolute value; 0 of nothing."""
    return max(int(column.max(initial=0)), -int(column.min(initial=0)))

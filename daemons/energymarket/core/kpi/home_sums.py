"""What passages add up to per home: energy, money at the slot's prices, peaks; exact, whatever the cuts.

Money stays in products Wh x µ€/kWh, that is in thousandths of a µ€, so that nothing is rounded on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core.units import I64

if TYPE_CHECKING:
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

METERED: Final = {
    "produced_wh": "production_wh",
    "consumed_wh": "consumption_wh",
    "imported_wh": "import_wh",
    "exported_wh": "export_wh",
}
"""Of these, what meters have counted since the first slot: columns, and the registers that say it too."""

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

_BLOCK_HOMES: Final = 2_048  # a column of 64 slots of so many homes stays in the cache while it is worked on
_BLOCK_VALUES: Final = 1 << 15  # of fewer slots, so many values
_ROOM: Final = 1 << 62
NARROW_MAX: Final = 2**31 - 1
_PEAK_MAX: Final = 2**15 - 1
_NOTHING: Final = np.zeros(0, np.int64)
_NARROW_WH: Final = 1 << 27  # seven of them, added or taken away, fit int32
_NARROW_MUEUR: Final = 1 << 30  # the difference of two such fits int32
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


class Columns(Mapping[str, I64]):
    """Sums by name, as int64; kept in 32 bits until one of a column's could want more."""

    def __init__(self, homes: int) -> None:
        self._homes = homes
        self.kept: dict[str, Column] = {name: np.zeros(homes, _kind(name)) for name in COUNTED}

    def __getitem__(self, name: str) -> I64:
        return self.kept[name].astype(np.int64, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def put(self, name: str, column: Column) -> None:
        """Take a column that was packed, or read."""
        self.kept[name] = column.astype(_fitting(_kind(name), size_of(column)))

    def widen(self, bounds: Mapping[str, int]) -> None:
        """Make room for sums up to these bounds."""
        for name, bound in bounds.items():
            if name not in self.kept:
                self.kept[name] = np.zeros(self._homes, _kind(name))
            kept = self.kept[name]
            self.kept[name] = kept.astype(_fitting(kept.dtype, bound), copy=False)


def _kind(name: str) -> np.dtype[np.signedinteger[Any]]:
    """Sums of energies begin narrow, peaks narrower; products with prices are large at once."""
    if name in PRICED or name in EMITTED:
        return np.dtype(np.int64)
    return np.dtype(np.int16 if name in _PEAKS.values() else np.int32)


def _fitting(kind: np.dtype[np.signedinteger[Any]], size: int) -> np.dtype[np.signedinteger[Any]]:
    """The kind, or a wider one if so large a value wants it."""
    if size > NARROW_MAX:
        return np.dtype(np.int64)
    return np.dtype(np.int32) if kind.itemsize < 4 and size > _PEAK_MAX else kind


class HomeSums:
    """One whole number per home and name of COUNTED (and of EMITTED, once there are intensities)."""

    def __init__(self, homes: int, *, metered: bool = False) -> None:
        """`metered`: columns of METERED are not added up: `read` tells them whenever they are wanted."""
        self.homes = homes
        self._unsummed = frozenset(METERED) if metered else frozenset[str]()
        self.columns = Columns(homes)
        self._bounds: dict[str, int] = {}  # no value of a column is larger; where not known, it is looked up

    def read(self, registers: Mapping[str, Column]) -> None:
        """What meters say after the last slot, by the registers' names."""
        for name, register in METERED.items():
            self.columns.put(name, registers[register])

    def add(self, passage: Passage, intensities: Mapping[str, I64], totals: dict[str, I64]) -> None:
        """Add a passage of the same homes, and to `totals` its slots' sums over all homes.

        `intensities`: (K,) in mg/kWh by a name of EMITTED; `totals`: (K,) by the names of columns.
        Raises ValueError for a passage of other homes, OverflowError where sums could leave int64: the
        whole passage is then left out.
        """
        if passage.homes != self.homes:
            raise ValueError(f"a passage of {passage.homes} homes, not of {self.homes}")
        sizes = passage.sizes or {name: size_of(passage.columns[name]) for name in SUMMED}
        self._make_sure(passage, intensities, sizes)
        per_block = max(_BLOCK_HOMES, _BLOCK_VALUES // passage.slots)
        for start in range(0, self.homes, per_block):
            part = slice(start, start + per_block)
            out = {name: column[part] for name, column in self.columns.kept.items()}
            _Block(passage, part, out, sizes, self._unsummed).add(intensities, totals)

    def _make_sure(self, passage: Passage, intensities: Mapping[str, I64], sizes: Mapping[str, int]) -> None:
        """No sum will leave int64. Bounds grow by the most that K slots can add."""
        dearest = max(size_of(passage.import_ueur_per_kwh), size_of(passage.export_ueur_per_kwh))
        most = sum(sizes[name] for name in _CONTRACT)
        price = size_of(passage.price_ueur_per_kwh)
        grows = {
            **{name: sizes[name] for name in SUMMED},
            "short_wh": most,
            "long_wh": most,
            "purchases_mueur": sizes["bought_wh"] * price,
            "sales_mueur": sizes["sold_wh"] * price,
            "alone_mueur": (sizes["imported_wh"] + sizes["exported_wh"]) * dearest,
            "imbalance_mueur": most * dearest,
            **{name: sizes["imported_wh"] * size_of(each) for name, each in intensities.items()},
        }
        bounds = {}
        for name, growth in grows.items():
            known = self._bounds.get(name)
            bounds[name] = growth * passage.slots + (self._truesize_of(name) if known is None else known)
            narrow = self.columns.kept.get(name, _NOTHING).itemsize < 8
            if bounds[name] >= _ROOM or (narrow and bounds[name] > NARROW_MAX):
                bounds[name] = growth * passage.slots + self._truesize_of(name)
            if bounds[name] >= _ROOM:
                raise OverflowError(f"{name} of a home is beyond what 63 bits hold")
        self._bounds = bounds
        peaks = {peak: sizes[name] for name, peak in _PEAKS.items()}
        self.columns.widen(bounds | peaks)

    def _truesize_of(self, name: str) -> int:
        return size_of(self.columns.kept[name]) if name in self.columns.kept else 0


class _Block:
    """Some homes of a passage. All work on a column is done while it is in the cache."""

    def __init__(
        self,
        passage: Passage,
        part: slice,
        out: dict[str, Column],
        sizes: Mapping[str, int],
        unsummed: frozenset[str],
    ) -> None:
        self._passage = passage
        self._part = part
        self._out = out
        self._sizes = sizes  # of each column in the whole passage
        self._unsummed = unsummed
        self._imbalance_wh: Column | None = None
        self._alone_mueur: Column | None = None

    def add(self, intensities: Mapping[str, I64], totals: dict[str, I64]) -> None:
        """Go through the columns once."""
        passage, out = self._passage, self._out
        for name in SUMMED:
            if not self._sizes[name]:
                continue
            column = passage.columns[name][:, self._part]
            kind = self._wide_enough(name, column)
            if name not in self._unsummed:
                if passage.slots == 1:
                    column = column.astype(np.int32, copy=False) if column.itemsize < 4 else column
                    out[name] += column[0]
                else:
                    out[name] += np.add.reduce(column, axis=0, dtype=kind)
            if name in totals:
                totals[name] += np.add.reduce(column, axis=1, dtype=kind)
            if name in _PEAKS:
                peak = column[0] if passage.slots == 1 else column.max(axis=0)
                into = out[_PEAKS[name]]
                np.maximum(into, peak.astype(into.dtype, copy=False), out=into)
            self._price(name, column, intensities)
            if name in _CONTRACT and not passage.balanced:
                self._balance(name, column)
        if self._alone_mueur is not None:
            out["alone_mueur"] += self._alone_mueur
        if self._imbalance_wh is not None and self._imbalance_wh.any():
            self._settle(self._imbalance_wh)

    def _price(self, name: str, column: Column, intensities: Mapping[str, I64]) -> None:
        passage, out = self._passage, self._out
        match name:
            case "bought_wh":
                out["purchases_mueur"] += self._dot(passage.price_ueur_per_kwh, name, column)
            case "sold_wh":
                out["sales_mueur"] += self._dot(passage.price_ueur_per_kwh, name, column)
            case "imported_wh":
                self._alone_mueur = self._dot(passage.import_ueur_per_kwh, name, column)
                for kind, each in intensities.items():
                    out[kind] += self._dot(each, name, column)
            case "exported_wh":
                paid = self._dot(passage.export_ueur_per_kwh, name, column)
                if self._alone_mueur is None:
                    self._alone_mueur = np.negative(paid, out=paid)
                else:
                    self._alone_mueur = self._alone_mueur - paid
            case _:
                pass

    def _dot(self, per_kwh: I64, name: str, energy_wh: Column) -> Column:
        """Per home, the sum of energy times a number of the slot; in 32 bits where they hold two of them."""
        if len(per_kwh) > 1 or self._sizes[name] * abs(int(per_kwh[0])) >= _NARROW_MUEUR:
            return _dot(per_kwh, energy_wh)
        priced: Column = np.multiply(energy_wh[0], np.int32(per_kwh[0]), dtype=np.int32)
        return priced

    def _balance(self, name: str, column: Column) -> None:
        narrow = column.dtype.itemsize <= 4 and self._sizes[name] < _NARROW_WH
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
        np.add.at(out["imbalance_mueur"], home, short_wh * asked - long_wh * paid)

    def _wide_enough(self, name: str, column: Column) -> type[np.signedinteger[Any]]:
        """What sums along either side fit in. The narrow sum is twice as fast."""
        fits = column.dtype.itemsize <= 4 and self._sizes[name] * max(column.shape) < 1 << 31
        return np.int32 if fits else np.int64


def _dot(per_kwh: I64, energy_wh: Column) -> I64:
    """Per home, the sum of energy times a number of the slot."""
    if (per_kwh == per_kwh[0]).all():
        summed = energy_wh[0] if len(per_kwh) == 1 else np.add.reduce(energy_wh, axis=0, dtype=np.int64)
        priced: I64 = np.multiply(summed, int(per_kwh[0]), dtype=np.int64)
        return priced
    product: I64 = np.einsum("k,kn->n", per_kwh, energy_wh)
    return product


def size_of(column: Column) -> int:
    """The largest absolute value; 0 of nothing."""
    return max(int(column.max(initial=0)), -int(column.min(initial=0)))

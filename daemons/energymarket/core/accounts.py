"""What the ledger adds up to per home: the last readings, the balance, when the home was last heard.

Columns have 64 bits, or, `narrowed`, 32 until a value wants more: a market of a million homes that runs for
years holds 20 bytes for each. Whoever adds to them goes by `apply`, which widens first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core.admission import Readings
from energymarket.core.heard import NO_SLOT, Heard
from energymarket.core.nothing import is_nothing
from energymarket.core.rows import add_to, is_range

if TYPE_CHECKING:
    from collections.abc import Iterable

    from energymarket.core.settlement import Rows

__all__ = ["NO_SLOT", "Accounts"]

_FLOWS: Final = ("produced_wh", "consumed_wh", "imported_wh", "exported_wh")
_NARROW: Final = np.iinfo(np.int32)


@dataclass(slots=True)
class Accounts:
    """Per home, index = id - 1: what the ledger adds up to."""

    readings: Readings
    balance_ueur: npt.NDArray[np.int64]
    heard: Heard  # last slot with a batch of the home
    _left: dict[int, int] = field(default_factory=dict, repr=False)  # what a narrow column has room for

    @classmethod
    def fresh(cls, homes: int) -> Accounts:
        """Accounts of a ledger without a slot."""
        return cls(Readings.zero(homes), np.zeros(homes, np.int64), Heard(homes))

    def narrowed(self) -> Accounts:
        """The same in 32 bits, column by column, where the values fit."""
        return self._with([_narrowed(column) for column in self._sums()])

    def apply(self, slot: int, columns: Rows, batches: Iterable[tuple[int, int, str]]) -> None:
        """Add a committed slot: registers, balances, and that the homes of its batches were heard.

        A batch is (first home, count, id). A home with an order alone has a row, but nobody read its meter.
        """
        home = columns["home"]
        rows = slice(int(home[0]) - 1, int(home[-1])) if is_range(home) else home - 1
        if len(home):
            changes = [columns[name] for name in (*_FLOWS, "money_ueur")]
            found = [self._widened(at, values) for at, values in enumerate(changes)]
            self.readings, self.balance_ueur = Readings(*found[:4]), found[4]
            for column, values in zip(found, changes, strict=True):
                add_to(column, rows, values)
        self.heard.hear(slot, ((first, count) for first, count, _ in batches))

    def _widened(self, at: int, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """A column that has room for what is to be added: as it is, or in 64 bits.

        What is left is remembered, so that a column is looked through once in many slots.
        """
        column = self._sums()[at]
        if column.itemsize == 8 or is_nothing(values):
            return column
        narrow = values.itemsize <= 2  # then it need not be looked through either
        most = int(np.iinfo(values.dtype).max) + 1 if narrow else max(int(values.max()), -int(values.min()))
        if self._left.get(at, -1) < most:
            self._left[at] = int(_NARROW.max) - max(int(column.max()), -int(column.min()))
        if self._left[at] < most:
            return column.astype(np.int64)
        self._left[at] -= most
        return column

    def copy(self) -> Accounts:
        """An independent copy."""
        return self._with([column.copy() for column in self._sums()])

    def _with(self, sums: list[npt.NDArray[np.int64]]) -> Accounts:
        return Accounts(Readings(*sums[:4]), sums[4], self.heard.copy())

    def _sums(self) -> tuple[npt.NDArray[np.int64], ...]:
        read = self.readings
        return (read.production_wh, read.consumption_wh, read.import_wh, read.export_wh, self.balance_ueur)

    def columns(self) -> tuple[npt.NDArray[np.int64], ...]:
        """Every column, in the order of a checkpoint; the last one is made for it."""
        return (*self._sums(), self.heard.column())

    def pack(self) -> bytes:
        """The columns back to back, little-endian int64: the body of a checkpoint."""
        return b"".join(column.astype("<i8", copy=False).data for column in self.columns())

    @classmethod
    def unpack(cls, body: bytes, homes: int) -> Accounts:
        """The accounts of a checkpoint; ValueError if it is of another size."""
        *sums, heard = np.frombuffer(body, "<i8").reshape(6, homes)
        columns = [column.astype(np.int64) for column in sums]
        return cls(Readings(*columns[:4]), columns[4], Heard.of(heard))


def _narrowed(column: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if len(column) and not _NARROW.min <= int(column.min()) <= int(column.max()) <= _NARROW.max:
        return column
    return column.astype(np.int32)

"""The homes' columns of a ledger's body, read one at a time from where it lies.

Whoever wants what homes did, and no gifts or orders, need not hold the whole body: of a million homes'
slot a column has one to four megabytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from energymarket.core import ledger
from energymarket.core.ledger import LedgerCorrupt
from energymarket.core.nothing import zeros
from energymarket.core.packed import Reader, Signed
from energymarket.core.records import SLOT_COLUMNS
from energymarket.core.rows import is_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    Buffer: TypeAlias = bytes | bytearray | memoryview

    Ids: TypeAlias = range | npt.NDArray[np.int64]
    """Ids of homes that ascend; a range where they have no hole."""

    Rows: TypeAlias = slice | npt.NDArray[np.int64]

PIECE_BYTES: Final = 1 << 20
"""Of a column, at most: read and worked on while it is in the cache."""

_HEAD_BYTES_MAX: Final = 64 << 10
"""No head with its names and widths is longer: 255 terms and 255 events of names of 64 bytes at most."""


class StoredRows:
    """A body of which `part(at, size)` reads bytes, which are there until it is called again.

    They may be fewer than asked for; there are none where the body has ended. Raises LedgerCorrupt for what
    is no body.
    """

    def __init__(self, part: Callable[[int, int], Buffer]) -> None:
        reader = Reader(memoryview(part(0, _HEAD_BYTES_MAX)), LedgerCorrupt)
        self.head, rows = ledger.read_head(reader)
        self.homes = rows["slot"]
        widths = ledger.read_widths(reader)
        self._part = part
        self._places: dict[str, tuple[int, int]] = {}
        at = reader.at
        for name, width in zip(SLOT_COLUMNS, widths, strict=True):
            self._places[name] = at, width
            at += width * self.homes

    def has(self, name: str) -> bool:
        """Whether a column has more in it than zeros."""
        return self._places[name][1] > 0

    def column(self, name: str) -> Signed:
        """One of SLOT_COLUMNS but `home`, (homes,), in the type that it is stored in; until the next read."""
        at, width = self._places[name]
        if not width:
            return zeros(self.homes, np.int8)
        size = width * self.homes
        data = self._part(at, size)
        if len(data) < size:
            data = b"".join([bytes(data), *map(bytes, self._following(name, at + len(data), at + size))])
        return np.frombuffer(data, f"<i{width}")

    def pieces(self, name: str) -> Iterator[tuple[int, Signed]]:
        """A column that `has` something bit by bit: a row, and the values from there on until the next."""
        at, width = self._places[name]
        row = 0
        while row < self.homes:
            data = self._part(at + row * width, min((self.homes - row) * width, PIECE_BYTES))
            count = len(data) // width
            if not count:
                raise LedgerCorrupt(f"{name} is cut off", at)
            yield row, np.frombuffer(data, f"<i{width}", count)
            row += count

    def _following(self, name: str, at: int, end: int) -> Iterator[Buffer]:
        while at < end:
            data = self._part(at, end - at)
            if not len(data):
                raise LedgerCorrupt(f"{name} is cut off", at)
            yield data
            at += len(data)

    def ids(self) -> Ids:
        """The homes, ascending."""
        if not self._places["home"][1]:
            return range(1, self.homes + 1)
        ids = ledger.ids_as_meant(self.column("home"))
        return range(int(ids[0]), int(ids[-1]) + 1) if is_range(ids) else ids


def union(one: Ids, other: Ids) -> Ids:
    """All homes of both, ascending."""
    if not len(one) or not len(other):
        return one if len(one) else other
    if (
        isinstance(one, range)
        and isinstance(other, range)
        and max(one[0], other[0]) <= min(one[-1], other[-1]) + 1
    ):
        return range(min(one[0], other[0]), max(one[-1], other[-1]) + 1)
    return np.union1d(array_of(one), array_of(other))


def rows_among(ids: Ids, homes: Ids) -> Rows:
    """Where ids stand among homes that have all of them."""
    if not len(ids):
        return slice(0, 0)
    if isinstance(ids, range) and isinstance(homes, range):
        return slice(ids[0] - homes[0], ids[-1] - homes[0] + 1)
    return np.searchsorted(array_of(homes), array_of(ids)).astype(np.int64, copy=False)


def rows_from(rows: Rows, start: int, count: int) -> Rows:
    """Of such rows, so many from a place on."""
    if isinstance(rows, slice):
        return slice(rows.start + start, rows.start + start + count)
    return rows[start : start + count]


def array_of(ids: Ids) -> npt.NDArray[np.int64]:
    """The same ids as an array, (homes,)."""
    return np.arange(ids.start, ids.stop, dtype=np.int64) if isinstance(ids, range) else ids

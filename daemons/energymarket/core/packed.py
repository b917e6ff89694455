"""Packed bytes: columns in the narrowest integers that hold them, and a reader that knows where they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.limits import NAME_BYTES_MAX
from energymarket.core.units import I64

if TYPE_CHECKING:
    import struct

Signed: TypeAlias = npt.NDArray[np.signedinteger[Any]]

WIDTHS: Final = (0, 1, 2, 4, 8)
"""Bytes per value of a packed column; 0: nothing but zeros."""


class CorruptError(Exception):
    """Bytes that were never packed so: what is wrong, and at which byte."""

    thing: ClassVar = "packed bytes"

    def __init__(self, what: str, where: int) -> None:
        super().__init__(f"{self.thing}: {what} (at byte {where})")
        self.what = what
        self.where = where


def narrow(column: Signed) -> Signed | None:
    """The column in the narrowest type that holds it; None for nothing but zeros."""
    width = width_of(column)
    return column.astype(f"<i{width}") if width else None


def width_of(column: Signed) -> int:
    """Bytes per value that a column takes when it is packed."""
    if not len(column):
        return 0
    low, high = int(column.min()), int(column.max())
    if low == high == 0:
        return 0
    bits = max(high, ~low).bit_length() + 1
    return next(width for width in WIDTHS if bits <= 8 * width)


class Reader:
    """A place in packed bytes; every step beyond their end is an error of the kind that is given."""

    def __init__(self, data: memoryview, corrupt: type[CorruptError]) -> None:
        self.data = data
        self.at = 0
        self.corrupt = corrupt

    def take(self, size: int, what: str) -> memoryview:
        """The next bytes."""
        end = self.at + size
        if end > len(self.data):
            raise self.corrupt(f"{what} is cut off", self.at)
        part = self.data[self.at : end]
        self.at = end
        return part

    def fields(self, layout: struct.Struct, what: str) -> tuple[Any, ...]:
        """The next fields."""
        return layout.unpack(self.take(layout.size, what))

    def text(self, size: int, what: str) -> str:
        """The next bytes as UTF-8."""
        at = self.at
        try:
            return str(self.take(size, what), "utf-8")
        except UnicodeDecodeError as error:
            raise self.corrupt(f"{what} is not UTF-8", at) from error

    def pair(self, number: struct.Struct) -> tuple[str, int]:
        """A name and its number."""
        at = self.at
        size = self.take(1, "name")[0]
        if not 0 < size <= NAME_BYTES_MAX:
            raise self.corrupt(f"a name of {size} bytes", at)
        name = self.text(size, "a name")
        (value,) = self.fields(number, "number")
        return name, value

    def column(self, width: int, count: int, name: str, at_width: int) -> I64:
        """The next `count` values of a width as int64; `at_width` is where that width stands."""
        if width not in WIDTHS:
            raise self.corrupt(f"{width} is no width of {name}", at_width)
        stored = np.zeros(count, np.int64)
        if width:
            stored[:] = np.frombuffer(self.take(width * count, name), f"<i{width}")
        if width_of(stored) != width:
            raise self.corrupt(f"{name} is not packed as narrowly as it could be", at_width)
        return stored

    def end(self) -> None:
        """Nothing may follow."""
        if self.at != len(self.data):
            raise self.corrupt("bytes beyond the end", self.at)

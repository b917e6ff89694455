"""Packed bytes: columns in the narrowest integers that hold them, and a reader that knows where they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.limits import NAME_BYTES_MAX
from energymarket.core.nothing import is_nothing
from energymarket.core.units import I64

if TYPE_CHECKING:
    import struct
    from collections.abc import Sequence

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
    return column.astype(f"<i{width}", copy=False) if width else None


def width_of(column: npt.NDArray[np.integer[Any]]) -> int:
    """Bytes per value that a column takes when it is packed."""
    width = 0
    if is_nothing(column):
        return width
    for start in range(0, len(column), _LOOK):
        part = np.ascontiguousarray(column[start : start + _LOOK])
        low, high = int(np.minimum.reduce(part)), int(np.maximum.reduce(part))
        if low or high:
            bits = max(high, ~low).bit_length() + 1
            width = max(width, next(width for width in WIDTHS if bits <= 8 * width))
        if width == column.itemsize and column.dtype.kind == "i":
            break  # it is as narrow as it can be: most columns say so at the first look
    return width


_LOOK: Final = 16_384  # values that stay in the cache between two looks


def narrow_pieces(pieces: Sequence[npt.NDArray[Any]]) -> tuple[int, list[npt.NDArray[Any]]]:
    """The width of a column that comes in pieces, and the pieces in it; none of a column of zeros."""
    width = max((width_of(piece) for piece in pieces), default=0)
    if not width:
        return 0, []
    return width, [np.ascontiguousarray(piece, f"<i{width}") for piece in pieces if len(piece)]


def steps_of(pieces: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Differences to the value before, also across pieces."""
    found, last = [], 0
    for piece in pieces:
        small = int(piece.max()) <= _INT32_MAX  # then a difference is one of 32 bits
        wide = piece.view(np.int32) if small and piece.itemsize == 4 else piece.astype(np.int64)
        steps = np.empty_like(wide)
        np.subtract(wide[1:], wide[:-1], out=steps[1:])
        steps[0] = wide[0]
        if last:
            steps = steps.astype(np.int64)
            steps[0] -= last
        last = int(wide[-1])
        found.append(steps)
    return found


_INT32_MAX: Final = 2**31 - 1


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

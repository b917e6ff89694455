"""Exact sums and bounds of narrow columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.core.block import NARROW_HOMES
from energymarket.core.nothing import is_nothing

if TYPE_CHECKING:
    import numpy.typing as npt

    Integers = npt.NDArray[np.signedinteger[Any]]


def bounds(column: Integers) -> tuple[int, int]:
    """The smallest value, or 0 if that is above it, and the largest, or 0 if that is below it.

    Of values of which none is below zero, as nearly all are, they are known from one look: without a sign
    those below zero would be the largest.
    """
    if not column.size or is_nothing(column):
        return 0, 0
    if column.itemsize < 8:
        most = int(np.maximum.reduce(column.view(f"u{column.itemsize}")))
        if not most >> (8 * column.itemsize - 1):
            return 0, most
    return min(0, int(np.minimum.reduce(column))), max(0, int(np.maximum.reduce(column)))


_LANES_MAX: Final = 64
_LANES_MIN: Final = 8  # fewer are no faster than to widen every value


def total(column: Integers) -> int:
    """The exact sum of narrow values: many at a time in their own width, as many as it has room for."""
    if column.itemsize == 8 and not is_nothing(column):
        return int(np.add.reduce(column, dtype=np.int64))
    return looked(column)[0]


def looked(column: Integers) -> tuple[int, int, int]:
    """`total`, and `bounds`, of one look at a column."""
    if is_nothing(column):
        return 0, 0, 0
    if column.itemsize == 8:
        return int(np.add.reduce(column, dtype=np.int64)), *bounds(column)
    found = least = most = 0
    for start in range(0, len(column), _PART):
        part = column[start : start + _PART]
        low, high = bounds(part)
        least, most = min(least, low), max(most, high)
        if low or high:
            found += _total(part, max(high, -low))
    return found, least, most


_PART: Final = NARROW_HOMES


def _total(column: Integers, size: int) -> int:
    """The sum of values of which none is larger than a size, nor smaller than its negative."""
    lanes = max(1, min(((1 << (8 * column.itemsize - 1)) - 1) // size, _LANES_MAX))
    rows = len(column) - len(column) % lanes
    if lanes < _LANES_MIN or not rows:
        return int(np.add.reduce(column, dtype=np.int32 if size * len(column) < 1 << 31 else np.int64))
    sums = np.add.reduce(column[:rows].reshape(lanes, -1), axis=0, dtype=column.dtype)
    rest = int(np.add.reduce(column[rows:], dtype=np.int64)) if rows < len(column) else 0
    return int(np.add.reduce(sums, dtype=np.int64)) + rest

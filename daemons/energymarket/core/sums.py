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
        if most <= np.iinfo(column.dtype).max:
            return 0, most
    return min(0, int(np.minimum.reduce(column))), max(0, int(np.maximum.reduce(column)))


_LANES_MAX: Final = 64
_LANES_MIN: Final = 8  # fewer are no faster than to widen every value


def total(column: Integers) -> int:
    """The exact sum of narrow values: many at a time in their own width, as many as it has room for."""
    if is_nothing(column):
        return 0
    if column.itemsize == 8:
        return int(np.add.reduce(column, dtype=np.int64))
    return sum(_total(column[start : start + _PART]) for start in range(0, len(column), _PART))


_PART: Final = NARROW_HOMES


def _total(column: Integers) -> int:
    low, high = bounds(column)
    if not low and not high:
        return 0
    lanes = max(1, min(int(np.iinfo(column.dtype).max) // max(high, -low), _LANES_MAX))
    rows = len(column) - len(column) % lanes
    if lanes < _LANES_MIN or not rows:
        return int(np.add.reduce(column, dtype=np.int64))
    sums = np.add.reduce(column[:rows].reshape(lanes, -1), axis=0, dtype=column.dtype)
    rest = int(np.add.reduce(column[rows:], dtype=np.int64)) if rows < len(column) else 0
    return int(np.add.reduce(sums, dtype=np.int64)) + rest

"""Columns of nothing but zeros, for which a single zero stands: they take no room and no time.

By night nearly all that homes could agree on is such a column, in a batch as well as in the ledger.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    Integers = npt.NDArray[np.integer[Any]]


def zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A column of zeros, read-only."""
    return _zeros(shape, np.dtype(dtype))


@lru_cache(maxsize=256)  # to make one takes as long as to look through thousands of values
def _zeros(shape: int | tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.broadcast_to(np.zeros((), dtype), shape)


def is_nothing(column: Integers) -> bool:
    """Whether a single zero stands for all values. It is told at once; False may still be all zeros."""
    return not any(column.strides) and column.size > 0 and not column.flat[0]


def has_nothing(column: Integers) -> bool:
    """Whether all values are zero."""
    return is_nothing(column) or not np.count_nonzero(column)

"""Where homes stand in columns: their ids ascend, usually without a hole."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from energymarket.core.block import NARROW_HOMES
from energymarket.core.nothing import has_nothing
from energymarket.core.units import I64


def find(home: npt.NDArray[np.signedinteger[Any]], ids: I64) -> tuple[I64, npt.NDArray[np.bool_]]:
    """The row of each id, and whether there is one (else the row given is just a valid one)."""
    if is_range(home):
        row = ids - home[0]
        known = (row >= 0) & (row < len(home))
        return (row if known.all() else np.where(known, row, 0)), known
    row = np.minimum(np.searchsorted(home, ids), len(home) - 1)
    return row, home[row] == ids


def is_range(home: npt.NDArray[np.signedinteger[Any]]) -> bool:
    """Whether ascending ids have no hole, so that a row is an id less a constant."""
    return len(home) > 0 and int(home[-1]) - int(home[0]) + 1 == len(home)


def rows_of(home: npt.NDArray[np.signedinteger[Any]], first: int, count: int) -> slice:
    """The rows of the homes `first` and up, so many ids; of ids that ascend."""
    if is_range(home):
        low, high = (min(max(end - int(home[0]), 0), len(home)) for end in (first, first + count))
    else:
        # in the type of the column, or NumPy makes a wider copy of all of it first
        low, high = np.searchsorted(home, np.array((first, first + count), home.dtype)).tolist()
    return slice(low, high)


def add_to(
    column: npt.NDArray[np.signedinteger[Any]],
    rows: slice | npt.NDArray[np.int64],
    values: npt.NDArray[np.signedinteger[Any]],
) -> None:
    """Add values, which fit, to some rows of a column; no row twice."""
    if not isinstance(rows, slice):
        column[rows] += values
        return
    part = column[rows]
    for start in range(0, len(part), NARROW_HOMES):  # in one width, and in the cache: five times as fast
        here = slice(start, start + NARROW_HOMES)
        if not has_nothing(values[here]):
            part[here] += values[here].astype(column.dtype, copy=False)

"""How the pool cuts its homes into shards: contiguous ranges of nearly equal size, single homes left out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def cut(pooled: npt.NDArray[np.bool_], shards: int) -> list[tuple[int, int]]:
    """(first home, count) of each shard: at least `shards` ranges where there are homes enough.

    A home that is a process of its own ends a range, so there may be more ranges than asked for.
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], pooled, [False])).astype(np.int8)))
    runs = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    size = max(1, -(-int(pooled.sum()) // max(1, shards)))
    found = []
    for start, end in runs:
        parts = -(-(end - start) // size)
        bounds = [start + (end - start) * part // parts for part in range(parts + 1)]
        found += [(low + 1, high - low) for low, high in pairwise(bounds)]
    return found

"""How the pool cuts its homes into shards: contiguous ranges of nearly equal size, single homes left out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt


SHARD_HOMES: Final = 16_384
"""So many homes are worth a process: it costs some 2 ms of CPU in a slot whatever it has, as much as their
arithmetic, and their arrays fit the cache."""


SHARD_HOMES_PER_S: Final = 1_000_000
"""So many homes one process keeps up with for each second that a slot lasts, several times over. Two at once
make a slot shorter, not cheaper: they compete for the processor's cache and memory."""


def wanted(homes: int, cores: int, slot_s: float) -> int:
    """Shards of a pool that nobody has told how many: as many as a slot of so many real seconds needs.

    One per core at most; `slot_s` is 0 where there is no clock, and slots shall be as short as they can be.
    """
    size = max(SHARD_HOMES, int(slot_s * SHARD_HOMES_PER_S))
    return max(1, min(cores, -(-homes // size)))


def cut(pooled: npt.NDArray[np.bool_], shards: int) -> list[tuple[int, int]]:
    """(first home, count) of each shard: at least `shards` ranges where there are homes enough.

    A home that is a process of its own ends a range, so there may be more ranges than asked for.
    """
    return _parts(pooled, _size(pooled, shards))


def refine(
    pooled: npt.NDArray[np.bool_], kept: Iterable[tuple[int, int]], shards: int
) -> list[tuple[int, int]]:
    """The ranges of an earlier cut, without the homes that have left the pool since.

    A range that nobody has left stays as it is, and no two are joined: each has its state in a file of its
    own. Homes of the pool that no range has are cut as if they were all new.
    """
    found, left = [], pooled.copy()
    for first, count in kept:
        inside = np.zeros_like(pooled)
        inside[first - 1 : first - 1 + count] = True
        found += [(start + 1, end - start) for start, end in _runs(pooled & inside)]
        left &= ~inside
    return sorted(found + _parts(left, _size(pooled, shards)))


def rest_of(first: int, count: int, left: Iterable[int]) -> list[tuple[int, int]]:
    """What is left of a range without some homes, which ascend."""
    found, start = [], first
    for home in left:
        if first <= home < first + count:
            found.append((start, home - start))
            start = home + 1
    found.append((start, first + count - start))
    return [(low, homes) for low, homes in found if homes]


def _size(pooled: npt.NDArray[np.bool_], shards: int) -> int:
    """Homes of a shard."""
    return max(1, -(-int(pooled.sum()) // max(1, shards)))


def _runs(homes: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where homes stand without a gap: index of the first, and of the one after the last."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], homes, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _parts(homes: npt.NDArray[np.bool_], size: int) -> list[tuple[int, int]]:
    """Every run in as few parts of nearly equal size as are not larger than `size`."""
    found = []
    for start, end in _runs(homes):
        parts = -(-(end - start) // size)
        bounds = [start + (end - start) * part // parts for part in range(parts + 1)]
        found += [(low + 1, high - low) for low, high in pairwise(bounds)]
    return found

"""In which slot each home was heard last: in runs of homes that follow each other, usually one of all."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from energymarket.core.units import I64

NO_SLOT: Final = -1


class Heard:
    """The last slot of each home of a market, NO_SLOT of one that never was heard. Index = id - 1."""

    __slots__ = ("_slots", "_stops")

    def __init__(self, homes: int, slot: int = NO_SLOT) -> None:
        """All of them in the same slot."""
        self._stops = [homes]  # of each run: the index behind its last home
        self._slots = [slot]

    @classmethod
    def of(cls, column: npt.NDArray[np.integer[Any]]) -> Heard:
        """What a column says, home by home."""
        made = cls(len(column))
        if len(column):
            stops = [*(np.flatnonzero(column[1:] != column[:-1]) + 1).tolist(), len(column)]
            made._stops, made._slots = stops, [int(column[stop - 1]) for stop in stops]
        return made

    def column(self) -> I64:
        """The slot of each home."""
        starts = [0, *self._stops[:-1]]
        counts = [stop - start for start, stop in zip(starts, self._stops, strict=True)]
        return np.repeat(np.array(self._slots, np.int64), counts)

    def copy(self) -> Heard:
        """An independent copy."""
        made = Heard(0)
        made._stops, made._slots = self._stops.copy(), self._slots.copy()
        return made

    def hear(self, slot: int, ranges: Iterable[tuple[int, int]]) -> None:
        """Homes of ranges (first home, count) were heard in a slot."""
        first = end = 0
        for at, count in sorted(ranges):
            if at == end:
                end += count
                continue
            self._hear(slot, first, end)
            first, end = at, at + count
        self._hear(slot, first, end)

    def _hear(self, slot: int, first: int, end: int) -> None:
        """Homes `first` to `end` - 1: what stood there makes way, and is cut at both ends."""
        start, stop = first - 1, min(end - 1, self._stops[-1])
        if stop <= start:
            return
        low, high = bisect_right(self._stops, start), bisect_left(self._stops, stop)
        found = [(start, self._slots[low]), (stop, slot), (self._stops[high], self._slots[high])]
        low, high = max(low - 1, 0), high + 2  # and the neighbours, which may be of the same slot
        around = list(zip(self._stops[low:high], self._slots[low:high], strict=True))
        found = [
            *(run for run in around if run[0] <= start),
            *found,
            *(run for run in around if run[0] > stop),
        ]
        runs: list[tuple[int, int]] = []
        for at, its in found:
            if at <= (runs[-1][0] if runs else 0):
                continue  # nothing is left of it
            if runs and runs[-1][1] == its:
                runs.pop()
            runs.append((at, its))
        self._stops[low:high] = [at for at, _ in runs]
        self._slots[low:high] = [its for _, its in runs]

    def slots_of(self, first: int, count: int) -> list[int]:
        """The slots of some homes, each run's once; in the order of the homes."""
        low = bisect_right(self._stops, first - 1)
        high = bisect_left(self._stops, first - 1 + count)
        return self._slots[low : high + 1]

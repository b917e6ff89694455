"""Which sequences of a meter have been written: exact, as ranges, and small as long as few are missing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from enum import Enum, auto
from typing import Self

from energymarket.meters.limits import RANGES_MAX


class Verdict(Enum):
    """What a sequence is to a window."""

    NEW = auto()
    SEEN = auto()
    TOO_LATE = auto()  # in a gap that was closed: it may have been seen or not


class Window:
    """Ranges of sequences that were seen, ascending and apart; those up to `closed` are not told apart."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = (), closed: int = 0) -> None:
        self._firsts = [first for first, _ in ranges]
        self._lasts = [last for _, last in ranges]
        self.closed = closed

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last of each range."""
        return list(zip(self._firsts, self._lasts, strict=True))

    @property
    def last(self) -> int:
        """The highest sequence seen; 0 before the first."""
        return self._lasts[-1] if self._lasts else 0

    @property
    def missing(self) -> int:
        """How many are missing between the first and the last, as far as they are told apart."""
        return sum(first - last - 1 for first, last in zip(self._firsts[1:], self._lasts[:-1], strict=True))

    def copy(self) -> Self:
        """Another window that has seen the same."""
        return type(self)(self.ranges, self.closed)

    def add(self, sequence: int) -> Verdict:
        """See a sequence; it is new once only."""
        if self._lasts and sequence == self._lasts[-1] + 1:  # nearly always
            self._lasts[-1] = sequence
            return Verdict.NEW
        if sequence <= self.closed and self.closed:
            return Verdict.TOO_LATE
        after = bisect_right(self._firsts, sequence)
        if after and sequence <= self._lasts[after - 1]:
            return Verdict.SEEN
        self._insert(after, sequence)
        return Verdict.NEW

    def _insert(self, after: int, sequence: int) -> None:
        joins_left = after > 0 and self._lasts[after - 1] == sequence - 1
        joins_right = after < len(self._firsts) and self._firsts[after] == sequence + 1
        if joins_left and joins_right:
            self._lasts[after - 1] = self._lasts.pop(after)
            del self._firsts[after]
        elif joins_left:
            self._lasts[after - 1] = sequence
        elif joins_right:
            self._firsts[after] = sequence
        else:
            self._firsts.insert(after, sequence)
            self._lasts.insert(after, sequence)
        if len(self._firsts) > RANGES_MAX:
            self.closed = self._firsts[1] - 1
            del self._firsts[1], self._lasts[0]

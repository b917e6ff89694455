"""Claims as they come: a few runs in each batch that ascend by (giver, index), woven into one.

Who takes goes along the ring, so that a batch has one run, or two where the ring begins within it; and who
takes from the queue takes whole messages, so that the runs of two batches change a few times, not with
every claim. So neither a key for each claim nor an order of them has to be made.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.limits import INDEX_MAX
from energymarket.core.sums import total
from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Claims: TypeAlias = npt.NDArray[np.void]

BLOCK_CLAIMS: Final = 32_768
"""Claims that are looked at together: they stay in the cache."""

PIECES_MAX: Final = 1_024
"""With more of them a sort is sooner done."""


def offer_key(claims: Claims) -> I64:
    """One number per claimed part of an offer, ascending by (giver, index)."""
    key: I64 = claims["giver"].astype(np.int64) << 16
    key |= claims["index"]
    return key


def blocks(claims: Claims) -> Iterator[Claims]:
    """Claims, cut where they no longer fit the cache."""
    return (claims[start : start + BLOCK_CLAIMS] for start in range(0, len(claims), BLOCK_CLAIMS))


class Seen:
    """The claims of a batch, looked through once: where they do not ascend, and whether one has a flag.

    Whoever has added up what each home of the batch takes, leaves it as `taken_wh`.
    """

    __slots__ = ("_claims", "_cuts", "_looked", "flagged", "taken_wh")

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._cuts: list[int] | None = [0]  # None: more than anybody weaves
        self._looked = 0  # so many of them
        self.flagged = False
        self.taken_wh: npt.NDArray[np.signedinteger[Any]] | None = None

    def blocks(self) -> Iterator[Claims]:
        """The claims in blocks; they have been looked through when the last one is done with."""
        for part in blocks(self._claims):
            self._look(part)
            yield part

    def _look(self, part: Claims) -> None:
        start = self._looked
        self._looked += len(part)
        begin = max(start - 1, 0)  # with the last one of the block before
        part = self._claims[begin : start + len(part)]
        # index and flags together: without a flag that is the index
        giver, index = (np.ascontiguousarray(part.view("<u4").reshape(-1, 4)[:, at]) for at in (0, 3))
        if int(index.max()) > INDEX_MAX:
            self.flagged = True
            index &= INDEX_MAX
        if self._cuts is None:
            return
        ascends = index[1:] > index[:-1]
        ascends &= giver[1:] == giver[:-1]
        ascends |= giver[1:] > giver[:-1]
        if not ascends.all():
            self._cuts += (np.flatnonzero(~ascends) + (begin + 1)).tolist()
            if len(self._cuts) > PIECES_MAX:
                self._cuts = None

    def runs(self) -> list[Claims] | None:
        """The claims in pieces that ascend by (giver, index); None if there are more than PIECES_MAX."""
        if self._cuts is None:
            return None
        stops = [*self._cuts[1:], len(self._claims)]
        return [
            self._claims[start:stop] for start, stop in zip(self._cuts, stops, strict=True) if start < stop
        ]


def seen(claims: Claims) -> Seen:
    """Claims that have been looked through."""
    found = Seen(claims)
    for _ in found.blocks():
        pass
    return found


def woven(batches: Iterable[Seen]) -> list[Claims] | None:
    """Pieces that, one after the other, ascend by (giver, index): views of the claims of all batches.

    None if a part of an offer is claimed twice, or if there would be more than PIECES_MAX pieces.
    """
    runs: list[Claims] = []
    for each in batches:
        found = each.runs()
        if found is None or len(runs) + len(found) > PIECES_MAX:
            return None
        runs += found
    heads = [(_key(run, 0), number, 0) for number, run in enumerate(runs)]
    heapify(heads)
    pieces: list[Claims] = []
    while heads:
        _, number, start = heappop(heads)
        run, stop = runs[number], len(runs[number])
        if heads:
            stop = _first_from(run, start, heads[0][0])
            if stop == start or len(pieces) == PIECES_MAX:
                return None
            if stop < len(run):
                heappush(heads, (_key(run, stop), number, stop))
        pieces.append(run[start:stop])
    return pieces


def _first_from(run: Claims, start: int, key: int) -> int:
    """The first claim, from `start` on, whose key is not below that; else the length."""
    return bisect_left(range(len(run)), key, start, key=lambda at: _key(run, at))


def summed(
    homes: npt.NDArray[np.signedinteger[Any]],
    energy_wh: npt.NDArray[np.signedinteger[Any]],
    first: int,
    count: int,
) -> npt.NDArray[np.signedinteger[Any]]:
    """What each of the homes `first` and up, so many, has of energies of which none is below zero; exact.

    In 16 bits where all of them come to as much as they should: where a sum did not fit, they are less.
    """
    if energy_wh.itemsize == 2:
        narrow = _summed(homes, energy_wh, first, np.zeros(count, np.int16))
        if total(narrow) == total(energy_wh):
            return narrow
    wide = _summed(homes, energy_wh, first, np.zeros(count, np.int64))
    return wide.astype(np.int32) if int(wide.max(initial=0)) <= _INT32_MAX else wide


_INT32_MAX: Final = 2**31 - 1


def _summed(
    homes: npt.NDArray[np.signedinteger[Any]],
    energy_wh: npt.NDArray[np.signedinteger[Any]],
    first: int,
    sums: npt.NDArray[np.signedinteger[Any]],
) -> npt.NDArray[np.signedinteger[Any]]:
    for start in range(0, len(homes), BLOCK_CLAIMS):
        here = slice(start, start + BLOCK_CLAIMS)
        rows = np.subtract(homes[here], first, dtype=np.int64)
        # of one width: NumPy then adds ten times faster
        np.add.at(sums, rows, energy_wh[here].astype(sums.dtype, copy=False))
    return sums


def _key(claims: Claims, at: int) -> int:
    return int(claims["giver"][at]) << 16 | int(claims["index"][at])

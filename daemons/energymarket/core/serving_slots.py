"""Serving takers of several slots together, exact and fair: a round of all of them at once.

`serving.exact_fair` serves one slot, and every claim here is one of it. Of few homes its arrays are
short, and calls to NumPy are what it costs. Here offers and needs of all slots lie end to end, and a
round is one round of every slot that is not done. Only the walk from mark to mark goes slot by slot.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.core.serving import Energy

_FEW: Final = 64
"""So few takers of a slot are served claim by claim to the end: a round of arrays costs as much."""

_LONG: Final = 12
"""Where an offer meets so many needs, halving finds its end sooner than going from mark to mark."""

_FAR: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class TakenOfSlots:
    """What takers take: a row per claim, slot after slot, each in the order of taking; offers ascend."""

    offer: I64  # in the list of all offers
    taker: I64  # in the list of all takers
    energy_wh: I64
    counts: I64  # claims of each slot
    left_wh: I64  # of each offer
    lacking_wh: I64  # of each taker


def exact_fair(energy_wh: Energy, offers: I64, need_wh: Energy, takers: I64) -> TakenOfSlots:
    """Serve `need_wh` from `energy_wh`, both above zero, by `offers` and `takers` of each slot.

    The lists are those of all slots end to end, each in the order of the ring; `offers` and `takers` (S,)
    say how many are of each slot, at least one.
    """
    rounds = _Rounds(energy_wh, offers, need_wh, takers)
    while rounds.go_on():
        rounds.take()
    return rounds.taken(len(offers))


def turned(counts: I64, cuts: I64) -> I64:
    """Places in lists that lie end to end, `counts` long, each turned round so that it begins at its cut."""
    lengths, starts = np.repeat(counts, counts), np.cumsum(counts) - counts
    places: I64 = np.arange(len(lengths)) + np.repeat(cuts - starts, counts)
    places -= lengths * (places >= lengths)
    places += np.repeat(starts, counts)
    return places


def spread(starts: I64, counts: I64) -> I64:
    """starts[0], starts[0] + 1, .. (counts[0] of them), then those from starts[1] on, and so forth."""
    places: I64 = np.repeat(starts - (np.cumsum(counts) - counts), counts)
    places += np.arange(len(places))
    return places


class _Rounds:
    """All slots between two rounds. What is kept by slot is of those that are not done."""

    def __init__(self, energy_wh: Energy, offers: I64, need_wh: Energy, takers: I64) -> None:
        self._left = energy_wh.astype(np.int64)
        self._line = self._left.tolist()  # the same, for the walk
        self._lack = need_wh.astype(np.int64)
        self._slot = np.arange(len(offers))
        self._stop = np.cumsum(offers)
        self._head = self._stop - offers
        self._who = np.arange(len(need_wh))  # takers that lack something, slot after slot
        self._count = takers.copy()
        self._mean_wh = np.add.reduceat(self._left, self._head) / offers
        self._pieces: list[tuple[I64, I64, I64, I64, I64]] = []  # slots, claims of each; offer, taker, energy

    def go_on(self) -> bool:
        """Serve slots of few takers to the end, drop whatever is done; whether any slot is left."""
        few = (self._count <= _FEW) & (self._count > 0) & (self._head < self._stop)
        if few.any():
            self._serve_few(few)
        going = (self._count > _FEW) & (self._head < self._stop)
        if not going.all():
            self._who = self._who[np.repeat(going, self._count)]
            self._slot, self._stop, self._head = self._slot[going], self._stop[going], self._head[going]
            self._count, self._mean_wh = self._count[going], self._mean_wh[going]
        return len(self._slot) > 0

    def take(self) -> None:
        """A round: each offer is a stride over needs; what the last one of a slot has left stays on offer."""
        lack, count = self._lack[self._who], self._count
        takers = np.cumsum(count) - count  # of each slot the first
        marks, first = _marks_of(lack, count, takers)
        ends, walked = self._walk(marks, first)
        starts = np.cumsum(walked) - walked  # of each slot the first stride
        last = starts + walked - 1
        stop = np.minimum(ends, np.repeat(first + count, walked))
        opens = np.empty_like(stop)
        opens[1:] = stop[:-1]
        opens[starts] = first
        served = stop[last] - first
        offer = spread(self._head, walked)
        lengths = stop - opens
        here = spread(takers, served)
        taken, who = lack[here], self._who[here]
        final = np.cumsum(lengths) - 1  # the last claim of each offer
        remains = self._left[offer] - (marks[stop - 1] - marks[opens])
        taken[final] = np.minimum(taken[final], remains)
        self._pieces.append((self._slot, served, np.repeat(offer, lengths), who, taken))
        self._lack[who] -= taken
        self._move_heads(walked, ends[last] > first + count, remains[last] - taken[final[last]])
        wanting = self._lack[self._who] > 0
        self._count = np.add.reduceat(wanting, takers, dtype=np.int64)
        self._who = self._who[wanting]

    def _walk(self, marks: I64, first: I64) -> tuple[I64, I64]:
        """Where each slot's strides end, and how many it has: see `serving.strides`."""
        line, energies = marks.tolist(), self._line
        long = self._mean_wh * self._count > _LONG * (marks[first + self._count] - marks[first])
        ends: list[int] = []
        walked: list[int] = []
        end = ends.append
        columns = (first, first + self._count, self._head, self._stop, long)
        for at, last, head, stop, halves in zip(*(each.tolist() for each in columns), strict=True):
            before = len(ends)
            if halves:
                for length in energies[head:stop]:
                    at = bisect_left(line, line[at] + length, at + 1, last + 1)  # noqa: PLW2901
                    end(at)
                    if at >= last:
                        break
            else:
                for length in energies[head:stop]:
                    reached = line[at] + length
                    at += 1  # noqa: PLW2901
                    while line[at] < reached:
                        at += 1  # noqa: PLW2901
                    end(at)
                    if at >= last:
                        break
            walked.append(len(ends) - before)
        return np.asarray(ends, np.int64), np.asarray(walked, np.int64)

    def _move_heads(self, walked: I64, over: I64, rest_wh: I64) -> None:
        """Offers that were walked are gone, but for those that go beyond their slot's needs."""
        heads = self._head = self._head + walked - over
        self._left[spread(heads + over - walked, walked)] = 0
        for head, rest in zip(heads[over].tolist(), rest_wh[over].tolist(), strict=True):
            self._left[head] = self._line[head] = rest

    def _serve_few(self, few: npt.NDArray[np.bool_]) -> None:
        """Slots of few takers, one claim after the other until offers or needs are at an end."""
        takers = np.cumsum(self._count) - self._count
        claims = _Claims([], [], [])
        counts = []
        for place in np.flatnonzero(few).tolist():
            here = self._who[takers[place] : takers[place] + self._count[place]]
            before, head, stop = len(claims.offer), int(self._head[place]), int(self._stop[place])
            lack = self._lack[here].tolist()
            until, left = claims.take(self._line, head, stop, here.tolist(), lack)
            self._lack[here] = lack
            self._left[head:until] = 0
            if until < stop:
                self._left[until] = left
            counts.append(len(claims.offer) - before)
        served = np.asarray(counts, np.int64)
        columns = (claims.offer, claims.taker, claims.energy_wh)
        offer, taker, energy_wh = (np.asarray(each, np.int64) for each in columns)
        self._pieces.append((self._slot[few], served, offer, taker, energy_wh))

    def taken(self, slots: int) -> TakenOfSlots:
        """Everything that was taken."""
        counts = np.zeros(slots, np.int64)
        for slot, served, *_ in self._pieces:
            counts[slot] += served
        free = np.cumsum(counts) - counts  # of each slot the place of its next claim
        offer, taker, energy_wh = columns = np.empty((3, int(counts.sum())), np.int64)
        for slot, served, *piece in self._pieces:
            places = spread(free[slot], served)
            for column, values in zip(columns, piece, strict=True):
                column[places] = values
            free[slot] += served
        return TakenOfSlots(offer, taker, energy_wh, counts, self._left, self._lack)


@dataclass(frozen=True, slots=True)
class _Claims:
    """Claims of slots in which few lack something."""

    offer: list[int]
    taker: list[int]
    energy_wh: list[int]

    def take(
        self, energies: Sequence[int], head: int, stop: int, who: Sequence[int], lack: list[int]
    ) -> tuple[int, int]:
        """Serve a slot to its end; the first offer that is not used up, and what is left of it."""
        turn, left = list(range(len(who))), energies[head]
        while turn:
            still = []
            for taker in turn:
                lacking = lack[taker]
                part = min(lacking, left)
                self.offer.append(head)
                self.taker.append(who[taker])
                self.energy_wh.append(part)
                lack[taker] = lacking - part
                left -= part
                if lacking > part:
                    still.append(taker)
                if not left:
                    head += 1
                    if head == stop:
                        return stop, 0
                    left = energies[head]
            turn = still
        return head, left


def _marks_of(lack: I64, count: I64, takers: I64) -> tuple[I64, I64]:
    """Marks of each slot's needs that lie end to end: a start, the end of each, and one that none reaches."""
    first = takers + 2 * np.arange(len(count))
    sums = np.cumsum(lack)
    marks = np.full(len(lack) + 2 * len(count), _FAR)
    marks[first] = sums[takers] - lack[takers]
    marks[spread(first + 1, count)] = sums
    return marks, first

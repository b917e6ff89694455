"""Serving takers from offers, all at once: which offer each taker has how much of, by sharing model.

Offers and needs lie end to end on two lines. Under every model one of the two lines is walked in strides
whose lengths are the other's: exact and selfish merges both; exact and fair strides over the needs by
offers, round by round; greedy and selfish strides over the offers by needs; greedy and fair pairs them.
Every claim uses up its offer or its taker's need, so that rounds in which not everybody takes a whole
offer are at most about the square root of twice the claims.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.units import I64

Places: TypeAlias = npt.NDArray[np.signedinteger[Any]]
"""Of offers or takers in a list: int64, or int32 where there may be very many."""

Energy: TypeAlias = npt.NDArray[np.signedinteger[Any]]
"""int64, or int32 where twice of each fits."""

_LONG: Final = 8  # from so many marks a stride on, halving finds its end sooner than going from mark to mark
_NEAR: Final = 64
_FAR: Final = 1 << 62
_MARKS: Final = 2_048  # in a list at once
_LINE: Final = 8_192  # so many takers of a round are served at once: what is made of them stays in the cache
_FEW: Final = 128  # so few takers of a round are served one by one,
_CLAIMS: Final = 512  # for so many claims


@dataclass(frozen=True, slots=True)
class Taken:
    """What takers take: a row per claim, in the order of taking; offers ascend."""

    offer: Places  # in the list
    taker: Places  # in the list
    energy_wh: Energy
    used_up: int  # offers that are gone: the first ones
    rest_wh: int  # what is left of the next one; 0 if nobody has touched it
    lacking: tuple[Places, Energy] | None = None  # who lacks still, and how much, where it is known


def parts(offer: Places) -> npt.NDArray[np.int32]:
    """The place of each claim among those of its offer: 0, 1, .. (offers ascend)."""
    opens = np.empty(len(offer), np.int32)
    opens[:1] = 0
    place = np.arange(len(offer), dtype=np.int32)
    np.multiply(place[1:], offer[1:] != offer[:-1], out=opens[1:])
    place -= np.maximum.accumulate(opens, out=opens)
    return place


def strides(marks: I64, lengths: Energy) -> I64:
    """Walk along marks (ascending, the first is the start): the place of each stride's end.

    A stride ends at the first mark that is at least its length away from where it began; beyond the
    last mark it ends at len(marks). The walk ends with the lengths or at the last mark.
    """
    last, at = len(marks) - 1, 0
    if lengths[0] <= marks[1] - marks[0]:
        both = min(last, len(lengths))
        at = _leading(lengths[:both] <= marks[1 : both + 1] - marks[:both])
        if at == both:
            return np.arange(1, at + 1)
    ends = list(range(1, at + 1))
    end = ends.append
    if int(lengths.sum()) * last > _LONG * len(lengths) * int(marks[last] - marks[0]):
        # Few marks are looked at: no list is made of all. Most strides stay among the next ones.
        some = np.concatenate((marks, np.full(_NEAR + 1, _FAR))).data
        reached = some[at]
        for length in lengths[at:].tolist():
            reached += length
            beyond = at + 1 + _NEAR
            at = bisect_left(some, reached, at + 1, beyond)
            if at == beyond:
                at = bisect_left(some, reached, beyond)
            end(at)
            if at >= last:
                break
            reached = some[at]
        return np.asarray(ends, np.int64)
    return np.concatenate([np.asarray(ends, np.int64), *_walk(marks, lengths, at)])


def _walk(marks: I64, lengths: Energy, at: int) -> Iterator[I64]:
    """The ends of all strides but the first `at`, of which each ended at the next mark.

    Some marks after the others: a list of all would not stay in the cache, and the interpreter would take
    memory for it from the system, and give it back, each time.
    """
    last, stride = len(marks) - 1, at
    some: list[int] = []
    while stride < len(lengths) and at < last:
        line, ends = marks[at : at + _MARKS].tolist(), list[int]()
        some = some or lengths[stride : stride + _MARKS].tolist()
        end, here = ends.append, 0
        try:
            for length in some:
                reached = line[here] + length
                here += 1
                while line[here] < reached:
                    here += 1
                end(here)
        except IndexError:  # a test of every stride would cost more than all of them
            if not ends:  # it is longer than all of these
                end(int(np.searchsorted(marks, marks[at] + lengths[stride])) - at)
        yield np.asarray(ends, np.int64) + at
        del some[: len(ends)]
        stride += len(ends)
        at += ends[-1]


def line_of(lengths: Energy) -> I64:
    """Marks of lengths that lie end to end: 0, and the end of each."""
    marks = np.empty(len(lengths) + 1, np.int64)
    marks[0] = 0
    np.cumsum(lengths, out=marks[1:])
    return marks


def _leading(mask: npt.NDArray[np.bool_]) -> int:
    """How many are true before the first that is not."""
    return len(mask) if mask.all() else int(mask.argmin())


def exact_selfish(energy_wh: Energy, need_wh: Energy) -> Taken:
    """One taker after the other takes what it lacks: a claim is an overlap of the two lines."""
    offer_end, need_end = np.cumsum(energy_wh), np.cumsum(need_wh)
    total = min(int(offer_end[-1]), int(need_end[-1]))
    used_up = int(np.searchsorted(offer_end, total, side="right"))
    met = need_end[: int(np.searchsorted(need_end, total)) + 1]
    ends = np.concatenate((offer_end[:used_up], np.minimum(met, total)))
    ends.sort(kind="stable")  # two runs: a merge
    energy = np.diff(ends, prepend=0)
    ends, energy = ends[energy > 0], energy[energy > 0]
    offer = np.searchsorted(offer_end, ends)
    cut = used_up < len(offer_end) and int(offer[-1]) == used_up
    rest = int(offer_end[used_up]) - total if cut else 0
    return Taken(offer, np.searchsorted(need_end, ends), energy, used_up, rest)


def exact_fair(energy_wh: Energy, need_wh: Energy, turns: int | None) -> Taken:
    """Round by round, each taker that lacks anything has one offer or what it lacks of it.

    In a round a taker takes the rest of the offer at most, so an offer is a stride over the takers'
    needs: those within are met, the last one has what remains.
    """
    rounds = _Rounds(energy_wh, need_wh, turns)
    while rounds.go_on():
        if rounds.take_whole():
            continue
        if len(rounds.lack) <= _FEW:
            rounds.take_singly()
        else:
            rounds.take_parts()
    return rounds.taken()


@dataclass(frozen=True, slots=True)
class Round:
    """One round of `exact_fair`: the first takers have a claim each, in their order."""

    counts: I64  # claims of each offer that was touched
    energy_wh: Energy  # of each claim
    used_up: int  # offers that are gone: the first ones
    rest_wh: int  # what is left of the next one; 0 if nobody has touched it


def one_round(energy_wh: Energy, need_wh: Energy, marks: I64) -> Round:
    """Each taker has one offer or what it lacks of it; see `exact_fair`. Nobody offers or lacks nothing.

    `marks` are those of the needs (`line_of`).
    """
    energy = energy_wh[: int(np.searchsorted(np.cumsum(energy_wh), marks[-1])) + 1]  # a stride is no shorter
    ends = strides(marks, energy)
    rest_wh = 0
    used_up = len(ends)
    beyond = int(ends[-1]) > len(need_wh)
    if beyond:
        ends[-1] = len(need_wh)
    counts = ends.copy()
    counts[1:] -= ends[:-1]
    taken = need_wh[: int(ends[-1])].copy()
    final = ends - 1  # the last taker of each offer
    remains = energy[:used_up] - (marks[final] - marks[ends - counts])
    taken[final] = np.minimum(taken[final], remains)
    if beyond:
        used_up -= 1
        rest_wh = int(remains[-1] - taken[-1])
    return Round(counts, taken, used_up, rest_wh)


class _Rounds:
    """Takers and offers between two rounds."""

    def __init__(self, energy_wh: Energy, need_wh: Energy, turns: int | None) -> None:
        self.before = energy_wh
        self.energy = energy_wh.copy()
        self.lack = need_wh.copy()
        self.who: Places = np.arange(len(need_wh), dtype=np.int32)
        self.head = 0
        self.count = 0
        self.turns = turns
        self.reach = 1
        self.claims: list[tuple[Places, Places, Energy]] = []

    def go_on(self) -> bool:
        """Whether somebody lacks something, something is left, and another round is allowed."""
        more = self.turns is None or self.count < self.turns
        return more and len(self.lack) > 0 and self.head < len(self.energy)

    def book(self, offer: Places, taken: Energy) -> None:
        """The claims of a round, or of the first takers in it."""
        served = len(taken)
        self.claims.append((offer, self.who[:served], taken))
        self.lack[:served] -= taken
        self._look_who_lacks()

    def _look_who_lacks(self) -> None:
        wanting = (self.lack > 0).nonzero()[0]
        self.who, self.lack = self.who[wanting], self.lack[wanting]

    def take_parts(self) -> None:
        """A round in which offers are split, some takers after the other."""
        self.count += 1
        for start in range(0, len(self.lack), _LINE):
            if self.head == len(self.energy):
                break
            self._take_parts(slice(start, start + _LINE))
        self._look_who_lacks()

    def _take_parts(self, here: slice) -> None:
        """An offer is a stride over needs; what the last one has left in the end stays on offer."""
        lack = self.lack[here]
        found = one_round(self.energy[self.head : self.head + len(lack)], lack, line_of(lack))
        touched, claims = len(found.counts), len(found.energy_wh)
        offer = np.repeat(np.arange(self.head, self.head + touched, dtype=np.int32), found.counts)
        self.claims.append((offer, self.who[here][:claims], found.energy_wh))
        lack[:claims] -= found.energy_wh
        self.head += found.used_up
        if touched > found.used_up:
            self.energy[self.head] = found.rest_wh

    def take_singly(self) -> None:
        """Rounds of few takers, one claim after the other, but not more claims than pay."""
        offers: list[int] = []
        takers: list[int] = []
        taken: list[int] = []
        head = self.head
        energies = self.energy[head : head + _CLAIMS + _FEW].tolist()  # so many that a round never lacks one
        lack, who = self.lack.tolist(), list(range(len(self.lack)))
        nth = 0
        while who and nth < len(energies) and len(offers) < _CLAIMS and self.go_on():
            self.count += 1
            for taker in who:
                left, lacking = energies[nth], lack[taker]
                part = min(lacking, left)
                offers.append(head + nth)
                takers.append(taker)
                taken.append(part)
                lack[taker] = lacking - part
                energies[nth] = left - part
                nth += part == left
                if nth == len(energies):
                    break
            who = [taker for taker in who if lack[taker]]
        whose = self.who[np.asarray(takers, np.int64)]
        self.claims.append((np.asarray(offers, np.int32), whose, np.asarray(taken, np.int64)))
        self.who, self.lack = self.who[who], np.asarray([lack[taker] for taker in who], np.int64)
        self.head = head + nth
        if nth < len(energies):
            self.energy[self.head] = energies[nth]

    def take_whole(self) -> bool:
        """Rounds in which everybody takes a whole offer, `reach` of them at once; False if they are none."""
        if self.energy[self.head] > self.lack[0]:
            self.reach = 1
            return False
        takers, left = len(self.lack), len(self.energy) - self.head
        most = left // takers if self.turns is None else min(left // takers, self.turns - self.count)
        rounds = min(self.reach, most)
        while rounds > 0 and (self._sums(rounds) > self.lack).any():
            rounds //= 8
        if rounds == 0:
            self.reach = 1
            return False
        block, sums = self.energy[self.head : self.head + rounds * takers], self._sums(rounds)
        offer = np.arange(self.head, self.head + rounds * takers, dtype=np.int32)
        self.claims.append((offer, self.who if rounds == 1 else np.tile(self.who, rounds), block.copy()))
        self.head += rounds * takers
        self.count += rounds
        self.reach = 2 * rounds if rounds == self.reach else rounds
        self.lack = self.lack - sums
        self._look_who_lacks()
        return True

    def _sums(self, rounds: int) -> Energy:
        """What each taker has after so many rounds of whole offers."""
        takers = len(self.lack)
        block = self.energy[self.head : self.head + rounds * takers]
        return block.reshape(rounds, takers).sum(axis=0) if rounds > 1 else block

    def taken(self) -> Taken:
        """Everything that was booked."""
        offer, taker, energy = (np.concatenate(columns) for columns in zip(*self.claims, strict=True))
        rest = int(self.energy[self.head]) if self.head < len(self.energy) else 0
        touched = len(offer) > 0 and int(offer[-1]) == self.head
        return Taken(offer, taker, energy, self.head, rest if touched else 0, (self.who, self.lack))


def greedy_selfish(energy_wh: Energy, need_wh: Energy) -> Taken:
    """One taker after the other takes whole offers until it has enough: a need is a stride over offers."""
    ends = np.minimum(strides(line_of(energy_wh), need_wh), len(energy_wh))
    used_up = int(ends[-1])
    taker = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    return Taken(np.arange(used_up), taker, energy_wh[:used_up], used_up, 0)


def greedy_fair(energy_wh: Energy, need_wh: Energy, turns: int | None) -> Taken:
    """Round by round, each taker that lacks anything has one whole offer."""
    rounds = _Rounds(energy_wh, need_wh, turns)
    while rounds.go_on():
        if rounds.take_whole():
            continue
        rounds.count += 1
        whole = rounds.energy[rounds.head : rounds.head + len(rounds.lack)].copy()
        rounds.book(np.arange(rounds.head, rounds.head + len(whole), dtype=np.int32), whole)
        rounds.head += len(whole)
    return rounds.taken()

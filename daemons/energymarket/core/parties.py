"""A range of homes in an exchange: what each lacks, or may give still, gone through in the order of the ring.

Of very many homes nothing is held but that number. Places, needs and offers are made block by block when it
is their turn, and are in the cache then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core import exchange
from energymarket.core.block import BLOCK_HOMES, I32, Column
from energymarket.core.exchange import Records
from energymarket.core.records import OFFER, Policy
from energymarket.core.serving import Places, line_of
from energymarket.core.units import I64

_SELL: Final = int(Policy.SELL)  # NumPy compares an enum slowly

Open = npt.NDArray[np.signedinteger[Any]]


class Parties:
    """The homes of a range: `open_wh` is below 0 for what a home lacks, above for what it may give still."""

    __slots__ = ("_cut", "_homes", "_net_wh", "_policies", "_start", "first", "open_wh")

    def __init__(self, net_wh: Open, policies: Column, first: int, ring: tuple[int, int]) -> None:
        """`net_wh` is what they have over (below zero: lack), and must not change; `first` is an id.

        `ring` is the index of the home where the ring begins, and how many homes the market has.
        """
        self.first = first
        self._net_wh = net_wh
        self._policies = policies
        self._start, self._homes = ring
        cut = self._start - (first - 1)
        self._cut = cut if 0 < cut < len(net_wh) else 0
        self.open_wh: Open = net_wh.copy()
        for here in self._spans():
            part = self.open_wh[here]
            part *= (policies[here] != _SELL) | (part < 0)

    def _spans(self) -> Iterator[slice]:
        """Blocks of the range in the order of the ring."""
        for begin, end in ((self._cut, len(self.open_wh)), (0, self._cut)):
            for start in range(begin, end, BLOCK_HOMES):
                yield slice(start, min(start + BLOCK_HOMES, end))

    def counts(self) -> tuple[int, int]:
        """How many may give something, and how many lack something."""
        parts = [self.open_wh[here] for here in self._spans()]
        givers = sum(int(np.count_nonzero(part > 0)) for part in parts)
        return givers, sum(int(np.count_nonzero(part)) for part in parts) - givers

    # who lacks

    def lacking(self) -> Iterator[tuple[Places, I32]]:
        """Places and needs of those who lack something, block by block, as they are when their turn comes."""
        for here in self._spans():
            part = self.open_wh[here]
            at = (part < 0).nonzero()[0]
            if len(at):
                need_wh = np.negative(part[at], dtype=np.int32)
                at += here.start
                yield at, need_wh

    def ids(self, places: Places) -> npt.NDArray[np.uint32]:
        """The homes at some places."""
        return np.add(places, self.first, dtype=np.uint32, casting="unsafe")

    def lack(self, places: Places, need_wh: Column) -> None:
        """So much is what they lack now."""
        self.open_wh[places] = np.negative(need_wh)

    # who gives

    def has_over(self, home: int) -> bool:
        """Whether it is one of those who had something to give."""
        at = home - self.first
        return 0 <= at < len(self._net_wh) and bool(self._net_wh[at] > 0 and self._policies[at] != _SELL)

    def offers(self) -> Iterator[Records]:
        """What they give, which is not theirs to give any more; a block may have none."""
        for here in self._spans():
            at = (self.open_wh[here] > 0).nonzero()[0]
            at += here.start
            positions = (at + (self.first - 1 - self._start)) % self._homes
            offers = exchange.offers_of(self.ids(at), self.open_wh[at], positions)
            self.open_wh[at] = 0
            yield offers

    def order(self, givers: Column) -> npt.NDArray[np.int64]:
        """Where homes stand in the range's part of the ring, by id: 0, 1, ..; below 0 is who is not of it."""
        at = givers.astype(np.int64) - self.first
        count = len(self.open_wh)
        return np.where((at >= 0) & (at < count), (at - self._cut) % count, -1)

    def take_back(self, offers: Records) -> None:
        """What has come back; nobody has more than it had to give. Offers of others are left out."""
        if not len(offers):
            return
        at = offers["giver"].astype(np.int64) - self.first
        mine = (at >= 0) & (at < len(self.open_wh))
        who, which = np.unique(at[mine], return_inverse=True)
        back_wh = np.bincount(which, offers["energy_wh"][mine], len(who)).astype(np.int64)
        over_wh = np.maximum(self._net_wh[who], 0) * (self._policies[who] != _SELL)
        self.open_wh[who] = np.where(
            over_wh, np.minimum(self.open_wh[who] + back_wh, over_wh), self.open_wh[who]
        )

    # the end

    def moved_wh(self) -> Open:
        """What each who lacked has got of it, and what each who had over has (again). It is over then."""
        for here in self._spans():
            self.open_wh[here] -= np.minimum(self._net_wh[here], 0)
        return self.open_wh


class Line:
    """The takers of a range in the order of the ring; nobody is looked at before it may be its turn."""

    __slots__ = ("_behind", "_front", "_front_wh", "_unseen")

    def __init__(self, parties: Parties, takers: int) -> None:
        """`takers` is how many lack something."""
        self._front: Places = np.zeros(0, np.int32)  # of those looked at, who lacks something still
        self._front_wh: I32 = np.zeros(0, np.int32)  # and how much
        self._behind = parties.lacking()
        self._unseen = takers

    @property
    def waiting(self) -> int:
        """How many lack something still."""
        return len(self._front) + self._unseen

    def first(self, wanted_wh: int, offers: int) -> tuple[Places, I32, I64]:
        """The first ones who lack so much together, and what the last takers of so many offers lack still.

        Their places, what each lacks, and the marks of that.

        That is estimated by the mean, twice: it nearly always is enough.
        """
        seen = [(self._front, self._front_wh)]
        takers, lack_wh = len(self._front), int(self._front_wh.sum(dtype=np.int64))
        mean_wh = lack_wh // takers + 1 if takers else 0
        while self._unseen and lack_wh <= wanted_wh + 2 * offers * mean_wh:
            seen.append(next(self._behind))
            self._unseen -= len(seen[-1][0])
            takers += len(seen[-1][0])
            lack_wh += int(seen[-1][1].sum(dtype=np.int64))
            mean_wh = lack_wh // takers + 1
        if len(seen) > 1:
            self._front, self._front_wh = (np.concatenate(column) for column in zip(*seen, strict=True))
        marks = line_of(self._front_wh)
        enough = min(int(np.searchsorted(marks, wanted_wh + 2 * offers * mean_wh)), len(self._front))
        return self._front[:enough], self._front_wh[:enough], marks[: enough + 1]

    def go_on(self, served: int, still: Places, still_wh: I32) -> None:
        """So many of the first ones have been served; of them, who lacks something still, and how much."""
        self._front = np.concatenate((still, self._front[served:]))
        self._front_wh = np.concatenate((still_wh, self._front_wh[served:]))


class Stock:
    """The offers of a range that nobody has yet, in the order of the ring, made as they are wanted."""

    __slots__ = ("_ahead", "_made", "_made_wh", "left", "parties")

    def __init__(self, parties: Parties, givers: int) -> None:
        """`givers` is how many there are."""
        self.parties = parties
        self.left = givers
        self._ahead = parties.offers()
        self._made: Records = np.zeros(0, OFFER)
        self._made_wh = 0  # in all of these

    def first(self, offers: int) -> Records:
        """So many of the next ones, or all that there are."""
        while len(self._made) < offers and self._make():
            pass
        return self._made[:offers]

    def worth(self, energy_wh: int) -> Records:
        """As many of the next ones as have so much energy, or all that there are."""
        while self._made_wh < energy_wh and self._make():
            pass
        # By the mean twice as many as it takes: that nearly always is enough.
        likely = 2 * energy_wh * len(self._made) // max(1, self._made_wh) + 1
        for part in (self._made[:likely], self._made):
            sums = np.cumsum(np.ascontiguousarray(part["energy_wh"]), dtype=np.int64)
            at = int(np.searchsorted(sums, energy_wh))
            if at < len(part):
                return self._made[: at + 1]
        return self._made

    def _make(self) -> bool:
        more = next(self._ahead, None)
        if more is None:
            return False
        self._made = exchange.joined((self._made, more)) if len(self._made) else more
        self._made_wh += _sum_of(more)
        return True

    def drop(self, offers: int) -> None:
        """The first ones are somebody else's now."""
        self._made_wh -= _sum_of(self._made[:offers])
        self._made = self._made[offers:]
        self.left -= offers

    def split(self, rest: Records) -> None:
        """Of the first one this is left."""
        self._made_wh += _sum_of(rest) - _sum_of(self._made[:1])
        self._made[:1] = rest

    def close(self) -> None:
        """What nobody has is its givers' again."""
        self.parties.take_back(self._made)
        self._made = self._made[:0]


def _sum_of(offers: Records) -> int:
    return int(offers["energy_wh"].sum(dtype=np.int64))

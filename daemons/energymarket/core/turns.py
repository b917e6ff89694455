"""The exchange of gifts in turns round the ring, over a queue that may be small: for lockstep.

Ranges of homes, each in a process of its own, stand on the ring in segments (the range in which the ring
begins has two). One turn goes round. Givers put their offers in ring order; a full queue passes the turn
to the takers, which are served in ring order from the oldest offer on; an empty one passes it back. When
nothing is left to give or nobody lacks anything, each segment takes back what is still its own. So the
outcome is that of `exchange.outcome`, an unbounded queue, however many ranges there are and however small
the queue is.

A range knows only itself: where its neighbour begins follows from where it ends, and a turn is addressed
to the first home of a segment. `Range.play` is a generator: it yields what is to be done with the queue
and is sent the answer, so that one hold of the queue plays one turn and nothing here touches a queue.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core import exchange
from energymarket.core.exchange import Numbers, Records
from energymarket.core.parameters import Sharing
from energymarket.core.parameters import Turn as Order
from energymarket.core.records import CLAIM, OFFER
from energymarket.core.units import I64

NOBODY: Final = 0
"""In the place of a giver: all have put what they had. Home ids start at 1."""


class Role(IntEnum):
    """What the segment whose turn it is has to do."""

    GIVE = 1
    TAKE = 2
    SETTLE = 3  # take back what is its own; give back what greed has taken too much
    OVER = 4  # hear that nothing will come back any more


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is, and all that the next ones have to know."""

    role: Role
    home: int  # first home of the segment whose turn it is
    giver: int  # first home of the segment that puts next, or NOBODY
    taker: int  # first home of the segment that takes next
    lacking: bool = False  # fair: somebody of this round still lacks something
    backs: bool = False  # somebody has something to give back
    busy: bool = False  # in this round of SETTLE somebody gave back, or has to yet


# What a range asks of the queue. Kinds are message types: 1 + the ring position of a message's first giver.


@dataclass(frozen=True, slots=True)
class Room:
    """How many of the first of these does a message have room for now? A number, 0 if the queue is full."""

    offers: Records


@dataclass(frozen=True, slots=True)
class Put:
    """Put a message of offers. There is room for it: `Room` said so, or it is a rest of what was taken."""

    kind: int
    offers: Records


@dataclass(frozen=True, slots=True)
class TakeFirst:
    """Take the message of the lowest kind up to `up_to`. Answered by (kind, offers) or None."""

    up_to: int


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Put a message of offers that go back to the givers of messages of this kind. As `Put`."""

    kind: int
    offers: Records


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Take a message of what goes back to this kind. Answered by (kind, offers) or None."""

    kind: int


Step: TypeAlias = Room | Put | TakeFirst | GiveBack | TakeBack
Got: TypeAlias = tuple[int, Records] | None
Answer: TypeAlias = Got | int
Play: TypeAlias = Generator[Step, Answer, Turn | None]


@dataclass(slots=True)
class Segment:
    """Homes that stand on the ring without a gap."""

    first: int  # home id
    last: int
    offers: Records  # in ring order
    takers: slice  # of the range's takers, which are in ring order
    put: int = 0  # offers that have been put
    kinds: list[int] = field(default_factory=list)  # of its messages
    at: int = 0  # fair: where in its takers this round goes on
    over: bool = False


@dataclass(slots=True)
class Range:
    """One range of homes in a slot's exchange: what it has over and lacks, and how that ends."""

    homes: int  # of the market
    start: int  # the home at which the ring begins
    segments: dict[int, Segment]  # by first home, in ring order
    taker_ids: npt.NDArray[np.uint32]  # in ring order
    need_wh: I64  # what each still lacks
    sharing: Sharing
    received_wh: I64
    excess_wh: I64
    claims: list[Records] = field(default_factory=list)
    returned: list[Records] = field(default_factory=list)
    backs: list[tuple[int, Records]] = field(default_factory=list)  # to be given back, with their kind

    @classmethod
    def of(
        cls, homes: int, start: int, span: tuple[int, int], ups: tuple[Numbers, Numbers], sharing: Sharing
    ) -> Range:
        """A range of (first home, count); `ups` are what each home offers and lacks in Wh, by id.

        `start` is the index (0 .. homes − 1) of the home at which the ring begins.
        """
        first, count = span
        offered_wh, need_wh = (np.asarray(each, np.int64) for each in ups)
        ids = np.arange(first, first + count, dtype=np.uint32)
        order = exchange.ring_order(first, count, start, homes)
        positions = exchange.ring_positions(first, count, start, homes)
        takers = order[need_wh[order] > 0]
        segments, taken = {}, 0
        for low, high in _cut(first, count, start):
            here = slice(low - first, high - first + 1)
            lacking = int((need_wh[here] > 0).sum())
            offers = exchange.make_offers(ids[here], offered_wh[here], positions[here])
            segments[low] = Segment(low, high, offers, slice(taken, taken + lacking))
            taken += lacking
        return cls(
            homes=homes,
            start=start + 1,
            segments=segments,
            taker_ids=ids[takers],
            need_wh=need_wh[takers].copy(),
            sharing=sharing,
            received_wh=np.zeros(len(takers), np.int64),
            excess_wh=np.zeros(len(takers), np.int64),
        )

    def first_turn(self) -> Turn | None:
        """The turn with which the exchange begins, if the ring begins in this range."""
        return Turn(Role.GIVE, self.start, self.start, self.start) if self.start in self.segments else None

    @property
    def over(self) -> bool:
        """Whether nothing will happen to this range any more."""
        return all(segment.over for segment in self.segments.values())

    def all_claims(self) -> Records:
        """Every claim as one CLAIM array."""
        return np.concatenate(self.claims) if self.claims else np.zeros(0, CLAIM)

    def all_returned(self) -> Records:
        """Every offer that came back, or was never put, as one OFFER array."""
        left = [segment.offers[segment.put :] for segment in self.segments.values()]
        return np.concatenate([*self.returned, *left, np.zeros(0, OFFER)])

    def play(self, turn: Turn) -> Play:
        """Play a turn that is addressed to a segment of ours; the next turn, or None when all is over."""
        segment = self.segments[turn.home]
        match turn.role:
            case Role.GIVE:
                return self._give(segment, turn)
            case Role.TAKE:
                return self._take(segment, turn)
            case Role.SETTLE:
                return self._settle(segment, turn)
            case Role.OVER:
                return self._end(segment, turn)

    # giving

    def _give(self, segment: Segment, turn: Turn) -> Play:
        """Put offers until none is left, or the queue is full."""
        while segment.put < len(segment.offers):
            room = yield Room(segment.offers[segment.put :])
            if not isinstance(room, int) or room <= 0:
                return replace(turn, role=Role.TAKE, home=turn.taker, giver=segment.first)
            part = segment.offers[segment.put : segment.put + room]
            kind = 1 + int(part["position"][0])
            yield Put(kind, part)
            segment.kinds.append(kind)
            segment.put += len(part)
        following = self._after(segment)
        if following == self.start:
            return replace(turn, role=Role.TAKE, home=turn.taker, giver=NOBODY)
        return replace(turn, home=following, giver=following)

    # taking

    def _take(self, segment: Segment, turn: Turn) -> Play:
        """Serve this segment's takers: until none lacks anything (selfish), or one round (fair)."""
        here, fair = segment.takers, self.sharing.turn is Order.FAIR
        while (self.need_wh[here][segment.at :] > 0).any():
            got = yield TakeFirst(self.homes)
            if not isinstance(got, tuple):
                return self._nothing_there(segment, turn)
            kind, offers = got
            rests = self._serve(segment, kind, offers)
            if len(rests):
                yield Put(kind, rests)
                if fair:
                    break
        segment.at = 0
        backs = turn.backs or bool(self.backs)
        lacking = turn.lacking or bool((self.need_wh[here] > 0).any())
        following = self._after(segment)
        turn = replace(turn, backs=backs, lacking=lacking, home=following, taker=following)
        if following != self.start:
            return turn
        if lacking:
            return replace(turn, lacking=False)  # the next round
        return replace(turn, role=Role.SETTLE)

    def _nothing_there(self, segment: Segment, turn: Turn) -> Turn:
        """The queue is empty: the givers' turn, or nobody will give any more."""
        turn = replace(turn, taker=segment.first, backs=turn.backs or bool(self.backs))
        if turn.giver != NOBODY:
            return replace(turn, role=Role.GIVE, home=turn.giver)
        return replace(turn, role=Role.SETTLE, home=self.start)

    def _serve(self, segment: Segment, kind: int, offers: Records) -> Records:
        """Serve from a message; what is left of it."""
        fair = self.sharing.turn is Order.FAIR
        here = slice(segment.takers.start + segment.at, segment.takers.stop)
        served = exchange.serve(
            offers, self.taker_ids[here], self.need_wh[here], self.sharing, turns=1 if fair else None
        )
        self.claims.append(served.claims)
        self.received_wh[here] += served.received_wh
        self.excess_wh[here] += served.excess_wh
        self.need_wh[here] = np.maximum(self.need_wh[here] - served.received_wh, 0)
        if len(served.neutral_rest):
            self.backs.append((kind, served.neutral_rest))
        if fair and not len(served.rests) and len(served.claims):
            # The message was not enough for the round: it goes on behind the last one that it served.
            last = int(served.claims["taker"][-1])
            segment.at += int(np.flatnonzero(self.taker_ids[here] == last)[0]) + 1
        return served.rests

    # the end

    def _settle(self, segment: Segment, turn: Turn) -> Play:
        """Take back what is ours, give back what is not."""
        if len(segment.offers):
            up_to = 1 + int(segment.offers["position"][-1])  # lower ones have been taken back before us
            while isinstance(got := (yield TakeFirst(up_to)), tuple):
                self.returned.append(got[1])
        busy = turn.busy
        if turn.backs:
            for kind in segment.kinds:
                while isinstance(got := (yield TakeBack(kind)), tuple):
                    self.returned.append(got[1])
            gave = yield from self._give_back()
            busy = busy or gave
        else:
            segment.over = True
        following = self._after(segment)
        turn = replace(turn, home=following, busy=busy)
        if following != self.start:
            return turn
        if not turn.backs:
            return None
        return replace(turn, busy=False) if busy else replace(turn, role=Role.OVER)

    def _give_back(self) -> Generator[Step, Answer, bool]:
        """As much as there is room for; whether anything was given back, or has to be yet."""
        gave = bool(self.backs)
        while self.backs:
            room = yield Room(self.backs[-1][1])
            if not isinstance(room, int) or room <= 0:
                break
            kind, offers = self.backs.pop()
            yield GiveBack(kind, offers[:room])
            if len(offers) > room:
                self.backs.append((kind, offers[room:]))
        return gave

    def _end(self, segment: Segment, turn: Turn) -> Play:
        yield from ()  # nothing is asked of the queue
        segment.over = True
        following = self._after(segment)
        return None if following == self.start else replace(turn, home=following)

    def _after(self, segment: Segment) -> int:
        """The first home of the segment that stands next on the ring."""
        return segment.last % self.homes + 1


def _cut(first: int, count: int, start: int) -> list[tuple[int, int]]:
    """(first home, last home) of a range's segments, in ring order."""
    last = first + count - 1
    if first < start + 1 <= last:
        return [(start + 1, last), (first, start)]
    return [(first, last)]

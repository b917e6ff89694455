"""The lockstep exchange over the System V queue: turns of `core.turns`, played under the queue's semaphore.

Nobody waits for room or for a message while holding it. There is no deadline: the slot is over when the
turn has been everywhere, or the market has taken it back because somebody died.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, assert_never

from energymarket.core.turns import Answer, GiveBack, Got, Put, Range, Room, Step, TakeBack, TakeFirst, Turn
from energymarket.exits import Exit, Failure
from energymarket.runtime.kill_points import Point, reach
from energymarket.transport.queue import QueueFrozen
from energymarket.wire import offer_message, turn_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from energymarket.core.exchange import Records
    from energymarket.transport.queue import OfferQueue

LOOK_S: Final = 0.1
"""One wait for the bell: after it the clock page is looked at, and the supervisor hears that homes live."""

LOCK_WAIT_S: Final = 0.25
"""One wait for the semaphore; its holder may be at work on a million homes, or frozen: the look goes on."""


@dataclass(slots=True)
class Bargaining:
    """One slot's exchange of a range of homes, in one epoch."""

    queue: OfferQueue
    slot: int
    epoch: int
    mine: Range
    goes_on: Callable[[], bool]  # whether the slot is still open in this epoch, and nobody asks us to stop
    beat: Callable[[], None]

    def run(self) -> bool:
        """Play every turn that is ours. False: the slot was taken back, or we are to stop."""
        turn = self.mine.first_turn()
        while not self.mine.over:
            self.beat()
            try:
                with self.queue.locked(LOCK_WAIT_S):
                    if not self.goes_on():  # under the semaphore: the market empties the queue under it
                        return False
                    passed, turn = self._act(turn or self._found()), None
            except QueueFrozen:
                if not self.goes_on():
                    return False
                continue
            if passed:
                self.queue.ring_all()
            elif not self.mine.over:
                self.queue.wait(LOOK_S)
        return True

    def _found(self) -> Turn | None:
        """A turn that is addressed to us."""
        for home in self.mine.segments:
            got = self.queue.take(turn_message.kind_of_turn(self.epoch, home))
            if got is None:
                continue
            slot, epoch, turn = turn_message.unpack(got[1])
            if (slot, epoch) == (self.slot, self.epoch):
                reach(Point.TURN_TAKEN, self.slot)
                return turn
        return None

    def _act(self, turn: Turn | None) -> bool:
        """Play turns for as long as they are ours; whether one was passed on."""
        while turn is not None and turn.home in self.mine.segments:
            turn = self._play(turn)
        if turn is None:
            return False
        self._sweep()
        data = turn_message.pack(turn, slot=self.slot, epoch=self.epoch)
        self._put(turn_message.kind_of_turn(self.epoch, turn.home), data)
        return True

    def _play(self, turn: Turn) -> Turn | None:
        playing = self.mine.play(turn)
        try:
            step = next(playing)
            while True:
                step = playing.send(self._done(step))
        except StopIteration as end:
            following: Turn | None = end.value
            return following

    def _done(self, step: Step) -> Answer:
        """Do a step of the core's."""
        match step:
            case Room(offers):
                return self._room(offers)
            case Put(kind, offers):
                self._put(turn_message.kind_of_offers(self.epoch, kind), self._packed(offers))
                reach(Point.OFFER_PUT, self.slot)
            case GiveBack(kind, offers):
                self._put(turn_message.kind_of_back(self.epoch, kind), self._packed(offers))
            case TakeFirst(up_to):
                got = self._take(-turn_message.kind_of_offers(self.epoch, up_to))
                reach(Point.OFFER_TAKEN, self.slot)
                return got
            case TakeBack(kind):
                return self._take(turn_message.kind_of_back(self.epoch, kind))
            case _:
                assert_never(step)
        return None

    def _room(self, offers: Records) -> int:
        """How many of the first of them a message has room for, once what is of earlier epochs is gone."""
        self._sweep()
        left = self.queue.room() - turn_message.TURN_BYTES
        first = offers[: offer_message.IN_LINE_MAX]
        return offer_message.pack_first(first, slot=self.slot, epoch=self.epoch, room_bytes=left)[1]

    def _sweep(self) -> None:
        """Drop what is of earlier epochs: a process may have put it that had not heard of this one."""
        while self.epoch and self.queue.take(-turn_message.kind_of_offers(self.epoch, 0)) is not None:
            pass

    def _put(self, kind: int, data: bytes) -> None:
        if not self.queue.put(kind, data):
            raise Failure(
                f"slot {self.slot}: the queue of offers is full of messages that are not the homes'",
                "energyctl ipc ls shows it; the slot is taken back and run again",
                Exit.TRY_AGAIN,
            )

    def _take(self, kind: int) -> Got:
        """The offers of a message of this slot and epoch and its kind, or None; older ones are dropped."""
        while (got := self.queue.take(kind)) is not None:
            try:
                head, offers = offer_message.unpack(got[1])
            except offer_message.WireError:
                continue
            if (head.slot, head.epoch) == (self.slot, self.epoch):
                return turn_message.kind_in_epoch(got[0]), offers
        return None

    def _packed(self, offers: Records) -> bytes:
        return offer_message.pack(offers, slot=self.slot, epoch=self.epoch)

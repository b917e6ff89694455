"""Thousands of schedules of ranges, a small queue, and deaths: always the gifts of the unbounded queue.

Everything that the kernel and the market do is modelled here; what ranges do is the product's own core. A
schedule is a seed: who acts next, who dies where, how late the market hears of it, how small the queue is.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any, TypeVar

import numpy as np
import pytest

from energymarket.core import exchange, turns
from energymarket.core.chance import Purpose, draw_u64
from energymarket.core.parameters import Excess, Sharing, Take
from energymarket.core.parameters import Turn as Order
from energymarket.core.records import OFFER, Policy
from energymarket.core.turns import GiveBack, Put, Range, Room, TakeBack, TakeFirst, Turn

SHARINGS = [Sharing(*each) for each in product(Take, Order, Excess)]
TOKEN_BYTES, HEADER_BYTES = 32, 16
LIFE = Generator[None, None, None]


T = TypeVar("T")


class Dice:
    """Chance with a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._thrown = 0

    def between(self, low: int, high: int) -> int:
        """A number of low .. high."""
        self._thrown += 1
        return low + draw_u64(self._seed, Purpose.HOME, self._thrown) % (high - low + 1)

    def one_of(self, things: Sequence[T]) -> T:
        """One of them."""
        return things[self.between(0, len(things) - 1)]

    def hits(self, once_in: int) -> bool:
        """Whether it happens, once in so many times."""
        return self.between(1, once_in) == 1


@dataclass
class Town:
    """Homes of one slot, cut into ranges."""

    surplus_wh: Any
    need_wh: Any
    policies: Any
    sharing: Sharing
    spans: list[tuple[int, int]]
    seed: int
    slot: int = 7

    @property
    def homes(self) -> int:
        """How many."""
        return len(self.surplus_wh)

    def reference(self) -> exchange.Outcome:
        """What the unbounded queue makes of it."""
        ids = np.arange(1, self.homes + 1)
        found = (ids, self.surplus_wh, self.need_wh, self.policies, self.sharing, self.seed, self.slot)
        return exchange.outcome(*found)


def a_town(dice: Dice) -> Town:
    """A town with few homes and a wild mixture of needs, so that every boundary is met often."""
    homes = dice.between(1, 24)
    net = [dice.one_of([0, -1, 1]) * dice.between(0, dice.one_of([2, 40, 1000])) for _ in range(homes)]
    cuts = sorted({dice.between(1, homes) for _ in range(dice.between(0, 5))} - {homes})
    bounds = [0, *cuts, homes]
    return Town(
        surplus_wh=np.maximum(net, 0),
        need_wh=np.maximum(-np.array(net), 0),
        policies=np.array([dice.one_of(list(Policy)) for _ in range(homes)]),
        sharing=dice.one_of(SHARINGS),
        spans=[(low + 1, high - low) for low, high in pairwise(bounds)],
        seed=dice.between(0, 1 << 30),
    )


@dataclass
class Queue:
    """A System V queue: so many bytes, lowest type first, none lost; with a semaphore."""

    bytes_max: int
    messages: list[tuple[int, int, int, Any]] = field(default_factory=list)  # type, number, bytes, content
    held_by: object | None = None
    put_ever: int = 0

    def room(self) -> int:
        """Bytes that are free."""
        return self.bytes_max - sum(size for _, _, size, _ in self.messages)

    def put(self, kind: int, size: int, content: Any) -> bool:
        """Put a message behind those of its type, if there is room."""
        if size > self.room():
            return False
        self.put_ever += 1
        insort(self.messages, (kind, self.put_ever, size, content), key=lambda message: message[:2])
        return True

    def take(self, low: int, high: int) -> tuple[int, Any] | None:
        """The lowest type up to `high`; where `low` is `high`, that very type."""
        for at, (kind, _, _, content) in enumerate(self.messages):
            if kind <= high and (kind >= low or low != high):
                del self.messages[at]
                return kind, content
        return None


EPOCH = 1 << 27
BACK, TURN = 1 << 25, 2 << 25


@dataclass
class World:
    """The market, the queue, and the processes of one slot."""

    town: Town
    queue: Queue
    epoch: int = 0
    open: bool = True
    batches: dict[tuple[int, int], Range] = field(default_factory=dict)
    lives: dict[tuple[int, int], LIFE] = field(default_factory=dict)
    unheard: list[tuple[int, int]] = field(default_factory=list)  # deaths that the market has not heard of
    taken_back: int = 0
    forced: int = 0  # times that a frozen holder lost the semaphore

    def life(self, span: tuple[int, int]) -> LIFE:
        """A process of the pool, from birth on; it stands still at every point where others may act."""
        town = self.town
        up_wh = np.where(town.policies == Policy.SELL, 0, town.surplus_wh)
        here = slice(span[0] - 1, span[0] - 1 + span[1])
        while True:
            yield
            if not self.open or span in self.batches:
                continue
            epoch, start = self.epoch, exchange.ring_start(town.seed, town.slot, town.homes)
            mine = Range.of(town.homes, start, span, (up_wh[here], town.need_wh[here]), town.sharing)
            yield
            yield from self._bargain(span, mine, epoch)
            if mine.over and epoch == self.epoch and self.open:
                self.batches[span] = mine
            while epoch == self.epoch:
                yield

    def _bargain(self, span: tuple[int, int], mine: Range, epoch: int) -> LIFE:
        turn = mine.first_turn()
        while not mine.over:
            while self.queue.held_by is not None:
                yield
            self.queue.held_by = span
            if self.epoch != epoch:  # under the semaphore: the market drains the queue under it
                self._release(span)
                return
            turn = turn or self._my_turn(mine, epoch)
            while turn is not None and turn.home in mine.segments:
                yield
                turn = yield from self._drive(mine, turn, epoch)
            if turn is not None:
                self._sweep(epoch)
                assert self.queue.put(epoch * EPOCH + TURN + turn.home, TOKEN_BYTES, turn)
                turn = None
            self._release(span)
            yield

    def _release(self, span: tuple[int, int]) -> None:
        if self.queue.held_by == span:
            self.queue.held_by = None

    def _my_turn(self, mine: Range, epoch: int) -> Turn | None:
        for home in mine.segments:
            kind = epoch * EPOCH + TURN + home
            got = self.queue.take(kind, kind)
            if got is not None:
                found: Turn = got[1]
                return found
        return None

    def _sweep(self, epoch: int) -> None:
        while self.queue.take(0, epoch * EPOCH) is not None:
            pass

    def _drive(self, mine: Range, turn: Turn, epoch: int) -> Generator[None, None, Turn | None]:
        playing, base = mine.play(turn), epoch * EPOCH
        answer: Any = None
        while True:
            try:
                step = playing.send(answer)
            except StopIteration as end:
                following: Turn | None = end.value
                return following
            yield  # dead or frozen between any two calls of the kernel
            answer = None
            match step:
                case Room():
                    self._sweep(epoch)
                    answer = (self.queue.room() - TOKEN_BYTES - HEADER_BYTES) // OFFER.itemsize
                case Put(kind, offers):
                    assert self.queue.put(base + kind, HEADER_BYTES + offers.nbytes, (kind, offers))
                case GiveBack(kind, offers):
                    assert self.queue.put(base + BACK + kind, HEADER_BYTES + offers.nbytes, (kind, offers))
                case TakeFirst(up_to):
                    while (got := self.queue.take(0, base + up_to)) is not None and got[0] < base:
                        pass
                    answer = None if got is None else got[1]
                case TakeBack(kind):
                    got = self.queue.take(base + BACK + kind, base + BACK + kind)
                    answer = None if got is None else got[1]

    # what happens to them

    def kill(self, span: tuple[int, int]) -> None:
        """SIGKILL: the kernel frees the semaphore, the connection will be found closed."""
        self.lives.pop(span).close()
        self._release(span)
        self.unheard.append(span)

    def hear(self, *, by_force: bool) -> bool:
        """The market finds a connection closed; by force, it does not wait for a frozen holder."""
        if self.queue.held_by is not None and not by_force:
            return False
        span = self.unheard.pop(0)
        if span not in self.batches and self.open:
            self.epoch += 1
            self.open = False
            self.batches = {}
            self.taken_back += 1
            self.queue.messages.clear()
            self.forced += self.queue.held_by is not None
            self.queue.held_by = None
        return True

    def begin(self, span: tuple[int, int]) -> None:
        """A new process in the place of a dead one; the slot opens when all are there."""
        self.lives[span] = self.life(span)
        self.open = self.open or len(self.lives) == len(self.town.spans)


def run(town: Town, queue_bytes: int, dice: Dice, deaths: int, *, by_force: bool = False) -> World:
    """One schedule from its seed, to the slot's gate."""
    world = World(town, Queue(queue_bytes))
    for span in town.spans:
        world.begin(span)
    for _ in range(200_000):
        if len(world.batches) == len(town.spans) and world.open and not world.unheard:
            return world
        absent = [span for span in town.spans if span not in world.lives and span not in world.unheard]
        # A death in a handful of steps, or it would always be the first ones that are hit.
        if deaths and world.lives and dice.hits(50):
            deaths -= 1
            world.kill(dice.one_of(sorted(world.lives)))
        elif world.unheard and dice.hits(10):
            world.hear(by_force=by_force)
        elif absent and dice.hits(10):
            world.begin(dice.one_of(absent))
        elif not world.open and len(world.lives) == len(town.spans) and not world.unheard:
            world.open = True
        elif world.lives:
            next(world.lives[dice.one_of(sorted(world.lives))])
    raise AssertionError(f"stuck: {world}")


def differs(world: World) -> str:
    """What of the gifts is another than the unbounded queue's; empty if nothing is."""
    town, wanted = world.town, world.town.reference()
    claims = np.concatenate([each.all_claims() for each in world.batches.values()])
    received, excess, returned = np.zeros((3, town.homes), np.int64)
    own = True
    for (first, count), mine in world.batches.items():
        received[mine.taker_ids - 1] = mine.received_wh
        excess[mine.taker_ids - 1] = mine.excess_wh
        back = mine.all_returned()
        own = own and bool(((back["giver"] >= first) & (back["giver"] < first + count)).all())
        np.add.at(returned, back["giver"].astype(np.int64) - 1, back["energy_wh"])
    up_wh = np.where(town.policies == Policy.SELL, 0, town.surplus_wh)
    found = {
        "claims": sorted(claims.tolist()) == sorted(wanted.claims.tolist()),
        "received": np.array_equal(received, wanted.received_wh),
        "excess": np.array_equal(excess, wanted.excess_wh),
        "given": np.array_equal(up_wh - returned, wanted.given_wh),
        "everybody has their own back": own,
        "nothing left": not world.queue.messages,
    }
    return ", ".join(name for name, same in found.items() if not same)


SMALLEST = HEADER_BYTES + OFFER.itemsize + TOKEN_BYTES
ROUNDS = 500


@pytest.mark.parametrize("block", range(4))
def test_every_schedule_ends_as_the_unbounded_queue_does(block: int, is_long: bool) -> None:
    """Any cut into ranges, any queue that holds one offer and the turn, any order of acting, no deaths."""
    for seed in range(block, ROUNDS * (20 if is_long else 2), 4):
        dice = Dice(seed)
        town = a_town(dice)
        world = run(town, SMALLEST + dice.one_of([0, 16, 40, 200, 16_384]), dice, deaths=0)
        assert differs(world) == "", f"seed {seed}, {town}"


@pytest.mark.parametrize("block", range(4))
def test_every_schedule_with_deaths_ends_the_same(block: int, is_long: bool) -> None:
    """Deaths between any two calls of the kernel, up to six in a slot; it is taken back, run again."""
    taken_back = 0
    for seed in range(block, ROUNDS * (20 if is_long else 2), 4):
        dice = Dice(100_000 + seed)
        town = a_town(dice)
        queue_bytes = SMALLEST + dice.one_of([0, 16, 40, 200, 16_384])
        world = run(town, queue_bytes, dice, deaths=dice.between(1, 6))
        taken_back += world.taken_back
        assert differs(world) == "", f"seed {seed}, {town}"
    assert taken_back > ROUNDS // 4  # the deaths hit slots that were open


def test_a_frozen_holder_that_wakes_in_a_later_epoch_changes_nothing(is_long: bool) -> None:
    """The market takes the semaphore from a frozen holder; that one wakes, and finishes its turn of old."""
    forced = 0
    for seed in range(ROUNDS * (20 if is_long else 2)):
        dice = Dice(200_000 + seed)
        town = a_town(dice)
        world = run(
            town, SMALLEST + dice.one_of([200, 16_384]) + 2_000, dice, dice.between(1, 4), by_force=True
        )
        wanted = differs(world).replace("nothing left", "").strip(", ")  # what the old one put may lie there
        assert wanted == "", f"seed {seed}, {town}"
        forced += world.forced
    assert forced > ROUNDS // 10


def test_an_offer_that_is_split_more_often_than_its_parts_have_names_ends_the_same() -> None:
    """70,000 takers of a Wh, one giver: the last part that has a name ends the offer, the rest goes back."""
    takers = 70_000
    surplus_wh, need_wh = np.zeros((2, takers + 1), np.int64)
    surplus_wh[40_000], need_wh[:40_000], need_wh[40_001:] = 100_000, 1, 1
    town = Town(
        surplus_wh, need_wh, np.full(takers + 1, Policy.GIVE_THEN_SELL), Sharing(),
        [(1, 30_000), (30_001, 30_000), (60_001, takers + 1 - 60_000)], seed=3,
    )  # fmt: skip
    world = run(town, SMALLEST, Dice(1), deaths=0)
    assert differs(world) == ""
    assert len(world.town.reference().claims) == 65_536


def test_the_range_in_which_the_ring_begins_has_two_segments() -> None:
    """Homes 4 to 8 of 10, the ring begins at home 6 (index 5): 6 to 8 are first, 4 and 5 are last."""
    mine = Range.of(10, 5, (4, 5), (np.ones(5), np.zeros(5)), Sharing())
    assert [(each.first, each.last) for each in mine.segments.values()] == [(6, 8), (4, 5)]
    assert [each.offers["giver"].tolist() for each in mine.segments.values()] == [[6, 7, 8], [4, 5]]
    assert mine.first_turn() == Turn(turns.Role.GIVE, 6, 6, 6)

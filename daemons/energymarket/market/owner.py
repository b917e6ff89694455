"""The thread that owns the market's state: it opens and closes slots, and nobody else touches them.

Others hand it messages. What it must not wait for (clients, watchers) it is never made to wait for:
answers go into the server's buffers. Only the disk is waited for, because nothing is acknowledged
before it is there.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from energymarket.core.clock import Deadlines
from energymarket.core.ledger import LedgerCorrupt
from energymarket.core.market import Outside
from energymarket.core.records import Phase
from energymarket.core.settlement import Prices
from energymarket.market import clock_face, rehearsal, snapshot, world
from energymarket.market.messages import (
    Asked,
    Beat,
    Continue,
    Heard,
    Left,
    OrderAsked,
    ReloadAsked,
    StopAsked,
    turn_away,
)
from energymarket.market.pace import Pace
from energymarket.runtime.clock import boottime_ns, wall_ns
from energymarket.runtime.inbox import Inbox
from energymarket.runtime.kill_points import Point, reach
from energymarket.transport.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    from energymarket.core.market import Closed, Market, Opening, Order
    from energymarket.core.weather import Sample
    from energymarket.market.bookkeeping import Bookkeeper
    from energymarket.market.control import ControlDesk
    from energymarket.market.leases import Lease
    from energymarket.market.messages import Message
    from energymarket.market.timetable import Course, Timetable
    from energymarket.market.trade import TradeDesk
    from energymarket.transport.call import Call
    from energymarket.transport.page import BoardReader, ClockWriter
    from energymarket.transport.queue import OfferQueue

log = logging.getLogger(__name__)

STOP_WAIT_NS: Final = 3_000_000_000
"""Stopping waits for the open slot's gate at most so long; else it closes the gate at once."""

DRAIN_WAIT_PART: Final = 0.02
"""Of a slot: how long the gate waits for the queue's semaphore; its holder may be frozen."""

TRADING: Final = frozenset({Phase.EXCHANGE, Phase.TRADE})


class Owner:
    """The market, slot after slot."""

    def __init__(
        self,
        *,
        market: Market,
        books: Bookkeeper,
        timetable: Timetable,
        course: Course,
        page: ClockWriter,
        board: BoardReader,
        offers: OfferQueue,
        policies: npt.NDArray[np.integer],
        generation: int,
        pid: int,
    ) -> None:
        self.market = market
        self.books = books
        self.timetable = timetable
        self.course = course
        self.board = board
        self.offers = offers
        self.policies = policies
        self.generation = generation
        self.pid = pid
        self.inbox: Inbox[Message] = Inbox()
        self.phase = Phase.STARTING
        self.epoch = 0
        self.moments = Deadlines(0, 0, 0, 0)
        self.last: Closed | None = None  # for batches that are sent again
        self.counts = snapshot.Counts()
        self.outside = Outside(temperature_mc=10_000, raining=False, weather_stale=True)
        self.stopping = self.stopped = self.lockstep = False
        self.trade: TradeDesk
        self.control: ControlDesk
        self._page = page
        self._prices = Prices(market.price_ueur_per_kwh, 0, 0)
        self._reported_slot = -1  # external has said everything up to here
        self._stop_asked: list[StopAsked] = []
        self._stop_by_ns = 0
        self._started_ns = 0
        self._ordered_slot = books.store.last_ordered_slot()  # the latest that may have orders
        self._pace = Pace(timetable)
        self._rehearsed = False

    # the loop

    def run(self) -> None:
        """Serve messages and deadlines until stopped."""
        self._started_ns = boottime_ns()
        self._set_phase(Phase.STARTING)
        while not self.stopped:
            self._hear(self.inbox.wait(self._deadline_ns()))
            self._advance(boottime_ns())
            if self.books.has_time(self.phase, self.moments):
                self.books.tidy()  # beside an open slot there is time: a bit, and then messages
        turn_away(self.inbox.rest(), self.market.slot if self.market.slot >= 0 else None)

    def _hear(self, messages: Iterable[Message]) -> None:
        orders: list[OrderAsked] = []
        for message in messages:
            if isinstance(message, OrderAsked):
                orders.append(message)
                continue
            self._commit_orders(orders)
            orders = []
            match message:
                case Asked(call):
                    self._answer(call)
                case Heard():
                    self._hear_outside(message)
                case Left(peer):
                    self._left(self.trade.leave(peer))
                    self.control.leave(peer)
                case Continue(step):
                    if step():
                        self.inbox.put_later(message)
                case ReloadAsked():
                    self.control.reload()
                case StopAsked():
                    self._stop(message)
                case Beat(answer):
                    self.books.beat(answer)
        self._commit_orders(orders)

    def _answer(self, call: Call) -> None:
        try:
            if call.peer.socket == self.trade.socket:
                self.trade.answer(call)
            elif call.gone:
                return  # asked and left; its Left may have been heard already
            else:
                self.control.answer(call)
        except (StoreError, LedgerCorrupt) as error:
            # An old slot that the disk has lost is no reason to stop the present one.
            log.error("%s cannot be answered from the ledger: %s", call.method, error)  # noqa: TRY400
            call.error(f"{call.method.rpartition('.')[0]}.StoreFailed", {"reason": str(error)})

    def _deadline_ns(self) -> int | None:
        if self.books.has_time(self.phase, self.moments):
            return 0
        if self.books.retry_ns is not None:
            return self.books.retry_ns
        due_ns = self._phase_deadline_ns()
        if not self.stopping:
            return due_ns
        return self._stop_by_ns if due_ns is None else min(due_ns, self._stop_by_ns)

    def _phase_deadline_ns(self) -> int | None:
        match self.phase:
            case Phase.STARTING:
                return self._started_ns + self._start_wait_ns()
            case Phase.EXCHANGE:
                return self.moments.exchange_ns
            case Phase.TRADE:
                return self.moments.gate_ns
            case Phase.CLEARING:
                return self.moments.next_open_ns - (0 if self._rehearsed else rehearsal.BEFORE_NS)
            case Phase.ENDED | Phase.STOPPED:
                return None

    def _advance(self, now_ns: int) -> None:
        if self.books.retry_ns is not None:
            if now_ns < self.books.retry_ns:
                return
            self.books.retry_ns = None  # what is due is tried now; a refused order alone makes nothing due
        if self.stopping and self._may_stop(now_ns):
            self._finish()
            return
        self._move(now_ns)

    def _move(self, now_ns: int) -> None:
        """Take the step of market time that is due."""
        due_ns = self._phase_deadline_ns()
        due = due_ns is not None and now_ns >= due_ns
        match self.phase:
            case Phase.STARTING if due or self._ready():
                self._next(now_ns)
            case Phase.EXCHANGE if due:
                self._set_phase(Phase.TRADE)
            case Phase.TRADE if due:
                self._close()
            case Phase.CLEARING if due and not self._rehearsed and now_ns < self.moments.next_open_ns:
                rehearsal.rehearse(self)
                self._rehearsed = True
            case Phase.CLEARING if due:
                self._next(now_ns)
            case _:
                return

    def _left(self, leases: Sequence[Lease]) -> None:
        """Homes are gone: live, the slot goes on without them."""

    def _hear_outside(self, heard: Heard) -> None:
        world.hear_events(self.market, heard.records)
        self._reported_slot = max(self._reported_slot, heard.reported_slot)

    # open

    def next_slot(self) -> int:
        """The first slot that is not committed."""
        return self.course.first_slot if self.market.slot < 0 else self.market.slot + 1

    def next_to_open(self) -> int:
        """The slot that opens next: in real time not before the present one."""
        slot = self.next_slot()
        return max(slot, self.timetable.slot_at(wall_ns())) if self.timetable.real_time else slot

    def _start_wait_ns(self) -> int:
        """How long the first slot waits; in real time the slot runs meanwhile, so not for long."""
        wait_ns = self.course.start_wait_ns
        return min(wait_ns, self.timetable.slot_ns // 5) if self.timetable.real_time else wait_ns

    def _ready(self) -> bool:
        """Every home has joined, weather has posted its sample and external has reported."""
        slot = self.next_to_open()
        reading = self.board.sample(slot, boottime_ns())
        heard = reading.sample is not None and not reading.stale and self._reported_slot >= slot
        return heard and self.trade.leases.joined >= self.market.rules.homes

    def _next(self, now_ns: int) -> None:
        """Open the next slot, if there is one."""
        if self.timetable.real_time and not self._fill_gaps():
            return
        slot = self.next_slot()
        if self.course.slots is not None and slot > self.course.end_slot:
            self._set_phase(Phase.ENDED)
            log.info("the last slot is settled: %d slots", self.counts.slots_done)
            return
        self._open(slot, self._open_ns(slot, now_ns))

    def _open_ns(self, slot: int, now_ns: int) -> int:
        if self.timetable.real_time:
            return self.timetable.open_at(slot, wall_ns(), boottime_ns())
        # A slot that could not open in time opens now: market time slips, nothing is hurried.
        late_ns = now_ns - self.moments.next_open_ns
        return now_ns if late_ns > self.timetable.slot_ns else self.moments.next_open_ns

    def _fill_gaps(self) -> bool:
        """Close the slots late that real time has passed while nobody was here: no trades, flagged.

        False: the disk refused one; it is tried again.
        """
        present = self.timetable.slot_at(wall_ns())
        if self.market.slot < 0:
            self.market.slot = present - 1
        while self.market.slot + 1 < present:
            slot = self.market.slot + 1
            self._open_as_it_was(slot, gap=True)
            if not self._commit(self.market.close_slot()):
                return False
            self.counts.start_anew()
        return True

    def _open(self, slot: int, open_ns: int) -> None:
        opening = self._open_as_it_was(slot)
        self._prices = opening.prices
        self.moments = self.timetable.moments(open_ns)
        self.counts.open(max(0, (boottime_ns() - open_ns) // 1000))
        self._set_phase(Phase.EXCHANGE)
        reach(Point.MARKET_OPENED, slot)

    def _open_as_it_was(self, slot: int, *, gap: bool = False) -> Opening:
        """Open a slot; one with acknowledged orders at its price, with them, also if it is closed late."""
        self.outside, sample = self._look_outside(slot)
        # A slot that opens has orders from a life or an epoch before, or none: that need not be asked.
        orders = self.books.orders_of(slot) if slot <= self._ordered_slot else []
        self._ordered_slot = max(self._ordered_slot, slot)
        as_it_was = self.books.opening_as_it_was(slot) if orders else None
        if as_it_was is None:
            opening = self.market.open_slot(slot, self.outside, epoch=self.epoch, gap=gap)
            self.books.note_opening(self.outside, sample)
        else:
            opening = self.market.reopen_slot(replace(as_it_was, epoch=self.epoch, gap=gap))
            self.books.note_reopening()
        self.market.restore_orders(orders)
        return opening

    def _look_outside(self, slot: int) -> tuple[Outside, Sample | None]:
        """What is known of the world when a slot opens."""
        return world.look_outside(self.board, slot, self.outside)

    # orders

    def _commit_orders(self, asked: list[OrderAsked]) -> None:
        """Check, book and make durable all orders that have come together; then answer each."""
        fresh: list[Order] = []
        booked: list[tuple[OrderAsked, Order]] = []
        for message in asked:
            refusal = self.trade.refuse_order(message)
            if refusal is not None:
                message.answer(refusal)
                continue
            known = (message.home, message.id) in self.market.orders_known
            order = self.market.hear_order(message.home, message.energy_wh, message.id)
            if not known:
                fresh.append(order)
            booked.append((message, order))
        if fresh and not self.books.append(fresh):
            self.market.forget_orders(len(fresh))
            for message, _ in booked:
                message.answer(("StoreFailed", {"reason": self.books.failed or ""}))
            return
        self.counts.orders += len(fresh)
        reach(Point.MARKET_ORDERED, self.market.slot + 1)
        for message, order in booked:
            message.answer(order)

    # close

    def _close(self) -> None:
        """The gate: match, settle, make durable, answer."""
        begun_ns = boottime_ns()
        # Hints of this slot that nobody took or took back are worth nothing any more.
        self.counts.drained += self.offers.drain_unless_frozen(self.timetable.slot_ns * DRAIN_WAIT_PART / 1e9)
        self.last = None  # the next slot takes its room; until it is durable, the ledger answers for it
        if not self._commit(self.market.close_slot()):
            return
        reach(Point.MARKET_TOLD, self.market.slot)
        self._set_phase(Phase.CLEARING)
        self.control.publish_commit()
        self.counts.start_anew()
        self._rehearsed = False
        self._pace.closed(boottime_ns() - begun_ns)

    def _commit(self, closed: Closed) -> bool:
        reach(Point.MARKET_CLOSED, closed.slot)
        if not self.books.commit(closed, self.counts):
            return False
        reach(Point.MARKET_COMMITTED, closed.slot)
        self.market.commit_slot(closed)
        self.last = closed.for_receipts()
        self.counts.commit(closed)
        self.trade.settle(closed)
        return True

    # stop

    def _stop(self, message: StopAsked) -> None:
        if not self.stopping:
            log.info("stopping: the gate of the open slot is awaited, or closed at once")
            self.stopping = True
            self._stop_by_ns = boottime_ns() + STOP_WAIT_NS
        self._stop_asked.append(message)

    def _may_stop(self, now_ns: int) -> bool:
        """At the end of a slot, when every lease has handed in, or when the wait is over."""
        if self.phase not in TRADING:
            return True
        all_in = self.phase is Phase.TRADE and self.trade.all_handed_in()
        return all_in or now_ns >= self._stop_by_ns

    def _finish(self) -> None:
        if self.phase in TRADING:
            self._close()
            if self.books.failed is not None:
                log.error("stopped with slot %d unsettled: the next start goes on with it", self.next_slot())
        self._set_phase(Phase.STOPPED)
        for message in self._stop_asked:
            message.answer(self.market.slot if self.market.slot >= 0 else None)
        self.stopped = True

    # publish

    def prices(self) -> Prices:
        """The prices of the open slot, or of the last one, or those before the first; any thread."""
        return self._prices

    def _set_phase(self, phase: Phase) -> None:
        self.phase = phase
        self._page.write(clock_face.of(self))
        self.trade.notify()
        if phase is not Phase.CLEARING:
            self.control.publish_phase()

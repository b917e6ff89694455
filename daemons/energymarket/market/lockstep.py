"""Lockstep: market time without a clock. A slot opens when all are there, and closes when all have handed in.

Nobody is late here: the market waits for weather, for `external` and for every home. When a process dies
whose homes have not handed in, the open slot is taken back: its epoch ends, the queue is emptied, what was
handed in counts for nothing, and when all are there again the slot is run once more from the state of the
last committed one. So the ledger depends on the scenario only.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from energymarket.core.clock import Deadlines
from energymarket.core.market import Outside
from energymarket.core.records import Phase
from energymarket.market import world
from energymarket.market.owner import Owner
from energymarket.market.timetable import Timetable
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.kill_points import Point, reach
from energymarket.runtime.occasions import Occasion
from energymarket.runtime.service import Flag
from energymarket.transport.queue import LOCK_WAIT_S, QueueFrozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.core.weather import Sample
    from energymarket.market.leases import Lease
    from energymarket.market.lockstep_desk import LockstepControl, LockstepDesk
    from energymarket.market.messages import Heard
    from energymarket.wire.event_record import EventRecord

log = logging.getLogger(__name__)

NEVER_NS: Final = 1 << 62
"""A deadline that does not come: in 146 years."""

WEATHER_LOOK_NS: Final = 2_000_000
"""How often the board is looked at while only the weather of the next slot is awaited. It is posted many
slots ahead, so that this is the exception."""

TOLD_SLOTS_MIN: Final = 16
"""With fewer slots ahead `external` is rung: it tells twice as many."""

TELL_AFTER_NS: Final = 5_000_000_000
"""So long a slot may be awaited before the journal says for whom."""


@dataclass(frozen=True, slots=True)
class LockstepTimetable(Timetable):
    """There are no instants: a slot takes as long as it takes."""

    @property
    def slot_ns(self) -> int:
        """As far as anybody needs to know, none."""
        return 0

    @property
    def real_time(self) -> bool:
        """Market time is never the world's."""
        return False

    def moments(self, open_ns: int) -> Deadlines:
        """A slot that has opened ends when all have handed in."""
        return Deadlines(open_ns, NEVER_NS, NEVER_NS, NEVER_NS)


class LockstepOwner(Owner):
    """The thread that owns the market's state, in lockstep."""

    trade: LockstepDesk
    control: LockstepControl

    def __init__(self, *, epoch: int, **parts: object) -> None:
        """`epoch` lies above those of all starts before: whoever is of an earlier one is told so."""
        super().__init__(**parts)  # type: ignore[arg-type]
        self.epoch = epoch
        self.lockstep = True
        self.nudge = Flag()  # asks the main thread to wake `external`
        self._events_ahead: list[EventRecord] = []  # told of slots that have not opened yet
        self._straight_on = False  # the next slot follows at once: the pause between them is told nobody
        self._waits_since_ns = 0
        self._told = False

    # when

    def _phase_deadline_ns(self) -> int | None:
        """Nothing comes by itself: but what nobody tells of is looked at again."""
        show_ns = self.control.due_ns
        if self.phase not in {Phase.STARTING, Phase.CLEARING}:
            return show_ns
        if self._ready():
            return boottime_ns()
        look_ns = boottime_ns() + (WEATHER_LOOK_NS if self._lacks_weather_only() else TELL_AFTER_NS)
        return look_ns if show_ns is None else min(look_ns, show_ns)

    def _move(self, now_ns: int) -> None:
        self.control.publish_due(now_ns)
        match self.phase:
            case Phase.STARTING | Phase.CLEARING:
                if self._ready():
                    self._next(now_ns)
                else:
                    self._tell_who_is_awaited(now_ns)
            case Phase.EXCHANGE if self._all_in():
                self._close()
                if self._straight_on:
                    self._next(boottime_ns())
            case _:
                return

    def _all_in(self) -> bool:
        """Every home has handed in, or has said that it will not."""
        return self.trade.homes_done() == self.market.rules.homes

    def _ready(self) -> bool:
        return not self._awaited()

    def _is_through(self) -> bool:
        return self.course.slots is not None and self.next_slot() > self.course.end_slot

    def _lacks_weather_only(self) -> bool:
        return self._awaited() == ["the weather of the slot"]

    def _awaited(self) -> list[str]:
        """What the next slot still waits for; nothing if there is no next slot."""
        if self._is_through():
            return []
        slot, found = self.next_slot(), []
        missing = self.market.rules.homes - self.trade.leases.joined
        if missing:
            found.append(f"{missing} homes")
        if self._sample_of(slot) is None:
            found.append("the weather of the slot")
        if self._reported_slot < slot:
            found.append("the word of external")
        return found

    def _tell_who_is_awaited(self, now_ns: int) -> None:
        if not self._told and self._waits_since_ns and now_ns - self._waits_since_ns > TELL_AFTER_NS:
            self._told = True
            log.warning("slot %d waits for %s", self.next_slot(), ", ".join(self._awaited()))
        self._waits_since_ns = self._waits_since_ns or now_ns

    # open

    def _sample_of(self, slot: int) -> Sample | None:
        """The sample that was made for a slot; whether its writer lives still does not matter."""
        sample = self.board.sample(slot, boottime_ns()).sample
        return sample if sample is not None and int(sample["slot"]) == slot else None

    def _look_outside(self, slot: int) -> tuple[Outside, Sample | None]:
        sample = self._sample_of(slot)
        if sample is None:
            raise RuntimeError(f"slot {slot} opens without its weather")
        temperature_mc, rain = int(sample["temperature_mc"]), int(sample["rain_um_per_h"])
        return Outside(temperature_mc, raining=rain > 0, weather_stale=False), sample

    def _open_ns(self, slot: int, now_ns: int) -> int:
        del slot
        return now_ns

    def _open(self, slot: int, open_ns: int) -> None:
        self._waits_since_ns, self._told = 0, False
        world.hear_events(self.market, (each for each in self._events_ahead if each.slot <= slot))
        self._events_ahead = [each for each in self._events_ahead if each.slot > slot]
        super()._open(slot, open_ns)
        if self._reported_slot < slot + TOLD_SLOTS_MIN:
            self.nudge.set()

    def _hear_outside(self, heard: Heard) -> None:
        """Events are told many slots ahead; in the book stands what has begun, as in fast-forward."""
        self._events_ahead += heard.records
        self._reported_slot = max(self._reported_slot, heard.reported_slot)

    # close

    def _close(self) -> None:
        # Several homes order at once: in the ledger their orders stand by home, whoever was faster.
        self.market.orders.sort(key=lambda order: order.home)
        super()._close()

    # tell

    def _set_phase(self, phase: Phase) -> None:
        self._straight_on = phase is Phase.CLEARING and not self.stopping and self._ready()
        if self._straight_on:
            self.phase = phase
            return
        super()._set_phase(phase)

    # take back

    def _left(self, leases: Sequence[Lease]) -> None:
        """Homes are gone. Those that have handed in have nothing more to do with this slot."""
        gone = [lease for lease in leases if not self.trade.is_done_with(lease)]
        if self.phase is Phase.EXCHANGE and gone:
            self._take_back(", ".join(lease.text for lease in gone))

    def _take_back(self, homes: str) -> None:
        """End the open slot's epoch: who is told of the new one has let go of everything of the old one."""
        slot = self.market.opened().slot
        self.epoch += 1
        self.counts.taken_back += 1
        fields = Occasion.SLOT_TAKEN_BACK.fields(slot=slot, homes=homes)
        log.warning("homes %s are gone: slot %d is taken back", homes, slot, extra=fields)
        self.market.take_back_slot()
        self.counts.start_anew()
        self._set_phase(Phase.STARTING)
        reach(Point.MARKET_TAKING_BACK, slot)
        self.trade.take_back(slot)
        self.empty_queue()
        self.books.save_epoch(self.epoch)

    def empty_queue(self) -> None:
        """Drop every offer and turn. Under the semaphore: who comes later has seen the page."""
        try:
            with self.offers.locked(LOCK_WAIT_S):
                self.counts.drained += self.offers.drain()
        except QueueFrozen:
            self.offers.reset()  # its holder is stopped: it will find that it does not hold it any more
        self.offers.ring_all()

    # stop

    def _may_stop(self, now_ns: int) -> bool:
        return self.phase is not Phase.EXCHANGE or self._all_in() or now_ns >= self._stop_by_ns

    def _finish(self) -> None:
        if self.phase is Phase.EXCHANGE and not self._all_in():
            log.info("slot %d is not settled: not everybody has handed in", self.market.opened().slot)
            self.market.take_back_slot()
            self.phase = Phase.STARTING
        super()._finish()

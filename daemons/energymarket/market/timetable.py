"""Which slots a market runs through, and when they open and close at a speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from energymarket.core import clock
from energymarket.wire.clock_page import NO_END

CLOSE_MARGIN: Final = 1.25
"""A slot is closed within this many times what the slots before it took: the disk is not always as fast."""

GATE_AT_LEAST: Final = 0.5
"""However long closing takes, homes have half of the slot."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """How a slot is cut at a speed. At speed 1 slot k opens at UTC slot_s * k; else one follows the other."""

    slot_s: int
    speed: float
    exchange_until: float  # parts of the slot
    gate_at: float

    @property
    def slot_ns(self) -> int:
        """Real duration of a slot."""
        return clock.real_ns(self.slot_s, self.speed)

    @property
    def real_time(self) -> bool:
        """Whether market time is the world's."""
        return self.speed == 1.0

    def moments(self, open_ns: int, close_ns: int = 0) -> clock.Deadlines:
        """The deadlines of a slot that opens then (CLOCK_BOOTTIME).

        `close_ns` is how long it takes to close one. Where that is more than what the scenario leaves behind
        the gate, the gate comes earlier, and the exchange ends earlier in proportion: or else the next slot
        would open late, and its batches be late in turn.
        """
        needed = close_ns * CLOSE_MARGIN / self.slot_ns
        gate_at = min(self.gate_at, max(GATE_AT_LEAST, 1 - needed))
        exchange_until = self.exchange_until * gate_at / self.gate_at
        return clock.deadlines(open_ns, self.slot_ns, exchange_until, gate_at)

    def open_at(self, slot: int, utc_ns: int, boottime_ns: int) -> int:
        """CLOCK_BOOTTIME at which a slot opens in real time, both clocks read together."""
        return clock.opens_ns(slot, self.slot_s, utc_ns, boottime_ns)

    def slot_at(self, utc_ns: int) -> int:
        """The slot that runs at a moment of real time."""
        return clock.slot_at(utc_ns / clock.NS_PER_S, self.slot_s)


@dataclass(frozen=True, slots=True)
class Course:
    """Which slots the market runs through."""

    first_slot: int  # of a fresh ledger
    begin_slot: int  # of this run
    slots: int | None  # end after so many of this run; None: until stopped
    start_wait_ns: int  # the first slot waits this long for homes, weather and external

    @property
    def end_slot(self) -> int:
        """The last slot, or NO_END."""
        return NO_END if self.slots is None else self.begin_slot + self.slots - 1

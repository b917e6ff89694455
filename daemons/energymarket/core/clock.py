"""Slot arithmetic: slots and UTC, real durations at a speed, the deadlines of a slot. Reads no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

NS_PER_S: Final = 1_000_000_000
EXCHANGE_UNTIL: Final = 0.5
GATE_AT: Final = 0.8


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The real instants of a slot, on CLOCK_BOOTTIME in ns."""

    open_ns: int
    exchange_ns: int  # the exchange of gifts ends
    gate_ns: int  # the slot's trading ends
    next_open_ns: int


def slot_at(utc_s: float, slot_s: int) -> int:
    """The slot that runs at an instant."""
    return int(utc_s // slot_s)


def begins_utc_s(slot: int, slot_s: int) -> int:
    """When a slot begins, in UTC seconds since the epoch."""
    return slot * slot_s


def begins(slot: int, slot_s: int, timezone: str = "UTC") -> datetime:
    """When a slot begins, as people read it."""
    return datetime.fromtimestamp(begins_utc_s(slot, slot_s), tz=UTC).astimezone(ZoneInfo(timezone))


def moment(utc_s: int) -> str:
    """An instant in UTC, RFC 3339."""
    return datetime.fromtimestamp(utc_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def slots_of_day(day: datetime, slot_s: int, timezone: str) -> tuple[int, int]:
    """First slot and number of slots of a local day: 92, 96 or 100 of 15 min where clocks are changed."""
    zone = ZoneInfo(timezone)
    first = datetime(day.year, day.month, day.day, tzinfo=zone)
    ordinal = datetime.fromordinal(first.toordinal() + 1)
    last = datetime(ordinal.year, ordinal.month, ordinal.day, tzinfo=zone)
    first_slot = slot_at(first.timestamp(), slot_s)
    return first_slot, slot_at(last.timestamp(), slot_s) - first_slot


def slots_for(duration_s: float, slot_s: int) -> int:
    """A duration of market time in whole slots, rounded up; at least one."""
    return max(1, -int(-duration_s // slot_s))


def real_ns(slot_s: int, speed: float) -> int:
    """How long a slot takes in real time at a speed (market seconds per real second).

    Exact to the nanosecond: through a fraction, so that no float's error adds up over slots.
    """
    return max(1, round(Fraction(slot_s * NS_PER_S) / Fraction(speed)))


def deadlines(
    open_ns: int, slot_ns: int, exchange_until: float = EXCHANGE_UNTIL, gate_at: float = GATE_AT
) -> Deadlines:
    """The deadlines of a slot that opens at an instant and lasts slot_ns of real time."""
    return Deadlines(
        open_ns,
        open_ns + round(slot_ns * exchange_until),
        open_ns + round(slot_ns * gate_at),
        open_ns + slot_ns,
    )


def opens_ns(slot: int, slot_s: int, utc_ns: int, boottime_ns: int) -> int:
    """When a slot opens on CLOCK_BOOTTIME at speed 1, from one reading of both clocks.

    Ask again for every slot: UTC is steered and may step, BOOTTIME is not.
    """
    return boottime_ns + begins_utc_s(slot, slot_s) * NS_PER_S - utc_ns


def missed(last_committed: int, utc_s: float, slot_s: int) -> range:
    """At speed 1: the slots that ended while the market was down, to be closed late as gaps."""
    return range(last_committed + 1, slot_at(utc_s, slot_s))

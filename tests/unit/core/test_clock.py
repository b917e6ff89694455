"""Slot arithmetic: slots are multiples of their length since the epoch; real time follows the speed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core import clock


def test_slots_begin_at_whole_multiples_since_the_epoch() -> None:
    """1,750,032,000 s = 16 June 2025 00:00 UTC (date -d) is the beginning of quarter-hour 1,944,480."""
    assert clock.slot_at(1_750_032_000, 900) == 1_944_480
    assert clock.slot_at(1_750_032_899.999, 900) == 1_944_480
    assert clock.begins_utc_s(1_944_480, 900) == 1_750_032_000
    assert clock.begins(1_944_480, 900) == datetime(2025, 6, 16, tzinfo=UTC)


def test_people_read_local_time() -> None:
    """16 June 00:00 UTC is 02:00 in Berlin."""
    local = clock.begins(1_944_480, 900, "Europe/Berlin")
    assert (local.hour, local.utcoffset()) == (2, timedelta(hours=2))


@pytest.mark.parametrize(
    ("day", "slots"),
    [(datetime(2025, 3, 30), 92), (datetime(2025, 6, 16), 96), (datetime(2025, 10, 26), 100)],
)
def test_local_days_have_92_96_or_100_quarter_hours(day: datetime, slots: int) -> None:
    """Where the clock is changed in spring, not at all, in autumn (Berlin)."""
    first, count = clock.slots_of_day(day, 900, "Europe/Berlin")
    assert count == slots
    assert clock.begins(first, 900, "Europe/Berlin").replace(tzinfo=None) == day


@pytest.mark.parametrize(
    ("duration_s", "slot_s", "slots"), [(30, 1, 30), (30, 900, 1), (901, 900, 2), (900, 900, 1), (0, 900, 1)]
)
def test_durations_round_up_to_whole_slots(duration_s: int, slot_s: int, slots: int) -> None:
    """30 s are 30 slots of 1 s, one of 15 min."""
    assert clock.slots_for(duration_s, slot_s) == slots


def test_the_real_length_of_a_slot_follows_the_speed() -> None:
    """900 s take 900 s at speed 1, 1 s at speed 900, 0.9 s at 1,000; never nothing."""
    lengths = [clock.real_ns(900, speed) for speed in (1.0, 900.0, 1000.0, 1e15)]
    assert lengths == [900_000_000_000, 1_000_000_000, 900_000_000, 1]


def test_the_exchange_ends_at_half_and_the_gate_closes_at_four_fifths() -> None:
    """Of a slot of 1 s that opens at 10 s: 10.5, 10.8, 11 s."""
    found = clock.deadlines(10_000_000_000, 1_000_000_000)
    assert found == clock.Deadlines(10_000_000_000, 10_500_000_000, 10_800_000_000, 11_000_000_000)


def test_at_speed_one_a_slot_opens_at_its_quarter_hour() -> None:
    """UTC 00:10, BOOTTIME 5,000 s: the slot of 00:15 opens at 5,300 s, that of 00:00 opened at 4,400 s."""
    utc_ns = (1_750_032_000 + 600) * 1_000_000_000
    assert clock.opens_ns(1_944_481, 900, utc_ns, 5_000_000_000_000) == 5_300_000_000_000
    assert clock.opens_ns(1_944_480, 900, utc_ns, 5_000_000_000_000) == 4_400_000_000_000


def test_slots_that_ended_while_the_market_was_down_are_missed() -> None:
    """Committed 10, it is slot 13 now: 11 and 12 are closed late, 13 is still open."""
    assert list(clock.missed(10, 13 * 900 + 5, 900)) == [11, 12]
    assert list(clock.missed(12, 13 * 900 + 5, 900)) == []


@given(st.integers(0, 10**10), st.sampled_from([1, 60, 900, 3600]))
def test_every_instant_lies_in_its_slot(utc_s: int, slot_s: int) -> None:
    """begins(slot_at(t)) <= t < begins(slot_at(t) + 1)."""
    slot = clock.slot_at(utc_s, slot_s)
    assert clock.begins_utc_s(slot, slot_s) <= utc_s < clock.begins_utc_s(slot + 1, slot_s)

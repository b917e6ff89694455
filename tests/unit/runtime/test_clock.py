"""Clocks and deadlines: sleeps end at their deadline, alarms ring once."""

from __future__ import annotations

import os
import select
import signal
import threading
from pathlib import Path

from energymarket.runtime import clock

MS = 1_000_000


def readable(fd: int, within_ms: int) -> bool:
    return bool(select.select([fd], [], [], within_ms / 1000)[0])


def test_boottime_is_the_kernels() -> None:
    """BOOTTIME is what /proc/uptime says, which counts suspended time too."""
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    assert abs(clock.boottime_ns() / 1e9 - uptime_s) < 1.0


def test_wall_is_after_this_was_written() -> None:
    """The wall clock counts nanoseconds since 1970: it is past November 2025 and before 2100."""
    assert 1_762_000_000 < clock.wall_ns() / 1e9 < 4_102_444_800


def test_sleep_ends_at_its_deadline_and_not_before() -> None:
    """A sleep of 30 ms ends after 30 ms by the same clock."""
    deadline_ns = clock.boottime_ns() + 30 * MS
    clock.sleep_until_boottime_ns(deadline_ns)
    assert clock.boottime_ns() >= deadline_ns


def test_sleep_until_the_past_returns_at_once() -> None:
    """A deadline that is past, also one below zero, costs no wait."""
    before_s = clock.monotonic_s()
    clock.sleep_until_boottime_ns(clock.boottime_ns() - MS)
    clock.sleep_until_boottime_ns(-5)
    assert clock.monotonic_s() - before_s < 1.0


def test_a_signal_does_not_cut_a_sleep_short() -> None:
    """A sleep goes on after a signal was handled."""
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    try:
        timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        deadline_ns = clock.boottime_ns() + 80 * MS
        clock.sleep_until_boottime_ns(deadline_ns)
        ended_ns = clock.boottime_ns()
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended_ns >= deadline_ns
    assert seen == [signal.SIGUSR1]


def test_alarm_rings_once_at_its_deadline() -> None:
    """An alarm is not readable before its deadline, is after it, and no more once acknowledged."""
    with clock.Alarm() as alarm:
        deadline_ns = clock.boottime_ns() + 30 * MS
        alarm.set(deadline_ns)
        assert not alarm.acknowledge()
        assert readable(alarm.fileno(), 5000)
        assert clock.boottime_ns() >= deadline_ns
        assert alarm.acknowledge()
        assert not readable(alarm.fileno(), 0)


def test_alarm_for_the_past_rings_at_once() -> None:
    """A deadline of zero or below rings, it does not disarm."""
    with clock.Alarm() as alarm:
        for deadline_ns in (0, -1, clock.boottime_ns() - 1):
            alarm.set(deadline_ns)
            assert readable(alarm.fileno(), 5000)
            assert alarm.acknowledge()


def test_a_cleared_alarm_does_not_ring() -> None:
    """Clearing takes the deadline away."""
    with clock.Alarm() as alarm:
        alarm.set(clock.boottime_ns() + 10 * MS)
        alarm.clear()
        assert not readable(alarm.fileno(), 40)


def test_a_new_deadline_replaces_the_old_one() -> None:
    """Setting an alarm again moves it."""
    with clock.Alarm() as alarm:
        alarm.set(clock.boottime_ns() + 10 * MS)
        alarm.set(clock.boottime_ns() + 3600 * clock.NS_PER_S)
        assert not readable(alarm.fileno(), 40)


def test_alarm_does_not_reach_a_child() -> None:
    """The descriptor closes on exec and does not block."""
    with clock.Alarm() as alarm:
        assert not os.get_inheritable(alarm.fileno())
        assert not os.get_blocking(alarm.fileno())


def test_wait_readable_answers_false_at_the_deadline() -> None:
    """A pipe that nobody writes to is waited for until the deadline, one with a byte in it is not."""
    reader, writer = os.pipe()
    try:
        deadline_ns = clock.boottime_ns() + 20 * MS
        assert not clock.wait_readable(reader, deadline_ns)
        assert clock.boottime_ns() >= deadline_ns
        os.write(writer, b"x")
        assert clock.wait_readable(reader, clock.boottime_ns() - 1)
    finally:
        os.close(reader)
        os.close(writer)


def test_boot_id_is_a_uuid() -> None:
    """The boot's name has the 36 characters of a UUID and stays."""
    assert len(clock.boot_id()) == 36
    assert clock.boot_id() == clock.boot_id()

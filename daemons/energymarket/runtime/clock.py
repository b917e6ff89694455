"""The clocks and the one sleep: no other file reads a clock or sleeps.

CLOCK_BOOTTIME goes on while the machine is suspended and is never set, so deadlines are absolute times on
it. `timerfd` is used rather than `clock_nanosleep`, because it can be waited for together with other
descriptors; Python has it from 3.13 only, hence ctypes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import time
from types import TracebackType
from typing import Final, Self

NS_PER_S: Final = 1_000_000_000

_TFD_NONBLOCK: Final = os.O_NONBLOCK
_TFD_CLOEXEC: Final = os.O_CLOEXEC
_TFD_TIMER_ABSTIME: Final = 1


def boottime_ns() -> int:
    """Nanoseconds since the machine was started, suspended time included: the clock of all deadlines."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall_ns() -> int:
    """UTC in nanoseconds since 1970-01-01. It can be set and jump: for slots at speed 1 and for people."""
    return time.time_ns()


def monotonic_s() -> float:
    """Seconds of a clock that never goes back, for measuring how long something took."""
    return time.monotonic()


def boot_id() -> str:
    """The kernel's name for this boot: BOOTTIME values of another boot mean nothing."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 pathlib costs a daemon's start
        return file.read().strip()


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Alarm:
    """A descriptor that becomes readable at a deadline on CLOCK_BOOTTIME."""

    def __init__(self) -> None:
        self._fd = _checked(_libc.timerfd_create(time.CLOCK_BOOTTIME, _TFD_NONBLOCK | _TFD_CLOEXEC))

    def fileno(self) -> int:
        """The descriptor, for select, poll and epoll."""
        return self._fd

    def set(self, deadline_ns: int) -> None:
        """Ring once at `deadline_ns`; at once if that is past. It replaces an earlier deadline."""
        # A value of zero would disarm the timer, and one below zero be refused.
        at = max(deadline_ns, 1)
        spec = _Itimerspec(_Timespec(0, 0), _Timespec(at // NS_PER_S, at % NS_PER_S))
        _checked(_libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None))

    def clear(self) -> None:
        """Do not ring."""
        _checked(_libc.timerfd_settime(self._fd, 0, ctypes.byref(_Itimerspec()), None))

    def acknowledge(self) -> bool:
        """Whether it rang since it was set; the descriptor is not readable after it."""
        try:
            return bool(os.read(self._fd, 8))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sleep_until_boottime_ns(deadline_ns: int) -> None:
    """Return at the deadline, not before it; at once if it is past. Signals do not cut it short.

    For programs that have nothing else to wait for. A daemon waits for an `Alarm` among its descriptors.
    """
    span = _Timespec(max(deadline_ns, 0) // NS_PER_S, max(deadline_ns, 0) % NS_PER_S)
    while True:
        # Answers the error's number, does not set errno.
        result = _libc.clock_nanosleep(time.CLOCK_BOOTTIME, _TFD_TIMER_ABSTIME, ctypes.byref(span), None)
        if result == 0:
            return
        if result != errno.EINTR:
            raise OSError(result, os.strerror(result))


def wait_readable(fd: int, deadline_ns: int) -> bool:
    """Wait until a descriptor is readable; False if the deadline came first.

    A wait of less than a millisecond is rounded up to one: it may end late by that, never early.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        left_ns = deadline_ns - boottime_ns()
        if poll.poll(max(0, -(-left_ns // 1_000_000))):
            return True
        if boottime_ns() >= deadline_ns:
            return False

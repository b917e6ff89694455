"""An inbox for the one thread that owns a state: others put messages, it waits for them or a deadline.

What is urgent goes before what can wait, and neither comes in heaps: between two helpings the owner looks
at its clock, so that no crowd of askers keeps it from its deadlines.
"""

from __future__ import annotations

import os
import select
from collections import deque
from typing import Final, Generic, TypeVar

from energymarket.runtime.clock import Alarm

T = TypeVar("T")

HELPING_MAX: Final = 128
"""Urgent messages that are handed over at once."""


class Inbox(Generic[T]):
    """Urgent messages in order of arrival, those that can wait, and one absolute deadline on CLOCK_BOOTTIME.

    The deadline is kept by an alarm descriptor: poll's own time-out is rounded up to a millisecond.
    """

    def __init__(self) -> None:
        self._messages: deque[T] = deque()
        self._later: deque[T] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._alarm = Alarm()
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        self._poll.register(self._alarm, select.POLLIN)

    def close(self) -> None:
        """Close both descriptors; messages that nobody took are dropped."""
        os.close(self._bell)
        self._alarm.close()

    def put(self, message: T) -> None:
        """Append a message and wake the owner; any thread may do so."""
        self._messages.append(message)
        os.eventfd_write(self._bell, 1)

    def put_later(self, message: T) -> None:
        """Append a message that can wait until nothing urgent is there; any thread may do so."""
        self._later.append(message)
        os.eventfd_write(self._bell, 1)

    def wait(self, deadline_ns: int | None) -> list[T]:
        """The oldest urgent messages, then one that can wait; none when the deadline comes first.

        A deadline of 0 is long past: whoever has something to do looks in, and needs no alarm for it.
        """
        if not self._messages and not self._later and deadline_ns != 0:
            if deadline_ns is None:
                self._alarm.clear()
            else:
                self._alarm.set(deadline_ns)
            self._poll.poll()
        self._quieten()
        messages = [self._messages.popleft() for _ in range(min(HELPING_MAX, len(self._messages)))]
        if self._later:
            messages.append(self._later.popleft())
        return messages

    def rest(self) -> list[T]:
        """Everything that is still there, for an owner that ends."""
        messages: list[T] = []
        for waiting in (self._messages, self._later):
            while waiting:
                messages.append(waiting.popleft())
        return messages

    def _quieten(self) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return

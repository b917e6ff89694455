"""Single orders are carried out in threads of their own, so many at a time: the next client waits."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from energymarket.transport.call import Call

log = logging.getLogger(__name__)

ORDER_WH_MAX: Final = 1_000_000
"""Energy of one order: a megawatt-hour is far beyond any home's slot and keeps the sums small."""

ORDER_ID_BYTES_MAX: Final = 128


class TransactionPool:
    """A bounded pool: each thread holds one permit and carries out one Buy or Sell from check to answer."""

    def __init__(self, threads: int) -> None:
        self._threads_wanted = threads
        self._waiting: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._busy = 0
        self.busy_max = 0

    def start(self, carry_out: Callable[[Call], None]) -> None:
        """Start the threads; each call is carried out by one of them."""
        for number in range(self._threads_wanted):
            thread = threading.Thread(
                target=self._work, args=(carry_out,), name=f"transaction-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def submit(self, call: Call) -> None:
        """Hand in a call; it waits until a permit is free."""
        self._waiting.put(call)

    def stop(self, timeout_s: float) -> None:
        """Let the threads finish what they hold, and end."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(timeout_s)

    def describe(self) -> dict[str, int]:
        """How many permits there are, are in use, wait, and were in use at most."""
        return {
            "permits": self._threads_wanted,
            "busy": self._busy,
            "waiting": self._waiting.qsize(),
            "busy_max": self.busy_max,
        }

    def _work(self, carry_out: Callable[[Call], None]) -> None:
        while (call := self._waiting.get()) is not None:
            with self._lock:
                self._busy += 1
                self.busy_max = max(self.busy_max, self._busy)
            try:
                carry_out(call)
            finally:
                with self._lock:
                    self._busy -= 1

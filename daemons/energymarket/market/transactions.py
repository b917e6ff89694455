"""Single orders are carried out in threads of their own, so many at a time: the next client waits."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from energymarket.runtime.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from energymarket.transport.call import Call

log = logging.getLogger(__name__)

ORDER_WH_MAX: Final = 1_000_000
"""Energy of one order: a megawatt-hour is far beyond any home's slot and keeps the sums small."""

ORDER_ID_BYTES_MAX: Final = 128


class TransactionPool:
    """A bounded pool: each thread holds one permit and carries out one Buy or Sell from check to answer.

    Connections take turns: one that sends a thousand at once waits for itself, not the others for it.
    """

    def __init__(self, threads: int) -> None:
        self._threads_wanted = threads
        self._wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()  # a call waits; False: end
        self._lines: dict[int, deque[Call]] = {}  # by connection, oldest first; none is empty
        self._turns: deque[int] = deque()  # whose turn it is next
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
        """Hand in a call; it waits until a permit is free and its connection's turn has come."""
        with self._lock:
            line = self._lines.get(call.peer.id)
            if line is None:
                self._lines[call.peer.id] = deque((call,))
                self._turns.append(call.peer.id)
            else:
                line.append(call)
        self._wanted.put(True)

    def stop(self, timeout_s: float) -> None:
        """Let the threads finish what they hold, and end; they are waited for so long, all together."""
        until_s = monotonic_s() + timeout_s
        for _ in self._threads:
            self._wanted.put(False)
        for thread in self._threads:
            thread.join(max(0.0, until_s - monotonic_s()))

    def describe(self) -> dict[str, int]:
        """How many permits there are, are in use, wait, and were in use at most."""
        return {
            "permits": self._threads_wanted,
            "busy": self._busy,
            "waiting": self._wanted.qsize(),
            "busy_max": self.busy_max,
        }

    def _work(self, carry_out: Callable[[Call], None]) -> None:
        while self._wanted.get():
            with self._lock:
                call = self._next()
                if call.gone:
                    continue  # who leaves before its turn has ordered nothing
                self._busy += 1
                self.busy_max = max(self.busy_max, self._busy)
            try:
                carry_out(call)
            finally:
                with self._lock:
                    self._busy -= 1

    def _next(self) -> Call:
        """The oldest call of the connection whose turn it is; its next turn comes after all others'."""
        peer = self._turns.popleft()
        line = self._lines[peer]
        call = line.popleft()
        if line:
            self._turns.append(peer)
        else:
            del self._lines[peer]
        return call

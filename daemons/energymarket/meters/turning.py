"""The loop of a service on a link: its turns, its watchdog, its end in order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

from energymarket.meters.limits import FAREWELL_S
from energymarket.runtime import clock
from energymarket.runtime.notify import Notifier
from energymarket.runtime.service import StopFlag
from energymarket.transport.amqp import Link

log = logging.getLogger(__name__)

BEAT_S: Final = 0.25
STATUS_S: Final = 2.0


class Worker(Protocol):
    """What is done on the loop, beside what the link tells."""

    @property
    def status(self) -> str:
        """One line for people."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way any more that a good end waits for."""

    def turn(self) -> bool:
        """A turn of the loop; whether that was all."""

    def wait_s(self) -> float:
        """How long nothing is due."""

    def stop(self) -> None:
        """Begin nothing any more."""

    def hang_up(self, done: Callable[[], None]) -> None:
        """Close whatever else is open to the broker; then `done`."""


class Turning:
    """Runs until the worker is done or the flag is set, then until the link is closed."""

    def __init__(self, link: Link, worker: Worker, stop: StopFlag, notifier: Notifier) -> None:
        self._link = link
        self._worker = worker
        self._stop = stop
        self._notifier = notifier
        self._leaving = False
        self._told_s = 0.0

    def run(self) -> None:
        """Connect, and turn."""
        loop = self._link.loop
        loop.add_handler(self._stop.fileno(), self._stopped, loop.READ)
        self._link.connect()
        self._notifier.ready(self._worker.status)
        self._turn()
        loop.start()
        self._notifier.close()

    def _turn(self) -> None:
        if self._leaving:
            return
        done = self._worker.turn()
        self._notifier.beat()
        now_s = clock.monotonic_s()
        if now_s >= self._told_s + STATUS_S:
            self._told_s = now_s
            self._notifier.status(self._worker.status)
        if done:
            self._leave("done")
            return
        self._link.loop.call_later(min(BEAT_S, max(0.001, self._worker.wait_s())), self._turn)

    def _stopped(self, _fd: int, _events: int) -> None:
        self._link.loop.remove_handler(self._stop.fileno())
        if self._leaving:
            return
        self._leaving = True
        self._worker.stop()
        self._farewell(clock.monotonic_s() + FAREWELL_S)

    def _farewell(self, deadline_s: float) -> None:
        """What is under way is finished, for a moment."""
        if self._worker.is_settled or clock.monotonic_s() >= deadline_s:
            self._leave(f"stopping ({self._stop.reason})")
        else:
            self._link.loop.call_later(0.02, lambda: self._farewell(deadline_s))

    def _leave(self, why: str) -> None:
        self._leaving = True
        self._notifier.stopping(why)
        log.info("%s: %s", why, self._worker.status)
        # A broker that does not answer any more is not waited for.
        self._link.loop.call_later(FAREWELL_S, self._link.loop.stop)
        self._worker.hang_up(lambda: self._link.close(self._link.loop.stop))

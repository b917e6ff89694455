"""Where cases are played: the interface, and the cores of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Protocol

from energymarket.engine.crew import Worker, dismiss, hire
from energymarket.exits import Failure
from energymarket.studies.outcome import Outcome
from energymarket.studies.playing import Player, bug

if TYPE_CHECKING:
    from energymarket.runtime.service import Flag
    from energymarket.studies.cases import Order


class Pool(Protocol):
    """Plays orders somewhere, several at a time."""

    @property
    def room(self) -> int:
        """How many orders it takes before the next answer."""

    def begin(self, order: Order) -> None:
        """Take an order. Only while there is room."""

    def outcomes(self, stop: Flag) -> Sequence[Outcome]:
        """Wait for answers, or until the flag is set; at least one if it is not."""

    def close(self) -> None:
        """End whatever is played, unfinished."""


def play_all(pool: Pool, orders: Iterable[Order], heard: Callable[[Outcome], None], stop: Flag) -> None:
    """Play all orders, in their order as far as there is room; `heard` is told of each as it is played.

    Set the flag to stop: what is being played then is lost.
    """
    waiting, playing = iter(orders), 0
    following = next(waiting, None)
    while not stop.is_set() and (following is not None or playing):
        while following is not None and pool.room:
            pool.begin(following)
            playing += 1
            following = next(waiting, None)
        for outcome in pool.outcomes(stop):
            playing -= 1
            heard(outcome)


class LocalPool:
    """One process per core, each plays a case at a time. One that dies is replaced; its case has failed."""

    def __init__(self, workers: int, player: Player) -> None:
        """`player` is what the workers are copies of. Call it before there are threads."""
        self._player = player
        self._free = hire([player] * workers)
        self._busy: dict[Worker, int] = {}

    @property
    def room(self) -> int:
        """Workers that have nothing to do."""
        return len(self._free)

    def begin(self, order: Order) -> None:
        """Hand an order to a free worker."""
        worker = self._free.pop()
        try:
            worker.tell(order)
        except Failure:  # it has died with nothing to do
            self._replace(worker)
            worker = self._free.pop()
            worker.tell(order)
        self._busy[worker] = order.number

    def outcomes(self, stop: Flag) -> list[Outcome]:
        """Wait for workers that have answered or died, or for the flag."""
        ready = wait([*(worker.pipe for worker in self._busy), stop.fileno()])
        return [self._answer(worker) for worker in list(self._busy) if worker.pipe in ready]

    def _answer(self, worker: Worker) -> Outcome:
        number = self._busy.pop(worker)
        try:
            found: Outcome = worker.answer()
        except Failure:
            self._replace(worker)
            return Outcome(number, error="its process has died: out of memory, or killed")
        except RuntimeError as error:  # a bug, with its trace
            self._replace(worker)
            return bug(number, str(error))
        self._free.append(worker)
        return found

    def _replace(self, worker: Worker) -> None:
        dismiss([worker])
        self._free += hire([self._player])

    def close(self) -> None:
        """Kill all workers."""
        dismiss([*self._free, *self._busy])
        self._free.clear()
        self._busy.clear()

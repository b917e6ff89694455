"""Where passages are made ready: berths that go round between those who fill them and the run that reads."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING, Protocol

from energymarket.engine.berths import Berth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from energymarket.core.market import Opening
    from energymarket.engine.berths import Note
    from energymarket.engine.settling import Settled
    from energymarket.engine.source import Rest


class Conductor(Protocol):
    """Has slots played and settled, by whomever."""

    def conduct(self, chunks: Sequence[range], emit: Callable[[int, Sequence[Opening], Note], None]) -> None:
        """Play and settle the chunks; each is emitted in order, settled in its berth."""

    def rest(self) -> Rest:
        """What the market goes on from, between two legs."""


@dataclass(frozen=True, slots=True)
class Done:
    """A passage that lies settled in its berth."""

    berth: int
    openings: Sequence[Opening]
    note: Note


class Stage:
    """Berths of a run. Made before there are processes, which share them."""

    def __init__(self, berths: int, slots_max: int, homes: int) -> None:
        """`freed` tells the numbers of berths that may be used, each as a byte."""
        self._everyone = (1, homes, "all")
        self._slots_max = slots_max
        self.berths = [Berth(slots_max, homes) for _ in range(berths)]
        self.freed, self._free = Pipe(duplex=False)
        for berth in range(berths):
            self._free.send_bytes(bytes((berth,)))

    def leg(self, slots: range, conductor: Conductor) -> Iterator[Settled]:
        """The slots of a leg, settled; see `Source`."""
        chunks = [
            range(start, min(start + self._slots_max, slots.stop))
            for start in range(slots.start, slots.stop, self._slots_max)
        ]
        found: queue.SimpleQueue[Done | BaseException | None] = queue.SimpleQueue()
        conducting = threading.Thread(
            target=_conduct, args=(conductor, chunks, found), name="conductor", daemon=True
        )
        conducting.start()
        while (done := found.get()) is not None:
            if isinstance(done, BaseException):
                raise done
            yield self.berths[done.berth].take(done.openings, done.note, self._everyone)
            self._free.send_bytes(bytes((done.berth,)))
        conducting.join()

    def close(self) -> None:
        """Close the pipe. The berths' memory goes with the last process that has it."""
        self._free.close()
        self.freed.close()


def _conduct(
    conductor: Conductor, chunks: list[range], found: queue.SimpleQueue[Done | BaseException | None]
) -> None:
    """The conductor's thread: workers are answered at once, also while the run hashes and writes."""
    try:
        conductor.conduct(chunks, lambda *done: found.put(Done(*done)))
        found.put(None)
    except BaseException as error:  # noqa: BLE001 it is raised where the passages are awaited
        found.put(error)

"""The engine on all cores of this machine: workers play and settle, this process chains and writes.

A price needs all homes' slot before it, a settlement nothing but its own slot. So few homes are played
by one worker, ahead, while the others settle behind (`relay`); many homes are cut among all workers,
who play each slot together and then settle a slot each (`split`).
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING, Final

from energymarket.engine.berths import Berth
from energymarket.engine.crew import dismiss, hire
from energymarket.engine.relay import Relay
from energymarket.engine.source import Shards, ranges_of, slots_at_once
from energymarket.engine.split import Split
from energymarket.engine.tasks import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from energymarket.core.market import Opening
    from energymarket.core.state import State
    from energymarket.engine.berths import Note
    from energymarket.engine.settling import Settled, Settler
    from energymarket.engine.source import Rest
    from energymarket.engine.track import Track
    from energymarket.scenario.compiled import Compiled

SPLIT_HOMES: Final = 16_384
"""With so many homes per worker, a slot takes longer than the workers' meeting after it."""


@dataclass(frozen=True, slots=True)
class Done:
    """A passage that lies settled in its berth."""

    berth: int
    openings: Sequence[Opening]
    note: Note


class Local:
    """Plays a run with worker processes."""

    def __init__(
        self,
        compiled: Compiled,
        state: State,
        track: Track,
        settler: Settler,
        *,
        shards: int,
        workers: int,
        split: bool | None = None,
    ) -> None:
        homes = compiled.homes_count
        self._everyone = (1, homes, "all")
        self._slots_max = slots_at_once(homes)
        self._berths = [Berth(self._slots_max, homes) for _ in range(workers + 2)]
        is_split = homes >= SPLIT_HOMES * workers if split is None else split
        ranges = ranges_of(homes, max(shards, workers if is_split else 1))
        desks = []
        for number in range(workers):
            mine = ranges[number::workers] if is_split else ranges if number == 0 else []
            played = Shards(compiled, state, mine, self._slots_max) if mine else None
            desks.append(Desk(compiled, self._berths, settler, played, None if is_split else track))
        self._workers = hire(desks)
        self._freed, self._free = Pipe(duplex=False)
        for berth in range(len(self._berths)):
            self._free.send_bytes(bytes((berth,)))
        self._conductor: Relay | Split = (
            Split(self._workers, track, self._freed)
            if is_split
            else Relay(self._workers, self._freed, desks[0])
        )

    def leg(self, slots: range) -> Iterator[Settled]:
        """See `Source`."""
        chunks = [
            range(start, min(start + self._slots_max, slots.stop))
            for start in range(slots.start, slots.stop, self._slots_max)
        ]
        found: queue.SimpleQueue[Done | BaseException] = queue.SimpleQueue()
        thread = threading.Thread(target=self._conduct, args=(chunks, found), name="conductor", daemon=True)
        thread.start()
        for _ in chunks:
            done = found.get()
            if isinstance(done, BaseException):
                raise done
            yield self._berths[done.berth].take(done.openings, done.note, self._everyone)
            self._free.send_bytes(bytes((done.berth,)))
        thread.join()

    def _conduct(self, chunks: list[range], found: queue.SimpleQueue[Done | BaseException]) -> None:
        """The conductor's thread: workers are answered at once, also while this process hashes and writes."""
        try:
            self._conductor.conduct(chunks, lambda *done: found.put(Done(*done)))
        except BaseException as error:  # noqa: BLE001 it is raised where the passages are awaited
            found.put(error)

    def rest(self) -> Rest:
        """See `Source`."""
        return self._conductor.rest()

    def close(self) -> None:
        """End the workers."""
        dismiss(self._workers)
        self._free.close()
        self._freed.close()

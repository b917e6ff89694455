"""Many homes: every worker plays its part of each slot, then settles whole slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energymarket.engine.embedded import rest_of
from energymarket.engine.tasks import Live, Look, Settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from energymarket.core.market import Opening
    from energymarket.engine.berths import Note
    from energymarket.engine.crew import Worker
    from energymarket.engine.source import Rest
    from energymarket.engine.track import Track


class Split:
    """Conducts workers that all have homes; the market's track is here."""

    def __init__(self, workers: Sequence[Worker], track: Track, freed: Connection) -> None:
        """`freed` tells berths that may be used again."""
        self._workers = workers
        self._track = track
        self._freed = freed

    def conduct(self, chunks: Sequence[range], emit: Callable[[int, Sequence[Opening], Note], None]) -> None:
        """Play and settle the chunks; each is emitted in order."""
        for start in range(0, len(chunks), len(self._workers)):
            played = [self._play(slots) for slots in chunks[start : start + len(self._workers)]]
            for worker, (berth, openings) in zip(self._workers, played, strict=False):
                worker.tell(Settle(berth, openings))
            for worker, (berth, openings) in zip(self._workers, played, strict=False):
                emit(berth, openings, worker.answer())

    def _play(self, slots: range) -> tuple[int, list[Opening]]:
        berth = self._freed.recv_bytes()[0]
        self._ask_all(Look(slots))
        self._track.look(slots)
        openings = []
        for at in range(len(slots)):
            opening = self._track.open(at)
            flowed = self._ask_all(Live(berth, at, opening.prices.price))
            self._track.close(sum(each[0] for each in flowed), sum(each[1] for each in flowed))
            openings.append(opening)
        return berth, openings

    def _ask_all(self, task: Look | Live) -> list[tuple[int, int]]:
        """Let every worker do a task at once; their answers."""
        for worker in self._workers:
            worker.tell(task)
        return [worker.answer() for worker in self._workers]

    def rest(self) -> Rest:
        """What our market goes on from."""
        return rest_of(self._track)

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
        self._settling: list[tuple[Worker, int, list[Opening]]] = []

    def conduct(self, chunks: Sequence[range], emit: Callable[[int, Sequence[Opening], Note], None]) -> None:
        """Play and settle the chunks; each is emitted in order."""
        for start in range(0, len(chunks), len(self._workers)):
            played = [self._play(slots, emit) for slots in chunks[start : start + len(self._workers)]]
            for worker, (berth, openings) in zip(self._workers, played, strict=False):
                worker.tell(Settle(berth, openings))
                self._settling.append((worker, berth, openings))
        self._hand_on(emit)

    def _play(
        self, slots: range, emit: Callable[[int, Sequence[Opening], Note], None]
    ) -> tuple[int, list[Opening]]:
        """Whoever has settled goes on with these slots at once, and does not wait for who has not."""
        berth = self._freed.recv_bytes()[0]
        self._track.look(slots)
        for worker in self._workers:
            worker.tell(Look(slots))
        openings = []
        for at in range(len(slots)):
            opening = self._track.open(at)
            for worker in self._workers:
                worker.tell(Live(berth, at, opening.prices.price))
            if at == 0:
                self._hand_on(emit)
                for worker in self._workers:
                    worker.answer()  # to Look
            flowed = [worker.answer() for worker in self._workers]
            self._track.close(sum(each[0] for each in flowed), sum(each[1] for each in flowed))
            openings.append(opening)
        return berth, openings

    def _hand_on(self, emit: Callable[[int, Sequence[Opening], Note], None]) -> None:
        """Emit what workers were told to settle, once it is."""
        for worker, berth, openings in self._settling:
            emit(berth, openings, worker.answer())
        self._settling.clear()

    def rest(self) -> Rest:
        """What our market goes on from."""
        return rest_of(self._track)

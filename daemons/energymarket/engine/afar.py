"""The engine over a cluster: actors play the homes, this machine's processes settle, this one writes.

What crosses: to each actor the scenario once, a price per slot, and the shard's state when it begins; from
it what flowed in each slot, what each home did in each passage, and the state between two legs. Gifts,
money and the ledger never leave this machine: there is one writer.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from energymarket.core.course import Lived
from energymarket.engine.crew import dismiss, hire
from energymarket.engine.embedded import rest_of
from energymarket.engine.parcel import packed
from energymarket.engine.settling import Settler
from energymarket.engine.singly import SingleSettler
from energymarket.engine.source import ranges_of, slots_at_once
from energymarket.engine.stage import Stage
from energymarket.engine.tasks import Desk, Settle
from energymarket.engine.troupe import Troupe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from energymarket.core.market import Opening
    from energymarket.core.state import State
    from energymarket.engine.berths import Berth, Note
    from energymarket.engine.crew import Worker
    from energymarket.engine.settling import Settled
    from energymarket.engine.source import Rest
    from energymarket.engine.track import Track
    from energymarket.engine.troupe import Cluster
    from energymarket.scenario.compiled import Compiled


class Afar:
    """Plays a run with players on a cluster."""

    def __init__(
        self,
        compiled: Compiled,
        state: State,
        track: Track,
        settler: Settler | SingleSettler,
        cluster: Cluster,
        *,
        shards: int | None,
        workers: int,
        noted: Callable[[str], None],
    ) -> None:
        """`shards` actors, or one per processor of the cluster; `workers` processes settle here."""
        homes = compiled.homes_count
        slots_max = slots_at_once(homes)
        self._stage: Stage | None = None
        self._workers: list[Worker] = []
        if isinstance(settler, Settler):
            self._stage = Stage(workers + 2, slots_max, homes)
            desks = [Desk(compiled, self._stage.berths, settler, None, None) for _ in range(workers)]
            self._workers = hire(desks)  # before there are threads, and Ray has many
        self._cluster = cluster
        self._track = track
        self._settler = settler
        self._troupe: Troupe | None = None
        try:
            cluster.join()
            ranges = ranges_of(homes, shards or cluster.cpus)
            self._troupe = Troupe(cluster, packed(compiled), state, ranges, slots_max, noted)
            self._troupe.begin()
        except BaseException:
            self.close()
            raise
        self._lived = Lived.room(1, homes)

    @property
    def _players(self) -> Troupe:
        if self._troupe is None:
            raise RuntimeError("the cluster was not joined")
        return self._troupe

    def leg(self, slots: range) -> Iterator[Settled]:
        """See `Source`."""
        if isinstance(self._settler, SingleSettler):
            yield from map(partial(self._play_singly, self._settler), slots)
            self._players.bring_home()
            return
        if self._stage is None:
            raise RuntimeError("there is nobody to settle")
        tour = Tour(self._players, self._track, self._workers, self._stage.berths, self._stage.freed)
        yield from self._stage.leg(slots, tour)

    def _play_singly(self, settler: SingleSettler, slot: int) -> Settled:
        """One slot. The next price depends on what was heard in it: a late home is heard later."""
        ahead = range(slot, slot + 1)
        self._players.look(ahead)
        self._track.look(ahead)
        opening = self._track.open(0)
        self._players.live(0, opening.prices.price, self._lived)
        settled = settler.settle([opening], self._lived)
        self._track.close(settled.totals[0].consumed_wh, settled.totals[0].produced_wh)
        return settled

    def rest(self) -> Rest:
        """See `Source`."""
        return rest_of(self._track)

    def account(self) -> dict[str, Any]:
        """See `Source`."""
        return {"ray": {**self._cluster.account(), **self._players.account()}}

    def close(self) -> None:
        """End actors and workers, and leave the cluster."""
        try:
            if self._troupe is not None:
                self._troupe.close()
            self._cluster.leave()
        finally:
            dismiss(self._workers)
            if self._stage is not None:
                self._stage.close()


class Tour:
    """Conducts a leg: the troupe plays passage after passage, and whoever is free settles behind it."""

    def __init__(
        self,
        troupe: Troupe,
        track: Track,
        settlers: Sequence[Worker],
        berths: Sequence[Berth],
        freed: Connection,
    ) -> None:
        """`freed` tells berths that may be used again."""
        self._troupe = troupe
        self._track = track
        self._settlers = settlers
        self._berths = berths
        self._freed = freed
        self._settling: deque[tuple[Worker, int, Sequence[Opening]]] = deque()

    def conduct(self, chunks: Sequence[range], emit: Callable[[int, Sequence[Opening], Note], None]) -> None:
        """See `Conductor`. At the end every home's state is with the run."""
        for slots in chunks:
            berth = self._berth(emit)
            openings = self._play(slots, self._berths[berth].lived)
            settler = min(self._settlers, key=self._lying_at)
            settler.tell(Settle(berth, openings))
            self._settling.append((settler, berth, openings))
            while self._settling and self._settling[0][0].pipe.poll():
                self._emit(emit)
        self._troupe.bring_home()
        while self._settling:
            self._emit(emit)

    def _berth(self, emit: Callable[[int, Sequence[Opening], Note], None]) -> int:
        """A free berth. The run frees none before it has what is settled."""
        while not self._freed.poll(0 if self._settling else None):
            self._emit(emit)
        return self._freed.recv_bytes()[0]

    def _lying_at(self, settler: Worker) -> int:
        return sum(each is settler for each, _, _ in self._settling)

    def _emit(self, emit: Callable[[int, Sequence[Opening], Note], None]) -> None:
        """The oldest passage, once it is settled."""
        settler, berth, openings = self._settling.popleft()
        emit(berth, openings, cast("Note", settler.answer()))

    def _play(self, slots: range, into: Lived) -> list[Opening]:
        self._troupe.look(slots)
        self._track.look(slots)
        openings = []
        for at in range(len(slots)):
            opening = self._track.open(at)
            self._track.close(*self._troupe.live(at, opening.prices.price, into))
            openings.append(opening)
        return openings

    def rest(self) -> Rest:
        """See `Conductor`."""
        return rest_of(self._track)

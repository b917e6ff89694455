"""Few homes: one worker plays them, some passages ahead; the others settle what it has played."""

from __future__ import annotations

from collections import deque
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final, cast

from energymarket.engine.tasks import Play, Settle, TellRest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from energymarket.core.market import Opening
    from energymarket.engine.berths import Note
    from energymarket.engine.crew import Worker
    from energymarket.engine.source import Rest
    from energymarket.engine.tasks import Desk

AT_ONCE: Final = 2
"""Passages that lie at a settling worker: it never waits for the next, and no pipe fills up."""


class Relay:
    """Conducts a player and its settlers."""

    def __init__(self, workers: Sequence[Worker], freed: Connection, own: Desk) -> None:
        """`freed` tells berths that may be used again; at `own` we settle where there is no settler."""
        self._player, *self._settlers = workers
        self._freed = freed
        self._own = own
        self._free: list[int] = []

    def conduct(self, chunks: Sequence[range], emit: Callable[[int, Sequence[Opening], Note], None]) -> None:
        """Play and settle the chunks; each is emitted in order."""
        leg = _Leg(chunks)
        while leg.emitted < len(chunks):
            while leg.waiting and self._free:
                berth = self._free.pop()
                self._player.tell(Play(berth, leg.waiting.popleft()))
                leg.playing.append(berth)
            self._hand_out(leg)
            while leg.emitted in leg.settled:
                emit(*leg.settled.pop(leg.emitted))
                leg.emitted += 1
            if leg.emitted < len(chunks):
                self._hear(leg)

    def _hand_out(self, leg: _Leg) -> None:
        """Give what is played to the settlers that have the least to do."""
        while leg.played:
            if not self._settlers:
                number, berth, openings = leg.played.popleft()
                note = cast("Note", self._own.serve(Settle(berth, openings)))
                leg.settled[number] = (berth, openings, note)
                continue
            settler = min(self._settlers, key=lambda each: len(leg.settling.get(each.number, ())))
            at_it = leg.settling.setdefault(settler.number, deque())
            if len(at_it) >= AT_ONCE:
                return
            found = leg.played.popleft()
            settler.tell(Settle(found[1], found[2]))
            at_it.append(found)

    def _hear(self, leg: _Leg) -> None:
        """Wait for a berth or an answer."""
        busy = [each for each in self._settlers if leg.settling.get(each.number)]
        listening: list[Any] = [each.pipe for each in busy]
        if leg.playing:
            listening.append(self._player.pipe)
        if leg.waiting:
            listening.append(self._freed)
        ready = wait(listening) if not any(n == leg.emitted for n in leg.settled) else wait(listening, 0)
        if self._freed in ready:
            self._free.append(self._freed.recv_bytes()[0])
        if self._player.pipe in ready:
            leg.played.append((leg.number, leg.playing.popleft(), self._player.answer()))
            leg.number += 1
        for settler in busy:
            if settler.pipe in ready:
                number, berth, openings = leg.settling[settler.number].popleft()
                leg.settled[number] = (berth, openings, settler.answer())

    def rest(self) -> Rest:
        """What the player's market goes on from."""
        self._player.tell(TellRest())
        rest: Rest = self._player.answer()
        return rest


class _Leg:
    """How far the chunks of a leg are."""

    def __init__(self, chunks: Sequence[range]) -> None:
        self.waiting = deque(chunks)
        self.playing: deque[int] = deque()  # berths, in order
        self.played: deque[tuple[int, int, Sequence[Opening]]] = deque()
        self.settling: dict[int, deque[tuple[int, int, Sequence[Opening]]]] = {}  # by settler
        self.settled: dict[int, tuple[int, Sequence[Opening], Note]] = {}
        self.number = 0  # of the chunk that is played next
        self.emitted = 0

"""The engine in one process: homes, prices and settlement in turn."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from energymarket.core.course import Lived
from energymarket.engine.settling import Room
from energymarket.engine.singly import SingleSettler
from energymarket.engine.source import Rest, Shards, ranges_of, slots_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from energymarket.core.state import State
    from energymarket.engine.settling import Settled, Settler
    from energymarket.engine.track import Track
    from energymarket.scenario.compiled import Compiled


class Embedded:
    """Plays a run in this process."""

    def __init__(
        self, compiled: Compiled, state: State, track: Track, settler: Settler | SingleSettler, shards: int
    ) -> None:
        homes = compiled.homes_count
        self._slots_max = slots_at_once(homes)
        self._homes = homes
        self._track = track
        self._settler = settler
        self._shards = Shards(compiled, state, ranges_of(homes, shards), self._slots_max)
        self._lived = Lived.room(self._slots_max, homes)
        self._room = Room(self._slots_max, homes)

    def leg(self, slots: range) -> Iterator[Settled]:
        """See `Source`."""
        if isinstance(self._settler, SingleSettler):
            yield from map(partial(self._play_singly, self._settler), slots)
            return
        for start in range(slots.start, slots.stop, self._slots_max):
            ahead = range(start, min(start + self._slots_max, slots.stop))
            openings = self._shards.play(ahead, self._track, self._lived)
            yield self._settler.settle(openings, self._lived.part(0, self._homes, len(ahead)), self._room)

    def _play_singly(self, settler: SingleSettler, slot: int) -> Settled:
        """One slot. The next price depends on what was heard in it: a late home is heard later."""
        ahead, lived = range(slot, slot + 1), self._lived.part(0, self._homes, 1)
        self._shards.turn_to(ahead, self._track.look(ahead))
        opening = self._track.open(0)
        self._shards.live(0, opening.prices.price, lived)
        self._shards.book(lived, 1)
        settled = settler.settle([opening], lived)
        self._track.close(settled.totals[0].consumed_wh, settled.totals[0].produced_wh)
        return settled

    def rest(self) -> Rest:
        """See `Source`."""
        return rest_of(self._track)

    def account(self) -> dict[str, Any]:
        """See `Source`."""
        return {}

    def close(self) -> None:
        """Nothing was taken."""


def rest_of(track: Track) -> Rest:
    """What a track goes on from."""
    return Rest(track.market.state(), json.dumps(track.market.book.to_dict()))

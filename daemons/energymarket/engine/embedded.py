"""The engine in one process: homes, prices and settlement in turn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from energymarket.core.fleet import Lived
from energymarket.engine.source import Rest, Shards, ranges_of, slots_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from energymarket.core.state import State
    from energymarket.engine.settling import Settled, Settler
    from energymarket.engine.singly import SingleSettler
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

    def leg(self, slots: range) -> Iterator[Settled]:
        """See `Source`."""
        for start in range(slots.start, slots.stop, self._slots_max):
            ahead = range(start, min(start + self._slots_max, slots.stop))
            openings = self._shards.play(ahead, self._track, self._lived)
            yield self._settler.settle(openings, self._lived.part(0, self._homes, len(ahead)))

    def rest(self) -> Rest:
        """See `Source`."""
        return rest_of(self._track)

    def close(self) -> None:
        """Nothing was taken."""


def rest_of(track: Track) -> Rest:
    """What a track goes on from."""
    return Rest(track.market.state(), json.dumps(track.market.book.to_dict()))

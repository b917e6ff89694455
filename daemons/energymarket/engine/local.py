"""The engine on all cores of this machine: workers play and settle, this process chains and writes.

A price needs all homes' slot before it, a settlement nothing but its own slot. So few homes are played
by one worker, ahead, while the others settle behind (`relay`); many homes are cut among all workers,
who play each slot together and then settle a slot each (`split`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from energymarket.engine.crew import dismiss, hire
from energymarket.engine.relay import Relay
from energymarket.engine.source import Shards, balanced_ranges, ranges_of, slots_at_once
from energymarket.engine.split import Split
from energymarket.engine.stage import Stage
from energymarket.engine.tasks import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from energymarket.core.state import State
    from energymarket.engine.settling import Settled, Settler
    from energymarket.engine.source import Rest
    from energymarket.engine.track import Track
    from energymarket.scenario.compiled import Compiled

SPLIT_HOMES: Final = 16_384
"""With so many homes per worker, a slot takes longer than the workers' meeting after it."""

RELAY_BERTHS: Final = 6
"""Beside one for each worker: passages by night are settled sooner than those by day, played they are not."""


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
        slots_max = slots_at_once(homes)
        is_split = homes >= SPLIT_HOMES * workers if split is None else split
        self._stage = Stage(workers + (2 if is_split else RELAY_BERTHS), slots_max, homes)
        ranges = (
            balanced_ranges(compiled.homes, max(shards, workers))
            if is_split
            else ranges_of(homes, max(shards, 1))
        )
        desks = []
        for number in range(workers):
            mine = ranges[number::workers] if is_split else ranges if number == 0 else []
            played = partial(Shards, compiled, state, mine, slots_max) if mine else None
            desks.append(Desk(compiled, self._stage.berths, settler, played, None if is_split else track))
        self._workers = hire(desks)
        freed = self._stage.freed
        self._conductor: Relay | Split = (
            Split(self._workers, track, freed) if is_split else Relay(self._workers, freed, desks[0])
        )

    def leg(self, slots: range) -> Iterator[Settled]:
        """See `Source`."""
        return self._stage.leg(slots, self._conductor)

    def rest(self) -> Rest:
        """See `Source`."""
        return self._conductor.rest()

    def account(self) -> dict[str, Any]:
        """See `Source`."""
        return {}

    def close(self) -> None:
        """End the workers."""
        dismiss(self._workers)
        self._stage.close()

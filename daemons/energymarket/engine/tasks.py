"""What workers are told to do, and the desk at which a worker does it."""

from __future__ import annotations

import copyreg
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from energymarket.core.market import Opening
from energymarket.core.postings import Prices
from energymarket.core.pricing import Terms
from energymarket.core.totals import Totals
from energymarket.engine.embedded import rest_of
from energymarket.engine.source import Rest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from energymarket.engine.berths import Berth, Note
    from energymarket.engine.settling import Settler
    from energymarket.engine.source import Shards
    from energymarket.engine.track import Track
    from energymarket.scenario.compiled import Compiled


def _travel_light(kind: type[Any]) -> None:
    """Let a frozen record be pickled as its fields: as dataclasses have it, it takes three times as long."""
    values = attrgetter(*(field.name for field in fields(kind)))
    copyreg.pickle(kind, lambda record: (kind, values(record)))


for _kind in (Opening, Prices, Terms, Totals):  # of every slot they go from worker to worker
    _travel_light(_kind)


@dataclass(frozen=True, slots=True)
class Play:
    """Play slots with all homes, prices included; answers the openings."""

    berth: int
    slots: range


@dataclass(frozen=True, slots=True)
class Look:
    """Turn to slots with the worker's homes; answers nothing of worth."""

    slots: range


@dataclass(frozen=True, slots=True)
class Live:
    """Play the slot at a place with the worker's homes; answers what they consumed and produced."""

    berth: int
    at: int
    price_ueur_per_kwh: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Settle slots that have been played; answers a note of what lies in the berth then."""

    berth: int
    openings: Sequence[Opening]


@dataclass(frozen=True, slots=True)
class TellRest:
    """Between two legs: answers what the worker's market goes on from."""


class Desk:
    """A worker's place: its homes, perhaps the market's track, and the berths that all share."""

    def __init__(
        self,
        compiled: Compiled,
        berths: Sequence[Berth],
        settler: Settler,
        shards: Callable[[], Shards] | None,
        track: Track | None,
    ) -> None:
        """`shards` makes the homes, once it is their turn: every worker makes its own, at the same time."""
        self._compiled = compiled
        self._berths = berths
        self._settler = settler
        self._make_shards = shards
        self._shards: Shards | None = None
        self._track = track
        self._slots = range(0)

    def serve(self, task: Play | Look | Live | Settle | TellRest) -> object:
        """Do a task; the answer."""
        match task:
            case Play(berth, slots):
                return self._homes.play(slots, self._prices, self._berths[berth].lived)
            case Look(slots):
                rows = [self._compiled.table_row(slot) for slot in slots]
                self._homes.turn_to(slots, np.asarray(self._compiled.weather)[rows])
                self._slots = slots
                return None
            case Live(berth, at, price):
                return self._live(berth, at, price)
            case Settle(berth, openings):
                return self._settle(self._berths[berth], openings)
            case TellRest():
                return rest_of(self._prices)
            case _:
                assert_never(task)

    def _live(self, berth: int, at: int, price_ueur_per_kwh: int) -> tuple[int, int]:
        lived = self._berths[berth].lived
        flowed = self._homes.live(at, price_ueur_per_kwh, lived)
        if at == len(self._slots) - 1:
            self._homes.book(lived, len(self._slots))
        return flowed

    def _settle(self, berth: Berth, openings: Sequence[Opening]) -> Note:
        lived = berth.lived.part(0, self._compiled.homes_count, len(openings))
        return berth.leave(self._settler.settle(openings, lived, berth.room))

    @property
    def _homes(self) -> Shards:
        if self._shards is None:
            if self._make_shards is None:
                raise RuntimeError("this worker has no homes")
            self._shards = self._make_shards()
        return self._shards

    @property
    def _prices(self) -> Track:
        if self._track is None:
            raise RuntimeError("this worker has no market")
        return self._track


__all__ = ["Desk", "Live", "Look", "Play", "Rest", "Settle", "TellRest"]

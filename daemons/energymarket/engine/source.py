"""Where settled slots come from: a source plays the slots of a leg, in order, however it does it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from energymarket.core.course import Course
from energymarket.core.fleet import Fleet
from energymarket.core.owned import supplies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from energymarket.core.block import Column
    from energymarket.core.course import Lived
    from energymarket.core.market import Opening
    from energymarket.core.state import State
    from energymarket.core.weather import Samples
    from energymarket.engine.settling import Settled
    from energymarket.engine.track import Track
    from energymarket.scenario.compiled import Compiled

ROWS_AT_ONCE: Final = 1 << 16
"""Slots times homes that are looked at together: beyond it the arrays leave the second-level cache."""

SLOTS_AT_ONCE_MAX: Final = 96
"""Beyond it the cost of a call to NumPy no longer shows."""


def slots_at_once(homes: int) -> int:
    """How many slots of so many homes make a passage."""
    return max(1, min(SLOTS_AT_ONCE_MAX, ROWS_AT_ONCE // homes))


def ranges_of(homes: int, shards: int) -> list[tuple[int, int]]:
    """(first home from 0, count) of each shard: contiguous and of nearly equal size."""
    shards = max(1, min(shards, homes))
    edges = [homes * part // shards for part in range(shards + 1)]
    return [(first, last - first) for first, last in pairwise(edges)]


def balanced_ranges(homes: Mapping[str, Column], shards: int) -> list[tuple[int, int]]:
    """`ranges_of` of about equal work: who has a roof or a battery takes longer, and they may stand together.

    `homes` are the columns of a compiled scenario.
    """
    work = np.full(len(homes["policy"]), _WORK_OF_ANY, np.int64)
    for owns, more in (
        (supplies(homes), _WORK_OF_SUPPLY),
        (homes["battery_capacity_wh"] > 0, _WORK_OF_BATTERY),
        (homes["heat_wh_per_k"] > 0, _WORK_OF_HEAT),
    ):
        work[owns] += more
    done = np.cumsum(work)
    edges = [int(np.searchsorted(done, done[-1] * part // shards)) + 1 for part in range(1, shards)]
    ranges = [(first, last - first) for first, last in pairwise((0, *edges, len(work)))]
    return ranges if all(count for _, count in ranges) else ranges_of(len(work), shards)


_WORK_OF_ANY: Final = 5  # measured: 35 ns a home and slot with nothing but a load,
_WORK_OF_SUPPLY: Final = 2
_WORK_OF_BATTERY: Final = 6
_WORK_OF_HEAT: Final = 2


@dataclass(frozen=True, slots=True)
class Rest:
    """What the market goes on from after a leg, as the ledger keeps it."""

    state: str
    events: str


class Source(Protocol):
    """Plays slots. The homes' state is in place: after a leg it is that of the leg's last slot."""

    def leg(self, slots: range) -> Iterator[Settled]:
        """Play these slots; what it yields may be looked at until the next one is asked for."""

    def rest(self) -> Rest:
        """What the market goes on from, between two legs."""

    def account(self) -> dict[str, Any]:
        """What is to be told of how the slots were played, as JSON; asked before `close`."""

    def close(self) -> None:
        """Give back what was taken."""


class Shards:
    """The homes of a scenario in one or several ranges, living in place in one state."""

    def __init__(
        self, compiled: Compiled, state: State, ranges: list[tuple[int, int]], slots_max: int
    ) -> None:
        self._parts = []
        for first, count in ranges:
            fleet = Fleet(compiled, first + 1, count)
            course = Course(fleet, state.part(first, first + count), slots_max)
            self._parts.append((first, count, course))

    def play(self, slots: range, track: Track, into: Lived) -> list[Opening]:
        """Play slots one after the other, each at its price; how they opened."""
        weather = track.look(slots)
        self.turn_to(slots, weather)
        parts = [(course, into.part(first, count, len(slots))) for first, count, course in self._parts]
        openings = []
        for at in range(len(slots)):
            opening = track.open(at)
            flowed = [course.live(at, opening.prices.price, part) for course, part in parts]
            track.close(sum(each[0] for each in flowed), sum(each[1] for each in flowed))
            openings.append(opening)
        self.book(into, len(slots))
        return openings

    def turn_to(self, slots: range, weather: Samples) -> None:
        """Look at the slots that come next."""
        for _, _, course in self._parts:
            course.turn_to(slots, weather)

    def live(self, at: int, price_ueur_per_kwh: int, into: Lived) -> tuple[int, int]:
        """Play the slot at a place; what these homes have consumed and produced."""
        consumed_wh = produced_wh = 0
        for first, count, course in self._parts:
            part = into.part(first, count, at + 1)
            consumed, produced = course.live(at, price_ueur_per_kwh, part)
            consumed_wh += consumed
            produced_wh += produced
        return consumed_wh, produced_wh

    def book(self, lived: Lived, slots: int) -> None:
        """Add what was lived in the first so many slots to the registers of the meters."""
        for first, count, course in self._parts:
            course.book(lived.part(first, count, slots))

"""The market ahead: its slots played from the present on, once for each sample of what may come.

What plays is what always plays: the fleet, the price, the book of events. Gifts and money are left out, for
neither the price nor the net load depends on them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core.chance import Purpose, draw_u64
from energymarket.core.course import Lived
from energymarket.core.events import book_from_dict
from energymarket.core.parameters import price_model_from
from energymarket.core.state import STATE_COLUMNS, State
from energymarket.engine.source import Shards, slots_at_once
from energymarket.engine.track import Track, market_of

if TYPE_CHECKING:
    from energymarket.core.market import Market
    from energymarket.core.units import I64
    from energymarket.foresight.weather_paths import WeatherPaths
    from energymarket.scenario.compiled import Compiled

_SEED_MASK: Final = (1 << 63) - 1
EVENTS: Final = 8  # what a sample's draws are for, beside the three of its weather
HOMES: Final = 9

Told = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Start:
    """What the market and its homes go on from."""

    market: str  # as Market.state() says it
    events: str  # the book, as JSON
    price: str  # the model of the price, as JSON: a reload may have changed it
    slots: range  # that are to be played
    is_open: bool  # the first of them has begun: no further event begins in it
    homes: State


@dataclass(frozen=True, slots=True)
class Unknown:
    """What is drawn anew in each sample: weather by its paths, events and households if so asked."""

    weather: WeatherPaths
    events: bool
    homes: bool

    @property
    def is_none(self) -> bool:
        """Nothing is: one sample says all."""
        return self.weather.is_certain and not self.events and not self.homes


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of each sample: (samples, slots)."""

    price_ueur_per_kwh: I64
    net_wh: I64  # of all homes at their meters: above zero they draw from the grid


def play(
    compiled: Compiled, start: Start, unknown: Unknown, *, samples: int, seed: int, told: Told
) -> Outcomes:
    """Play the slots once per sample; `told` hears the share that is done."""
    slots, homes = start.slots, compiled.homes_count
    found = Outcomes(*(np.zeros((samples, len(slots)), np.int64) for _ in range(2)))
    weather = np.array(compiled.weather)  # a copy: the rows of the slots ahead are written for each sample
    rows = [compiled.table_row(slot) for slot in slots]  # which repeat beyond the scenario's period
    memory = bytearray(State.size_bytes(homes))
    at_once = slots_at_once(homes)
    lived = Lived.room(at_once, homes)
    for number in range(samples):
        path = unknown.weather.path(seed, number)
        of_market, of_homes = _sampled(replace(compiled, weather=weather), unknown, seed, number)
        track = _Track(of_market, _market(of_market, start), begun=slots[0] if start.is_open else None)
        shards = Shards(of_homes, _copied(start.homes, memory), [(0, homes)], at_once)
        for begin in range(0, len(slots), at_once):
            ahead = slots[begin : begin + at_once]
            weather[rows[begin : begin + at_once]] = path[begin : begin + at_once]
            openings = shards.play(ahead, track, lived)
            here = slice(begin, begin + len(ahead))
            found.price_ueur_per_kwh[number, here] = [each.prices.price for each in openings]
            found.net_wh[number, here] = -lived.net_wh[: len(ahead)].sum(axis=1, dtype=np.int64)
            told((number + (begin + len(ahead)) / len(slots)) / samples)
    return found


class _Track(Track):
    """Prices of the slots ahead. In a slot that has begun the book says which events there are."""

    def __init__(self, compiled: Compiled, market: Market, begun: int | None) -> None:
        super().__init__(compiled, market)
        self._begun = begun

    def _begin_events(self, slot: int, *, raining: bool) -> None:
        if slot != self._begun:
            super()._begin_events(slot, raining=raining)


def _sampled(compiled: Compiled, unknown: Unknown, seed: int, number: int) -> tuple[Compiled, Compiled]:
    """The scenario as the market and as the homes of a sample have it: each with chance of its own."""
    of_events, of_homes = (
        draw_u64(seed, Purpose.FORECAST, number, what) & _SEED_MASK for what in (EVENTS, HOMES)
    )
    kinds = compiled.price.events
    if not unknown.events:
        kinds = tuple(replace(kind, arrivals_per_slot=0.0) for kind in kinds)
    market = replace(compiled, seed=of_events, price=replace(compiled.price, events=kinds))
    return market, replace(compiled, seed=of_homes) if unknown.homes else compiled


def _market(compiled: Compiled, start: Start) -> Market:
    """The market after its last slot, without accounts: nobody is billed."""
    market = market_of(compiled, homes=0)
    market.rules = replace(market.rules, price=price_model_from(json.loads(start.price)))
    market.resume(start.market, b"")
    market.book = book_from_dict(json.loads(start.events))
    return market


def _copied(state: State, memory: bytearray) -> State:
    """The same state in memory of its own, for a sample moves it on in place."""
    made = State(memory, state.count)
    for name, _ in STATE_COLUMNS:
        made.column(name)[:] = state.column(name)
    return made

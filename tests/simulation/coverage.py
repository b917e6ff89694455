"""How often the truth falls between P10 and P90: forecasts of many days, held against days that came.

A day that came: the market goes on from the same state under weather that strays from the scenario's by a
path of its own, with the events and households of the scenario's own seed. No forecast knows any of these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from energymarket.core.course import Lived
from energymarket.core.events import book_from_dict
from energymarket.core.fleet import Fleet, initial_state
from energymarket.core.state import STATE_COLUMNS, State
from energymarket.engine.source import Shards, slots_at_once
from energymarket.engine.track import Track, market_of
from energymarket.foresight.climate import climate_of, light_of
from energymarket.foresight.forecast import Asked, forecast
from energymarket.foresight.present import Found
from energymarket.foresight.weather_paths import PART, Deviation, WeatherPaths
from energymarket.scenario.compiled import Compiled

I64 = npt.NDArray[np.int64]
TRUTH_SEED = 999


@dataclass(frozen=True)
class Dawn:
    """The market before a day."""

    first_slot: int
    market: str
    events: str
    homes: State


def played(compiled: Compiled, state: State, track: Track, slots: range) -> tuple[I64, I64]:
    """Prices and net load of these slots; the state moves on in place."""
    at_once = slots_at_once(compiled.homes_count)
    shards = Shards(compiled, state, [(0, compiled.homes_count)], at_once)
    lived = Lived.room(at_once, compiled.homes_count)
    prices: list[int] = []
    net: list[int] = []
    for begin in range(0, len(slots), at_once):
        ahead = slots[begin : begin + at_once]
        prices += [each.prices.price for each in shards.play(ahead, track, lived)]
        net += (-lived.net_wh[: len(ahead)].sum(axis=1, dtype=np.int64)).tolist()
    return np.array(prices), np.array(net)


def copied(state: State) -> State:
    """A state of its own."""
    made = State(bytearray(State.size_bytes(state.count)), state.count)
    for name, _ in STATE_COLUMNS:
        made.column(name)[:] = state.column(name)
    return made


def dawns(compiled: Compiled, days: int, every: int) -> Iterator[Dawn]:
    """The market before every so-manieth day of the scenario as it is."""
    day = 86_400 // compiled.period.slot_s
    state = State(bytearray(State.size_bytes(compiled.homes_count)), compiled.homes_count)
    initial_state(Fleet(compiled, 1, compiled.homes_count), state)
    market = market_of(compiled, homes=0)
    track, at = Track(compiled, market), compiled.period.first_slot
    for _ in range(days):
        played(compiled, state, track, range(at, at + every * day))
        at += every * day
        yield Dawn(at, market.state(), json.dumps(market.book.to_dict()), copied(state))


def day_that_came(compiled: Compiled, dawn: Dawn, slots: int, part: float, number: int) -> tuple[I64, I64]:
    """What the market does under weather of its own."""
    ahead = range(dawn.first_slot, dawn.first_slot + slots)
    rows = np.array([compiled.table_row(slot) for slot in ahead], np.int64)
    light = light_of(compiled.weather, compiled.period)
    climate = climate_of(compiled.weather, compiled.period, light)
    base = np.array(compiled.weather[rows])
    paths = WeatherPaths(base, light.of(rows), climate, compiled.period.slot_s, Deviation(), part)
    weather = np.array(compiled.weather)
    weather[rows] = paths.path(TRUTH_SEED, number)
    other = replace(compiled, weather=weather)
    market = market_of(other, homes=0)
    market.resume(dawn.market, b"")
    market.book = book_from_dict(json.loads(dawn.events))
    return played(other, copied(dawn.homes), Track(other, market), ahead)


def present_of(compiled: Compiled, dawn: Dawn) -> dict[str, Any]:
    """As a market would tell it between two slots."""
    return {
        "slot": dawn.first_slot - 1,
        "next_slot": dawn.first_slot,
        "market": dawn.market,
        "events": dawn.events,
        "price": json.dumps(asdict(compiled.price)),
        "open": None,
        "weather": None,
    }


def coverage(
    compiled: Compiled, days: int, samples: int, *, every: int = 1, part: float = PART
) -> dict[str, float]:
    """The share of slots between P10 and P90, of price and net load, and below each, over all days."""
    slots = 86_400 // compiled.period.slot_s
    inside: dict[str, list[float]] = {"price": [], "net": [], "price_below": [], "net_below": []}
    for number, dawn in enumerate(dawns(compiled, days, every)):
        homes = Found(dawn.homes, np.full(compiled.homes_count, dawn.first_slot - 1))
        asked = Asked(slots, samples=samples, seed=number, weather_part=part)
        found = forecast(compiled, present_of(compiled, dawn), homes, asked, lambda _share, _doing: None)
        came = day_that_came(compiled, dawn, slots, part, number)
        for name, key, truth in (
            ("price", "price_ueur_per_kwh", came[0]),
            ("net", "net_wh", came[1]),
        ):
            band = found[key]
            low, high = np.array(band["p10"])[1:], np.array(band["p90"])[1:]  # the first price is known
            inside[name].append(float(np.mean((low <= truth[1:]) & (truth[1:] <= high))))
            inside[f"{name}_below"].append(float(np.mean(truth[1:] < low)))
    return {name: float(np.mean(each)) for name, each in inside.items()}

"""A forecast: price and net load of the slots ahead, each with a band, and what it stands on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.core import clock
from energymarket.engine.singly import needed_by
from energymarket.foresight import bands
from energymarket.foresight.ahead import Start, Unknown, play
from energymarket.foresight.climate import climate_of, light_of
from energymarket.foresight.present import deviation_now
from energymarket.foresight.weather_paths import PART, WeatherPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from energymarket.foresight.climate import Climate
    from energymarket.foresight.present import Found
    from energymarket.scenario.compiled import Compiled

SAMPLES: Final = 100
SAMPLES_MIN: Final = 9
"""With fewer no sample lies below P10."""

SAMPLES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a forecast is to be of."""

    slots: int
    samples: int = SAMPLES
    seed: int = 1
    weather_part: float = PART  # of the climate's spread: see weather_paths.py
    events: bool = True  # further events may begin
    homes: bool = True  # what households do at random is drawn anew


def forecast(
    compiled: Compiled,
    present: Mapping[str, Any],
    homes: Found,
    asked: Asked,
    told: Callable[[float, str], None],
) -> dict[str, Any]:
    """Play the market ahead from what `Present` has said and the homes' states; one JSON-ready document."""
    first = int(present["next_slot"])
    slots = range(first, first + asked.slots)
    told(0.0, "learning from the scenario's weather")
    light = light_of(compiled.weather, compiled.period)
    climate = climate_of(compiled.weather, compiled.period, light)
    rows = np.array([compiled.table_row(slot) for slot in slots], np.int64)
    base, light_ahead = np.array(compiled.weather[rows]), light.of(rows)
    now = deviation_now(present["weather"], compiled, light, climate, first)
    paths = WeatherPaths(base, light_ahead, climate, compiled.period.slot_s, now, asked.weather_part)
    unknown = Unknown(paths, asked.events and _has_arrivals(compiled), asked.homes)
    samples = 1 if unknown.is_none else asked.samples
    start = Start(
        market=present["market"],
        events=present["events"],
        price=present["price"],
        slots=slots,
        is_open=present["open"] is not None,
        homes=homes.state,
    )
    doing = f"playing {asked.slots:,} slots of {compiled.homes_count:,} homes, {samples:,} times"
    found = play(
        compiled, start, unknown, samples=samples, seed=asked.seed, told=lambda share: told(share, doing)
    )
    return {
        "type": "forecast",
        "scenario": compiled.name,
        "homes": compiled.homes_count,
        "first_slot": first,
        "slots": asked.slots,
        "slot_s": compiled.period.slot_s,
        "timezone": compiled.period.timezone,
        "time": [
            clock.begins(slot, compiled.period.slot_s, compiled.period.timezone).isoformat() for slot in slots
        ],
        "price_ueur_per_kwh": bands.band(found.price_ueur_per_kwh),
        "net_wh": bands.band(found.net_wh),
        "samples": samples,
        "seed": asked.seed,
        "unknown": {"weather": asked.weather_part, "events": unknown.events, "homes": asked.homes},
        "climate": _climate(climate),
        "notes": _notes(compiled, present, homes),
    }


def _has_arrivals(compiled: Compiled) -> bool:
    return any(kind.arrivals_per_slot > 0 for kind in compiled.price.events)


def _climate(climate: Climate) -> dict[str, Any]:
    found = asdict(climate)
    return {
        name: {part: round(value, 4) for part, value in found[name].items()}
        for name in ("temperature", "clearness", "wind")
    } | {"days": climate.days}


def _notes(compiled: Compiled, present: Mapping[str, Any], homes: Found) -> list[str]:
    notes = []
    slot = present["slot"]
    behind = 0 if slot is None else homes.behind(int(slot))
    if behind:
        notes.append(
            f"{behind} of {compiled.homes_count} homes have no state of slot {slot} here: they go on from an "
            "earlier one, or as the scenario begins"
        )
    if needed_by(compiled):
        notes.append(
            "homes that misbehave on purpose, or trade by orders of their own, are played as honest ones "
            "that hand in on time"
        )
    return notes

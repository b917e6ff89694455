"""The parameters of a market as the core uses them: resolved, quantised, per slot.

`scenario.toml` makes them from a file; the compiled scenario carries them as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any


class Take(StrEnum):
    """How much of an offer a taker takes."""

    EXACT = "exact"
    GREEDY = "greedy"


class Turn(StrEnum):
    """How long a taker keeps its turn."""

    FAIR = "fair"
    SELFISH = "selfish"


class Excess(StrEnum):
    """What a greedy taker does with what it did not need."""

    MEAN = "mean"
    NEUTRAL = "neutral"


class Rule(StrEnum):
    """How a community shares what its homes have over."""

    QUEUE = "queue"
    PRO_RATA = "pro_rata"
    NEED_FIRST = "need_first"
    STATIC_KEY = "static_key"
    DYNAMIC_KEY = "dynamic_key"
    MID_MARKET = "mid_market"
    GRID_ONLY = "grid_only"


@dataclass(frozen=True, slots=True)
class Sharing:
    """The sharing rule, and how gifts over the queue go."""

    take: Take = Take.EXACT
    turn: Turn = Turn.SELFISH
    excess: Excess = Excess.NEUTRAL
    rule: Rule = Rule.QUEUE


@dataclass(frozen=True, slots=True)
class Factor:
    """An internal factor of the price: alpha is what one unit of it adds in one slot."""

    name: str  # base, heating_degrees, cooling_degrees, inverse_temperature, imbalance
    alpha_ueur_per_kwh: float
    reference_c: float = 0.0  # of heating and cooling degrees


@dataclass(frozen=True, slots=True)
class EventKind:
    """A kind of external event: beta is what intensity 1 adds in one slot."""

    name: str
    beta_ueur_per_kwh: float
    arrivals_per_slot: float  # Poisson rate
    duration_slots_mean: float
    intensity_min: float = 1.0
    intensity_max: float = 1.0
    rain_factor: float = 1.0  # the rate is multiplied by it while it rains


@dataclass(frozen=True, slots=True)
class PriceModel:
    """P_t = gamma P_{t-1} + sum alpha_i f_i + sum beta_j u_j intensity_j, clipped to floor and cap."""

    initial_ueur_per_kwh: int
    gamma: float
    factors: tuple[Factor, ...]
    events: tuple[EventKind, ...]
    floor_ueur_per_kwh: int
    cap_ueur_per_kwh: int


def price_model_from(plain: Mapping[str, Any]) -> PriceModel:
    """The model of `dataclasses.asdict`; TypeError or KeyError if it is none."""
    parts = {
        "factors": tuple(Factor(**factor) for factor in plain["factors"]),
        "events": tuple(EventKind(**kind) for kind in plain["events"]),
    }
    return PriceModel(**{**plain, **parts})


@lru_cache(maxsize=8)  # a market asks for the name of its model in every slot
def price_model_digest(model: PriceModel) -> str:
    """A short name of the coefficients: equal models have equal names, in every process."""
    return hashlib.sha256(json.dumps(asdict(model), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Tariff:
    """What the grid asks and pays. With `follows_price` r = e = p (the assignment's world)."""

    import_ueur_per_kwh: int
    export_ueur_per_kwh: int
    gift_fee_ueur_per_kwh: int = 0
    follows_price: bool = False


@dataclass(frozen=True, slots=True)
class Period:
    """Market time of the scenario: slots are numbered slot = UTC seconds // slot_s."""

    slot_s: int
    first_slot: int
    slots: int  # length of the tables; beyond it they repeat
    speed: float  # market seconds per real second
    timezone: str

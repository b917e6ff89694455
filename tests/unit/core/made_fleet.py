"""Small fleets made by hand or by chance, for tests and benchmarks of the fleet kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from energymarket.core import chance
from energymarket.core.fleet import Fleet, State, initial_state
from energymarket.core.parameters import Period
from energymarket.core.weather import WEATHER, Sample

Column = npt.NDArray[Any]

FIRST_SLOT: Final = 1_900_000
SERIES_NONE: Final = 65_535

COLUMNS: Final[dict[str, tuple[str, float]]] = {
    "policy": ("u1", 1),
    "load_class": ("u2", 0),
    "load_scale": ("f4", 0),
    "load_shift": ("i2", 0),
    "heat_wh_per_k": ("f4", 0),
    "cool_wh_per_k": ("f4", 0),
    "load_response": ("u1", 0),
    "noise_permille": ("u2", 0),
    "series": ("u2", SERIES_NONE),
    "pv_roof": ("u2", 0),
    "pv_kwp": ("f4", 0),
    "wind_site": ("u2", 0),
    "wind_kw": ("f4", 0),
    "battery_capacity_wh": ("i4", 0),
    "battery_charge_w": ("i4", 0),
    "battery_discharge_w": ("i4", 0),
    "battery_charge_efficiency": ("f4", 1),
    "battery_discharge_efficiency": ("f4", 1),
    "battery_initial_wh": ("i4", 0),
    "battery_standby_w": ("f4", 0),
    "elasticity_class": ("u1", 0),
    "single": ("u1", 0),
}
"""Every column of a home with its type and the value of a home that owns nothing."""


@dataclass(frozen=True)
class Made:
    """What a fleet needs of a compiled scenario."""

    homes: Mapping[str, Column]
    tables: Mapping[str, Column]
    settings: Mapping[str, Any]
    period: Period
    seed: int = 7

    def table_row(self, slot: int) -> int:
        """Rows repeat after the period."""
        return (slot - self.period.first_slot) % self.period.slots


@dataclass
class Recipe:
    """What is special about a fleet; the rest is empty."""

    homes: Mapping[str, Any]
    tables: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    slots: int = 4
    slot_s: int = 900

    def made(self, seed: int = 7) -> Made:
        """Fill up what was left out."""
        count = max((np.size(value) for value in self.homes.values()), default=1)
        homes = {name: np.full(count, value, kind) for name, (kind, value) in COLUMNS.items()}
        for name, value in self.homes.items():
            homes[name][:] = value
        tables: dict[str, Column] = {
            "load_wh": np.zeros((self.slots, 0), np.float32),
            "series_production_wh": np.zeros((self.slots, 0), np.float32),
            "series_consumption_wh": np.zeros((self.slots, 0), np.float32),
            "pv_beam": np.zeros((self.slots, 0), np.float32),
            "pv_sky": np.zeros((self.slots, 0), np.float32),
            "pv_ground": np.zeros(0, np.float32),
            "wind_curve_w": np.zeros((0, 2), np.float32),
            "heat_shape": np.ones(96, np.float32),
        }
        tables |= {name: np.asarray(value, np.float32) for name, value in self.tables.items()}
        period = Period(self.slot_s, FIRST_SLOT, self.slots, 1.0, "UTC")
        return Made(homes, tables, self.settings, period, seed)


def weather(slot: int = FIRST_SLOT, **fields: int) -> Sample:
    """A sample in which everything not named is zero: 0 °C, calm, dark and dry."""
    sample = np.zeros((), WEATHER)
    sample["slot"] = slot
    for name, value in fields.items():
        sample[name] = value
    return cast("Sample", sample[()])


def states(fleet: Fleet) -> tuple[State, State]:
    """The initial state, and one full of rubbish to be written."""
    before = State(bytearray(State.size_bytes(fleet.count)), fleet.count)
    after = State(bytearray(b"\x5a" * State.size_bytes(fleet.count)), fleet.count)
    initial_state(fleet, before)
    return before, after


class Numbers:
    """Uniform numbers for test data, from a seed."""

    def __init__(self, seed: int, count: int) -> None:
        self._seed = seed
        self._items = np.arange(count, dtype=np.uint32)
        self._next = 0

    def between(self, low: float, high: float) -> Column:
        """One number in low .. high per home; another column at each call."""
        self._next += 1
        drawn = chance.draw_u32(self._seed, chance.Purpose.HOME, self._next, self._items)
        return low + drawn / 2**32 * (high - low)

    def whole(self, low: int, high: int) -> Column:
        """One whole number in low .. high, both included, per home."""
        return np.floor(self.between(low, high + 1)).astype(np.int64)

    def owns(self, share: float) -> Column:
        """Whether each home is one of a share of all."""
        return self.between(0, 1) < share


def mixed(count: int, seed: int, share: float, *, noise: int = 300, slot_s: int = 900) -> Made:
    """A neighbourhood with everything: `share` of the homes own each thing."""
    some = Numbers(seed, count)
    slots, classes, roofs, sites = 96, 12, 24, 4
    hours = np.arange(slots) * 24 / slots
    day = np.maximum(0, 1 - ((hours - 12) / 6) ** 2)
    homes = {
        "policy": some.whole(1, 3),
        "load_class": some.whole(0, classes - 1),
        "load_scale": some.between(1.5, 6) * some.owns(0.95),
        "load_shift": some.whole(-4, 4),
        "heat_wh_per_k": some.between(5, 60) * some.owns(share),
        "cool_wh_per_k": some.between(5, 30) * some.owns(share),
        "load_response": some.whole(0, 2),
        "noise_permille": some.whole(1, noise) * some.owns(share) if noise else 0,
        "series": np.where(some.owns(share / 4), some.whole(0, 2), SERIES_NONE),
        "pv_roof": some.whole(0, roofs - 1),
        "pv_kwp": some.between(2, 12) * some.owns(share),
        "wind_site": some.whole(0, sites - 1),
        "wind_kw": some.between(1, 5) * some.owns(share / 8),
        "battery_capacity_wh": some.whole(2_000, 15_000) * some.owns(share / 2),
        "battery_charge_w": some.whole(800, 6_000),
        "battery_discharge_w": some.whole(800, 6_000),
        "battery_standby_w": some.whole(0, 20) if seed % 2 else 0,
        "battery_charge_efficiency": 0.95,
        "battery_discharge_efficiency": np.where(some.owns(0.5), 0.95, 0.9) if seed % 2 else 0.95,
        "elasticity_class": some.whole(0, 2) * some.owns(share),
    }
    homes["battery_initial_wh"] = homes["battery_capacity_wh"] // 3
    lively = Numbers(seed + 1, slots * classes)
    tables = {
        "load_wh": (lively.between(5, 60) * slot_s / 900).reshape(slots, classes),
        "series_production_wh": np.outer(day, (700, 0, 123.4)),
        "series_consumption_wh": np.full((slots, 3), (0, 333.3, 50)),
        "pv_beam": np.outer(day, np.linspace(0.2, 1.1, roofs)),
        "pv_sky": np.full((slots, roofs), np.linspace(0.8, 1, roofs)),
        "pv_ground": np.linspace(0, 0.05, roofs),
        "wind_curve_w": np.minimum(np.arange(251) ** 3 / 1e3, 1000) * np.linspace(0.7, 1, sites)[:, None],
        "heat_shape": 1 + 0.3 * np.cos(hours / 24 * 6.2831853),
    }
    elastic = {"grid_ueur_per_kwh": [100_000, 250_000, 500_000], "shift_share_permille": 500}
    settings = {
        "elasticity": [
            {
                **elastic,
                "reference_ueur_per_kwh": 250_000,
                "factor_permille": [1100, 1000, 700],
                "shift_slots": 8,
            },
            {
                **elastic,
                "reference_ueur_per_kwh": 250_000,
                "factor_permille": [1000, 1000, 900],
                "shift_slots": 16,
            },
        ]
    }
    return Recipe(homes, tables, settings, slots, slot_s).made(seed)


def day_weather(slot: int, slots: int = 96) -> Sample:
    """A bright and windy day in March: the same each day."""
    hour = (slot - FIRST_SLOT) % slots * 24 / slots
    sun = max(0.0, 1 - ((hour - 12) / 6) ** 2)
    return weather(
        slot,
        temperature_mc=int(4_000 + 26_000 * sun),
        wind_mm_per_s=int(2_000 + 300 * hour),
        ghi_dw_per_m2=int(7_000 * sun),
        dni_dw_per_m2=int(6_000 * sun),
        dhi_dw_per_m2=int(1_500 * sun),
        rain_um_per_h=500 if 15 < hour < 18 else 0,
    )


def day_price_ueur_per_kwh(slot: int) -> int:
    """Dear in the evening, cheap at noon."""
    return 250_000 + 25_000 * ((slot * 7) % 16 - 6)

"""Weather that might come: around the scenario's, straying from it as its own year strays from its normal.

The deviation of each quantity starts from what is known now (0 where the board shows the scenario's weather)
and follows x(h + 1) = m x(h) + s d sqrt(1 - m²) e, with d and m of the climate, e standard normal, and s the
part of the climate's spread that a forecast leaves open. With s = 1 the error grows to that of knowing
nothing but the season; forecasts of the air's temperature for the next three days err by 1.5 to 2.1 °C in the
mean (Kendzierski et al., Geofizika 35, 2018), which is s = 0.7 where the climate strays by some 4 K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core.chance import Purpose, draw_u32, draw_u64
from energymarket.core.weather import LIMITS
from energymarket.foresight.climate import CALM_M_PER_S, HOUR_S, Climate, Light

if TYPE_CHECKING:
    from energymarket.core.weather import Samples
    from energymarket.foresight.climate import F64, Memory

PART: Final = 0.7
"""Of the climate's spread, where nothing else is asked for: see above."""

CLEARNESS_MIN: Final = 0.05
"""Of the brightest: under the thickest clouds some light is left."""

LOW_SUN: Final = 0.02
"""Cosine of the zenith angle below which a beam on the plain says nothing of the beam itself."""

_NAMES: Final = ("temperature", "clearness", "wind")


@dataclass(frozen=True, slots=True)
class Deviation:
    """From the scenario's weather: kelvins, clearness, logarithms of the wind."""

    temperature: float = 0.0
    clearness: float = 0.0
    wind: float = 0.0


class WeatherPaths:
    """Samples of the weather of consecutive slots.

    `base` are the scenario's samples of K slots and `light` is theirs; `now` is how the first slot is known
    to deviate. With a part of 0, and no deviation now, every path is the base, to the last bit.
    """

    def __init__(
        self, base: Samples, light: Light, climate: Climate, slot_s: int, now: Deviation, part: float
    ) -> None:
        self._base = base
        self._light = light
        self._climate = climate
        self._now = now
        self._part = part
        self._step_h = max(1.0, slot_s / HOUR_S)
        self._at_h = np.arange(len(base)) * (slot_s / HOUR_S)
        self.is_certain = part == 0.0 or not any(getattr(climate, name).deviation for name in _NAMES)

    def path(self, seed: int, number: int) -> Samples:
        """One of the paths: a function of its number and the seed."""
        strayed = {}
        for at, name in enumerate(_NAMES):
            key = draw_u64(seed, Purpose.FORECAST, number, at)
            strayed[name] = self._strayed(getattr(self._climate, name), getattr(self._now, name), key)
        if not any(bool(each.any()) for each in strayed.values()):
            return self._base
        made = self._base.copy()
        self._warm(made, strayed["temperature"])
        self._blow(made, strayed["wind"])
        self._cloud(made, strayed["clearness"])
        for name, (low, high) in LIMITS.items():
            made[name] = np.clip(made[name], low, high)
        return made

    def _strayed(self, memory: Memory, now: float, key: int) -> F64:
        """The deviation in each slot: the process by its steps, straight between them."""
        steps = int(self._at_h[-1] / self._step_h) + 2 if len(self._at_h) else 1
        kept = memory.per_hour**self._step_h
        fresh = _normal(key, steps) * (self._part * memory.deviation * np.sqrt(1.0 - kept * kept))
        course = [now]
        for each in fresh[1:].tolist():
            course.append(kept * course[-1] + each)
        found: F64 = np.interp(self._at_h, np.arange(steps) * self._step_h, course)
        return found

    def _warm(self, made: Samples, strayed_k: F64) -> None:
        made["temperature_mc"] += np.rint(1000.0 * strayed_k).astype(np.int32)
        earlier = np.interp(self._at_h - 1.0, self._at_h, strayed_k)
        made["trend_mc_per_h"] += np.rint(1000.0 * (strayed_k - earlier)).astype(np.int32)

    def _blow(self, made: Samples, strayed: F64) -> None:
        wind = made["wind_mm_per_s"] / 1000.0 + CALM_M_PER_S
        blown = np.clip(wind * np.exp(strayed) - CALM_M_PER_S, 0.0, LIMITS["wind_mm_per_s"][1] / 1000.0)
        made["wind_mm_per_s"] = np.rint(1000.0 * blown)

    def _cloud(self, made: Samples, strayed: F64) -> None:
        """Another clearness by day, with the diffuse share that is usual at it, and clouds to match."""
        light, base = self._light, self._base
        before = light.clearness
        after = np.clip(before + strayed, CLEARNESS_MIN, np.maximum(before, 1.0))
        changed = light.is_day & (after != before) & (before > 0)
        whole, diffuse = base["ghi_dw_per_m2"] / 10.0, base["dhi_dw_per_m2"] / 10.0
        share = np.divide(diffuse, whole, out=np.ones_like(whole), where=whole > 0)
        share = np.clip(share + light.diffuse_share(after) - light.diffuse_share(before), 0.0, 1.0)
        wanted = after * light.clear_w_per_m2
        height = np.where(light.cos_zenith > LOW_SUN, light.cos_zenith, np.inf)
        beam = np.minimum((1.0 - share) * wanted / height, light.beam_max_w_per_m2)
        on_plain = np.where(np.isfinite(height), beam * light.cos_zenith, 0.0)
        for name, values in (("ghi", wanted), ("dni", beam), ("dhi", wanted - on_plain)):
            field = f"{name}_dw_per_m2"
            made[field] = np.where(changed, np.rint(10.0 * values), base[field])
        clouds = np.clip(base["cloud_permille"] - 1000.0 * (after - before), 0, 1000)
        made["cloud_permille"] = np.where(changed, np.rint(clouds), base["cloud_permille"])


def _normal(key: int, count: int) -> F64:
    """Standard normal numbers of a key (Box and Muller, Annals of Mathematical Statistics 29, 1958)."""
    items = np.arange(count, dtype=np.uint32)
    first, second = (
        (draw_u32(key, Purpose.FORECAST, part, items).astype(np.float64) + 0.5) / 2.0**32 for part in (0, 1)
    )
    found: F64 = np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second)
    return found

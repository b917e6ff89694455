"""The weather of a slot: its record, what is possible on Earth, and what holds when none has come.

A sample is the mean of its slot. Irradiances agree with each other:
global = direct normal × cos(zenith) + diffuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

WEATHER: Final = np.dtype(
    [
        ("slot", "<u8"),
        ("temperature_mc", "<i4"),  # 2 m above ground, thousandths of a degree Celsius
        ("trend_mc_per_h", "<i4"),  # its change over the hour that ends with the slot
        ("wind_mm_per_s", "<u4"),  # mean, 10 m above ground
        ("ghi_dw_per_m2", "<u4"),  # global horizontal irradiance, tenths of W/m²
        ("dni_dw_per_m2", "<u4"),  # direct normal irradiance
        ("dhi_dw_per_m2", "<u4"),  # diffuse horizontal irradiance
        ("rain_um_per_h", "<u4"),  # liquid precipitation, thousandths of mm/h
        ("cloud_permille", "<u4"),  # of the sky
    ]
)
"""A weather sample: little-endian, free of padding, 40 bytes."""

Sample = np.void
Samples = npt.NDArray[np.void]

LIMITS: Final[dict[str, tuple[int, int]]] = {
    # The records of the World Meteorological Organization (wmo.asu.edu) are -89.2 °C, 56.7 °C,
    # 113.2 m/s in a gust and 305 mm of rain in 42 minutes; a slot's mean stays inside these bounds.
    "temperature_mc": (-90_000, 60_000),
    # 49 °F in two minutes (Spearfish 1943) is the fastest rise known, and it was over within the hour
    "trend_mc_per_h": (-40_000, 40_000),
    "wind_mm_per_s": (0, 113_000),
    # At a cloud's edge global irradiance passes the solar constant for minutes (Gueymard 2017
    # measured 1,890 W/m²); direct irradiance cannot pass the constant at perihelion, 1,412 W/m².
    "ghi_dw_per_m2": (0, 19_000),
    "dni_dw_per_m2": (0, 14_200),
    "dhi_dw_per_m2": (0, 14_200),
    "rain_um_per_h": (0, 500_000),
    "cloud_permille": (0, 1_000),
}
"""The lowest and the highest value that a sample may have, both included."""


def impossible(samples: Samples | Sample) -> tuple[str, ...]:
    """The names of the fields in which a sample, or any of an array of them, leaves its limits."""
    return tuple(
        name
        for name, (low, high) in LIMITS.items()
        if bool(np.any((samples[name] < low) | (samples[name] > high)))
    )


@dataclass(frozen=True, slots=True)
class Held:
    """The weather that holds in a slot, and for how many slots it has been out of date."""

    sample: Sample
    stale_slots: int

    @property
    def stale(self) -> bool:
        """Whether the sample was made for an earlier slot."""
        return self.stale_slots > 0


def standard(slot: int) -> Sample:
    """The weather before any has been seen: 15 °C as in the ISO 2533 atmosphere, calm, no sun.

    Without sun and wind nothing is produced: a market that has never heard of weather buys too much
    rather than promise energy that is not there.
    """
    return sample_of({"temperature_mc": 15_000, "cloud_permille": 1_000}, slot)


def sample_of(values: Mapping[str, int], slot: int) -> Sample:
    """A sample from its fields; those not given are 0."""
    samples = np.zeros(1, WEATHER)
    for name, value in values.items():
        samples[name] = value
    samples["slot"] = slot
    sample: Sample = samples[0]
    return sample


def moved(sample: Sample, slot: int) -> Sample:
    """The same weather in another slot."""
    return sample_of({name: int(sample[name]) for name in LIMITS}, slot)


def hold(last: Sample | None, slot: int) -> Held:
    """What holds in a slot if `last` is the newest sample known: itself, or the last one marked stale.

    A sample for a later slot is no news of this one; it holds, and is not stale.
    """
    if last is None:
        return Held(standard(slot), 1)
    return Held(last, max(0, slot - int(last["slot"])))

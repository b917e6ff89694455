"""Where the sun stands in every step of a period, and how bright it would be without clouds: by pvlib."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core.parameters import Period

F64 = npt.NDArray[np.floating[Any]]
I64 = npt.NDArray[np.int64]

STEP_S_MAX: Final = 300
"""Five minutes: the sun moves 1.25 degrees, and a slot of a quarter-hour has three steps."""

MARGIN_S: Final = 2 * 3600
"""Hours that the period only touches are needed whole: those of solar time begin at any minute."""


@dataclass(frozen=True, slots=True)
class Place:
    """A point on Earth."""

    latitude_deg: float
    longitude_deg: float
    altitude_m: float = 100.0


@dataclass(frozen=True, slots=True)
class Steps:
    """Equal steps of time that fill the period's slots, and a margin of whole slots on either side."""

    slot_s: int
    per_slot: int
    margin_slots: int
    middle_s: F64  # UTC seconds of the middle of each step

    def slot_means(self, values: F64) -> F64:
        """Means over the steps of each slot of the period, without the margin."""
        means: F64 = values.reshape(-1, self.per_slot).mean(axis=1)
        return means[self.margin_slots : len(means) - self.margin_slots]


@dataclass(frozen=True, slots=True)
class Sun:
    """The sun in each step, and the irradiance under a clear sky (Ineichen and Perez 2002) in W/m²."""

    zenith_deg: F64  # refraction included
    azimuth_deg: F64
    cos_zenith: F64  # 0 below the horizon
    equation_of_time_min: F64
    clear_dni_w_per_m2: F64
    clear_bhi_w_per_m2: F64  # beam on the horizontal
    clear_dhi_w_per_m2: F64
    extra_dni_w_per_m2: F64  # outside the atmosphere


def steps_of(period: Period) -> Steps:
    """The steps of a period."""
    per_slot = -(-period.slot_s // STEP_S_MAX)
    margin = -(-MARGIN_S // period.slot_s)
    step_s = period.slot_s / per_slot
    count = (period.slots + 2 * margin) * per_slot
    begin_s = (period.first_slot - margin) * period.slot_s
    return Steps(period.slot_s, per_slot, margin, begin_s + (np.arange(count) + 0.5) * step_s)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep back the deprecations of libraries that are older than the pandas which they run on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


@hushed()
def sun_of(steps: Steps, place: Place) -> Sun:
    """The sun over a place: NREL's solar position algorithm and a climatological turbidity, by pvlib."""
    import pandas as pd
    import pvlib

    times = pd.to_datetime(np.round(steps.middle_s * 1e3).astype(np.int64), unit="ms", utc=True)
    position = pvlib.solarposition.spa_python(
        times, place.latitude_deg, place.longitude_deg, place.altitude_m
    )
    zenith = position["apparent_zenith"].to_numpy(dtype=np.float64)
    extra = np.asarray(pvlib.irradiance.get_extra_radiation(times), dtype=np.float64)
    turbidity = pvlib.clearsky.lookup_linke_turbidity(times, place.latitude_deg, place.longitude_deg)
    airmass = pvlib.atmosphere.get_relative_airmass(zenith)
    pressure = pvlib.atmosphere.alt2pres(place.altitude_m)
    with np.errstate(divide="ignore", invalid="ignore"):  # the night is put right below
        clear = pvlib.clearsky.ineichen(
            zenith,
            pvlib.atmosphere.get_absolute_airmass(airmass, pressure),
            turbidity.to_numpy(dtype=np.float64),
            altitude=place.altitude_m,
            dni_extra=extra,
        )
    cos_zenith = np.maximum(np.cos(np.radians(zenith)), 0.0)
    dni = np.where(cos_zenith > 0, np.nan_to_num(np.asarray(clear["dni"], dtype=np.float64)), 0.0)
    ghi = np.where(cos_zenith > 0, np.nan_to_num(np.asarray(clear["ghi"], dtype=np.float64)), 0.0)
    beam = np.minimum(dni * cos_zenith, ghi)
    return Sun(
        zenith_deg=zenith,
        azimuth_deg=position["azimuth"].to_numpy(dtype=np.float64),
        cos_zenith=cos_zenith,
        equation_of_time_min=position["equation_of_time"].to_numpy(dtype=np.float64),
        clear_dni_w_per_m2=dni,
        clear_bhi_w_per_m2=beam,
        clear_dhi_w_per_m2=ghi - beam,
        extra_dni_w_per_m2=extra,
    )

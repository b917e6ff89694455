"""What plants stand on: the distinct roofs and turbine sites of a scenario, and how roofs are built."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_solar import Roof
from energymarket.scenario.compile_sun import F64
from energymarket.scenario.compile_wind import Site
from energymarket.scenario.homes_schema import VARIED, Pv
from energymarket.scenario.kinds import Range

TILT_STEP_DEG = 5
AZIMUTH_STEP_DEG = 15
KINDS_MAX = 4096
LIGHT_PER_LOSSES = 0.86
"""PVWatts' system losses, 14 % (Dobos 2014, table 6), are one number for all homes; others dim the roof."""


class Catalogue:
    """Distinct roofs and sites, numbered as they come."""

    def __init__(self, roughness_m: float) -> None:
        self._roughness_m = roughness_m
        self._roofs: dict[Roof, int] = {}
        self._sites: dict[Site, int] = {}

    def roofs(self, pv: Pv, draws: tuple[F64, F64]) -> npt.NDArray[np.uint16]:
        """The roof of each home, from two columns of draws (tilt, azimuth).

        Ranges are cut into steps of 5 and 15 degrees, so that many homes share few roofs. Varied roofs
        face south more often than not: normal round it with 55 degrees, never north of east and west.
        """
        tilt = _drawn(pv.tilt_deg, draws[0], TILT_STEP_DEG)
        if pv.azimuth_deg == VARIED:
            # The inverse of the logistic distribution stands for the normal's: same middle and spread.
            turned = 180.0 + 55.0 * np.sqrt(3.0) / np.pi * np.log(draws[1] / (1.0 - draws[1]))
            azimuth = np.clip(_stepped(turned, AZIMUTH_STEP_DEG), 90, 270)
        else:
            azimuth = _drawn(pv.azimuth_deg, draws[1], AZIMUTH_STEP_DEG) % 360
        light = round(1000 * (1.0 - pv.losses) / LIGHT_PER_LOSSES)
        pairs = zip(tilt.tolist(), azimuth.tolist(), strict=True)
        numbers = [self._roofs.setdefault(Roof(t, a, light), len(self._roofs)) for t, a in pairs]
        if len(self._roofs) > KINDS_MAX:
            raise CompileError(f"more than {KINDS_MAX} different roofs")
        return np.array(numbers, np.uint16)

    def site(self, hub_m: float) -> int:
        """The number of a turbine's site."""
        if hub_m <= self._roughness_m * 2:
            raise CompileError(f"a hub at {hub_m} m is too low for ground of roughness {self._roughness_m} m")
        return self._sites.setdefault(Site(hub_m, self._roughness_m), len(self._sites))

    def all_roofs(self) -> tuple[Roof, ...]:
        """Roofs by number."""
        return tuple(self._roofs)

    def all_sites(self) -> tuple[Site, ...]:
        """Sites by number."""
        return tuple(self._sites)


def _drawn(span: Range, draws: F64, step: int) -> npt.NDArray[np.int64]:
    if span.low == span.high:
        return np.full(len(draws), round(span.low), np.int64)
    low, high = round(span.low), round(span.high)
    return np.clip(_stepped(span.low + (span.high - span.low) * draws, step), low, high)


def _stepped(values: F64, step: int) -> npt.NDArray[np.int64]:
    return (np.rint(values / step) * step).astype(np.int64)

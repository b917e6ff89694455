"""Roofs under the sun: factors that turn the board's irradiances into light on a module's plane, by pvlib.

Effective irradiance on the plane of a roof, in a slot:

    poa = dni * pv_beam[row, roof] + dhi * pv_sky[row, roof] + ghi * pv_ground[roof]

with the losses by reflection at the glass (physical model of De Soto et al. 2006, n = 1.526) inside
the factors: for the beam at its angle of incidence, for sky and ground integrated over the
hemisphere (Marion 2017). The sky is isotropic (Liu and Jordan 1963): a linear rule that holds for any
weather on the board, at the price of some per cent on bright days (see the test against Perez).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from energymarket.scenario.compile_sun import F64, Steps, Sun

ALBEDO: Final = 0.2  # pvlib's and PVWatts' default: grass, mixed ground


@dataclass(frozen=True, slots=True, order=True)
class Roof:
    """A plane: tilt from the horizontal, azimuth from north over east, and the share of light that arrives.

    PVWatts' system losses are one number for all homes; a plant that differs from it has a roof of its
    own that dims the light by as much.
    """

    tilt_deg: int
    azimuth_deg: int
    light_permille: int = 1000


@dataclass(frozen=True, slots=True)
class RoofFactors:
    """The factors of all roofs; float32, rows = slots of the period, columns = roofs."""

    beam: npt.NDArray[np.float32]
    sky: npt.NDArray[np.float32]
    ground: npt.NDArray[np.float32]  # per roof


def without_roofs(slots: int) -> RoofFactors:
    """The factors of no roof."""
    none = np.zeros((slots, 0), np.float32)
    return RoofFactors(none, none, np.zeros(0, np.float32))


LIT_BYTES_MAX: Final = 256 << 20
"""Of roofs that are kept for the next scenario under the same sun: 900 of a year of slots of 15 min."""


@dataclass(slots=True)
class Lit:
    """Roofs whose light under one sun is known: beam per slot, and what comes from sky and ground."""

    roofs: dict[Roof, tuple[F64, float, float]] = field(default_factory=dict)

    def keep(self, roof: Roof, light: tuple[F64, float, float]) -> None:
        """Keep one more; beyond the limit all others go."""
        if (len(self.roofs) + 1) * light[0].nbytes > LIT_BYTES_MAX:
            self.roofs.clear()
        self.roofs[roof] = light


def roof_factors(
    roofs: tuple[Roof, ...], steps: Steps, sun: Sun, slots: int, lit: Lit | None = None
) -> RoofFactors:
    """The factors of each roof. `lit` are roofs under the same sun that are known already, and learns."""
    known = lit or Lit()
    beam = np.zeros((slots, len(roofs)), np.float32)
    sky = np.zeros((slots, len(roofs)), np.float32)
    ground = np.zeros(len(roofs), np.float32)
    weight = np.where(sun.cos_zenith > 0, np.maximum(sun.clear_dni_w_per_m2, 1e-3), 0.0)
    weight_mean = steps.slot_means(weight)
    for column, roof in enumerate(roofs):
        light = known.roofs.get(roof)
        if light is None:
            light = _light(roof, steps, sun, weight, weight_mean)
            known.keep(roof, light)
        beam[:, column], sky[:, column], ground[column] = light
    return RoofFactors(quantised(beam), quantised(sky), quantised(ground))


def _light(roof: Roof, steps: Steps, sun: Sun, weight: F64, weight_mean: F64) -> tuple[F64, float, float]:
    """Beam per slot, sky and ground of one roof.

    A slot's beam factor is the mean over its steps weighted by the clear sky's beam, so that the
    slot's mean beam on the plane comes out although sun and cosine move within the slot.
    """
    import pvlib

    cosine = pvlib.irradiance.aoi_projection(roof.tilt_deg, roof.azimuth_deg, sun.zenith_deg, sun.azimuth_deg)
    cosine = np.clip(np.asarray(cosine, dtype=np.float64), 0.0, 1.0)
    passed = np.nan_to_num(pvlib.iam.physical(np.degrees(np.arccos(cosine)))) * cosine
    mean = steps.slot_means(weight * passed)
    light = roof.light_permille / 1000.0
    beam = light * np.divide(mean, weight_mean, out=np.zeros_like(mean), where=weight_mean > 0)
    through = _diffuse_passed(roof.tilt_deg)
    view = (1.0 + np.cos(np.radians(roof.tilt_deg))) / 2.0
    sky = float(light * view * through["sky"])
    return beam, sky, float(light * ALBEDO * (1.0 - view) * through["ground"])


def _diffuse_passed(tilt_deg: int) -> dict[str, float]:
    import pvlib

    passed = pvlib.iam.marion_diffuse("physical", tilt_deg)
    return {part: float(np.nan_to_num(passed[part])) for part in ("sky", "ground")}


def quantised(values: npt.NDArray[np.float32] | F64) -> npt.NDArray[np.float32]:
    """Whole multiples of 2**-16: processors that differ in a sine's last bit still agree."""
    return np.asarray(np.rint(np.asarray(values, np.float64) * 65536.0) / 65536.0, dtype=np.float32)

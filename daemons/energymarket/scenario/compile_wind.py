"""Small wind turbines: expected power by the mean wind of the board, hub height and gusts integrated in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from energymarket.scenario.compile_solar import quantised
from energymarket.scenario.compile_sun import F64

SPEED_STEP_M_PER_S: Final = 0.1
SPEEDS: Final = 401  # 0 .. 40 m/s

RATED_KW: Final = 8.9
# Bergey Excel 10, grid-intertied: the power curve certified by the Small Wind Certification Council
# (AWEA 9.1-2009, SWCC-10-12, 2011), kW at hub height winds of 0, 1, .. 20 m/s, sea level. Rated by
# AWEA 8.9 kW at 11 m/s, and 13,800 kWh a year at a mean of 5 m/s: a test holds the curve against that.
# The machine furls from about 15 m/s and goes on producing; the published table ends at 20 m/s.
CURVE_KW: Final = (
    0.0, 0.0, 0.0, 0.10, 0.40, 0.85, 1.51, 2.40, 3.60, 5.07, 6.86,
    8.86, 10.88, 12.09, 12.39, 12.49, 12.55, 12.50, 12.44, 12.21, 11.99,
)  # fmt: skip
CUT_OUT_M_PER_S: Final = (
    25.0  # beyond the table its last value holds up to here, then nothing: on the safe side
)

# Wind at 10 m is published for stations on open, mown ground; 60 m above it the next surface's
# roughness is no longer felt (Wieringa 1986, Boundary-Layer Meteorology 36: "blending height").
STATION_ROUGHNESS_M: Final = 0.03
BLENDING_HEIGHT_M: Final = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """Where a turbine stands: height of the hub, and the ground's roughness length."""

    hub_m: float
    roughness_m: float


def curve_w_per_kw(speed_m_per_s: F64) -> F64:
    """The cited curve per kW rated, at the wind of the moment at the hub."""
    power = np.interp(speed_m_per_s, np.arange(len(CURVE_KW)), CURVE_KW) / RATED_KW * 1e3
    return np.where(speed_m_per_s > CUT_OUT_M_PER_S, 0.0, power)


def expected_power(sites: tuple[Site, ...]) -> npt.NDArray[np.float32]:
    """W per kW rated for each site and each mean wind speed at 10 m (row = site, column = 0.1 m/s).

    The board's wind is brought by the logarithmic law (windpowerlib) from 10 m over open ground to the
    blending height, and from there down to the hub over the site's own roughness; over open ground
    that is the law itself. Within the hour it is spread normally with the turbulence intensity
    1 / ln(hub / roughness) of the same surface layer (Wieringa 1992), and the power is the mean over
    that spread: the mean of cubes is not the cube of the mean. The mean of the gusts is the mean wind
    (the normal's left end is folded into calm: at intensities of 0.2 .. 0.3 less than a thousandth).
    """
    table = np.zeros((len(sites), SPEEDS), np.float32)
    mean = np.arange(SPEEDS) * SPEED_STEP_M_PER_S
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()
    for row, site in enumerate(sites):
        hub = hub_wind(mean, site)
        intensity = 1.0 / np.log(site.hub_m / site.roughness_m)
        moments = np.maximum(hub[:, None] * (1.0 + intensity * nodes[None, :]), 0.0)
        table[row] = quantised(curve_w_per_kw(moments) @ weights)
    return table


def hub_wind(mean_m_per_s: F64, site: Site) -> F64:
    """Mean wind at the hub for the mean wind at 10 m on the board."""
    from windpowerlib import wind_speed

    law = wind_speed.logarithmic_profile
    high = law(mean_m_per_s, 10.0, BLENDING_HEIGHT_M, STATION_ROUGHNESS_M)
    return np.asarray(law(high, BLENDING_HEIGHT_M, site.hub_m, site.roughness_m), dtype=np.float64)

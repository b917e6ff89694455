"""Daylight from clouds alone, for live sources that know no irradiance: sun, clear sky, cover, split.

Good to some ten per cent of an hour's irradiance; sources that measure are to be preferred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

SOLAR_CONSTANT_W_PER_M2: Final = 1361.0
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Daylight:
    """Irradiances in W/m²; global = direct normal × cos(zenith) + diffuse."""

    global_w_per_m2: float
    direct_w_per_m2: float
    diffuse_w_per_m2: float


def cos_zenith(utc_s: float, latitude_deg: float, longitude_deg: float) -> float:
    """Cosine of the sun's zenith angle: Spencer's series (1971) for declination and equation of time."""
    day_angle = 2.0 * math.pi * _year_part(utc_s)
    declination = (
        0.006918
        - 0.399912 * math.cos(day_angle)
        + 0.070257 * math.sin(day_angle)
        - 0.006758 * math.cos(2 * day_angle)
        + 0.000907 * math.sin(2 * day_angle)
        - 0.002697 * math.cos(3 * day_angle)
        + 0.00148 * math.sin(3 * day_angle)
    )
    equation_min = 229.18 * (
        0.0000075
        + 0.001868 * math.cos(day_angle)
        - 0.032077 * math.sin(day_angle)
        - 0.014615 * math.cos(2 * day_angle)
        - 0.040849 * math.sin(2 * day_angle)
    )
    solar_h = (utc_s % _DAY_S) / 3600.0 + longitude_deg / 15.0 + equation_min / 60.0
    hour_angle = math.radians(15.0 * (solar_h - 12.0))
    latitude = math.radians(latitude_deg)
    along = math.cos(latitude) * math.cos(declination) * math.cos(hour_angle)
    return math.sin(latitude) * math.sin(declination) + along


def under_clouds(utc_s: float, latitude_deg: float, longitude_deg: float, cloud: float) -> Daylight:
    """Irradiances under a sky of which `cloud` (0 .. 1) is covered.

    Clear sky by Haurwitz (1945), cover by Kasten and Czeplak (1980): 1 - 0.75 N**3.4; diffuse part by
    Erbs, Klein and Duffie (1982).
    """
    height = cos_zenith(utc_s, latitude_deg, longitude_deg)
    if height <= 0.0:
        return Daylight(0.0, 0.0, 0.0)
    clear = 1098.0 * height * math.exp(-0.059 / height)
    whole = clear * (1.0 - 0.75 * min(max(cloud, 0.0), 1.0) ** 3.4)
    beyond = SOLAR_CONSTANT_W_PER_M2 * (1.0 + 0.033 * math.cos(2.0 * math.pi * _year_part(utc_s)))
    diffuse = whole * _diffuse_share(min(1.0, whole / (beyond * max(height, 0.065))))
    # Very low sun has so little beam on the plain that a division would make nonsense of it.
    direct = (whole - diffuse) / height if height > 0.02 else 0.0
    direct = min(direct, beyond)
    return Daylight(direct * height + diffuse, direct, diffuse)


def _diffuse_share(clearness: float) -> float:
    if clearness <= 0.22:
        return 1.0 - 0.09 * clearness
    if clearness <= 0.8:
        k = clearness
        return 0.9511 - 0.1604 * k + 4.388 * k**2 - 16.638 * k**3 + 12.336 * k**4
    return 0.165


def _year_part(utc_s: float) -> float:
    """Part of the tropical year since 1 January, 1970 as good as any."""
    return ((utc_s / _DAY_S) % 365.2422) / 365.2422

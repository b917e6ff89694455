"""What providers of live weather are asked and how they answer: Open-Meteo and OpenWeatherMap."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlencode

from energymarket.core.daylight import under_clouds
from energymarket.core.weather import LIMITS
from energymarket.wire.weather_file import SOURCE_CHARACTERS_MAX, Observation, WeatherFileError, sample_of


class Provider(StrEnum):
    """Who is asked."""

    OPEN_METEO = "open-meteo"
    OPENWEATHERMAP = "openweathermap"


ADDRESSES: Final = {
    Provider.OPEN_METEO: "https://api.open-meteo.com/v1/forecast",
    Provider.OPENWEATHERMAP: "https://api.openweathermap.org/data/2.5/weather",
}

_OPEN_METEO_FIELDS: Final = (
    "temperature_2m", "wind_speed_10m", "cloud_cover", "rain",
    "shortwave_radiation", "direct_normal_irradiance", "diffuse_radiation",
)  # fmt: skip


class AnswerError(ValueError):
    """An answer that is not in the documented form."""


@dataclass(frozen=True, slots=True)
class Question:
    """Whom to ask about which place; the key is the operator's."""

    provider: Provider
    latitude_deg: float
    longitude_deg: float
    address: str | None = None
    key: str | None = None

    def url(self) -> str:
        """The address with its query. It may hold the key: never log it."""
        values: dict[str, str]
        match self.provider:
            case Provider.OPEN_METEO:
                values = {
                    "latitude": f"{self.latitude_deg:.4f}",
                    "longitude": f"{self.longitude_deg:.4f}",
                    "current": ",".join(_OPEN_METEO_FIELDS),
                    "wind_speed_unit": "ms",
                    "timeformat": "unixtime",
                }
                values |= {"apikey": self.key} if self.key else {}
            case Provider.OPENWEATHERMAP:
                values = {
                    "lat": f"{self.latitude_deg:.4f}",
                    "lon": f"{self.longitude_deg:.4f}",
                    "units": "metric",
                    "appid": self.key or "",
                }
        address = self.address or ADDRESSES[self.provider]
        return f"{address}{'&' if '?' in address else '?'}{urlencode(values)}"

    def read(self, raw: bytes) -> Observation:
        """The observation in an answer's body; its trend is 0. AnswerError if it has another form."""
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError):
            raise AnswerError("the answer is no JSON") from None
        if not isinstance(data, dict):
            raise AnswerError("the answer is no JSON object")
        try:
            values = (
                self._open_meteo(data) if self.provider is Provider.OPEN_METEO else self._openweathermap(data)
            )
            observed = int(values.pop("observed_utc_s"))
            scaled: dict[str, object] = {name: _whole(name, value) for name, value in values.items()}
            return Observation(observed, str(self.provider)[:SOURCE_CHARACTERS_MAX], sample_of(scaled))
        except (KeyError, TypeError, AttributeError, OverflowError) as problem:
            raise AnswerError(f"the answer lacks something: {problem!r}") from None
        except WeatherFileError as problem:
            raise AnswerError(str(problem)) from None

    def _open_meteo(self, data: dict[str, Any]) -> dict[str, float]:
        """`current` as of open-meteo.com/en/docs: means or sums of the `interval` (s) that ends at `time`."""
        now = data["current"]
        interval_h = max(60.0, float(now.get("interval", 900))) / 3600.0
        return {
            "observed_utc_s": float(now["time"]),
            "temperature_mc": 1e3 * now["temperature_2m"],
            "trend_mc_per_h": 0.0,
            "wind_mm_per_s": 1e3 * now["wind_speed_10m"],
            "ghi_dw_per_m2": 10.0 * now["shortwave_radiation"],
            "dni_dw_per_m2": 10.0 * now["direct_normal_irradiance"],
            "dhi_dw_per_m2": 10.0 * now["diffuse_radiation"],
            "rain_um_per_h": 1e3 * now["rain"] / interval_h,
            "cloud_permille": 10.0 * now["cloud_cover"],
        }

    def _openweathermap(self, data: dict[str, Any]) -> dict[str, float]:
        """Its "current weather data" 2.5, metric; it carries no irradiance: that comes from the clouds."""
        observed, cloud = float(data["dt"]), float(data["clouds"]["all"]) / 100.0
        light = under_clouds(observed, self.latitude_deg, self.longitude_deg, cloud)
        return {
            "observed_utc_s": observed,
            "temperature_mc": 1e3 * data["main"]["temp"],
            "trend_mc_per_h": 0.0,
            "wind_mm_per_s": 1e3 * data["wind"]["speed"],
            "ghi_dw_per_m2": 10.0 * light.global_w_per_m2,
            "dni_dw_per_m2": 10.0 * light.direct_w_per_m2,
            "dhi_dw_per_m2": 10.0 * light.diffuse_w_per_m2,
            "rain_um_per_h": 1e3 * (data.get("rain") or {}).get("1h", 0.0),
            "cloud_permille": 1e3 * cloud,
        }


def _whole(name: str, value: float) -> int:
    if not math.isfinite(value):
        raise AnswerError(f"{name} is {value}")
    low, _ = LIMITS[name]
    # Models answer -0.4 W/m² at night and the like; what is really outside is refused by `sample_of`.
    return max(round(value), low) if low == 0 and value > -20 else round(value)

"""The file in which the fetcher leaves live weather for the weather daemon: JSON, version 1, written whole.

    {"version": 1, "observed_utc_s": 1750000000, "source": "open-meteo",
     "sample": {"temperature_mc": 21500, "trend_mc_per_h": 0, ...}}

`sample` has the fields of WEATHER without `slot`: whole numbers in the units of the names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from energymarket.core import weather
from energymarket.core.weather import LIMITS, Sample

NAME: Final = "weather.json"
VERSION: Final = 1
BYTES_MAX: Final = 4_096
SOURCE_CHARACTERS_MAX: Final = 60


class WeatherFileError(ValueError):
    """The file is not one of ours, or holds impossible weather."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Weather as it was observed at an instant. The sample's slot is 0."""

    observed_utc_s: int
    source: str
    sample: Sample

    def at(self, slot: int) -> Sample:
        """The sample as of a slot."""
        return weather.moved(self.sample, slot)


def pack(observation: Observation) -> bytes:
    """The file's bytes."""
    data = {
        "version": VERSION,
        "observed_utc_s": observation.observed_utc_s,
        "source": observation.source,
        "sample": {name: int(observation.sample[name]) for name in LIMITS},
    }
    return (json.dumps(data, indent=1) + "\n").encode()


def unpack(raw: bytes) -> Observation:
    """Read the file's bytes. WeatherFileError says what is wrong with them."""
    if len(raw) > BYTES_MAX:
        raise WeatherFileError(f"longer than {BYTES_MAX} bytes")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise WeatherFileError(f"no JSON: {problem}") from None
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise WeatherFileError(f"not of version {VERSION}")
    observed, source, values = data.get("observed_utc_s"), data.get("source"), data.get("sample")
    if (
        not isinstance(observed, int)
        or isinstance(observed, bool)
        or not isinstance(source, str)
        or not isinstance(values, dict)
    ):
        raise WeatherFileError("observed_utc_s, source or sample is missing")
    if not 0 <= observed < 1 << 40:
        raise WeatherFileError(f"observed_utc_s is {observed}")
    return Observation(observed, source[:SOURCE_CHARACTERS_MAX], sample_of(values))


def sample_of(values: dict[str, object]) -> Sample:
    """A WEATHER record of slot 0 from whole numbers by name. WeatherFileError if it is impossible."""
    checked = {}
    for name, (low, high) in LIMITS.items():
        value = values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 31) <= value < 1 << 31:
            raise WeatherFileError(f"{name} is {value!r}, not a whole number")
        if not low <= value <= high:
            raise WeatherFileError(f"{name} is {value}, outside {low} .. {high}")
        checked[name] = value
    return weather.sample_of(checked, 0)

"""A row of a meter's file: which day it belongs to, and its line."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from energymarket.meters.message import Sample

_DAY_S: Final = 86_400


def day_of(sample: Sample) -> str:
    """The day of the meter's own clock, as it stands in the file's name: 2026-3-9, not padded."""
    return _day(int((sample.time_s + sample.utc_offset_s) // _DAY_S))


@lru_cache(maxsize=64)
def _day(days: int) -> str:
    moment = datetime.fromtimestamp(days * _DAY_S, UTC)
    return f"{moment.year}-{moment.month}-{moment.day}"


def line_of(meter_id: str, sample: Sample, pv_kw: float) -> str:
    """The line of a sample: meter W and 1000 times PV kW are the sum, to a µW."""
    time_s, meter_w = sample.time_s, sample.power_w + 0.0  # a negative zero is zero
    when = f"{time_s:.0f}" if time_s == int(time_s) else f"{time_s:.3f}"
    return f"{meter_id},{when},{meter_w},{pv_kw},{round(meter_w + 1000.0 * pv_kw, 6)}\n"

"""Slots on a wall calendar: local days and times of day, in which clocks are changed twice a year."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from energymarket.core import clock

if TYPE_CHECKING:
    from energymarket.audit.figures import F64
    from energymarket.core.parameters import Period
    from energymarket.core.units import I64

DAY_S: Final = 86_400
_STEP_S: Final = 900
"""Clocks are changed at quarters of an hour of UTC, everywhere."""

_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """How long a slot is, and whose clocks are read."""

    slot_s: int
    timezone: str

    @classmethod
    def of(cls, period: Period) -> Calendar:
        """That of a scenario."""
        return cls(period.slot_s, period.timezone)

    def local(self, slots: I64) -> tuple[I64, I64]:
        """Local day of each slot, counted from 1970-01-01, and its second of the day by local clocks."""
        utc_s = slots * self.slot_s
        steps, at = np.unique(utc_s // _STEP_S, return_inverse=True)
        zone = ZoneInfo(self.timezone)
        offsets = [
            int((datetime.fromtimestamp(step * _STEP_S, tz=UTC).astimezone(zone).utcoffset() or timedelta())
                .total_seconds())
            for step in steps.tolist()
        ]  # fmt: skip
        local_s = utc_s + np.array(offsets, np.int64)[at]
        return local_s // DAY_S, local_s % DAY_S

    def begins(self, slot: int) -> datetime:
        """When a slot begins, in local time."""
        return clock.begins(slot, self.slot_s, self.timezone)

    def slots_of(self, day: int) -> int:
        """How many slots a local day has: 92, 96 or 100 quarters of an hour."""
        at = date_of(day)
        return clock.slots_of_day(
            datetime(at.year, at.month, at.day, tzinfo=UTC), self.slot_s, self.timezone
        )[1]

    def power_kw(self, energy_wh: I64) -> F64:
        """Mean power of slots by their energy."""
        power: F64 = energy_wh.astype(np.float64) * (3.6 / self.slot_s)
        return power


def date_of(day: int) -> date:
    """The date of a local day."""
    return _EPOCH + timedelta(days=day)


def day_of(at: date) -> int:
    """The local day of a date."""
    return (at - _EPOCH).days

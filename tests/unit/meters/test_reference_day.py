"""The reference day: the table of the statement, and what a clear day is not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from energymarket.meters.timetable import offsets_of
from energymarket.pvd import ReferenceSun

TABLE = {
    "05:30": 0.02, "06:00": 0.10, "07:00": 0.20, "08:00": 0.33, "09:00": 0.92, "10:00": 1.70, "11:00": 2.34,
    "12:00": 2.83, "13:00": 3.12, "14:00": 3.24, "14:09": 3.27, "15:00": 3.14, "16:00": 2.97, "17:00": 2.56,
    "18:00": 1.91, "19:00": 1.12, "20:00": 0.17, "20:30": 0.04,
}  # fmt: skip
"""Local clock and kW, as the statement has them, to within 0.05."""

BERLIN = ZoneInfo("Europe/Berlin")
DAYS = [
    *((date(2026, 1, 1), zone) for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata")),
    *((date(2024, 2, 29), zone) for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata")),
    *((date(2026, 7, 1), zone) for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata")),
    (date(2026, 3, 29), "Europe/Berlin"),  # 23 hours
    (date(2026, 10, 25), "Europe/Berlin"),  # 25 hours
    (date(2026, 3, 8), "America/New_York"),
    (date(2026, 11, 1), "America/New_York"),
    *((date(year, 6, 15), "Europe/Berlin") for year in (2001, 2038)),
]


@pytest.mark.parametrize(("day", "zone"), DAYS, ids=str)
def test_every_day_in_every_zone_is_the_same_clear_day(day: date, zone: str) -> None:
    """The table within 0.05 kW, 26.6 kWh within 3 %, peak at 14:09, zero at night, no step above 0.2 kW."""
    local = ZoneInfo(zone)
    begin, end = (datetime(d.year, d.month, d.day, tzinfo=local) for d in (day, day + timedelta(days=1)))
    offset_s, sun = offsets_of(local), ReferenceSun()
    first_s, seconds = int(begin.timestamp()), int(end.timestamp() - begin.timestamp())
    by_minute = {}
    for time_s in range(first_s, first_s + seconds, 60):
        moment = datetime.fromtimestamp(time_s, UTC).astimezone(local)
        by_minute[time_s] = (f"{moment:%H:%M}", sun.power_kw(time_s, offset_s(time_s * 1000)))
    powers = [power for _, power in by_minute.values()]
    found = {clock: power for clock, power in by_minute.values() if clock in TABLE}
    assert found == pytest.approx(TABLE, abs=0.05)
    assert sum(powers) / 60 == pytest.approx(26.6, rel=0.03)
    assert max(by_minute.values(), key=lambda each: each[1])[0] == "14:09"
    assert min(powers) == 0
    assert {power for clock, power in by_minute.values() if not "05:30" <= clock <= "20:30"} == {0.0}
    assert max(abs(b - a) for a, b in pairwise(powers)) <= 0.2


def test_the_curve_rises_to_its_peak_and_falls_from_it() -> None:
    """Zero outside of 05:30 to 20:30, to the second; no wave; a fraction of a second lies between two."""
    sun = ReferenceSun()
    night = [0, 19_799, 19_799.999, 73_800.001, 73_801, 73_860, 86_399]  # 05:30 is 19,800, 20:30 is 73,800
    assert [sun.power_kw(second, 0) for second in night] == [0.0] * len(night)
    assert (sun.power_kw(19_800, 0), sun.power_kw(73_800, 0)) == (0.02, 0.04)
    powers = [sun.power_kw(second, 0) for second in range(86_400)]
    peak = 14 * 3600 + 9 * 60
    assert all(a <= b for a, b in pairwise(powers[: peak + 1]))
    assert all(a >= b for a, b in pairwise(powers[peak:]))
    assert powers[36_000] <= sun.power_kw(36_000.5, 0) <= powers[36_001]

"""The physical roof: power at an instant, from tables of a month that a program with pvlib makes beforehand.

No daemon carries pvlib: 2 s and 200 MB. A month is computed once, by a child, and read from then on.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from energymarket.exits import ConfigError, Exit, Failure
from energymarket.scenario.meters_schema import PvRoof
from energymarket.scenario.schema import Place

log = logging.getLogger(__name__)

STEP_S: Final = 60
MONTHS_MAX: Final = 4
"""Tables that are open: the message's month, and those of late ones."""
COMPUTE_S_MAX: Final = 300.0


class RooftopSun:
    """One roof; the same for every meter of a service."""

    def __init__(self, roof: PvRoof, place: Place, compiled: Path | None, cache: Path) -> None:
        """`compiled` has the weather; without it the sky is clear. Tables are kept in `cache`."""
        self._words = [
            *(f"--latitude={place.latitude}", f"--longitude={place.longitude}"),
            *(f"--altitude={place.altitude_m}", f"--tilt={roof.tilt_deg}"),
            *(f"--azimuth={roof.azimuth_deg}", f"--peak-kw={roof.peak_kw}"),
        ]
        if compiled is not None:
            self._words.append(f"--compiled={compiled.resolve()}")
        self._cache = cache
        self._months: dict[tuple[int, int], tuple[float, list[float]]] = {}
        self._latest: tuple[float, list[float]] = (0.0, [])

    def power_kw(self, time_s: float, utc_offset_s: int) -> float:
        """PV power in kW at an instant, in whole mW, drawn out between minutes; Failure without pvlib."""
        del utc_offset_s  # the sun knows no clock
        begin_s, table = self._latest
        minutes, within = divmod((time_s - begin_s) / STEP_S, 1.0)
        if not 0 <= minutes < len(table) - 1:
            begin_s, table = self._latest = self._month(time_s)
            minutes, within = divmod((time_s - begin_s) / STEP_S, 1.0)
        first = table[int(minutes)]
        return round(first + within * (table[int(minutes) + 1] - first), 6)

    def _month(self, time_s: float) -> tuple[float, list[float]]:
        moment = datetime.fromtimestamp(time_s, UTC)
        key = (moment.year, moment.month)
        known = self._months.get(key)
        if known is None:
            if len(self._months) >= MONTHS_MAX:
                self._months.pop(next(iter(self._months)))
            begin_s = datetime(*key, 1, tzinfo=UTC).timestamp()
            known = self._months[key] = (begin_s, self._table(*key))
        return known

    def _table(self, year: int, month: int) -> list[float]:
        named = hashlib.sha256("\0".join(self._words).encode()).hexdigest()[:16]
        path = self._cache / f"roof-{named}-{year}-{month:02d}.npy"
        with contextlib.suppress(FileNotFoundError, ValueError, EOFError):  # not there, or cut short
            return [float(power) for power in np.load(path)]
        log.info("computing the roof's %d-%02d", year, month)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        self._cache.mkdir(parents=True, exist_ok=True)
        apart = "-I" if sys.flags.isolated else "-P"
        command = [sys.executable, apart, "-m", "energymarket.scenario.rooftop", *self._words]
        command += [f"--year={year}", f"--month={month}", f"--out={draft}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMPUTE_S_MAX)
            if done.returncode != 0:
                raise _refused(done.returncode, done.stderr)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return [float(power) for power in np.load(path)]


def _refused(code: int, said: str) -> Failure:
    if "No module named" in said:
        return ConfigError("the physical roof needs pvlib", "pip install 'energy-market[compiler]'")
    last = (said.strip().splitlines() or ["no word"])[-1]
    return Failure(
        f"the roof could not be computed: {last}", code=Exit(code) if code in list(Exit) else Exit.FAILED
    )

"""The physical roof: power at an instant, from tables of a month that a program with pvlib makes beforehand.

No daemon carries pvlib: 2 s and 200 MB. A month is computed once, by a child, and read from then on. While
it is, the service goes on: its loop owes the broker a heartbeat.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Final

import numpy as np

from energymarket.exits import ConfigError, Exit, Failure
from energymarket.scenario.meters_schema import PvRoof
from energymarket.scenario.schema import Place

log = logging.getLogger(__name__)

STEP_S: Final = 60
MONTHS_MAX: Final = 4
"""Tables that are open: the message's month, and those of late ones."""
PREFIX: Final = "energy-rooftop: "
"""Of each line in which the program says why it could not."""
COMPUTE_S_MAX: Final = 300.0
CLOSE_S: Final = 0.1


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
        self._thread: Thread | None = None
        self._child: subprocess.Popen[str] | None = None
        self._failed: Failure | OSError | None = None

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

    def is_known(self, time_s: float) -> bool:
        """Whether `power_kw` answers at once. Raises why the last `prepare` has failed, once."""
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
        begin_s, table = self._latest
        if 0 <= (time_s - begin_s) / STEP_S < len(table) - 1:
            return True
        key = _month_of(time_s)
        return key in self._months or self._load(key)

    def prepare(self, time_s: float, done: Callable[[], None]) -> None:
        """Compute the month of an instant beside the service; `done` is called from another thread.

        One at a time: while one is computed, nothing happens, and its `done` is the time to ask again.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = Thread(target=self._prepared, args=(_month_of(time_s), done), daemon=True)
        self._thread.start()

    def _prepared(self, key: tuple[int, int], done: Callable[[], None]) -> None:
        try:
            self._compute(key)
        except (Failure, OSError) as problem:
            self._failed = problem
        done()

    def close(self) -> None:
        """End what is being computed."""
        while self._thread is not None and self._thread.is_alive():
            child = self._child  # which may only just be starting
            if child is not None:
                child.kill()
            self._thread.join(CLOSE_S)

    def _month(self, time_s: float) -> tuple[float, list[float]]:
        key = _month_of(time_s)
        if key not in self._months and not self._load(key):
            self._compute(key)
            self._load(key)
        return self._months[key]

    def _path(self, key: tuple[int, int]) -> Path:
        named = hashlib.sha256("\0".join(self._words).encode()).hexdigest()[:16]
        return self._cache / f"roof-{named}-{key[0]}-{key[1]:02d}.npy"

    def _load(self, key: tuple[int, int]) -> bool:
        """Read the table of a month, if it has been computed."""
        try:
            table = [float(power) for power in np.load(self._path(key))]
        except (FileNotFoundError, ValueError, EOFError):  # not there, or cut short
            return False
        if len(self._months) >= MONTHS_MAX:
            self._months.pop(next(iter(self._months)))
        self._months[key] = (datetime(*key, 1, tzinfo=UTC).timestamp(), table)
        return True

    def _compute(self, key: tuple[int, int]) -> None:
        """Have the table of a month computed. Failure if that was in vain, OSError."""
        path, (year, month) = self._path(key), key
        log.info("computing the roof's %d-%02d", year, month)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        self._cache.mkdir(parents=True, exist_ok=True)
        apart = "-I" if sys.flags.isolated else "-P"
        command = [sys.executable, apart, "-m", "energymarket.scenario.rooftop", *self._words]
        command += [f"--year={year}", f"--month={month}", f"--out={draft}"]
        try:
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            ) as self._child:
                said = _said(self._child)
            if self._child.returncode != 0:
                raise _refused(self._child.returncode, said)
            draft.replace(path)
        finally:
            self._child = None
            draft.unlink(missing_ok=True)


def _month_of(time_s: float) -> tuple[int, int]:
    moment = datetime.fromtimestamp(time_s, UTC)
    return (moment.year, moment.month)


def _said(child: subprocess.Popen[str]) -> str:
    try:
        return child.communicate(timeout=COMPUTE_S_MAX)[1]
    except subprocess.TimeoutExpired as problem:
        child.kill()
        raise Failure(f"the roof took more than {COMPUTE_S_MAX:.0f} s to compute") from problem


def _refused(code: int, said: str) -> Failure:
    if "No module named" in said:
        return ConfigError("the physical roof needs pvlib", "pip install 'energy-market[compiler]'")
    lines = said.strip().splitlines() or ["no word"]
    told = [line.removeprefix(PREFIX) for line in lines if line.startswith(PREFIX)] or lines[-1:]
    return Failure(
        f"the roof could not be computed: {'; '.join(told)}",
        code=Exit(code) if code in list(Exit) else Exit.FAILED,
    )

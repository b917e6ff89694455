"""How each unit is watched, restarted and given up: the values of its unit file, held against it by a test.

`energyctl up` and systemd are two carriers of one behaviour. systemd reads the unit files; where there is no
systemd there are no unit files either, so their values stand here, under the same names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Policy:
    """What systemd.service(5) and systemd.unit(5) call these; a span of 0 means never."""

    restart_s: float = 0.05  # RestartSec=, of systemd 254 and later
    restart_steps: int = 4  # RestartSteps=
    restart_s_max: float = 0.3  # RestartMaxDelaySec=
    starts_max: int = 20  # StartLimitBurst=
    starts_window_s: float = 60.0  # StartLimitIntervalSec=
    watchdog_s: float = 2.0  # WatchdogSec=
    start_s: float = 30.0  # TimeoutStartSec=
    stop_s: float = 10.0  # TimeoutStopSec=
    abort_s: float = 1.0  # TimeoutAbortSec=
    final_codes: frozenset[int] = frozenset({73, 78})  # RestartPreventExitStatus=

    def delay_s(self, restarts: int) -> float:
        """How long the restart of this number waits, counted from 1, as systemd computes it.

        service.c:service_restart_usec_next() of systemd 254: RestartSec= for the first, RestartMaxDelaySec=
        behind the last step, equal factors between.
        """
        if restarts <= 1 or self.restart_steps == 0 or self.restart_s >= self.restart_s_max:
            return self.restart_s
        if restarts > self.restart_steps:
            return self.restart_s_max
        factor = (self.restart_s_max / self.restart_s) ** (1 / self.restart_steps)
        return float(self.restart_s * factor ** (restarts - 1))


DAEMON: Final = Policy()
METERS: Final = Policy(
    restart_s=1.0,
    restart_steps=0,
    restart_s_max=0.0,
    watchdog_s=120.0,
    start_s=120.0,
    stop_s=25.0,
)
POLICIES: Final = {
    "energy-market.service": DAEMON,
    "energy-weather.service": DAEMON,
    "energy-weather-fetch.service": Policy(
        restart_s=5.0, restart_steps=0, restart_s_max=0.0, watchdog_s=0.0, stop_s=25.0
    ),
    "energy-homes.service": DAEMON,
    "energy-home@.service": replace(DAEMON, final_codes=frozenset({4, 73, 78})),
    "energy-dispatcher.service": DAEMON,
    "energy-worker@.service": replace(DAEMON, watchdog_s=10.0, start_s=60.0),
    "energy-meters.service": METERS,
    "energy-pv.service": METERS,
    "energy-readings.service": METERS,
}
"""By the name of the unit file, templates as such."""


def of_unit(unit: str) -> Policy:
    """The policy of a unit; of an instance that of its template. KeyError for one that has no unit file."""
    name, at, rest = unit.partition("@")
    return POLICIES[f"{name}@.{rest.rpartition('.')[2]}" if at else unit]


@dataclass(slots=True)
class StartLimit:
    """So many starts within a window, which begins with its first (systemd's ratelimit_below())."""

    starts_max: int
    window_s: float
    began_s: float | None = None
    starts: int = 0

    def take(self, now_s: float) -> bool:
        """Count a start; whether it is allowed."""
        if self.began_s is None or now_s > self.began_s + self.window_s:
            self.began_s, self.starts = now_s, 1
            return True
        if self.starts >= self.starts_max:
            return False
        self.starts += 1
        return True

    def left(self, now_s: float) -> int:
        """How many starts are still allowed in the window of this moment."""
        if self.began_s is None or now_s > self.began_s + self.window_s:
            return self.starts_max
        return self.starts_max - self.starts

    def reset(self) -> None:
        """Begin anew, as `systemctl reset-failed` does."""
        self.began_s, self.starts = None, 0

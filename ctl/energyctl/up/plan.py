"""Which daemons a run has, and how each is started. No file is read and nothing is started here."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from energyctl.up.core import Role
from energyctl.up.process import Command

HOMES_PER_SHARD_MIN: Final = 500  # below it a process costs more than it spreads

_DROPPED: Final = (
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "NOTIFY_SOCKET",
)
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of."""

    compiled: Path
    run: Path
    state: Path
    homes_count: int
    single_homes: tuple[int, ...]
    shards: int | None
    speed: float | None
    slots: int | None


def commands(plan: Plan, processors: int) -> list[Command]:
    """The programs of a run. They are started together: every order works."""
    common = ("--compiled", str(plan.compiled), "--run", str(plan.run))
    market = [*common, "--state", str(plan.state / "market")]
    if plan.speed is not None:
        market += ["--speed", f"{plan.speed:g}"]
    if plan.slots is not None:
        market += ["--slots", str(plan.slots)]
    found = [
        _python("market", Role.MARKET, "marketd", market),
        _python("weather", Role.WEATHER, "weatherd", [*common, "--state", str(plan.state / "weather")]),
    ]
    homes_state = ("--state", str(plan.state / "homes"))
    ranges = list(pool_ranges(plan.homes_count, plan.single_homes))
    for number, (first, count) in enumerate(ranges, start=1):
        shards = plan.shards or max(1, min(processors, count // HOMES_PER_SHARD_MIN))
        arguments = [*common, *homes_state, "--shards", str(min(shards, count))]
        if ranges != [(1, plan.homes_count)]:
            arguments += ["--first", str(first), "--count", str(count)]
        found.append(_python("homes" if number == 1 else f"homes-{number}", Role.HOMES, "homesd", arguments))
    singles = (
        _python(f"home-{home}", Role.HOMES, "homed", [*common, *homes_state, "--home", str(home)])
        for home in plan.single_homes
    )
    return [*found, *singles]


def pool_ranges(homes_count: int, single_homes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The homes that are no process of their own, as contiguous ranges (first, count)."""
    single = set(single_homes)
    pool = (home for home in range(1, homes_count + 1) if home not in single)
    for _, run in groupby(enumerate(pool), key=lambda pair: pair[1] - pair[0]):
        ids = [home for _, home in run]
        yield ids[0], len(ids)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the daemons inherit: nothing of our own supervisor's, and one thread each: more would fight."""
    kept = {name: value for name, value in environ.items() if name not in _DROPPED}
    return {**kept, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONUNBUFFERED": "1"}


def _python(name: str, role: Role, module: str, arguments: Sequence[str]) -> Command:
    return Command(name, role, (sys.executable, "-m", f"energymarket.{module}", *arguments))

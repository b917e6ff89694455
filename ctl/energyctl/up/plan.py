"""Which daemons a run has, and how each is started. No file is read and nothing is started here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from energyctl.programs import python
from energyctl.up.core import Role
from energyctl.up.process import Command

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
    live_weather: bool
    source: Path  # the scenario's file: a reload reads its coefficients again
    shards: int | None
    speed: float | None
    slots: int | None
    lockstep: bool = False  # without a clock
    metered: bool = False  # whether homes live by meters
    meters: int = 0  # that speak over the configuration's broker; not in lockstep, which has no clock
    course: str = ""  # the name of this run: its slots are counted from where it begins


def commands(plan: Plan) -> list[Command]:
    """The programs of a run. They are started together: every order works."""
    common: tuple[str, ...] = ("--compiled", str(plan.compiled), "--run", str(plan.run))
    common += ("--lockstep",) if plan.lockstep else ()
    market = [*common, "--state", str(plan.state / "market"), "--config", str(plan.source)]
    if plan.speed is not None:
        market += ["--speed", f"{plan.speed:g}"]
    if plan.slots is not None:
        market += ["--slots", str(plan.slots), "--course", plan.course]
    found = [
        _python("market", Role.MARKET, "marketd", market),
        _python("weather", Role.WEATHER, "weatherd", [*common, "--state", str(plan.state / "weather")]),
    ]
    if plan.live_weather and not plan.lockstep:
        # It asks the provider, so that the weather daemon needs no network.
        fetch = ("--compiled", str(plan.compiled), "--state", str(plan.state / "weather"))
        found.append(_python("fetch", Role.WEATHER, "weather_fetch", fetch))
    if plan.metered and not plan.lockstep:
        # Like the weather's: the one program of the market that speaks to the broker.
        books = ["-conf", str(plan.source), "--compiled", str(plan.compiled)]
        found.append(
            _python("readings", Role.HOMES, "readingd", [*books, "--state", str(plan.state / "readings")])
        )
    if plan.meters and not plan.lockstep:
        told = ("-conf", str(plan.source))
        pv = ("--directory", str(plan.state / "pv"), "--compiled", str(plan.compiled))
        found += [
            _python("meters", Role.WEATHER, "meterd", [*told, "--state", str(plan.state / "meters")]),
            _python("pv", Role.WEATHER, "pvd", [*told, *pv]),
        ]
    homes_state = ("--state", str(plan.state / "homes"))
    # The pool finds its own homes: all that are no process of their own.
    if len(plan.single_homes) < plan.homes_count:
        shards = () if plan.shards is None else ("--shards", str(plan.shards))
        found.append(_python("homes", Role.HOMES, "homesd", [*common, *homes_state, *shards]))
    singles = (
        _python(f"home-{home}", Role.HOMES, "homed", [*common, *homes_state, "--home", str(home)])
        for home in plan.single_homes
    )
    return [*found, *singles]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the daemons inherit: nothing of our own supervisor's, and one thread each: more would fight."""
    kept = {name: value for name, value in environ.items() if name not in _DROPPED}
    return {**kept, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONUNBUFFERED": "1"}


def _python(name: str, role: Role, module: str, arguments: Sequence[str]) -> Command:
    return Command(name, role, tuple(python(module, *arguments)))

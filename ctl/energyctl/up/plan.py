"""Which daemons a run has, and how each is started. No file is read and nothing is started here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from energyctl.programs import python
from energyctl.up.life import Role
from energyctl.up.names import unit_of
from energyctl.up.process import Command, Listen
from energymarket.wire.messages import CONTROL_SOCKET, TRADE_SOCKET

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
    workers: int = 0  # for heavy questions, behind a dispatcher; none in lockstep
    course: str = ""  # the name of this run: its slots are counted from where it begins


def commands(plan: Plan) -> list[Command]:
    """The programs of a run. They are started together: every order works."""
    return [command for part in PARTS for command in part(plan)]


def _speed(plan: Plan) -> list[str]:
    """What those are told whose work depends on how long a slot is."""
    return [] if plan.speed is None else ["--speed", f"{plan.speed:g}"]


def _market(plan: Plan) -> Iterator[Command]:
    words = [*_common(plan), "--state", str(plan.state / "market"), "--config", str(plan.source)]
    words += _speed(plan)
    if plan.slots is not None:
        words += ["--slots", str(plan.slots), "--course", plan.course]
    # The sockets are ours, so that nobody is refused while the market is started again.
    listens = tuple(Listen(name, plan.run / name) for name in (TRADE_SOCKET, CONTROL_SOCKET))
    yield _python("market", Role.MARKET, "marketd", words, listens=listens)


def _weather(plan: Plan) -> Iterator[Command]:
    state = ("--state", str(plan.state / "weather"))
    yield _python("weather", Role.WEATHER, "weatherd", [*_common(plan), *state])
    if plan.live_weather and not plan.lockstep:
        # It asks the provider, so that the weather daemon needs no network.
        words = ["--compiled", str(plan.compiled), *state]
        yield _python("fetch", Role.WEATHER, "weather_fetch", words, required=False)


def _homes(plan: Plan) -> Iterator[Command]:
    words = [*_common(plan), "--state", str(plan.state / "homes")]
    # The pool finds its own homes: all that are no process of their own.
    if len(plan.single_homes) < plan.homes_count:
        shards = [] if plan.shards is None else ["--shards", str(plan.shards)]
        yield _python("homes", Role.HOMES, "homesd", [*words, *shards, *_speed(plan)])
    for home in plan.single_homes:
        yield _python(f"home-{home}", Role.HOMES, "homed", [*words, "--home", str(home)])


def _readings(plan: Plan) -> Iterator[Command]:
    if not plan.metered or plan.lockstep:
        return
    # Like the weather's fetcher: the homes need no network, and a broker that hangs hangs none of them.
    words = ["-conf", str(plan.source), "--compiled", str(plan.compiled)]
    words += ["--state", str(plan.state / "readings")]
    words += _speed(plan)
    yield _python("readings", Role.METERS, "readingd", words, required=False)


def _dispatch(plan: Plan) -> Iterator[Command]:
    """Dispatcher and workers; the workers at idle priority, so that heavy questions hold nobody up."""
    words = ["--run", str(plan.run), "--config", str(plan.source)]
    if plan.workers and not plan.lockstep:
        counted = ["--workers", str(plan.workers)]
        yield _python("dispatcher", Role.DISPATCHER, "dispatcherd", [*words, *counted], required=False)
        for number in range(1, plan.workers + 1):
            told = [*words, str(number)]
            yield _python(f"worker-{number}", Role.WORKER, "workerd", told, required=False, idle=True)


def _meters(plan: Plan) -> Iterator[Command]:
    told = ["-conf", str(plan.source)]
    if plan.meters and not plan.lockstep:
        state = ["--state", str(plan.state / "meters")]
        yield _python("meters", Role.METERS, "meterd", [*told, *state], required=False)
        pv = ["--directory", str(plan.state / "pv"), "--compiled", str(plan.compiled)]
        yield _python("pv", Role.METERS, "pvd", [*told, *pv], required=False)


PARTS: Final[tuple[Callable[[Plan], Iterable[Command]], ...]] = (
    _market,
    _weather,
    _homes,
    _readings,
    _dispatch,
    _meters,
)
"""What a run is made of: a part yields the commands that a plan asks it for, and none where it does not.

A daemon more is a function here, the policy of its unit in policy.py, and its role in life.py where it has
another turn in the order of the stop.
"""


def _common(plan: Plan) -> list[str]:
    words = ["--compiled", str(plan.compiled), "--run", str(plan.run)]
    return [*words, "--lockstep"] if plan.lockstep else words


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the daemons inherit: nothing of our own supervisor's, and one thread each: more would fight."""
    kept = {name: value for name, value in environ.items() if name not in _DROPPED}
    return {**kept, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONUNBUFFERED": "1"}


def _python(
    name: str,
    role: Role,
    module: str,
    words: Sequence[str],
    *,
    required: bool = True,
    listens: tuple[Listen, ...] = (),
    idle: bool = False,
) -> Command:
    return Command(name, role, tuple(python(module, *words)), unit_of(name), required, listens, idle)

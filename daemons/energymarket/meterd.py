"""energy-meterd: household meters that publish what they read over RabbitMQ, and keep it while it is away."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.exits import Exit, Failure
from energymarket.meters import limits, topology, words
from energymarket.meters.household import Household
from energymarket.meters.publishing import Publishing
from energymarket.meters.settings import address, read, zone_of
from energymarket.meters.spool import Spool
from energymarket.meters.timetable import Timetable, offsets_of, on_grid
from energymarket.meters.turning import Turning
from energymarket.runtime import clock, service
from energymarket.runtime.notify import Notifier
from energymarket.transport.amqp import Link, new_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from zoneinfo import ZoneInfo

    from energymarket.meters.settings import Settings

PROGRAM: Final = "energy-meterd"
AS_FAST_MS: Final = 1e17
"""A time that no timetable reaches: everything is due."""

log = logging.getLogger(__name__)


def _timetable(
    given: argparse.Namespace, interval_s: float, zone: ZoneInfo, last_ms: int | None
) -> tuple[Timetable, Callable[[], float]]:
    """When the meters read, and what time it is for them. A simulated time goes on where the spool ends."""
    interval_ms = round(interval_s * 1000)
    wall_ms = clock.wall_ns() // 1_000_000
    live = given.start is None and given.speed == 1
    if given.start is None:
        begin_ms = on_grid(wall_ms, interval_ms)
    else:
        begin = given.start if given.start.tzinfo is not None else given.start.replace(tzinfo=zone)
        begin_ms = round(begin.timestamp() * 1000)
    end_ms = _end_ms(given, begin_ms, live=live)
    first_ms = begin_ms
    if not live and last_ms is not None and begin_ms <= last_ms and (end_ms is None or last_ms < end_ms):
        first_ms = begin_ms + ((last_ms - begin_ms) // interval_ms + 1) * interval_ms
        log.info("the spool holds this time up to %s s: it goes on from there", last_ms / 1000)
        if end_ms is not None and first_ms >= end_ms:
            log.warning("which is all of it: nothing is read a second time (--state DIR begins anew)")
    timetable = Timetable(interval_ms, first_ms, end_ms, live=live)
    if live:
        return timetable, lambda: clock.wall_ns() / 1e6
    if given.speed == 0:
        return timetable, lambda: AS_FAST_MS
    begun_s = clock.monotonic_s()
    return timetable, lambda: first_ms + (clock.monotonic_s() - begun_s) * 1000.0 * given.speed


def _end_ms(given: argparse.Namespace, begin_ms: int, *, live: bool) -> int | None:
    """When a simulated time ends; Failure if it goes beyond what a message may say."""
    first_ms, last_ms = limits.TIME_S_MIN * 1000, limits.TIME_S_MAX * 1000
    end_ms = None if given.span_s is None else begin_ms + given.span_s * 1000
    if live:
        return end_ms
    if not first_ms <= begin_ms < last_ms or (end_ms is not None and end_ms > last_ms):
        raise Failure(f"--start and --for are not within {words.YEARS}", code=Exit.USAGE)
    return last_ms if end_ms is None else end_ms


def serve(given: argparse.Namespace, settings: Settings, stop: service.StopFlag) -> int:
    """Run until stopped, or until a simulated time is over and all of it is with the broker."""
    count = max(1, settings.meters.count if given.count is None else given.count)
    zone = zone_of(given.timezone or settings.timezone)
    seed = settings.seed if given.seed is None else given.seed
    ids = [topology.meter_id(number) for number in range(count)]
    with ExitStack() as stack:
        spool = Spool(given.state, given.spool_bytes)
        stack.callback(spool.close)
        with words.using(given.state, "--state"):
            spool.open()
        timetable, now_ms = _timetable(
            given, given.interval_s or settings.meters.interval_s, zone, spool.last_time_ms
        )
        houses = [Household(seed, number, zone) for number in range(count)]
        publishing = Publishing(ids, houses, spool, timetable, now_ms, offsets_of(zone), given.speed)
        loop = new_loop()
        stack.callback(loop.close)
        link = Link(loop, address(settings.broker), words.PACE, PROGRAM, publishing, words.jitter)
        log.info("Meter created: %s", ids)
        Turning(link, publishing, stop, Notifier()).run()
    return Exit.OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = words.parser(PROGRAM, "Household meters that publish their consumption over RabbitMQ.")
    parser.add_argument(
        "-nb",
        "--nb-meter",
        dest="count",
        type=words.whole,
        metavar="N",
        help="meters, Meter_0 and on; zero or less means 1 (default: what the configuration says, else 1)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=None,
        metavar="DIR",
        help="where samples wait for the broker (default: energy-market/meters in the user's state)",
    )
    parser.add_argument(
        "--interval",
        dest="interval_s",
        type=words.positive,
        metavar="S",
        help="between two samples (default 2)",
    )
    parser.add_argument("--seed", type=words.whole, metavar="N", help="of the households (default 1)")
    parser.add_argument("--timezone", metavar="NAME", help="of the meters' clock (default: the machine's)")
    parser.add_argument(
        "--speed",
        type=words.positive,
        default=1.0,
        metavar="X",
        help="simulated seconds per second; 0: as fast as the broker takes them (default 1)",
    )
    parser.add_argument(
        "--start", type=words.moment, metavar="DATE", help="simulate from this date, or date and time, on"
    )
    parser.add_argument(
        "--for",
        dest="span_s",
        type=words.span_s,
        metavar="SPAN",
        help="end after so much time: 1d, 6h, 30min",
    )
    parser.add_argument(
        "--spool-bytes",
        type=words.whole,
        default=limits.SPOOL_BYTES_MAX,
        metavar="N",
        help="what may wait for the broker on the disk (default 256 MiB)",
    )
    given = parser.parse_args(arguments)
    if given.count is not None and given.count > limits.METERS_MAX:
        parser.error(f"at most {limits.METERS_MAX} meters")
    if (
        given.interval_s is not None
        and not limits.INTERVAL_S_MIN <= given.interval_s <= limits.INTERVAL_S_MAX
    ):
        parser.error(f"--interval: {limits.INTERVAL_S_MIN} to {limits.INTERVAL_S_MAX} s")
    if given.spool_bytes < limits.SPOOL_BYTES_MIN:
        parser.error(f"--spool-bytes: at least {limits.SPOOL_BYTES_MIN}")
    given.state = given.state or words.state_directory()
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the meters; the exit code."""
    given = parse(arguments)
    return service.run(PROGRAM, lambda stop: serve(given, read(given.configuration_file), stop))


if __name__ == "__main__":
    sys.exit(main())

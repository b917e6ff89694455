"""energy-readingd: keeps the books of metered homes: what the broker has of their meters, as watt-hours."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.core.metering import Book
from energymarket.exits import ConfigError, Exit
from energymarket.meters import words
from energymarket.meters.collecting import Collecting
from energymarket.meters.recording import Recorder
from energymarket.meters.settings import address, read
from energymarket.meters.turning import Turning
from energymarket.runtime import clock, service
from energymarket.runtime.notify import Notifier
from energymarket.scenario.opening import metered_homes, open_scenario, speed
from energymarket.transport.amqp import Link, new_loop
from energymarket.transport.book_file import BookFile, place

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "energy-readingd"

log = logging.getLogger(__name__)


def serve(given: argparse.Namespace, stop: service.StopFlag) -> int:
    """Run until stopped."""
    compiled = open_scenario(given)
    meters = sorted(set(metered_homes(compiled).values()))
    if not meters:
        raise ConfigError("the scenario has no metered homes", '[[home]] with meter = "Meter_0"')
    settings = read(given.configuration_file)
    # Market time is the world's at speed 1 alone, and only then can a sample be known to be ahead of it.
    now_ms = _now_ms if (given.speed or compiled.period.speed) == 1.0 else None
    given.state.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        loop = new_loop()
        stack.callback(loop.close)
        recorder = Recorder(loop, None)
        stack.callback(recorder.close)
        broker = address(settings.broker)
        link = Link(loop, broker, words.PACE, PROGRAM, recorder, words.jitter)
        refusing = recorder.shared.refusing
        aside = Link(loop, broker, words.PACE, f"{PROGRAM}, put aside", refusing, words.jitter)
        collections = []
        for meter in meters:
            file = BookFile(place(given.state, meter), meter)
            stack.callback(file.close)
            book = file.open() or Book(compiled.period.slot_s, secrets.token_hex(8))
            if book.slot_s != compiled.period.slot_s:
                raise ConfigError(
                    f"the book of {meter} has slots of {book.slot_s} s, not of {compiled.period.slot_s} s",
                    f"move {place(given.state, meter)} away: the meter's registers then begin anew",
                )
            collections.append(Collecting(meter, file, book, recorder.shared, now_ms))
        recorder.record(collections, aside)
        log.info("books of: %s", meters)
        Turning(link, recorder, stop, Notifier()).run()
    return Exit.OK


def _now_ms() -> float:
    return clock.wall_ns() / 1e6


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = words.parser(PROGRAM, "Books of metered homes: what their meters say over RabbitMQ, in Wh.")
    parser.add_argument("--compiled", type=Path, metavar="DIR", help="directory of a compiled scenario")
    parser.add_argument("--scenario", metavar="NAME", help="a scenario's name or file, compiled before")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="directory of the books")
    parser.add_argument(
        "--speed",
        type=speed,
        metavar="X",
        help="the market's, instead of the scenario's; at 1, what is an hour ahead of the world is put aside",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep the books; the exit code."""
    given = parse(arguments)
    return service.run(PROGRAM, lambda stop: serve(given, stop))


if __name__ == "__main__":
    sys.exit(main())

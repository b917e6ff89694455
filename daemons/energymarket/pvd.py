"""energy-pvd: adds PV to what meters publish over RabbitMQ, and writes each sample once, a file a day."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.exits import ConfigError, Exit
from energymarket.meters import limits, reference_day, topology, words
from energymarket.meters.day_files import DayFiles
from energymarket.meters.recording import Recorder, Recording
from energymarket.meters.rooftop_sun import RooftopSun
from energymarket.meters.settings import address, read, zone_of
from energymarket.meters.timetable import offsets_of
from energymarket.meters.turning import Turning
from energymarket.runtime import descriptors, service
from energymarket.runtime.notify import Notifier
from energymarket.scenario.meters_schema import PvMode
from energymarket.transport.amqp import Link, new_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from energymarket.meters.recording import Sun
    from energymarket.meters.settings import Settings

PROGRAM: Final = "energy-pvd"

log = logging.getLogger(__name__)


class ReferenceSun:
    """The reference day by the clock of the meter."""

    def power_kw(self, time_s: float, utc_offset_s: int) -> float:
        """PV power in kW at an instant, given what the meter's clock is ahead of UTC."""
        return reference_day.power_kw((time_s + utc_offset_s) % reference_day.DAY_S)

    def is_known(self, _time_s: float) -> bool:
        """It knows all days."""
        return True

    def prepare(self, _time_s: float, done: Callable[[], None]) -> None:
        """There is nothing to prepare."""
        done()

    def close(self) -> None:
        """There is nothing to end."""


def ids_of(given: argparse.Namespace, settings: Settings) -> list[str]:
    """The meters to serve, each once. ConfigError if neither words nor configuration name any."""
    if given.ids:
        return list(dict.fromkeys(given.ids))
    if settings.names_meters and settings.meters.count:
        return [topology.meter_id(number) for number in range(settings.meters.count)]
    raise ConfigError("no meter is named", "-ids Meter_0 Meter_1, or [meters] count in the configuration")


def sun_of(given: argparse.Namespace, settings: Settings) -> Sun:
    """The roof beside the meters, as the configuration or the command line has it."""
    mode = PvMode(given.mode) if given.mode else settings.meters.pv.mode
    if mode is PvMode.REFERENCE:
        return ReferenceSun()
    return RooftopSun(
        settings.meters.pv, settings.place, given.compiled, given.cache or given.directory / ".roof"
    )


def serve(given: argparse.Namespace, settings: Settings, stop: service.StopFlag) -> int:
    """Run until stopped, or until nothing has come for as long as was asked."""
    ids = ids_of(given, settings)
    with words.using(given.directory, "--directory"):
        given.directory.mkdir(parents=True, exist_ok=True)
    descriptors.allow(len(ids) * (limits.FILES_MAX + 1) + 64)
    sun = sun_of(given, settings)
    ahead_s = offsets_of(zone_of(given.timezone or settings.timezone))
    low, high = limits.PREFETCH_PER_METER
    prefetch = min(high, max(low, limits.PREFETCH_MESSAGES // len(ids)))
    with ExitStack() as stack:
        loop = new_loop()
        stack.callback(loop.close)
        recorder = Recorder(loop, given.idle_exit_s)
        stack.callback(recorder.close)
        stack.callback(sun.close)
        broker = address(settings.broker)
        link = Link(loop, broker, words.PACE, PROGRAM, recorder, words.jitter)
        refusing = recorder.shared.refusing
        aside = Link(loop, broker, words.PACE, f"{PROGRAM}, put aside", refusing, words.jitter)
        recordings = []
        for each in ids:
            files = DayFiles(given.directory, each)
            stack.callback(files.close)
            with words.using(given.directory, "--directory"):
                files.open()
            recordings.append(
                Recording(
                    each,
                    files,
                    sun,
                    prefetch,
                    recorder.shared,
                    lambda time_s: ahead_s(int(time_s * 1000)),
                    forwards=settings.meters.pv.forward,
                )
            )
        recorder.record(recordings, aside)
        log.info("PV service for: %s", ids)
        Turning(link, recorder, stop, Notifier()).run()
    return Exit.OK


def _settings(given: argparse.Namespace) -> Settings:
    """The configuration, with what the command line says beside it."""
    settings = read(given.configuration_file)
    if not given.forward:
        return settings
    pv = replace(settings.meters.pv, forward=True)
    return replace(settings, meters=replace(settings.meters, pv=pv))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = words.parser(PROGRAM, "PV beside meters: each sample with the sun added, in a file a day.")
    parser.add_argument(
        "-ids",
        "--meter-ids",
        dest="ids",
        nargs="+",
        type=words.meter_id,
        metavar="ID",
        help="one or more meters, each served by one PV service (default: those of the configuration)",
    )
    parser.add_argument(
        "--directory", type=Path, default=Path(), metavar="DIR", help="where the files go (default: here)"
    )
    parser.add_argument(
        "--idle-exit",
        dest="idle_exit_s",
        type=words.positive,
        metavar="S",
        help="end when nothing has come for so long",
    )
    parser.add_argument(
        "--forward",
        action="store_true",
        help="pass what is written on to metered homes, through a queue per meter (default: as configured)",
    )
    parser.add_argument(
        "--timezone",
        metavar="NAME",
        help="clock of meters that do not say theirs (default: as configured, else the machine's)",
    )
    parser.add_argument(
        "--pv",
        dest="mode",
        choices=[each.value for each in PvMode],
        help="how PV is found (default: reference)",
    )
    parser.add_argument(
        "--compiled", type=Path, metavar="DIR", help="physical: the compiled scenario whose weather it takes"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="physical: where computed months are kept (default: .roof)"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the PV services; the exit code."""
    given = parse(arguments)
    return service.run(PROGRAM, lambda stop: serve(given, _settings(given), stop))


if __name__ == "__main__":
    sys.exit(main())

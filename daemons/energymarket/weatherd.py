"""energy-weatherd: posts the weather of each slot on the board, one slot ahead of the market's clock."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from energymarket.core.weather import Sample, moved
from energymarket.exits import ConfigError
from energymarket.runtime import clock, service
from energymarket.runtime.kill_points import Point, reach
from energymarket.runtime.notify import Notifier
from energymarket.scenario.compiled import Compiled, CompiledError, load
from energymarket.scenario.opening import is_lockstep
from energymarket.transport import resources
from energymarket.transport.page import BoardWriter, ClockReader
from energymarket.wire import weather_file
from energymarket.wire.clock_page import ClockPage

PROGRAM: Final = "energy-weatherd"
BEAT_NS: Final = 500_000_000
"""Readers call the board stale after 2 s of silence: twice a second leaves room for a busy machine."""
LATE_NS: Final = 20_000_000
"""Once the next slot is due, how soon to look again for it on the clock page."""
LOCKSTEP_NS: Final = 60_000_000
"""In lockstep, how often to look how far the market is: it lives a third of what is posted meanwhile."""
AHEAD_SLOTS: Final = 64
"""In lockstep the weather is posted so far ahead that the market, which has no clock, never waits for it:
half of the board, so that no slot that is still being lived is written over."""

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where samples come from."""

    def sample(self, slot: int, wall_utc_s: float) -> Sample | None:
        """The weather of a slot, or None if there is none to post."""

    @property
    def status(self) -> str:
        """One line about it for people."""


class Tables:
    """The compiled weather: a year that repeats, or what was written by hand."""

    def __init__(self, compiled: Compiled, *, lockstep: bool = False) -> None:
        """In lockstep no slot is silent: it would never open."""
        self._compiled = compiled
        first = compiled.period.first_slot
        silent = () if lockstep else compiled.settings["weather"]["silent_slots"]
        self._silent = frozenset(first + slot for slot in silent)
        self.status = str(compiled.settings["weather"]["source"])

    def sample(self, slot: int, wall_utc_s: float) -> Sample | None:
        """The row of the slot's place in the period. In the scenario's silent slots nothing is posted."""
        del wall_utc_s
        if slot in self._silent:
            return None
        return moved(self._compiled.weather[self._compiled.table_row(slot)], slot)


class Live:
    """What the fetcher left, as long as it is young; before its first answer, the compiled model."""

    def __init__(self, path: Path, stale_after_s: float, before: Tables) -> None:
        self._path = path
        self._stale_after_s = stale_after_s
        self._before = before
        self._trouble = ""
        self.status = "no live weather yet"

    def sample(self, slot: int, wall_utc_s: float) -> Sample | None:
        """The last observation as of the slot; None once it is too old, readers then keep the last."""
        try:
            observation = weather_file.unpack(self._path.read_bytes())
        except FileNotFoundError:
            self._say(f"no live weather yet in {self._path}: the scenario's model stands in", warn=False)
            return self._before.sample(slot, wall_utc_s)
        except (OSError, weather_file.WeatherFileError) as problem:
            self._say(f"{self._path} cannot be used: {problem}", warn=True)
            return None
        age_s = wall_utc_s - observation.observed_utc_s
        if age_s > self._stale_after_s:
            self._say(
                f"live weather of {observation.source} is older than {self._stale_after_s:.0f} s", warn=True
            )
            return None
        self._say(f"live weather of {observation.source}", warn=False)
        return observation.at(slot)

    def _say(self, text: str, *, warn: bool) -> None:
        if text != self.status:
            log.log(logging.WARNING if warn else logging.INFO, "%s", text)
        self.status = text


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says."""

    compiled: Path
    run_dir: Path
    state_dir: Path | None
    lockstep: bool = False


class Poster:
    """Posts what is due, once, and beats."""

    def __init__(self, board: BoardWriter, source: Source, first_slot: int) -> None:
        self._board = board
        self._source = source
        self._first_slot = first_slot
        self._done: set[int] = set()
        self._page: ClockPage | None = None
        self.last_slot: int | None = None

    def due(self, page: ClockPage | None) -> tuple[int, ...]:
        """The slots that need weather now: the market's and the one after it; before a market, the first.

        A page that cannot be read for a moment (None) is the last one that was: the first slot has its
        place on the board where much later ones have theirs.
        """
        page = self._page = page or self._page
        current = self._first_slot - 1 if page is None else page.slot
        ahead = 1 if page is None or page.live else AHEAD_SLOTS
        wanted = (self._first_slot,) if page is None else range(current, current + ahead + 1)
        self._done = {slot for slot in self._done if slot >= current - 1}
        return tuple(slot for slot in wanted if slot not in self._done)

    def post(self, slot: int) -> bool:
        """Post a slot's weather; whether there was any. A slot without is tried again with each beat."""
        sample = self._source.sample(slot, clock.wall_ns() / 1e9)
        if sample is None:
            return False
        self._board.post(sample, clock.boottime_ns())
        self._done.add(slot)
        self.last_slot = slot
        reach(Point.WEATHER_POSTED, slot)
        return True

    def beat(self) -> None:
        """Say that the daemon lives."""
        self._board.beat(clock.boottime_ns())

    def status(self) -> str:
        """One line: where it is, and where the weather comes from."""
        where = "nothing posted" if self.last_slot is None else f"slot {self.last_slot} posted"
        return f"{where}; {self._source.status}"


def wait_until_ns(page: ClockPage | None, now_ns: int) -> int:
    """When to look again: at the next opening, soon if the page is late, at the latest for the beat."""
    if page is None:
        return now_ns + 5 * LATE_NS  # a market that starts may open its first slots at any moment
    latest = now_ns + BEAT_NS
    if not page.live:
        return now_ns + LOCKSTEP_NS
    late = now_ns + max(1_000_000, min(LATE_NS, page.slot_ns // 10))
    return min(latest, max(page.next_open_ns, late))


def serve(settings: Settings, stop: service.StopFlag) -> None:
    """Run until stopped. ConfigError if the compiled scenario cannot be used."""
    try:
        compiled = load(settings.compiled)
    except CompiledError as problem:
        raise ConfigError(str(problem)) from problem
    source = source_of(compiled, settings.state_dir, lockstep=is_lockstep(settings, compiled))
    with ExitStack() as stack:
        ipc = resources.ensure(settings.run_dir)
        board = stack.enter_context(BoardWriter(ipc))
        market = stack.enter_context(ClockReader(ipc))
        notifier = Notifier()
        stack.callback(notifier.close)
        poster = Poster(board, source, compiled.period.first_slot)
        log.info("weather of %s: %s", compiled.name, source.status)
        _run(poster, market, notifier, stop)
        notifier.stopping(f"stopping ({stop.reason})")


def _run(poster: Poster, market: ClockReader, notifier: Notifier, stop: service.StopFlag) -> None:
    ready, told = False, ""
    while not stop.is_set():
        page = market.read()
        for slot in poster.due(page):
            poster.post(slot)
        poster.beat()
        status = poster.status()
        if not ready:
            # Also without a sample: live weather that is down must not keep the suite from starting.
            notifier.ready(status)
            ready, told = True, status
        elif status != told:
            notifier.status(status)
            told = status
        notifier.beat()
        stop.wait_until(wait_until_ns(page, clock.boottime_ns()))


def source_of(compiled: Compiled, state_dir: Path | None, *, lockstep: bool = False) -> Source:
    """The scenario's source of samples. ConfigError if live weather has no directory to come through.

    In lockstep it is the compiled weather, as in fast-forward: slots are not those of the world.
    """
    tables = Tables(compiled, lockstep=lockstep)
    weather = compiled.settings["weather"]
    if not weather["live"] or lockstep:
        return tables
    if state_dir is None:
        raise ConfigError("live weather comes through a file in --state DIR", "give the fetcher's directory")
    return Live(state_dir / weather_file.NAME, float(weather["stale_after_s"]), tables)


def parse(arguments: list[str] | None) -> Settings:
    """The command line."""
    parser = argparse.ArgumentParser(PROGRAM, description="Post the weather of each slot on the board.")
    parser.add_argument(
        "--compiled", type=Path, required=True, metavar="DIR", help="directory of a compiled scenario"
    )
    parser.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="run directory: the record of IPC objects"
    )
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="where energy-weather-fetch leaves live weather"
    )
    parser.add_argument("--lockstep", action="store_true", help="without a clock, as the market")
    given = parser.parse_args(arguments)
    return Settings(given.compiled, given.run, given.state, given.lockstep)


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon; its exit code."""
    settings = parse(arguments)
    return service.run(PROGRAM, lambda stop: serve(settings, stop))


if __name__ == "__main__":
    sys.exit(main())

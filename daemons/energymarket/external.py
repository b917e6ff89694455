"""The child of the market: random events outside the neighbourhood, told by a pipe, rung by a signal.

It says the events of a slot ahead, as soon as the weather of that slot is on the board (rain makes
some events likelier). It waits, it never polls in a circle: for the market's death, for a signal to
stop or to look, for room in the pipe, and for the next opening on the clock page.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.core.events import arrivals
from energymarket.exits import Exit
from energymarket.runtime import service
from energymarket.runtime.child import FIRST_FD, begin_as_child
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.kill_points import Point, reach
from energymarket.transport import resources
from energymarket.transport.doorbell import Bell, MarketGone, Ringer
from energymarket.transport.page import BoardReader, ClockReader
from energymarket.wire import external_task
from energymarket.wire.event_record import EventRecord, RecordType
from energymarket.wire.external_task import ActiveEvent, ExternalTask
from energymarket.wire.fault import WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.runtime.service import StopFlag
    from energymarket.transport.page import Reading
    from energymarket.wire.clock_page import ClockPage

MARKET_FD: Final = FIRST_FD
PIPE_FD: Final = FIRST_FD + 1

BEAT_NS: Final = 500_000_000
"""A heartbeat twice a second: the market calls it frozen after two seconds."""

LOOK_NS_MIN: Final = 1_000_000
LOOK_NS_MAX: Final = 64_000_000
"""While something is due and not there yet, looks grow rarer, down to sixteen a second."""

REPORT_SLOTS_MAX: Final = 256
"""Slots told in one go after a long absence; heartbeats are due in between."""

AHEAD_SLOTS: Final = 32
"""In lockstep so many slots are told ahead, half of them at a time: a market without a clock waits for nobody
then, and is told two dozen times less often. The weather is posted further ahead still."""


class Reporter:
    """What is to be said about each slot, in order: a function of the task and of the rain."""

    def __init__(self, task: ExternalTask) -> None:
        self._seed = task.seed
        self._kinds = task.kinds
        self._active = list(task.active)
        self.next_slot = task.first_slot

    def report(self, *, raining: bool) -> list[EventRecord]:
        """Ends, beginnings, then the word that this slot has been told; the next slot is next."""
        slot = self.next_slot
        said = [
            EventRecord(RecordType.END, slot, kind=event.kind, seq=event.seq)
            for event in self._active
            if event.until_slot <= slot
        ]
        self._active = [event for event in self._active if event.until_slot > slot]
        for arrival in arrivals(self._seed, self._kinds, slot, raining=raining):
            until = slot + arrival.duration_slots
            self._active.append(ActiveEvent(arrival.kind, arrival.seq, until))
            said.append(
                EventRecord(
                    RecordType.BEGIN, slot, arrival.kind, arrival.seq, arrival.intensity_permille, until
                )
            )
        said.append(EventRecord(RecordType.REPORTED, slot))
        self.next_slot = slot + 1
        return said


def due(page: ClockPage | None, reading: Reading, slot: int, first_slot: int, now_ns: int) -> bool:
    """Whether a slot is to be told now: at most one slot ahead of the clock, when its weather is there.

    In lockstep it is `AHEAD_SLOTS`. Without its weather a slot is told when it has opened, or is about to
    open whoever is late.
    """
    opened = page is not None and page.open_ns > 0  # by this market, since it was started
    exact = reading.sample is not None and int(reading.sample["slot"]) == slot
    if page is None or not opened:
        return exact and slot <= first_slot
    if exact:
        return slot <= page.slot + (1 if page.live else AHEAD_SLOTS)
    margin_ns = min(50_000_000, page.slot_ns // 20)
    about_to_open = page.live and slot == page.slot + 1 and now_ns >= page.next_open_ns - margin_ns
    return slot <= page.slot or about_to_open


class External:
    """The loop that joins reporter, pages and pipe."""

    def __init__(
        self, task: ExternalTask, clock: ClockReader, board: BoardReader, ringer: Ringer, stop: StopFlag
    ) -> None:
        self._market_pid = task.market_pid
        self._first_slot = task.first_slot
        self._reporter = Reporter(task)
        self._clock = clock
        self._board = board
        self._ringer = ringer
        self._stop = stop
        self._beat_ns = 0
        self._look_ns = LOOK_NS_MIN

    def run(self, bell: Bell) -> None:
        """Until the market is gone or the stop flag is set."""
        poll = select.poll()
        for descriptor in (MARKET_FD, self._stop.fileno(), bell.fileno()):
            poll.register(descriptor, select.POLLIN)
        waits_for_room = False
        while not self._stop:
            now_ns = boottime_ns()
            deadline_ns = self._turn(now_ns)
            empty = self._ringer.flush()
            if waits_for_room and empty:
                poll.unregister(self._ringer.write_fd)
            elif not waits_for_room and not empty:
                poll.register(self._ringer.write_fd, select.POLLOUT)
            waits_for_room = not empty
            ready = dict(poll.poll(max(0, -(-(deadline_ns - boottime_ns()) // 1_000_000))))
            if MARKET_FD in ready:
                raise MarketGone("the market is gone")
            if bell.fileno() in ready:
                bell.hear()
                self._look_ns = LOOK_NS_MIN

    def _turn(self, now_ns: int) -> int:
        """Say what is due; when to look again."""
        page = self._page()
        for _ in range(REPORT_SLOTS_MAX):
            slot = self._reporter.next_slot
            reading = self._board.sample(slot, now_ns)
            if self._ringer.full or not due(page, reading, slot, self._first_slot, now_ns):
                break
            raining = reading.sample is not None and int(reading.sample["rain_um_per_h"]) > 0
            *said, reported = self._reporter.report(raining=raining)
            for record in said:
                self._ringer.add(record)
            if said:
                self._ringer.flush()
                reach(Point.EXTERNAL_SAID, slot)
            self._ringer.add(reported)
            self._look_ns = LOOK_NS_MIN
        if now_ns >= self._beat_ns:
            self._ringer.add(EventRecord(RecordType.HEARTBEAT))
            self._beat_ns = now_ns + BEAT_NS
        return min(self._beat_ns, self._next_look_ns(page, now_ns))

    def _next_look_ns(self, page: ClockPage | None, now_ns: int) -> int:
        ahead = page is not None and self._reporter.next_slot == page.slot + 2
        if page is not None and ahead and page.next_open_ns > now_ns:
            return page.next_open_ns  # everything is said until the next opening
        if page is not None and not page.live and self._reporter.next_slot > page.slot + AHEAD_SLOTS // 2:
            return now_ns + BEAT_NS  # enough is said until the market rings
        look_ns = now_ns + self._look_ns
        self._look_ns = min(2 * self._look_ns, LOOK_NS_MAX)
        return look_ns

    def _page(self) -> ClockPage | None:
        page = self._clock.read()
        return page if page is not None and page.market_pid == self._market_pid else None


def _serve(stop: StopFlag, run_dir: Path, task: ExternalTask) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the market says when to stop
    with contextlib.ExitStack() as stack:
        bell = stack.enter_context(Bell())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGUSR2})  # born blocked
        ipc = resources.attach(run_dir)
        clock = stack.enter_context(ClockReader(ipc))
        board = stack.enter_context(BoardReader(ipc))
        external = External(task, clock, board, Ringer(PIPE_FD, MARKET_FD), stop)
        with contextlib.suppress(MarketGone):
            external.run(bell)
    return Exit.OK


def _parsed(words: Sequence[str]) -> tuple[Path, ExternalTask]:
    parser = argparse.ArgumentParser("external", description="Started by energy-marketd only.")
    parser.add_argument("--run", type=Path, required=True, metavar="DIR")
    parser.add_argument("--task", required=True, metavar="JSON")
    parsed = parser.parse_args(words)
    return parsed.run, external_task.from_text(parsed.task)


def main() -> int:
    """Serve as the market's child; descriptors 3 (pidfd of the market) and 4 (the pipe) were handed over."""
    try:
        os.fstat(MARKET_FD)
        os.fstat(PIPE_FD)
        if not begin_as_child("external", MARKET_FD, descriptors=2):
            return Exit.OK
        run_dir, task = _parsed(sys.argv[1:])
    except OSError as error:
        return service.usage("external", f"is started by energy-marketd only ({error.strerror})")
    except WireError as error:
        return service.usage("external", str(error))
    return service.run("external", lambda stop: _serve(stop, run_dir, task))


if __name__ == "__main__":
    sys.exit(main())

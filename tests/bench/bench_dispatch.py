"""What a year's report costs the market: lateness of slots and latency of its socket, with and without.

Run it as a program. A year of the default scenario is played first; then the real daemons go on from it,
live, with a dispatcher and a worker of idle priority. Windows with a report under way and windows without
take turns, in at least five pairs; per window the p50 and p99 of how late slots opened and of how long a
`Price` took on the socket. The target is a ratio of at most 2 for both p99, in the same run.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from energyctl.dispatch.asking import Asking
from energyctl.dispatch.place import address_of
from energyctl.exits import ProblemError
from energyctl.session import Session
from energymarket.engine import api
from energymarket.runtime import clock
from energymarket.transport.client import Connection
from energymarket.wire.messages import CONTROL, CONTROL_SOCKET, TRADE, TRADE_SOCKET
from tests.bench import pairs
from tests.simulation.market_place import Place, soon

PAIRS: Final = 5
WINDOW_S: Final = 10.0
SLOTS_PER_S: Final = 20
CALL_EVERY_S: Final = 0.005
TARGET: Final = 2.0
NS_PER_S: Final = 1_000_000_000


@dataclass
class Window:
    """What was measured in a stretch of time."""

    late_us: list[int] = field(default_factory=list)
    call_us: list[float] = field(default_factory=list)

    def tail(self, percent: float) -> tuple[float, float]:
        """A percentile of lateness and of latency, in µs."""
        return float(np.percentile(self.late_us, percent)), float(np.percentile(self.call_us, percent))


class Office:
    """Dispatcher and worker, and somebody who asks one report after the other while he is let."""

    def __init__(self, place: Place, stack: ExitStack) -> None:
        self._place = place
        self._asks = threading.Event()
        self._ended = threading.Event()
        self._quiet = threading.Event()
        self.reports = 0
        self.shares: list[float] = []
        for words in (("dispatcherd", "--workers", "1", "--port", "0"), ("workerd", "1")):
            stack.callback(_end, self._start(*words, idles=words[0] == "workerd"))
        self._thread = threading.Thread(target=self._ask)
        stack.callback(self._thread.join)
        stack.callback(self._ended.set)

    def _start(self, module: str, *words: str, idles: bool) -> subprocess.Popen[bytes]:
        def idle() -> None:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

        command = [sys.executable, "-m", f"energymarket.{module}", "--run", str(self._place.run), *words]
        with self._place.log.open("ab") as log:
            return subprocess.Popen(
                command,
                env=self._place.environ,
                stdout=log,
                stderr=log,
                preexec_fn=idle if idles else None,  # noqa: PLW1509 nothing has a thread yet
            )

    def open(self) -> None:
        """Wait for the worker."""
        soon(self._is_there, 60, "a worker that answers", self._place.log.read_text)
        self._thread.start()

    def _is_there(self) -> bool:
        with suppress(ProblemError):
            return bool(self._once({"last": "1"}))
        return False

    def _once(self, question: dict[str, object]) -> dict[str, Any]:
        here = Session(as_json=True, run=str(self._place.run))
        return Asking(address_of(here, None), 600.0, self._told).ask("report", question)

    def _told(self, share: float | None, _doing: str) -> None:
        if share is not None:
            self.shares.append(share)

    def _ask(self) -> None:
        while not self._ended.is_set():
            if not self._asks.wait(0.1):
                self._quiet.set()
                continue
            self._once({})
            self.reports += 1

    def let(self, *, asks: bool) -> None:
        """Let him ask, until a report is under way; or not, until the last one is over."""
        if asks:
            self._quiet.clear()
            self._asks.set()
            count = len(self.shares)
            soon(lambda: len(self.shares) > count, 120, "a report under way", self._place.log.read_text)
        else:
            self._asks.clear()
            soon(self._quiet.is_set, 600, "the end of a report", self._place.log.read_text)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def measured(place: Place, span_s: float) -> Window:
    """Lateness of each slot of this time, and the time of a call every few milliseconds."""
    window, until_s = Window(), clock.monotonic_s() + span_s
    watching = threading.Thread(target=_watch, args=(place, window, until_s))
    watching.start()
    with Connection(place.run / TRADE_SOCKET, 10.0) as connection:
        while (now_s := clock.monotonic_s()) < until_s:
            connection.call(f"{TRADE}.Price", {})
            window.call_us.append((clock.monotonic_s() - now_s) * 1e6)
            clock.sleep_until_boottime_ns(clock.boottime_ns() + int(CALL_EVERY_S * NS_PER_S))
    watching.join()
    return window


def _watch(place: Place, window: Window, until_s: float) -> None:
    with Connection(place.run / CONTROL_SOCKET, 10.0) as connection:
        for answer in connection.watch(f"{CONTROL}.Watch", {}):
            if clock.monotonic_s() >= until_s:
                return
            window.late_us.append(int(answer["snapshot"].get("lateness_us", 0)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--homes", type=int, default=100)
    parser.add_argument("--year", default="1y", help="what the report is of")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--window", type=float, default=WINDOW_S, metavar="S")
    words = parser.parse_args()
    print(pairs.head())
    with tempfile.TemporaryDirectory(prefix="bench-dispatch-") as directory, ExitStack() as stack:
        root = Path(directory)
        place = Place(root, root / "run", root / "cache", speed=900.0 * SLOTS_PER_S)
        os.environ["XDG_CACHE_HOME"] = str(place.cache)
        compiled = api.compiled_of("default", words.homes, None)
        api.simulate(compiled, duration=words.year, out=place.state)
        place.compiled = compiled.directory
        stack.callback(place.end)
        for name in ("market", "weather", "homes"):
            place.start(name)
        soon(lambda: place.status().get("state") == "running", 60, "a market", place.log.read_text)
        office = Office(place, stack)
        office.open()
        _measure(place, office, words)


def _measure(place: Place, office: Office, words: argparse.Namespace) -> None:
    found: dict[bool, list[Window]] = {False: [], True: []}
    for turn in range(words.pairs):
        for asks in (False, True) if turn % 2 == 0 else (True, False):
            office.let(asks=asks)
            found[asks].append(measured(place, words.window))
    for percent in (50, 99):
        idle, busy = ([each.tail(percent) for each in found[asks]] for asks in (False, True))
        for at, what in enumerate(("lateness of a slot", "Price on the socket")):
            ratio = pairs.Spread(tuple(b[at] / max(i[at], 1.0) for i, b in zip(idle, busy, strict=True)))
            mine, theirs = (pairs.Spread(tuple(row[at] for row in rows)) for rows in (busy, idle))
            verdict = f"  target {TARGET}: {pairs.met(ratio.median, TARGET, at_most=True)}" * (percent == 99)
            print(
                f"{what} p{percent}: {mine:.0f} µs with a report, {theirs:.0f} without: {ratio:.2f}{verdict}"
            )
    slots = sum(len(each.late_us) for rows in found.values() for each in rows)
    print(f"{slots} slots, {office.reports} reports of {words.year} of {words.homes} homes came to their end")
    print(f"load: {pairs.load()}")


if __name__ == "__main__":
    main()

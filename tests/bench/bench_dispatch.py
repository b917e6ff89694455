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
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from energymarket.engine import api
from energymarket.runtime import clock
from energymarket.transport.client import Connection, Disconnected
from energymarket.wire.dispatch_text import DIRECTORY, NAME, SOCKET
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
    """Dispatcher and worker, and somebody who asks one whole report after the other while he is let."""

    def __init__(self, place: Place, stack: ExitStack) -> None:
        self._place = place
        self._asks = threading.Event()
        self._asking: subprocess.Popen[bytes] | None = None
        self.reports = 0
        for words in (("dispatcherd", "--workers", "1", "--port", "0"), ("workerd", "1")):
            stack.callback(_end, self._start(*words, idles=words[0] == "workerd"))
        stack.callback(self.let, asks=False)

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

    def worker(self) -> dict[str, Any]:
        """The worker as the dispatcher tells it; empty while it does not answer."""
        try:
            with Connection(self._place.run / DIRECTORY / SOCKET, 10.0) as connection:
                return dict(connection.call(f"{NAME}.Workers", {}).parameters["workers"][0])
        except Disconnected:
            return {}

    def let(self, *, asks: bool) -> None:
        """Let him ask, until a report is being read; or not, until the worker has dropped it."""
        if not asks:
            self._asks.clear()
            if self._asking is not None:
                self._asking.kill()
            self._soon(lambda: self.worker().get("state") == "idle", "a worker that does nothing")
            return
        self._asks.set()
        threading.Thread(target=self._ask, daemon=True).start()
        self._soon(lambda: str(self.worker().get("doing")).startswith("reading"), "a report under way")

    def _soon(self, holds: Callable[[], bool], what: str) -> None:
        soon(holds, 120, what, self._place.log.read_text)

    def _ask(self) -> None:
        command = [
            sys.executable,
            "-m",
            "energyctl",
            "--run",
            str(self._place.run),
            "ask",
            "report",
            "--json",
        ]
        while self._asks.is_set():
            self._asking = subprocess.Popen(command, env=self._place.environ, stdout=subprocess.DEVNULL)
            self.reports += self._asking.wait() == 0


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
        soon(lambda: office.worker().get("state") == "idle", 120, "a worker", place.log.read_text)
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

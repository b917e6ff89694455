"""Metered homes over a real broker: whoever is killed, in the end the ledger has what the meters counted."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pika
import pytest

from energymarket.runtime.clock import boottime_ns, monotonic_s, sleep_until_boottime_ns, wall_ns
from energymarket.transport import book_file
from energymarket.transport.client import Connection, Disconnected
from energymarket.wire.messages import CONTROL, CONTROL_SOCKET
from tests.ipc.broker import Broker
from tests.ipc.processes import environment

pytestmark = [pytest.mark.needs("rabbitmqctl"), pytest.mark.xdist_group("broker"), pytest.mark.timeout(240)]

PATIENCE_S: Final = 60.0
SLOT_S: Final = 60
SPEED: Final = 60
SCENARIO: Final = """\
schema = 1
title = "Three metered homes"
seed = 7
[time]
start = 2026-06-15T12:00:00
timezone = "Europe/Berlin"
slot = "1min"
days = 1
speed = {speed}
[weather]
source = "constant"
[price]
half_life_h = 2
initial = 0.19
[[price.factor]]
name = "base"
alpha = 0.18
[service]
start_wait_s = 30
[broker]
port = {port}
[meters]
count = 3
[meters.pv]
forward = true
"""
HOME: Final = """
[[home]]
name = "home {number}"
policy = {policy}
meter = "Meter_{meter}"
consumption_w = [400]
"""


class Market:
    """Broker, meters, PV, books, market and homes, each a process that a test may kill."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        (directory / "broker").mkdir()
        self.broker = Broker(directory / "broker")
        stack.callback(self.broker.close)
        self.broker.start()
        homes = "".join(HOME.format(number=n, policy=n, meter=n - 1) for n in (1, 2, 3))
        self.scenario = directory / "metered.toml"
        self.scenario.write_text(SCENARIO.format(speed=SPEED, port=self.broker.port) + homes)
        told = self.tool("energymarket.scenario", "compile", str(self.scenario), "--json")
        self.compiled = json.loads(told)["directory"]
        self.run_dir, self.state = directory / "run", directory / "state"
        self.run_dir.mkdir()

    def tool(self, *words: str) -> str:
        """Run a program to its good end; what it prints."""
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, program: str, *words: str, name: str = "") -> subprocess.Popen[bytes]:
        """Start a daemon; its words are in a file of its name. It is killed at the end."""
        with (self.directory / f"{name or program}.log").open("ab") as log:
            command = [sys.executable, "-m", f"energymarket.{program}", *words]
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def common(self, daemon: str) -> list[str]:
        """Words that every daemon of the market has."""
        return ["--compiled", self.compiled, "--run", str(self.run_dir), "--state", str(self.state / daemon)]

    def market(self) -> subprocess.Popen[bytes]:
        """Start the market."""
        return self.start("marketd", *self.common("market"))

    def home(self, number: int) -> subprocess.Popen[bytes]:
        """Start a home."""
        words = [*self.common("homes"), "--home", str(number)]
        return self.start("homed", *words, name=f"home-{number}")

    def books(self) -> subprocess.Popen[bytes]:
        """Start who keeps the books."""
        return self.start("readingd", *self.words_of_books())

    def words_of_books(self) -> list[str]:
        """Words of who keeps the books."""
        words = ["-conf", str(self.scenario), "--compiled", self.compiled]
        return [*words, "--state", str(self.state / "readings")]

    def pv(self) -> subprocess.Popen[bytes]:
        """Start the PV services."""
        return self.start("pvd", "-conf", str(self.scenario), "--directory", str(self.directory / "csv"))

    def standing(self) -> dict[str, Any]:
        """What `status` says; nothing while the market is away."""
        connection = Connection(self.run_dir / CONTROL_SOCKET, 5.0)
        try:
            said: dict[str, Any] = connection.open().call(f"{CONTROL}.Status").parameters["status"]
        except Disconnected:
            return {}
        finally:
            connection.close()
        return said

    def slot(self) -> int:
        """The last slot that is durable."""
        return int((self.standing().get("last_slot") or {}).get("slot", -1))

    def until(self, true: Any, what: str) -> None:
        """Ask now and then, for a while."""
        deadline_s = monotonic_s() + PATIENCE_S
        while not true():
            logs = "".join(each.read_text()[-800:] for each in self.directory.glob("*.log"))
            assert monotonic_s() < deadline_s, f"not within {PATIENCE_S:.0f} s: {what}\n{logs}"
            sleep_until_boottime_ns(boottime_ns() + 200_000_000)

    def all_known(self) -> bool:
        """Whether of no home anything is missing, or was corrected just now."""
        rows = self.standing().get("meters", [])
        return len(rows) == 3 and not any(row["estimated_s"] or row["corrected_wh"] for row in rows)

    def none_known(self) -> bool:
        """Whether of each home a whole slot is missing: no sample of it was there in time."""
        rows = self.standing().get("meters", [])
        return len(rows) == 3 and all(row["estimated_s"] == SLOT_S for row in rows)


@pytest.fixture
def market() -> Iterator[Market]:
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="em-", dir="/tmp"))
        yield Market(Path(name), stack)


def integrals(directory: Path, until_s: int) -> dict[int, tuple[int, int]]:
    """Whole Wh of consumption and production by home, from the PV service's files: trapezoids, by hand."""
    samples: dict[int, list[tuple[Fraction, Fraction, Fraction]]] = defaultdict(list)
    for path in directory.glob("*.csv"):
        for row in csv.DictReader(path.read_text().splitlines()):
            names = ("time_s", "meter_power_value_w", "pv_power_value_kw")
            time_s, load_w, pv_kw = (Fraction(row[name]) for name in names)
            samples[int(row["meter_id"][6:]) + 1].append((time_s, load_w, 1000 * pv_kw))
    found = {}
    for home, rows in samples.items():
        rows.sort()
        assert len({row[0] for row in rows}) == len(rows)
        whole = [row for row in rows if row[0] <= until_s]
        assert whole[-1][0] == until_s  # the meters' grid has the slots' ends
        sums = [sum((a[k] + b[k]) / 2 * (b[0] - a[0]) for a, b in pairwise(whole)) / 3600 for k in (1, 2)]
        found[home] = (int(sums[0]), int(sums[1]))
    return found


def test_whoever_is_killed_in_the_end_the_ledger_has_what_the_meters_counted(market: Market) -> None:
    """Books, broker, a home and the market die under traffic; nothing is lost, nothing is booked twice."""
    pv, books = market.pv(), market.books()
    homes = {number: market.home(number) for number in (1, 2, 3)}
    market.start("weatherd", *market.common("weather"))
    words = ["--start", "2026-06-15T12:00:00+02:00", "--speed", str(SPEED), "--interval", "4"]
    market.start("meterd", "-conf", str(market.scenario), "--state", str(market.directory / "spool"), *words)
    marketd = market.market()
    market.until(lambda: market.slot() > 0 and market.all_known(), "the meters are heard, and traded by")
    books.kill()
    market.until(market.none_known, "slots without books")
    assert market.standing()["counts"]["readings_missing"] >= 3
    books = market.books()
    market.until(market.all_known, "what the books have missed")
    market.broker.kill()
    pv.kill()
    homes[1].kill()
    marketd.kill()
    marketd, homes[1] = market.market(), market.home(1)
    market.until(market.none_known, "slots without broker")
    market.broker.start()
    books.kill()
    pv, books = market.pv(), market.books()
    market.until(market.all_known, "what waited for the broker")
    # Since the market's restart, of each home; one of the three may have been estimated right to the Wh.
    assert market.standing()["counts"]["readings_corrected"] >= 2
    marketd.send_signal(signal.SIGTERM)
    assert marketd.wait(PATIENCE_S) == 0

    state = ["--state", str(market.state), "--compiled", market.compiled, "--json"]
    market.tool("energymarket.ledger_tool", "export", *state, "--csv", str(market.directory / "out"))
    rows = list(csv.DictReader((market.directory / "out" / "homes_by_slot.csv").read_text().splitlines()))
    last = max(int(row["slot"]) for row in rows)
    metered_until_s = last * SLOT_S
    counted = {
        home: tuple(
            sum(Fraction(row[name]) * 1000 for row in rows if int(row["home"]) == home)
            for name in ("consumed_kwh", "produced_kwh")
        )
        for home in (1, 2, 3)
    }
    assert counted == integrals(market.directory / "csv", metered_until_s)
    assert all(consumed > 0 and produced > 0 for consumed, produced in counted.values())
    market.tool("energymarket.checkd", *state)


def test_a_meter_that_was_a_month_ahead_for_a_moment_is_believed_again(market: Market) -> None:
    """At speed 1 its future is put aside: in the book, it would close all that is still to come."""
    now_s = wall_ns() // 1_000_000_000
    books = [*market.words_of_books(), "--speed", "1"]
    market.start("readingd", *books)
    refused = 0

    def put_aside() -> bool:
        nonlocal refused
        try:
            with connection.channel() as asked:
                refused += asked.basic_get("energy.meters.refused", auto_ack=True)[0] is not None
        except pika.exceptions.ChannelClosedByBroker:
            return False  # it is declared when there is something to put aside
        return refused == 1

    def heard() -> int:
        found = book_file.read(market.state / "readings" / "Meter_0.book")
        return 0 if found is None else found.samples

    address = pika.ConnectionParameters("127.0.0.1", market.broker.port)
    with pika.BlockingConnection(address) as connection:
        channel = connection.channel()
        market.until(lambda: "books of" in (market.directory / "readingd.log").read_text(), "the books")
        channel.exchange_declare("energy.readings", "direct", durable=True)
        channel.queue_declare("home.Meter_0", durable=True)
        channel.queue_bind("home.Meter_0", "energy.readings", "Meter_0")
        for sequence, ahead_s in ((1, 30 * 86_400), (2, 0), (3, 2)):
            samples = [[sequence, now_s + ahead_s, 431.25, 1.7]]
            said = {"meter_id": "Meter_0", "series": "ab" * 16, "samples": samples}
            channel.basic_publish("energy.readings", "Meter_0", json.dumps(said).encode())
        market.until(lambda: heard() == 2, "the two that are of now")
        market.until(put_aside, "the one that is not")

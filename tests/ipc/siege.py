"""A real market of 200 homes, four slots a second, an honest client that keeps buying, and what must hold."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energymarket.core.chance import Purpose, draw_u64
from energymarket.runtime.clock import monotonic_s
from energymarket.transport.client import Connection, VarlinkError
from energymarket.wire.messages import CONTROL, CONTROL_SOCKET, TRADE, TRADE_SOCKET
from tests.simulation.market_place import Place, let_pass, soon

SLOT_S = 0.25
HOMES = 200
HONEST = 1
STRANGERS = range(2, 11)
"""Homes that no daemon keeps: the test itself joins them."""

FLOOR_UEUR, CAP_UEUR = 50_000, 500_000
RSS_BYTES_MAX = 250 << 20
SOCKETS = (TRADE_SOCKET, CONTROL_SOCKET)

SCENE = """
schema = 1
title = "A neighbourhood under siege"
seed = 5
[time]
start = 2025-06-16
timezone = "UTC"
slots = 5000
[weather]
source = "constant"
temperature_c = [20, 3, 12]
[place]
latitude = 49.49
longitude = 8.47
[tariff]
energy = 0.15
grid_fee = 0.1
tax = 0.05
export = 0.05
[sharing]
take = "TAKE"
turn = "TURN"
excess = "mean"
[price]
form = "raw"
initial = 0.2
gamma = 0.5
floor = 0.05
cap = 0.5
[[price.factor]]
name = "base"
alpha = 0.1
[[price.factor]]
name = "heating_degrees"
alpha = 0.001
reference_c = 15
[[price.factor]]
name = "imbalance"
alpha = 0.02
[price.events.strike]
beta = 0.01
[price.events.war]
beta = 0.05
[service]
shards = 2
start_wait_s = 2
STRANGERS
[[homes]]
name = "givers"
count = 60
policy = "give"
production_w = 800
[homes.load]
kind = "constant"
power_w = 250
[[homes]]
name = "both"
count = 30
policy = "give_then_sell"
production_w = 700
[homes.battery]
kwh = 5
kw = 2
[[homes]]
name = "takers"
count = 100
policy = "sell"
[homes.load]
kind = "constant"
power_w = 610
"""

STRANGER = """
[[home]]
name = "Stranger {}"
policy = "sell"
process = "single"
consumption_w = 1
"""


class Dice:
    """Chance with a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._thrown = 0

    def below(self, span: int) -> int:
        """A number from 0 on."""
        self._thrown += 1
        return draw_u64(self._seed, Purpose.HOME, self._thrown) % span

    def bytes(self, count: int) -> bytes:
        """Any bytes."""
        return b"".join(self.below(1 << 64).to_bytes(8, "little") for _ in range(-(-count // 8)))[:count]

    def one_of(self, *choices: Any) -> Any:
        """One of these."""
        return choices[self.below(len(choices))]


@dataclass
class Honest:
    """One client that buys for its home, order after order, each of another energy."""

    run: Path
    bought: list[dict[str, Any]] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._buy)
        self._thread.start()

    def _buy(self) -> None:
        try:
            with Connection(self.run / TRADE_SOCKET, 20.0) as connection:
                connection.call(f"{TRADE}.Join", {"first": HONEST, "count": 1, "name": "honest"})
                while not self._stop.is_set():
                    self._order(connection)
        except BaseException as failure:  # noqa: BLE001 told by the test's thread
            self.failure = failure

    def _order(self, connection: Connection) -> None:
        energy_wh = len(self.bought) + 1
        asked = {"home": HONEST, "energy_wh": energy_wh, "id": f"honest {energy_wh}"}
        began_s = monotonic_s()
        try:
            self.bought.append(connection.call(f"{TRADE}.Buy", asked).parameters["receipt"])
        except VarlinkError as error:
            self.refused[error.name.removeprefix(f"{TRADE}.")] += 1
        self.waited_s.append(monotonic_s() - began_s)
        let_pass(0.005)

    def stop(self) -> None:
        """Let it finish what it has in hand."""
        self._stop.set()
        self._thread.join(30)
        if self.failure is not None:
            raise self.failure

    def worst_s(self, share: float = 0.99) -> float:
        """What so many of its orders have not waited longer than."""
        return sorted(self.waited_s)[int(share * (len(self.waited_s) - 1))]


@dataclass
class Siege:
    """The market, and how it was before the attack."""

    place: Place
    honest: Honest
    market_pid: int
    descriptors: int
    processes: list[int]
    liars: range = range(0)  # homes whose readings are made up, as the checker is to find

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.place.run

    def connect(self, name: str, timeout_s: float = 10.0) -> socket.socket:
        """A bare connection to a socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout_s)
        sock.connect(str(self.run / name))
        return sock

    def status(self) -> dict[str, Any]:
        """What the market says of itself."""
        return dict(self.place.control("Status")["status"])

    def pass_slots(self, count: int) -> None:
        """Wait for that many slots more."""
        target = self.place.committed() + count
        soon(lambda: self.place.committed() >= target, 30, f"{count} slots more", self.place.log.read_text)

    def descriptors_now(self) -> int:
        """Open descriptors of the market."""
        return len(list(Path(f"/proc/{self.market_pid}/fd").iterdir()))

    def rss_bytes(self) -> int:
        """Memory of the market."""
        pages = int(Path(f"/proc/{self.market_pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def check_alive(self) -> None:
        """Every process is the one it was; the market serves, holds no more than before, and is exact."""
        said = self.place.log.read_text()
        assert self.place.processes() == self.processes, said
        self.pass_slots(3)
        soon(lambda: self.descriptors_now() <= self.descriptors, 15, "descriptors are given back", str)
        assert self.rss_bytes() < RSS_BYTES_MAX
        status = self.status()
        assert status["market"]["pid"] == self.market_pid
        assert status["market"]["external_starts"] == 1
        assert "Traceback" not in said, said
        assert self.place.control("Verify")["ok"]

    def check_books(self) -> None:
        """After the stop: acknowledged orders once each, nothing lost or made, prices within their bounds."""
        ledger = self.place.ledger()
        ordered = Counter(
            (slot, energy_wh, total)
            for slot, each in ledger.items()
            for home, energy_wh, total in each.orders
            if home == HONEST
        )
        assert ordered == Counter(
            (each["slot"], -each["energy_wh"], -each["total_ueur"]) for each in self.honest.bought
        )
        for each in ledger.values():
            assert FLOOR_UEUR <= each.head.price_ueur_per_kwh <= CAP_UEUR
            for what in ("energy_wh", "money_ueur"):
                assert sum(each.totals[f"{who}_{what}"] for who in ("homes", "operator", "grid", "fees")) == 0
        words = ("--state", str(self.place.state), "--compiled", str(self.place.compiled), "--json")
        document = json.loads(self.place.program("energymarket.checkd", *words).stdout)
        assert document["slots"] == len(ledger)
        found = {(each["kind"], each["home"]) for each in document["findings"]}
        assert found <= {("meter-unbalanced", home) for home in self.liars}, document["findings"]


@contextmanager
def besieged(place: Place, take: str = "exact", turn: str = "fair") -> Iterator[Siege]:
    """The market at work; at the end it is as before, stops in order, and its books are right."""
    scenario = place.path / "siege.toml"
    words = {"TAKE": take, "TURN": turn, "STRANGERS": "".join(map(STRANGER.format, (HONEST, *STRANGERS)))}
    text = SCENE
    for word, what in words.items():
        text = text.replace(word, what)
    scenario.write_text(text)
    place.compile(str(scenario))
    place.speed = 900 / SLOT_S
    for name in ("market", "weather", "homes"):
        place.start(name)
    soon(lambda: place.committed() >= 0, 30, "the first slot", place.log.read_text)
    market = place.daemons["market"].pid
    honest = Honest(place.run)
    siege = Siege(place, honest, market, 0, place.processes())
    try:
        soon(lambda: len(honest.bought) > 3, 20, "the first orders", place.log.read_text)
        siege.pass_slots(2)
        siege.descriptors = siege.descriptors_now() + 8  # the asker's own, on its way out
        yield siege
        siege.check_alive()
    finally:
        honest.stop()
    place.stop()
    assert place.processes() == []
    assert not place.run.exists() or not list(place.run.iterdir())
    siege.check_books()


@contextmanager
def crowd(siege: Siege, count: int, words: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many clients on each socket that say this much and then nothing."""
    idle = []
    try:
        for name in SOCKETS:
            for _ in range(count):
                idle.append(siege.connect(name))
                if words:
                    idle[-1].sendall(words)
        yield idle
    finally:
        for sock in idle:
            sock.close()


def storm(pids: list[int], count: int, *numbers: signal.Signals) -> None:
    """Signals without a pause, to each process in turn."""
    for _ in range(count):
        for pid in pids:
            for number in numbers:
                os.kill(pid, number)


def exchange(siege: Siege, name: str, frames: bytes, within_s: float = 2.0) -> bytes:
    """Send bytes and take whatever comes until the other end closes; of a stream, what comes in time."""
    said, end_s = b"", monotonic_s() + within_s
    with siege.connect(name, within_s) as sock:
        with suppress(OSError):  # closed before it was all said
            sock.sendall(frames)
            sock.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while data := sock.recv(1 << 16):
                said += data
                if monotonic_s() > end_s and said.endswith(b"\0"):
                    break
    return said


def is_sound(answers: bytes) -> bool:
    """Whether every answer is a frame of varlink: a reply or a named error, and nothing is cut off."""
    frames = answers.split(b"\0")
    return frames[-1] == b"" and all(each[:1] == b"{" and each[-1:] == b"}" for each in frames[:-1])


__all__ = ["CONTROL", "TRADE", "Dice", "Siege", "besieged", "crowd", "exchange", "is_sound", "storm"]

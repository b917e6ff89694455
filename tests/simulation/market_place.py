"""A place where the real daemons run: under `energyctl up`, or one by one under a test's own hands."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from energyctl.up.process import die_with_parent
from energymarket.core import ledger
from energymarket.core.records import SLOT_COLUMNS
from energymarket.runtime import clock
from energymarket.scenario.__main__ import compile_it
from energymarket.scenario.compile_memo import Memo
from energymarket.transport.client import Connection, Disconnected
from energymarket.wire.messages import CONTROL, CONTROL_SOCKET

ROOT = Path(__file__).parents[2]
KINDS = ("msg", "sem", "shm")


@dataclass(frozen=True, slots=True)
class LedgerSlot:
    """A slot as the ledger's file has it."""

    head: ledger.SlotHead
    homes: dict[int, dict[str, int]]
    orders: list[tuple[int, int, int]]  # home, energy (above zero: a sale), total
    totals: dict[str, int]
    notes: dict[str, Any]


def read_ledger(path: Path) -> dict[int, LedgerSlot]:
    """Every slot of a ledger that no market has open."""
    query = "SELECT slot, totals, meta, body FROM slots ORDER BY slot"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rows = db.execute(query).fetchall()
    slots = {}
    for slot, totals, notes, body in rows:
        head, columns, _, orders = ledger.unpack(body)
        homes = zip(*(columns[name].tolist() for name in SLOT_COLUMNS), strict=True)
        slots[slot] = LedgerSlot(
            head=head,
            homes={row[0]: dict(zip(SLOT_COLUMNS[1:], row[1:], strict=True)) for row in homes},
            orders=list(zip(*(column.tolist() for column in orders.values()), strict=True)),
            totals=json.loads(totals),
            notes=json.loads(notes),
        )
    return slots


def unbooked(ledger: Mapping[int, LedgerSlot], lines: Sequence[Mapping[str, Any]], trader: int) -> list[str]:
    """Acknowledged orders of a home that the ledger has not exactly once, at the slot's price."""
    problems = []
    acknowledged: Counter[tuple[int, int]] = Counter()
    for line in lines:
        receipt = line["receipt"]
        slot, energy_wh = receipt["slot"], receipt["energy_wh"]
        acknowledged[slot, energy_wh] += 1
        if slot not in ledger or ledger[slot].head.price_ueur_per_kwh != receipt["price_ueur_per_kwh"]:
            problems.append(f"{line} is not at the price of its slot")
    booked = Counter(
        (number, -energy_wh)
        for number, slot in ledger.items()
        for home, energy_wh, _ in slot.orders
        if home == trader
    )
    if booked != acknowledged:
        problems.append(f"lost: {acknowledged - booked}; not acknowledged: {booked - acknowledged}")
    return problems


@dataclass
class Place:
    """Directories and environment of one test, and the daemons that it has started itself."""

    path: Path
    run: Path
    cache: Path
    compiled: Path = Path()
    speed: float = 3600
    slots: int | None = None
    shards: int | None = None
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.path / "state"

    @property
    def log(self) -> Path:
        """What the daemons have said."""
        return self.path / "daemons.log"

    @property
    def environ(self) -> dict[str, str]:
        """Of every program that the test starts; the mark tells them from others."""
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        return {
            **kept,
            **one_thread,
            "PYTHONPATH": f"{ROOT / 'daemons'}:{ROOT / 'ctl'}",
            "XDG_CACHE_HOME": str(self.cache),
            "PLACE_MARK": str(self.run),
        }

    # programs

    def program(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a Python module to its end."""
        return subprocess.run(
            [sys.executable, "-m", *words],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def ctl(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run energyctl to its end."""
        return self.program("energyctl", "--run", str(self.run), *words, timeout_s=timeout_s)

    def compile(self, scenario: str) -> dict[str, Any]:
        """Compile a scenario, by name or file; what the compiler says of it."""
        given = argparse.Namespace(homes=None, seed=None, begun_with=None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(self.cache))
            facts = compile_it(given, scenario, Memo())
        self.compiled = Path(facts["directory"])
        return facts

    def up(self, scenario: str, slots: int, speed: float) -> subprocess.CompletedProcess[str]:
        """A whole run from a fresh state."""
        words = ("--for", str(slots), "--speed", f"{speed:g}", "--state", str(self.state), "--fresh")
        return self.ctl("up", scenario, *words, timeout_s=120)

    def ledger(self) -> dict[int, LedgerSlot]:
        """The ledger, once no market has it open."""
        return read_ledger(self.state / "market" / "ledger.db")

    def check(self) -> subprocess.CompletedProcess[str]:
        """Let the checker hold ledger, registers and physics together."""
        return self.program(
            "energymarket.checkd", "--state", str(self.state), "--compiled", str(self.compiled)
        )

    def control(self, method: str, **parameters: object) -> dict[str, Any]:
        """Ask the market."""
        with Connection(self.run / CONTROL_SOCKET, 5.0) as connection:
            return dict(connection.call(f"{CONTROL}.{method}", parameters).parameters)

    # daemons, one by one

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a daemon: market, weather, homes, or home-N. It dies with the test."""
        life = os.pidfd_open(os.getpid())
        try:
            with self.log.open("ab") as log:
                self.daemons[name] = subprocess.Popen(
                    [sys.executable, "-m", *self._words(name)],
                    env=self.environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=lambda: die_with_parent(life),  # noqa: PLW1509 the tests have one thread here
                )
        finally:
            os.close(life)
        return self.daemons[name]

    def _words(self, name: str) -> list[str]:
        where = ["--compiled", str(self.compiled), "--run", str(self.run), "--state"]
        match name.partition("-"):
            case ("market", _, _):
                words = ["energymarket.marketd", *where, str(self.state / "market")]
                words += ["--speed", f"{self.speed:g}"]
                return words if self.slots is None else [*words, "--slots", str(self.slots)]
            case ("weather", _, _):
                return ["energymarket.weatherd", *where, str(self.state / "weather")]
            case ("homes", _, _):
                words = ["energymarket.homesd", *where, str(self.state / "homes")]
                return words if self.shards is None else [*words, "--shards", str(self.shards)]
            case (_, _, home):
                return ["energymarket.homed", *where, str(self.state / "homes"), "--home", home]

    def revive(self) -> list[str]:
        """Start again whatever is dead, as a supervisor would; which daemons it were."""
        dead = [name for name, process in self.daemons.items() if process.poll() is not None]
        for name in dead:
            self.start(name)
        return dead

    def stop(self) -> None:
        """End all in order: the market settles, homes, market, weather end; then the IPC objects go."""
        self.control("Stop")
        for group in (("home",), ("market",), ("weather",)):
            ending = {name: each for name, each in self.daemons.items() if name.startswith(group)}
            for process in ending.values():
                process.terminate()
            codes = {name: process.wait(20) for name, process in ending.items()}
            # A daemon that was on its way out already may fall to the signal itself.
            assert set(codes.values()) <= {0, -signal.SIGTERM}, f"{codes}\n{self.log.read_text()}"
        self.daemons.clear()
        assert self.program("energymarket.anchor", "remove", "--run", str(self.run)).returncode == 0

    def end(self) -> None:
        """Whatever a failed test has left is killed and removed."""
        for process in self.daemons.values():
            process.kill()
            process.wait()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.daemons:
            self.program("energymarket.anchor", "remove", "--run", str(self.run))

    # looking

    def processes(self, words: str = "") -> list[int]:
        """Every process of this place, or those with these words on their command line."""
        mark = f"PLACE_MARK={self.run}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if words in line:
                        found.append(int(entry.name))
        return sorted(found)

    def status(self) -> dict[str, Any]:
        """The market's status; empty while nobody answers."""
        try:
            return dict(self.control("Status")["status"])
        except Disconnected:
            return {}

    def ended(self) -> bool:
        """Whether the market is through with its slots."""
        return self.status().get("state") == "ended"

    def committed(self) -> int:
        """The last slot that this market has committed, -1 before its first and while nobody answers."""
        return int(self.status().get("snapshot", {}).get("slot", -1))


def soon(holds: Callable[[], bool], within_s: float, what: str, tell: Callable[[], str] = str) -> float:
    """Wait until something holds, looking fifty times a second; how long it took, in seconds."""
    began_s = clock.monotonic_s()
    while not holds():
        assert clock.monotonic_s() - began_s < within_s, f"not within {within_s} s: {what}\n{tell()}"
        clock.sleep_until_boottime_ns(clock.boottime_ns() + 20_000_000)
    return clock.monotonic_s() - began_s


def let_pass(span_s: float) -> None:
    """Let others work: a fault is planted at this moment and no other."""
    clock.sleep_until_boottime_ns(clock.boottime_ns() + int(span_s * 1e9))


def differing(found: Mapping[str, int], wanted: Mapping[str, int]) -> dict[str, tuple[int | None, int]]:
    """Column -> (found, wanted), where they differ."""
    return {name: (found.get(name), value) for name, value in wanted.items() if found.get(name) != value}

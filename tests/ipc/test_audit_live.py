"""The checker against a market that runs: pages, memory files, a compaction in between, and watching."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from energymarket import checkd
from energymarket.audit.ledger_file import LedgerFile
from energymarket.audit.live import LiveLedger
from energymarket.audit.reading import Check
from energymarket.core.settlement import Batch
from energymarket.daybook.indicators import indicators_of
from energymarket.exits import Exit
from energymarket.market import history
from energymarket.runtime.service import StopFlag
from energymarket.transport import memory_fd
from energymarket.transport.call import Call
from energymarket.transport.server import Server
from energymarket.transport.server_limits import ServerLimits
from energymarket.wire.messages import CONTROL, CONTROL_INTERFACE, CONTROL_SOCKET
from tests.ipc.processes import environment
from tests.ipc.stand_in import MAKER
from tests.simulation.small_market import KEPT_SLOTS, SmallMarket


class Desk:
    """Shows a small market's ledger over a real socket, as the control desk does."""

    def __init__(self, run_dir: Path, market: SmallMarket) -> None:
        self.market = market
        self.lock = threading.Lock()
        self.compact_at_slots = False
        self.watchers: list[Call] = []
        self.watched = threading.Event()
        self.looks = 0
        self._server = Server(MAKER, ServerLimits()).open()
        self._server.listen(run_dir / CONTROL_SOCKET, 0o660, self.handle, [CONTROL_INTERFACE])
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        self._thread.join(10)

    def handle(self, call: Call) -> None:
        """In the server's thread."""
        with self.lock:
            self._answer(call, self.market)

    def _answer(self, call: Call, market: SmallMarket) -> None:
        match call.method.removeprefix(f"{CONTROL}."):
            case "Status":
                call.reply({"status": {"homes": 4}})
            case "Slots":
                self.looks += 1
                if self.compact_at_slots:
                    self.compact_at_slots = False
                    market.compact()
                first = call.parameters.get("first") or 0
                last = call.parameters.get("last")
                page = history.SealedPage(market.store, first, market.slot if last is None else last)
                while page.step():
                    pass
                fd = memory_fd.seal(page.bodies)
                call.reply(page.answer() | {"descriptor": 0}, descriptors=(fd,))
            case "Compacted":
                stretches, bodies = history.compacted(market.store)
                fd = memory_fd.seal(bodies)
                call.reply({"stretches": stretches, "descriptor": 0}, descriptors=(fd,))
            case _:
                self.watchers.append(call)
                call.reply({"snapshot": {}}, continues=True)
                self.watched.set()

    def tell(self) -> None:
        """A slot was committed."""
        for call in self.watchers:
            call.reply({"snapshot": {"slot": self.market.slot}}, continues=True)


@pytest.fixture
def desk(run_dir: Path, tmp_path: Path) -> Iterator[Desk]:
    """Enough slots for two pages and a compacted stretch."""
    market = SmallMarket(tmp_path)
    market.play(KEPT_SLOTS + 80)
    market.compact()
    with Desk(run_dir, market) as served:
        yield served
    market.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  one descriptor less than pathlib


def check(desk: Desk, run_dir: Path) -> Check:
    live = LiveLedger(run_dir)
    live.open()
    checked = Check(live, desk.market.homes, desk.market.compiled)
    checked.run()
    live.close()
    return checked


def test_a_live_ledger_is_read_page_by_page_and_found_clean(desk: Desk, run_dir: Path) -> None:
    """272 slots come in pages of 16 at most; no descriptor is left open."""
    before = open_descriptors()
    result = check(desk, run_dir).checker.result()
    assert result.ok, result.findings
    assert result.slots == KEPT_SLOTS + 80
    assert result.compacted > 0
    assert result.homes_compared == 4
    assert desk.looks == 17
    pause = threading.Event()
    for _ in range(100):  # the server hears of the end a moment later
        if open_descriptors() == before:
            break
        pause.wait(0.05)
    assert open_descriptors() == before


def test_a_compaction_while_the_ledger_is_read_is_no_finding(desk: Desk, run_dir: Path) -> None:
    """The slot without a body is noticed, and everything is read again."""
    desk.compact_at_slots = True
    result = check(desk, run_dir).checker.result()
    assert result.ok, result.findings
    assert desk.looks > 2


def test_indicators_are_the_same_live_and_from_the_file(desk: Desk, run_dir: Path) -> None:
    """Bodies through memory files, two pages, compacted slots, a compaction in between: the same document."""
    market = desk.market
    desk.compact_at_slots = True
    live = LiveLedger(run_dir)
    live.open()
    heard = indicators_of(live, market.homes, market.compiled)
    live.close()
    assert desk.looks > 2
    with ExitStack() as stack:
        file = LedgerFile(market.ledger_path, market.ledger_path)
        stack.callback(file.close)
        file.open()
        read = indicators_of(file, market.homes, market.compiled)
    assert heard.tally.pack() == read.tally.pack()
    assert heard.tally.community.slots == KEPT_SLOTS + 80
    assert 0 < heard.tally.detail_slots < KEPT_SLOTS + 80


def test_the_watcher_hears_slot_after_slot_until_it_is_stopped(desk: Desk, run_dir: Path) -> None:
    """A bill that is wrong in a slot to come ends in exit 5."""
    market = desk.market
    codes: list[int] = []
    words = [
        "--watch",
        "--run",
        run_dir,
        "--homes",
        market.homes,
        "--compiled",
        market.directory / "compiled",
    ]
    with StopFlag() as stop:
        given = checkd._words([str(word) for word in words])
        thread = threading.Thread(target=lambda: codes.append(checkd.Watcher(given, stop).run()))
        thread.start()
        assert desk.watched.wait(10)
        looks = desk.looks
        with desk.lock:
            market.play(2, tamper=lambda batch: batch if batch.first == 1 else _less_imported(batch))
            desk.tell()
        pause = threading.Event()
        for _ in range(200):
            if desk.looks > max(looks, 2):
                break
            pause.wait(0.05)
        pause.wait(0.3)
        stop.stop("the test is over")
        thread.join(10)
    assert codes == [Exit.DEGRADED]


def _less_imported(batch: Batch) -> Batch:
    """Ten Wh of the last home are lost on their way into the ledger."""
    column = batch.columns["import_wh"].copy()
    column[-1] -= 10
    return replace(batch, columns={**batch.columns, "import_wh": column})


def test_the_watcher_of_a_frozen_market_gives_signs_of_life(run_dir: Path) -> None:
    """A market that takes connections and never answers: its own watchdog ends that, not the checker's."""
    said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    frozen = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with said, frozen:
        said.bind(str(run_dir / "notify"))
        said.settimeout(30)
        frozen.bind(str(run_dir / CONTROL_SOCKET))
        frozen.listen()
        frozen.settimeout(30)
        words = ["--watch", "--stay", "--chain-only", "--run", str(run_dir)]
        environ = environment() | {"NOTIFY_SOCKET": str(run_dir / "notify"), "WATCHDOG_USEC": "2000000"}
        with subprocess.Popen([sys.executable, "-m", "energymarket.checkd", *words], env=environ) as watcher:
            lines = [frozen.accept()[0] for _ in range(2)]  # to hear of slots, and to read the ledger
            try:
                beats = 0
                while beats < 8:  # three of them are left over from its start at most
                    beats += b"WATCHDOG=1" in said.recv(4096)
            finally:
                watcher.kill()
                for line in lines:
                    line.close()

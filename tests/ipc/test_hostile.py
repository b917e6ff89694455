"""Everything that a hostile process of the same machine can reach, attacked while a real market trades."""

from __future__ import annotations

import os
import signal
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import sysv_ipc

from energymarket.core import weather
from energymarket.core.records import OFFER
from energymarket.runtime import descriptors
from energymarket.runtime.clock import boottime_ns, monotonic_s
from energymarket.transport import resources
from energymarket.transport.page import BoardWriter, ClockReader
from energymarket.transport.queue import OfferQueue
from energymarket.transport.resources import Ipc, Kind
from energymarket.wire import offer_message
from energymarket.wire.event_record import EventRecord, RecordType
from tests.ipc.processes import process
from tests.ipc.siege import (
    CONTROL,
    HOMES,
    SOCKETS,
    STRANGERS,
    TRADE,
    Dice,
    Siege,
    besieged,
    crowd,
    exchange,
    is_sound,
    storm,
)
from tests.simulation.market_place import LedgerSlot, Place, let_pass, soon

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]

CROWD = 1_000
STORM = 100_000
POOLED = HOMES - 1 - len(STRANGERS)
MEGABYTE = 1 << 20


@pytest.fixture(scope="session")
def siege_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The neighbourhood is compiled once for each sharing model."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path: Path, run_dir: Path, siege_cache: Path, no_ipc_left: None) -> Iterator[Place]:
    """Directories of their own, no IPC object left behind, no process left running."""
    del no_ipc_left
    made = Place(tmp_path, run_dir / "run", siege_cache)
    yield made
    made.end()


# sockets

NUMBERS = (
    b"nan", b"NaN", b"inf", b"-inf", b"Infinity", b"-0", b"-0.0", b"1e308", b"1e400", b"1.0", b"0x10",
    b"1_000", b"9223372036854775808", b"-9223372036854775809", b"9" * 400, b'"7"', b"null", b"[]",
)  # fmt: skip


def rubbish() -> list[bytes]:
    """What no client should send, each on a connection of its own."""
    calls = [
        b'{"method":"%b.%b","parameters":{%b}}\0' % (TRADE.encode(), method, words.replace(b"NUMBER", number))
        for number in NUMBERS
        for method, words in (
            (b"Buy", b'"home":2,"energy_wh":NUMBER,"id":"x"'),
            (b"Join", b'"first":NUMBER,"count":1'),
            (b"Submit", b'"id":"x","slot":NUMBER,"epoch":0,"data":"","shed":NUMBER'),
        )
    ]
    deep = b"[" * 50_000 + b"]" * 50_000
    return [
        *calls,
        os.urandom(4096),
        b"\0" * 4096,
        b"\xff" * 70_000 + b"\0",
        b"{" * 60_000 + b"\0",
        b'{"method":"%b.Price","parameters":%b}\0' % (TRADE.encode(), deep),
        b'{"method":"%b.Watch"}\0' % TRADE.encode(),
        b'{"method":"%b.Watch"}\0' % CONTROL.encode(),
        b'{"method":"%b.Watch","more":true,"oneway":true}\0' % TRADE.encode() * 100,
        b'{"method":"%b.Watch","more":true,"oneway":true}\0' % CONTROL.encode() * 100,
        b'{"method":"%b.Status","oneway":true}\0' % CONTROL.encode() * 1000,
        *(
            b'{"method":"%b.Join","parameters":{"first":2,"count":1,"name":"%b"}}\0' % (TRADE.encode(), name)
            for name in (b"n" * 60_000, rb"\ud800", rb"\u0000\u001b[2J\n")
        ),
        b'{"method":"%b.Buy","parameters":{"home":2,"energy_wh":1,"id":"\\u0000"}}\0' % TRADE.encode(),
        b"GET / HTTP/1.1\r\nHost: market\r\n\r\n\0",
    ]  # fmt: skip


def _pass_what_is_no_batch(siege: Siege) -> None:
    """A pipe, an unsealed memory file, a directory, too many, none: each gets a named error."""
    reader, writer = os.pipe()
    loose = os.memfd_create("loose", os.MFD_ALLOW_SEALING)
    os.ftruncate(loose, 4096)
    folder = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)
    path_only = os.open("/tmp", os.O_PATH)
    asked = b'{"method":"%b.Submit","parameters":{"id":"x","slot":1,"epoch":0,"descriptor":%d}}\0'
    alone = [[fd] for fd in (reader, writer, loose, folder, path_only)]
    try:
        for place_of in (0, 3, -1, 2**62):
            for fds in [*alone, [], [loose] * 4, [loose] * 5] * 5:
                with siege.connect("trade") as sock:
                    rights = [(1, 1, struct.pack(f"{len(fds)}i", *fds))] if fds else []
                    sock.sendmsg([asked % (TRADE.encode(), place_of)], rights)
                    answer = sock.recv(1 << 16)
                assert b"BatchRefused" in answer or b"QuotaExceeded" in answer
    finally:
        for fd in (reader, writer, loose, folder, path_only):
            os.close(fd)


def test_crowd_and_rubbish_do_not_keep_the_honest_client_from_trading(place: Place) -> None:
    """A crowd of clients, and what no client should send, while one trades.

    1,000 idle clients on each socket, half of them in the middle of a message; garbage, a megabyte line,
    descriptors that are no batch: each gets a named error or a closed connection. 99 of 100 of the honest
    one's orders are answered within a slot.
    """
    descriptors.allow(4 * CROWD)
    with besieged(place) as siege, crowd(siege, CROWD // 2), crowd(siege, CROWD // 2, b'{"method":"io.en'):
        siege.honest.waited_s.clear()
        assert siege.status()["state"] in {"running", "degraded"}
        for name in SOCKETS:
            for words in rubbish():
                assert is_sound(exchange(siege, name, words))
            line = b"x" * MEGABYTE
            assert b"QuotaExceeded" in exchange(siege, name, line + line)
        _pass_what_is_no_batch(siege)
        siege.pass_slots(4)
        assert len(siege.honest.waited_s) > 50
        assert siege.honest.worst_s() < 0.25
        assert set(siege.honest.refused) <= {"NotOpen", "GateClosed"}


def test_storms_of_joins_questions_and_stops(place: Place) -> None:
    """Connections that join, ask for everything at once, watch, and leave: slots go on at their pace.

    1,000 calls of Stop are each answered and obeyed once; the next market goes on.
    """
    flood = b"".join(
        b'{"method":"%b","parameters":%b}\0' % (method.encode(), words)
        for method, words in [(f"{TRADE}.Join", b'{"first":3,"count":8}')] * 60
    )
    heavy = b"".join(
        b'{"method":"%b","parameters":%b}\0' % (method.encode(), words)
        for method, words in (
            (f"{CONTROL}.Price", b'{"last":1000000}'),
            (f"{CONTROL}.Verify", b"{}"),
            (f"{CONTROL}.Slots", b'{"first":-9223372036854775808,"last":9223372036854775807}'),
            (f"{CONTROL}.Homes", b'{"first":9223372036854775807,"count":9223372036854775807}'),
            (f"{CONTROL}.Ledger", b'{"first":-1,"count":9223372036854775807}'),
            (f"{CONTROL}.Compacted", b"{}"),
        )
        * 10
    )
    watch = b'{"method":"%b.Watch","more":true}\0'
    with besieged(place) as siege:
        before, end_s = siege.place.committed(), monotonic_s() + 4
        rounds = 0
        while monotonic_s() < end_s:
            with siege.connect("trade") as trade, siege.connect("control") as control:
                trade.sendall(flood + watch % TRADE.encode())
                control.sendall(heavy + watch % CONTROL.encode())
                if rounds % 4 == 0:
                    let_pass(0.05)
            rounds += 1
        assert rounds > 20
        assert siege.place.committed() - before > 8  # sixteen slots in four seconds of an idle machine
        assert "late" not in siege.status()["notes"]
        assert siege.place.log.read_text().count("have joined") < 30 * 25
        _stop_a_thousand_times(siege)


def _stop_a_thousand_times(siege: Siege) -> None:
    """On sixteen connections, half of which leave: each that stays gets 63 answers.

    The last slot, or that the market was stopping already; at least one is told the slot.
    """
    stop = b'{"method":"%b.Stop"}\0' % CONTROL.encode()
    siege.honest.stop()
    askers = [siege.connect("control") for _ in range(16)]
    for asker in askers:
        asker.sendall(stop * 63)
    for asker in askers[8:]:
        asker.close()
    answers = [b""] * 8
    for at, asker in enumerate(askers[:8]):
        with suppress(ConnectionResetError), asker:
            while data := asker.recv(1 << 16):
                answers[at] += data
    assert [answer.count(b"\0") for answer in answers] == [63] * 8
    told = [answer.count(b'{"slot":') for answer in answers]
    refused = [answer.count(b"Control.Stopping") for answer in answers]
    assert [sum(both) for both in zip(told, refused, strict=True)] == [63] * 8
    assert sum(told) > 0
    assert siege.place.daemons["market"].wait(10) == 0
    siege.place.start("market")
    soon(lambda: siege.place.committed() >= 0, 20, "the market again", siege.place.log.read_text)
    siege.market_pid = siege.place.daemons["market"].pid
    siege.processes = siege.place.processes()


# signals, the pipe, the weather board


def test_stray_signals_forged_records_and_forged_weather_change_no_event_and_no_price(place: Place) -> None:
    """What reaches the market beside its sockets: the list of events and the temperature stay as they are.

    100,000 SIGUSR1 and SIGUSR2 each to the market and to `external`, 10,000 to every other daemon.
    """
    with besieged(place) as siege:
        siege.place.control("Raise", kind="strike", intensity_permille=700)
        siege.pass_slots(2)
        before = siege.place.control("Events")
        assert [each["kind"] for each in before["active"]] == ["strike"]
        rung = [siege.market_pid, *siege.place.processes("energymarket.external")]
        assert len(rung) == 2
        storm(rung, STORM, signal.SIGUSR1, signal.SIGUSR2)
        others = [pid for pid in siege.processes if pid not in rung]
        storm(others, STORM // 10, signal.SIGUSR1, signal.SIGUSR2)
        storm([siege.market_pid], STORM // 10, signal.SIGHUP)
        siege.pass_slots(2)
        assert siege.place.control("Events") == before
        _forge_records(siege, Dice(3))
        siege.pass_slots(2)
        assert siege.place.control("Events") == before
        _forge_weather(siege, Dice(4))


def _forge_records(siege: Siege, dice: Dice) -> None:
    """Garbage, halves, flipped bits, kinds and intensities that there are not, in the pipe of events."""
    whole = EventRecord(RecordType.BEGIN, 1, 0, 7, 1_000, 1 << 20).pack()
    alien = [
        EventRecord(RecordType.BEGIN, 1, 999, 7, 1_000, 1 << 20).pack(),
        EventRecord(RecordType.BEGIN, 1, 0, 7, 4_000_000_000, 1 << 20).pack(),
        EventRecord(RecordType.BEGIN, 1, 0, 7, 0, 1 << 20).pack(),
        EventRecord(RecordType.BEGIN, 1, 0, 7, 1_000, 1).pack(),
        EventRecord(RecordType.END, (1 << 48) - 1, 999, 7).pack(),
        EventRecord(RecordType.END, 0, 0, (1 << 64) - 1).pack(),
        EventRecord(RecordType.REPORTED, (1 << 48) - 1).pack(),
    ]
    (external,) = siege.place.processes("energymarket.external")
    with Path(f"/proc/{external}/fd/4").open("wb", buffering=0) as pipe:  # where it finds its end
        for number in range(3_000):
            flipped = bytearray(whole)
            flipped[dice.below(32)] ^= 1 << dice.below(8)
            pipe.write(dice.one_of(dice.bytes(64), bytes(flipped), whole[: 1 + dice.below(31)], b"EV" * 50))
            if number % 100 == 0:
                pipe.write(dice.one_of(*alien))
                let_pass(0.002)


def _forge_weather(siege: Siege, dice: Dice) -> None:
    """Sealed samples out of range, of the future, and of another slot, posted over the weather's own."""
    ipc = resources.attach(siege.run)
    end_s = monotonic_s() + 2
    shown = []
    with BoardWriter(ipc) as board:
        while monotonic_s() < end_s:
            slot = siege.place.committed() + dice.below(6)
            worst = {name: dice.one_of(high + 1, 2**31 - 1) for name, (_, high) in weather.LIMITS.items()}
            forged = weather.sample_of(worst | {"temperature_mc": dice.one_of(-(2**31), 2**31 - 1)}, slot)
            for at in (slot, slot + 10_000, (1 << 62) + slot):
                forged["slot"] = at
                board.post(forged, boottime_ns() + dice.one_of(0, 1 << 60))
            shown.append(siege.place.control("Weather")["weather"])
            let_pass(0.005)
    assert {each["temperature_c"] for each in shown} <= {20.0, 3.0, 12.0}


# the queue

CURRENT = (
    "garbage", "torn", "alien slot", "alien epoch", "unknown giver", "huge", "twice", "last part", "crumbs",
)  # fmt: skip


def _offers(kind: str, dice: Dice) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    count = {"twice": 40, "crumbs": 255, "huge": 3}.get(kind, 8)
    made = np.zeros(count, OFFER)
    made["giver"] = [11 + dice.below(90) for _ in range(count)]
    made["energy_wh"] = 1 if kind == "crumbs" else 100
    if kind == "twice":
        made["giver"] = 11 + np.arange(count) % 4
    if kind == "unknown giver":
        made["giver"] = dice.one_of(201, 1 << 31, (1 << 32) - 1)
    if kind == "huge":
        made["energy_wh"] = [5_000_001, (1 << 32) - 1, 1 << 31]
    if kind == "last part":
        made["index"] = 65_535
    return made


def _forged(kind: str, slot: int, epoch: int, dice: Dice) -> bytes:
    """A message of that kind."""
    if kind == "garbage":
        return dice.bytes(1 + dice.below(300))
    if kind == "alien slot":
        slot = dice.one_of(0, slot - 1, slot + 1, (1 << 48) - 1)
    if kind == "alien epoch":
        epoch = dice.one_of(epoch + 1, (1 << 32) - 1)
    data = offer_message.pack(_offers(kind, dice), slot=slot, epoch=epoch)
    return data[: 16 + dice.below(len(data) - 16)] if kind == "torn" else data


def _flood(ipc: Ipc, stop: threading.Event, dice: Dice) -> None:
    """Put forged messages under any type, without the semaphore, as fast as they go."""
    queue = sysv_ipc.MessageQueue(ipc.key(Kind.QUEUE), max_message_size=1 << 14)
    with ClockReader(ipc) as clock:
        while not stop.is_set():
            page = clock.read()
            if page is None:
                continue
            kind = dice.one_of(1, 1 + dice.below(200), (1 << 30) + 11, (1 << 31) - 1)
            with suppress(sysv_ipc.BusyError):
                queue.send(_forged(dice.one_of(*CURRENT), page.slot, page.epoch, dice), False, kind)


@pytest.mark.parametrize(("take", "turn"), [("exact", "fair"), ("greedy", "selfish")])
def test_forged_offers_and_a_frozen_holder_cost_nobody_a_batch(place: Place, take: str, turn: str) -> None:
    """A queue flooded with every kind of forgery, and emptied under the shards' feet: all homes hand in.

    A forged offer is a hint that leads nowhere: its claim is void. No batch is refused for one. A frozen
    holder of the semaphore costs gifts, and no slot.
    """
    with besieged(place, take, turn) as siege:
        ipc, stop = resources.attach(siege.run), threading.Event()
        first = siege.place.committed() + 2
        flood = threading.Thread(target=_flood, args=(ipc, stop, Dice(5)))
        flood.start()
        thief = OfferQueue(ipc)
        try:
            end_s = monotonic_s() + 3
            while monotonic_s() < end_s:
                let_pass(0.15)
                thief.drain()
        finally:
            stop.set()
            flood.join()
        last = siege.place.committed()
        frozen = _freeze_a_holder(siege)
    ledger = siege.place.ledger()
    _check_frozen(ledger, *frozen)
    reasons = {each["reason"] for slot in ledger.values() for each in slot.notes["refusals"]}
    assert reasons <= {"GateClosed"}
    assert sum(len(ledger[slot].notes["voids"]) for slot in range(first, last + 1)) > 0
    assert sum(_heard(ledger[slot]) == POOLED for slot in range(first, last + 1)) >= 0.5 * (last + 1 - first)


FROZEN = """
queue = OfferQueue(resources.attach(Path(sys.argv[1])))
with queue.locked(5.0):
    ready()
    for_ever()
"""


def _freeze_a_holder(siege: Siege) -> tuple[int, int]:
    """A stopped process holds the semaphore for some slots: the first and the last of them."""
    with process(FROZEN, siege.run) as holder:
        os.kill(holder.pid, signal.SIGSTOP)
        siege.pass_slots(1)
        first = siege.place.committed() + 1
        siege.pass_slots(6)
        last = siege.place.committed()
    siege.pass_slots(4)
    return first, last


def _check_frozen(ledger: dict[int, LedgerSlot], first: int, last: int) -> None:
    """Slots were committed with the homes' readings and without gifts; after it gifts flow again."""
    assert sum(ledger[slot].totals["taken_wh"] for slot in range(first + 1, last)) == 0
    assert sum(_heard(ledger[slot]) == POOLED for slot in range(first, last + 1)) >= 0.5 * (last + 1 - first)
    assert ledger[max(ledger) - 1].totals["taken_wh"] > 0


def _heard(slot: LedgerSlot) -> int:
    """Homes whose batch stands in a slot."""
    return sum(count for _, count, _ in slot.notes["batches"])

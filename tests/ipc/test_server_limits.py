"""Hostile and clumsy peers at the varlink server: each costs itself at most its connection."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from energymarket.runtime.clock import monotonic_s
from energymarket.transport.client import Connection, VarlinkError
from energymarket.transport.ends import End
from energymarket.transport.server_limits import TRADE_LIMITS
from energymarket.wire.varlink import encode_call
from tests.ipc import stand_in
from tests.ipc.stand_in import StandIn
from tests.ipc.test_server import answers, raw, until

T = "io.energymarket.Trade"
PRICE = encode_call(f"{T}.Price")


@contextmanager
def stand_in_process(path: Path, *limits: str) -> Iterator[psutil.Process]:
    """A stand-in in a process of its own, ended by SIGTERM."""
    command = [sys.executable, stand_in.__file__, str(path), *limits]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def honest_calls_s(path: Path, count: int = 200) -> list[float]:
    """How long each of so many Price calls of one client took, sorted."""
    taken = []
    with Connection(path) as connection:
        for _ in range(count):
            start_s = monotonic_s()
            assert connection.call(f"{T}.Price").parameters["slot"] == 0
            taken.append(monotonic_s() - start_s)
    return sorted(taken)


@pytest.mark.alone
def test_a_thousand_idle_clients_do_not_slow_an_honest_one(run_dir: Path) -> None:
    """With 1,000 silent peers and 500 with half a message, the honest client's p99 stays below 20 ms."""
    path = run_dir / "trade"
    with stand_in_process(path) as process, ExitStack() as peers:
        for number in range(1500):
            sock = peers.enter_context(raw(path))
            if number % 3 == 2:
                sock.sendall(PRICE[:-7])
        taken = honest_calls_s(path, 500)
        idle_s = sum(process.cpu_times()[:2])
        select.select([], [], [], 1.0)
        assert sum(process.cpu_times()[:2]) - idle_s < 0.05  # nobody polls
    assert taken[int(0.99 * len(taken))] < 0.02


def test_half_a_message_is_cut_and_silence_is_not(run_dir: Path) -> None:
    """A peer with half a frame is closed at the deadline, however slowly it goes on; an idle one stays."""
    limits = replace(TRADE_LIMITS, partial_s_max=0.4)
    with StandIn(run_dir / "trade", limits) as market, raw(market.path) as idle, raw(market.path) as half:
        half.sendall(PRICE + PRICE[:5])
        answers(half, 1)
        start_s = monotonic_s()
        with suppress(BrokenPipeError):
            for _ in range(100):
                half.sendall(b" ")
                select.select([], [], [], 0.05)
        assert 0.3 < monotonic_s() - start_s < 2
        idle.sendall(PRICE)
        answers(idle, 1)
        assert market.server.ends[End.HALF_A_FRAME] == 1


@pytest.mark.parametrize("length", [1024 * 1024 + 1, 3_000_000])
def test_a_frame_too_big_is_named_and_closed(run_dir: Path, length: int) -> None:
    """A line of more than a megabyte without an end gets QuotaExceeded with the limit, then the end."""
    with StandIn(run_dir / "trade") as market, raw(market.path) as sock:
        # Closed while we were still sending. The kernel tells that once, here or with the end below.
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(b"x" * length)
        expected = {
            "error": f"{T}.QuotaExceeded",
            "parameters": {"what": "frame_bytes", "limit": 1024 * 1024},
        }
        assert answers(sock, 1) == [expected]
        with suppress(ConnectionResetError):  # it had not read all of ours
            assert sock.recv(1) == b""
        assert honest_calls_s(market.path, 3)


def test_a_megabyte_of_garbage_is_malformed(run_dir: Path) -> None:
    """A line just within the limit is answered by name like any garbage, and the connection lives."""
    with StandIn(run_dir / "trade") as market, raw(market.path) as sock:
        sock.sendall(b"x" * 1_000_000 + b"\0" + PRICE)
        garbage, price = answers(sock, 2)
        assert garbage == {
            "error": "org.varlink.service.InvalidParameter",
            "parameters": {"parameter": "frame"},
        }
        assert price["parameters"]["slot"] == 0


def test_a_complete_frame_beyond_the_limit_is_refused_too(run_dir: Path) -> None:
    """The limit holds for frames that arrive whole, to the byte."""
    limits = replace(TRADE_LIMITS, frame_bytes_max=1000)
    with StandIn(run_dir / "trade", limits) as market:
        for length, fits in ((1000, True), (1001, False)):
            with raw(market.path) as sock:
                sock.sendall(PRICE[:-1].ljust(length) + b"\0")
                assert ("parameters" in (answer := answers(sock, 1)[0]) and "error" not in answer) == fits


def test_ten_malformed_frames_close_the_connection(run_dir: Path) -> None:
    """Each gets its error, valid calls between them are served, the tenth is the last."""
    with StandIn(run_dir / "trade") as market, raw(market.path) as sock:
        sock.sendall((b"\0" + PRICE) * 9 + b"{}\0" + PRICE * 5)
        got = answers(sock, 19)
        assert [answer.get("error") for answer in got] == [
            *["org.varlink.service.InvalidParameter", None] * 9,
            "org.varlink.service.InvalidParameter",
        ]
        assert sock.recv(1) == b""
        assert market.server.ends[End.MALFORMED] == 1


def test_unfinished_frames_of_all_peers_are_bounded_together(run_dir: Path) -> None:
    """When half frames of many peers reach the bound, the next one is closed; small calls go on."""
    limits = replace(TRADE_LIMITS, input_bytes_max=1_000_000)
    with StandIn(run_dir / "trade", limits) as market, ExitStack() as peers:
        for _ in range(20):
            sock = peers.enter_context(raw(market.path))
            sock.sendall(b"x" * 100_000)
        until(lambda: market.server.ends[End.TOO_MUCH_INPUT] >= 10)
        assert honest_calls_s(market.path, 3)
        peers.close()
        until(lambda: market.server.connections == 0)
        with raw(market.path) as sock:
            sock.sendall(b"x" * 900_000)
            assert honest_calls_s(market.path, 3)
        until(lambda: market.server.connections == 0)
        assert market.server.ends[End.TOO_MUCH_INPUT] == 10


def test_a_flood_of_calls_is_slowed_by_name(run_dir: Path) -> None:
    """Beyond the quota per second a call gets QuotaExceeded and its connection a pause; others do not."""
    limits = replace(TRADE_LIMITS, calls_per_s_max=100, quota_pause_s=0.2)
    with StandIn(run_dir / "trade", limits) as market, raw(market.path) as flood:
        start_s = monotonic_s()
        flood.sendall(PRICE * 130)
        got = answers(flood, 101)
        assert [answer.get("error") for answer in got[:101]] == [None] * 100 + [f"{T}.QuotaExceeded"]
        assert got[100]["parameters"] == {"what": "calls_per_s", "limit": 100}
        assert honest_calls_s(market.path, 50)[-1] < 0.2
        answers(flood, 29 - max(0, len(got) - 101))
        assert monotonic_s() - start_s >= 0.2


def test_a_flood_does_not_delay_others(run_dir: Path) -> None:
    """While ten peers pipeline calls without end, an honest client is answered between them."""
    with StandIn(run_dir / "trade") as market, ExitStack() as peers:
        floods = [peers.enter_context(raw(market.path)) for _ in range(10)]
        for flood in floods:
            flood.setblocking(False)
            flood.send(PRICE * 1000)
        with Connection(market.path) as honest:
            for _ in range(20):
                start_s = monotonic_s()
                honest.call(f"{T}.Price")
                assert monotonic_s() - start_s < 0.5


@pytest.mark.parametrize("limit", ["connections_max", "connections_per_uid_max"])
def test_one_connection_too_many_is_told_so(run_dir: Path, limit: str) -> None:
    """The surplus connection gets QuotaExceeded as its answer; when one leaves there is room again."""
    limits = replace(TRADE_LIMITS, **{limit: 3})
    with StandIn(run_dir / "trade", limits) as market, ExitStack() as peers:
        for _ in range(3):
            peers.enter_context(raw(market.path))
        for _ in range(3):
            with Connection(market.path) as surplus, pytest.raises(VarlinkError, match="QuotaExceeded"):
                surplus.call(f"{T}.Price")
        peers.close()
        until(lambda: market.server.connections == 0)
        assert honest_calls_s(market.path, 3)


@pytest.mark.alone
def test_without_descriptors_it_neither_spins_nor_dies(run_dir: Path) -> None:
    """With no descriptor left it pauses accepting (below 20 % of a core) and serves again afterwards."""
    path = run_dir / "trade"
    with stand_in_process(path, "descriptors=40") as process, Connection(path) as early, ExitStack() as peers:
        early.call(f"{T}.Price")
        for _ in range(200):
            sock = peers.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(path))
        used_s, start_s = sum(process.cpu_times()[:2]), monotonic_s()
        while monotonic_s() - start_s < 1.0:
            early.call(f"{T}.Price")
            select.select([], [], [], 0.02)
        assert sum(process.cpu_times()[:2]) - used_s < 0.2
        peers.close()
        until(lambda: process.num_fds() < 20)
        assert honest_calls_s(path, 3)


@pytest.mark.alone
def test_memory_stays_bounded_under_half_frames_and_silent_readers(run_dir: Path) -> None:
    """2,000 peers with as much unfinished input and unread output as they may have: at most 100 MiB more."""
    path = run_dir / "trade"
    with stand_in_process(path) as process, ExitStack() as peers:
        before = process.memory_info().rss
        for number in range(2000):
            sock = peers.enter_context(raw(path))
            sock.setblocking(False)
            if number % 2:
                sock.send(b"x" * 200_000)
            else:
                sock.send(PRICE * 3000)
        assert honest_calls_s(path, 20)[0] < 1
        assert process.memory_info().rss - before < 100 * 2**20


def test_a_peer_killed_in_the_middle_leaves_nothing(run_dir: Path) -> None:
    """Clients that die by SIGKILL with calls under way free their connections."""
    program = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.sendall(sys.argv[2].encode() + b'\\0half')\n"
        "print('sent', flush=True); s.recv(1); s.recv(1)\n"
    )
    call = encode_call(f"{T}.Sell", {"home": 1, "energy_wh": 1, "id": "hold"})[:-1].decode()
    with StandIn(run_dir / "trade") as market:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # one descriptor less than pathlib
        for _ in range(5):
            with subprocess.Popen(
                [sys.executable, "-c", program, str(market.path), call], stdout=subprocess.PIPE
            ) as client:
                assert client.stdout is not None
                client.stdout.readline()
                until(lambda: market.server.connections == 1)
                client.kill()
            until(lambda: market.server.connections == 0)
            market.calls[-1].reply({})
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  # as above

"""How many Price calls 100 kept-open clients get answered: ours, asyncio streams with json, redis PING.

Run it as a program. The servers run in turn, a process each, in at least five rounds; the ratios of each
round are taken and their median printed, as the machine is shared. The load is one process that keeps one
call of each client under way and reads no answer but its end, so that it costs less than any server here.
Beside the rate stands the server's CPU time per call, which the load and its core do not enter.
Targets: at least 0.5 of redis, at least 2 times asyncio streams, p99 at most 2.5 times that of redis.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from energymarket.runtime.clock import boottime_ns
from energymarket.transport.call import Call
from energymarket.transport.server import Server
from energymarket.transport.server_limits import TRADE_LIMITS
from energymarket.wire.messages import TRADE_INTERFACE
from energymarket.wire.varlink import Maker

CLIENTS: Final = 100
ROUNDS: Final = 5
ROUND_S: Final = 2.0
CALL: Final = b'{"method":"io.energymarket.Trade.Price","parameters":{}}\0'
PRICE: Final[dict[str, Any]] = {
    "slot": 1_985_472,
    "epoch": 0,
    "phase": "trade",
    "price_ueur_per_kwh": 153_750,
    "import_ueur_per_kwh": 300_000,
    "export_ueur_per_kwh": 80_000,
    "gift_fee_ueur_per_kwh": 0,
    "gate_in_ms": 250_000,
    "weather_stale": False,
}
NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """Of one server in one round."""

    calls_per_s: float
    cpu_us_per_call: float
    p50_us: float
    p99_us: float


def serve_ours(path: Path) -> None:
    """Answer Price as the market does: a dictionary, encoded for each call."""

    def answer(call: Call) -> None:
        call.reply(PRICE)

    server = Server(Maker("energy-market", "bench", "1", ""), TRADE_LIMITS).open()
    server.listen(path, 0o600, answer, [TRADE_INTERFACE])
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    server.run()


def serve_streams(path: Path) -> None:
    """The twin that anybody would write first. It checks nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                call = json.loads((await reader.readuntil(b"\0"))[:-1])
                if call["method"] == "io.energymarket.Trade.Price":
                    writer.write(json.dumps({"parameters": PRICE}).encode() + b"\0")
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_unix_server(serve, path, backlog=CLIENTS)
        await server.serve_forever()

    asyncio.run(run())


def redis_command(path: Path) -> list[str]:
    """A redis that stores nothing and listens nowhere else."""
    program = shutil.which("redis-server") or "redis-server"
    return [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]


def own_command(name: str) -> Callable[[Path], list[str]]:
    """This program as a server."""
    return lambda path: [sys.executable, __file__, "--serve", name, str(path)]


SERVERS: Final[dict[str, tuple[Callable[[Path], list[str]], bytes, bytes]]] = {
    "ours": (own_command("ours"), CALL, b"\0"),
    "streams": (own_command("streams"), CALL, b"\0"),
    "redis": (redis_command, b"PING\r\n", b"\n"),
}


def measure(name: str, round_s: float) -> Result:
    """Start a server, load it for a round, end it."""
    command, call, end = SERVERS[name]
    with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as directory:
        path = Path(directory) / "socket"
        with subprocess.Popen(command(path), stdout=subprocess.DEVNULL) as process:
            try:
                clients = [connect(path) for _ in range(CLIENTS)]
                server = psutil.Process(process.pid)
                load(clients, call, end, 0.2)
                before_s = sum(server.cpu_times()[:2])
                taken_ns, elapsed_s = load(clients, call, end, round_s)
                cpu_s = sum(server.cpu_times()[:2]) - before_s
                for client in clients:
                    client.close()
            finally:
                process.terminate()
    taken_ns.sort()
    count = len(taken_ns)
    return Result(
        calls_per_s=count / elapsed_s,
        cpu_us_per_call=cpu_s / count * 1e6,
        p50_us=taken_ns[count // 2] / 1000,
        p99_us=taken_ns[count * 99 // 100] / 1000,
    )


def connect(path: Path) -> socket.socket:
    """Connect as soon as the server listens."""
    until_ns = boottime_ns() + 10 * NS_PER_S
    while True:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            client.close()
            if boottime_ns() > until_ns:
                raise
            select.select([], [], [], 0.02)
        else:
            client.setblocking(False)
            return client


def load(clients: list[socket.socket], call: bytes, end: bytes, round_s: float) -> tuple[list[int], float]:
    """Keep one call of each client under way; how long each took, and the whole."""
    epoll = select.epoll()
    by_fd = {client.fileno(): client for client in clients}
    started_ns: dict[int, int] = {}
    taken_ns: list[int] = []
    begin_ns = now_ns = boottime_ns()
    for fd, client in by_fd.items():
        epoll.register(fd, select.EPOLLIN)
        started_ns[fd] = now_ns
        client.send(call)
    until_ns = begin_ns + int(round_s * NS_PER_S)
    while started_ns:
        for fd, _ in epoll.poll(5):
            client = by_fd[fd]
            if not client.recv(65536).endswith(end):
                message = "the server closed, or cut an answer in two"
                raise RuntimeError(message)
            now_ns = boottime_ns()
            taken_ns.append(now_ns - started_ns.pop(fd))
            if now_ns < until_ns:
                started_ns[fd] = now_ns
                client.send(call)
    epoll.close()
    return taken_ns, (now_ns - begin_ns) / NS_PER_S


def main() -> None:
    """Measure in rounds and print medians and ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    arguments.add_argument("--seconds", type=float, default=ROUND_S)
    arguments.add_argument("--serve", nargs=2, metavar=("NAME", "PATH"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.serve:
        {"ours": serve_ours, "streams": serve_streams}[given.serve[0]](Path(given.serve[1]))
        return
    names = ["ours", "streams", *(["redis"] if shutil.which("redis-server") else [])]
    results: dict[str, list[Result]] = {name: [] for name in names}
    for _ in range(given.rounds):
        for name in names:
            results[name].append(measure(name, given.seconds))
    print(f"{CLIENTS} kept-open clients, {given.rounds} rounds of {given.seconds:g} s, medians")
    for name, rounds in results.items():
        rate, cpu, p50, p99 = (
            statistics.median(getattr(result, column) for result in rounds) for column in Result.__slots__
        )
        print(f"{name:8} {rate:9,.0f} calls/s  {cpu:5.2f} us CPU/call  p50 {p50:5.0f} us  p99 {p99:5.0f} us")
    for name in names[1:]:
        pairs = list(zip(results["ours"], results[name], strict=True))
        rate = statistics.median(ours.calls_per_s / theirs.calls_per_s for ours, theirs in pairs)
        cpu = statistics.median(theirs.cpu_us_per_call / ours.cpu_us_per_call for ours, theirs in pairs)
        p99 = statistics.median(ours.p99_us / theirs.p99_us for ours, theirs in pairs)
        print(f"ours / {name}: rate {rate:.2f}, calls per CPU second {cpu:.2f}, p99 {p99:.2f}")
    if "redis" not in names:
        print("redis-server is not installed: left out (Debian: apt install redis-server)")


if __name__ == "__main__":
    main()

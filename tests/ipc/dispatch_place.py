"""A dispatcher and its workers as real processes, and a keeper in the place of the service manager.

The keeper does what the units say, with shorter times: who dies is started again, who gives no sign of
progress is killed (and started again). It looks for zombies whenever it looks at anything.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from energyctl import client
from energymarket.runtime import clock
from energymarket.wire.dispatch_text import DIRECTORY, NAME, SOCKET
from tests.ipc.processes import environment
from tests.ports import free_port

TYPES = Path(__file__).parent / "request_types"
WATCHDOG_S = 2.0
RESTART_S = 0.1
WAIT_S = 30.0


def eventually(
    holds: Callable[[], object], what: str, wait_s: float = WAIT_S, story: Callable[[], str] = str
) -> None:
    """Look again and again until it holds."""
    until_s = clock.monotonic_s() + wait_s
    while not holds():
        assert clock.monotonic_s() < until_s, f"{what}: not within {wait_s} s; {story()}"
        select.poll().poll(20)


class Line:
    """A TCP connection that speaks in lines."""

    def __init__(self, port: int, *, source: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S, source_address=(source, 0))
        self._file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def line(self) -> str:
        """The next line; "" at the end, however it came."""
        try:
            return self._file.readline().decode().removesuffix("\n")
        except ConnectionError:
            return ""

    def rest(self) -> list[str]:
        """All lines to the end."""
        return list(iter(self.line, ""))

    def ask(self, words: str) -> str:
        """Say a line; the answer to it."""
        self.send(words.encode() + b"\n")
        return self.line()

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def exchange(port: int, ticket: str, question: str = "{}") -> list[Any]:
    """Go to a worker with a ticket; its lines, read as JSON."""
    with Line(port) as worker:
        worker.send(f"{ticket}\n{question}\n".encode())
        return [json.loads(line) for line in worker.rest()]


@dataclass
class Kept:
    """A process that is kept alive."""

    name: str
    argv: list[str]
    notify: socket.socket
    process: subprocess.Popen[bytes]
    heard_s: float
    ready: bool = False
    status: str = ""
    starts: int = 1
    again_s: float | None = None  # when it is started again


@dataclass
class Place:
    """Run directory, port and processes of one test."""

    path: Path
    port: int = field(default_factory=free_port)
    kept: dict[str, Kept] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)  # who came to its end by itself, and how
    frozen: list[str] = field(default_factory=list)  # who was killed for giving no sign
    _keeping: bool = True

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.path / "run"

    @property
    def directory(self) -> Path:
        """Where pipes and segment are."""
        return self.run / DIRECTORY

    def command(self, module: str, *words: str) -> list[str]:
        """The words that run a daemon here."""
        common = ["--run", str(self.run), "--types", str(TYPES)]
        return [sys.executable, "-m", f"energymarket.{module}", *common, *words]

    def once(self, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a daemon that is to refuse."""
        command = self.command(module, *words)
        return subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=WAIT_S, check=False
        )

    def start(self, name: str, module: str, *words: str) -> None:
        """Start a daemon and keep it."""
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        notify.bind(f"\0energy-test/{os.getpid()}/{self.port}/{name}")
        argv = self.command(module, *words)
        self.kept[name] = Kept(name, argv, notify, self._spawned(name, argv), clock.monotonic_s())

    def pid(self, name: str) -> int:
        """The process that has this name now."""
        return self.kept[name].process.pid

    def signal(self, name: str, number: signal.Signals) -> int:
        """Signal it; the process that was hit."""
        hit = self.pid(name)
        os.kill(hit, number)
        return hit

    def replaced(self, name: str, hit: int) -> None:
        """Wait until another process has taken the place of one, which is gone."""
        eventually(lambda: self.pid(name) != hit and self.kept[name].ready, f"{name} is replaced")
        assert not Path(f"/proc/{hit}").exists()

    def ask(self, method: str) -> dict[str, Any]:
        """Call a method of the dispatcher's interface."""
        with client.Connection(self.directory / SOCKET) as connection:
            return connection.call(f"{NAME}.{method}")

    def workers(self) -> dict[int, dict[str, Any]]:
        """What the dispatcher says of its workers."""
        return {worker["number"]: worker for worker in self.ask("Workers")["workers"]}

    def all_idle(self) -> bool:
        """Whether every worker is there and has nothing to do."""
        try:
            return all(worker["state"] == "idle" for worker in self.workers().values())
        except client.FAILURES:
            return False

    def story(self) -> str:
        """Who runs, and what each has said, for a failure."""
        kept = [f"{k.name}: {k.starts} starts, {k.status!r}, {k.process.poll()}" for k in self.kept.values()]
        logs = [log.read_text()[-2000:] for log in sorted(self.path.glob("*.log"))]
        return "\n".join([*kept, *logs])

    def look(self) -> None:
        """What a service manager does with those it keeps."""
        now_s = clock.monotonic_s()
        for kept in reversed(self.kept.values()):  # the dispatcher last: when it has ended, they had before
            self._hear(kept, now_s)
            if kept.again_s is not None:
                if now_s >= kept.again_s:
                    kept.process = self._spawned(kept.name, kept.argv)
                    kept.again_s, kept.ready, kept.heard_s = None, False, now_s
                    kept.starts += 1
            elif (code := kept.process.poll()) is not None:
                if code == 0:
                    self.ended.setdefault(kept.name, 0)
                else:
                    kept.again_s = now_s + RESTART_S
            elif kept.ready and now_s >= kept.heard_s + WATCHDOG_S:
                self.frozen.append(kept.name)
                kept.process.kill()
                kept.process.wait()
                kept.again_s = now_s + RESTART_S

    def stop(self) -> None:
        """Stop the workers, then the dispatcher; all are gone afterwards."""
        self._keeping = False
        for name in sorted(self.kept, key=lambda name: name == "dispatcher"):
            kept = self.kept[name]
            if kept.process.poll() is None:
                kept.process.send_signal(signal.SIGCONT)
                kept.process.terminate()
            try:
                kept.process.wait(WAIT_S)
            finally:
                kept.process.kill()
                kept.process.wait()
                kept.notify.close()

    def keep(self) -> None:
        """Keep all, until the end."""
        while self._keeping:
            self.look()
            select.poll().poll(20)

    def _hear(self, kept: Kept, now_s: float) -> None:
        with suppress(BlockingIOError):
            while True:
                for line in kept.notify.recv(4096).decode().splitlines():
                    key, _, value = line.partition("=")
                    kept.heard_s = now_s
                    kept.ready = kept.ready or key == "READY"
                    kept.status = value if key == "STATUS" else kept.status

    def _spawned(self, name: str, argv: list[str]) -> subprocess.Popen[bytes]:
        environ = {
            **environment(),
            "NOTIFY_SOCKET": f"@energy-test/{os.getpid()}/{self.port}/{name}",
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
        }
        with (self.path / f"{name}.log").open("ab") as log:
            return subprocess.Popen(argv, env=environ, stdout=log, stderr=log)


@contextmanager
def place(path: Path, workers: int, *words: str) -> Iterator[Place]:
    """A dispatcher with so many workers, all ready; whatever a test does, they are gone after it."""
    made = Place(path)
    path.mkdir(parents=True, exist_ok=True)
    made.start("dispatcher", "dispatcherd", "--port", str(made.port), "--workers", str(workers), *words)
    for number in range(1, workers + 1):
        made.start(f"worker-{number}", "workerd", str(number))
    keeper = threading.Thread(target=made.keep)
    keeper.start()
    try:
        eventually(made.all_idle, "all workers are there", story=made.story)
        yield made
    finally:
        made._keeping = False
        keeper.join()
        made.stop()


def where(answer: str) -> tuple[int, str]:
    """Port and ticket of an answer."""
    port, ticket = answer.split(" ")
    assert int(port) > 2222
    return int(port), ticket


def begun(made: Place, question: str) -> tuple[Line, int]:
    """A nap that has begun: the connection to the worker, and the worker's number."""
    with Line(made.port) as client:
        port, ticket = where(client.ask("nap"))
    worker = Line(port)
    worker.send(f"{ticket}\n{question}\n".encode())
    assert json.loads(worker.line())["doing"] == "napping"
    (number,) = [number for number, row in made.workers().items() if row.get("request") == "nap"]
    return worker, number


def served(made: Place) -> None:
    """Somebody new is served, by whichever worker."""
    with Line(made.port) as client:
        port, ticket = where(client.ask("echo"))
        assert exchange(port, ticket, '{"new": 1}') == [{"result": {"new": 1}}]

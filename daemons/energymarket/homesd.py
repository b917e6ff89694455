"""energy-homesd: the home pool: a master and its shards, one process each; homes are arrays."""

from __future__ import annotations

import argparse
import logging
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.exits import ConfigError, Exit, Failure
from energymarket.home import household, ranges
from energymarket.runtime import service
from energymarket.runtime.child import die_with_parent, signal_name
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.notify import Notifier
from energymarket.runtime.occasions import Occasion
from energymarket.scenario.opening import open_scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from energymarket.runtime.service import StopFlag

log = logging.getLogger(__name__)

_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid

DEATHS_MAX: Final = 5
DEATHS_WINDOW_NS: Final = 60_000_000_000
"""A shard that dies more than five times a minute ends the pool: its supervisor decides then."""

SILENCE_NS: Final = 2_000_000_000
SILENCE_HOME_NS: Final = 10_000
"""A shard that is ready and says nothing for so long (and a little longer per home) is frozen: killed."""

LOOK_MS: Final = 250
"""How often the master looks at its shards, and tells its supervisor that it does."""

STOP_NS: Final = 5_000_000_000
"""Shards end within one slot's bookkeeping; what has not ended by then is killed."""


@dataclass(slots=True)
class Shard:
    """One range of homes and the process that keeps it."""

    first: int
    count: int
    process: subprocess.Popen[bytes]
    pidfd: int
    ready: bool = False
    heard_ns: int = 0  # its last word
    deaths: list[int] = field(default_factory=list)

    def frozen(self, now_ns: int) -> bool:
        """Whether it has served and is silent for too long now."""
        return self.ready and now_ns > self.heard_ns + SILENCE_NS + self.count * SILENCE_HOME_NS

    @property
    def text(self) -> str:
        """The range as the command line has it."""
        return f"{self.first}:{self.count}"


class Pool:
    """The master: starts the shards, replaces a dead one, is ready when all are."""

    def __init__(self, words: argparse.Namespace, ranges: list[tuple[int, int]], stop: StopFlag) -> None:
        self._words = words
        self._ranges = ranges
        self._shards: list[Shard] = []
        self._stop = stop
        self._notifier = Notifier()
        self._socket: socket.socket
        self._own_pidfd = -1
        self._ready = False

    def run(self) -> int:
        """Serve until asked to stop."""
        with ExitStack() as stack:
            # Under a service manager its own runtime directory: it goes with the unit, however we die.
            own = os.environ.get("RUNTIME_DIRECTORY")
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="shards-", dir=own))
            self._socket = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            path = Path(directory) / "notify"
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(str(path))
            self._own_pidfd = os.pidfd_open(os.getpid())
            stack.callback(os.close, self._own_pidfd)
            self._socket.setblocking(False)
            stack.callback(self._end)
            for first, count in self._ranges:
                self._shards.append(Shard(first, count, *self._spawn(first, count, path)))
            while not self._stop.is_set():
                self._wait()
                for shard in self._shards:
                    self._look_after(shard, path)
                self._notifier.beat()
            self._notifier.stopping("shards are ending")
        return Exit.OK

    def _spawn(self, first: int, count: int, notify: Path) -> tuple[subprocess.Popen[bytes], int]:
        """Start a shard; its process, and a descriptor that is readable when it is dead."""
        words = [sys.executable, "-m", "energymarket.homesd", "--shard", f"{first}:{count}"]
        words += ["--run", str(self._words.run), "--state", str(self._words.state)]
        words += ["--compiled", str(self._words.compiled)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("WATCHDOG_", "LISTEN_"))}
        environment["NOTIFY_SOCKET"] = str(notify)
        environment["WATCHDOG_USEC"] = str(SILENCE_NS // 1000)
        environment["ENERGY_POOL_PIDFD"] = str(self._own_pidfd)
        process = subprocess.Popen(words, env=environment, pass_fds=(self._own_pidfd,))
        return process, os.pidfd_open(process.pid)

    def _wait(self) -> None:
        poll = select.poll()
        for fd in (self._socket.fileno(), self._stop.fileno(), *(shard.pidfd for shard in self._shards)):
            poll.register(fd, select.POLLIN)
        poll.poll(LOOK_MS)
        self._hear()

    def _hear(self) -> None:
        """READY and STATUS of the shards."""
        latest = ""
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                break
            message, pid = data.decode("utf-8", "replace"), _sender(ancillary)
            for shard in self._shards:
                if shard.process.pid == pid:
                    shard.heard_ns = boottime_ns()
                    shard.ready = shard.ready or "READY=1" in message
            if found := re.search(r"STATUS=(.*)", message):
                latest = found[1]
        homes = sum(shard.count for shard in self._shards)
        text = f"{homes} homes in {len(self._shards)} shards; {latest}"
        if all(shard.ready for shard in self._shards) and not self._ready:
            self._ready = True
            self._notifier.ready(text)
        elif latest:
            self._notifier.status(text)

    def _look_after(self, shard: Shard, notify: Path) -> None:
        """Replace a dead shard; it goes on from what the ledger has of it."""
        code = shard.process.poll()
        if self._stop.is_set():
            return
        if code is None:
            if shard.frozen(boottime_ns()):
                fields = Occasion.SHARD_FROZEN.fields(homes=shard.text)
                log.error("shard %s is silent for too long: killed", shard.text, extra=fields)
                shard.ready = False
                shard.process.kill()
            return
        os.close(shard.pidfd)
        shard.ready = False
        now = boottime_ns()
        shard.deaths = [each for each in shard.deaths if each > now - DEATHS_WINDOW_NS] + [now]
        fields = Occasion.SHARD_DIED.fields(homes=shard.text, cause=_how(code))
        log.error("shard %s is dead: %s", shard.text, _how(code), extra=fields)
        if code == Exit.CONFIGURATION:
            raise ConfigError(f"shard {shard.text} refuses its configuration")
        if len(shard.deaths) > DEATHS_MAX:
            raise Failure(f"shard {shard.text} died {len(shard.deaths)} times within a minute")
        shard.process, shard.pidfd = self._spawn(shard.first, shard.count, notify)

    def _end(self) -> None:
        """Stop every shard, wait for each, kill what does not end."""
        running = [shard for shard in self._shards if shard.process.poll() is None]
        for shard in running:
            shard.process.terminate()
        deadline = boottime_ns() + STOP_NS
        for shard in running:
            try:
                shard.process.wait(max(0.0, (deadline - boottime_ns()) / 1e9))
            except subprocess.TimeoutExpired:
                log.warning("shard %s does not end: killed", shard.text)
                shard.process.kill()
                shard.process.wait()


def _sender(ancillary: Iterable[tuple[int, int, bytes]]) -> int:
    """The process that sent a datagram, as the kernel says."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return int(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
    return 0


def _how(code: int) -> str:
    return f"killed by {signal_name(-code)}" if code < 0 else f"exit {code}"


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("energy-homesd", description=__doc__)
    household.add_arguments(parser)
    parser.add_argument("--shards", type=int, default=0, help="number of processes")
    parser.add_argument("--shard", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _serve(words: argparse.Namespace, stop: StopFlag) -> int:
    compiled = open_scenario(words)
    words.compiled = compiled.directory
    if words.shard is not None:
        _die_with_parent()
        first, count = map(int, words.shard.split(":"))
        path = words.state / f"shard-{first}-{count}.state"
        household.keep(compiled, words.run, path, first, count, stop, single=False)
        return Exit.OK
    wanted = words.shards or compiled.settings.get("service", {}).get("shards", 0)
    pooled = np.asarray(compiled.homes["single"]) == 0
    if not pooled.any():
        raise ConfigError("every home of the scenario is a process of its own", "the pool is not needed")
    cut = ranges.cut(pooled, wanted or len(os.sched_getaffinity(0)))
    return Pool(words, cut, stop).run()


def _die_with_parent() -> None:
    """A shard never outlives its master: two shards of one range would fight for the lease."""
    if not die_with_parent(int(os.environ["ENERGY_POOL_PIDFD"]), signal.SIGTERM):
        raise Failure("the pool's master died before the shard had started", code=Exit.TRY_AGAIN)


def main() -> int:
    """Run the daemon; the answer is an exit code."""
    words = _words(None)
    return service.run("energy-homesd", lambda stop: _serve(words, stop))


if __name__ == "__main__":
    sys.exit(main())

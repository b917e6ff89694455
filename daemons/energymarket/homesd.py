"""energy-homesd: the home pool: a master and its shards, one process each; homes are arrays."""

from __future__ import annotations

import argparse
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.exits import ConfigError, Exit, Failure
from energymarket.home import apart, files, household, ranges
from energymarket.home.scene import Scenes
from energymarket.home.stepped_pool import SteppedPool
from energymarket.runtime import memory, service
from energymarket.runtime.child import die_with_parent, interpreter, signal_name
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.notify import CREDENTIALS_BYTES, Notifier, sender_of
from energymarket.runtime.occasions import Occasion
from energymarket.scenario.opening import is_lockstep, open_scenario, speed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from energymarket.runtime.service import StopFlag
    from energymarket.scenario.compiled import Compiled

log = logging.getLogger(__name__)

DEATHS_MAX: Final = 5
DEATHS_WINDOW_NS: Final = 60_000_000_000
"""A shard that dies more than five times a minute ends the pool: its supervisor decides then."""

SILENCE_NS: Final = 2_000_000_000
SILENCE_HOME_NS: Final = 10_000
"""A shard that is ready and says nothing for so long (and a little longer per home) is frozen: killed."""

LOOK_MS: Final = 400
"""How often the master looks at its shards and for homes that leave, and tells its supervisor so."""

STOP_NS: Final = 5_000_000_000
"""Shards end within one slot's bookkeeping; what has not ended by then is killed."""

FILE_FREE_S: Final = 5.0
"""How long a shard waits for its state file: one that is being stopped, or cut, is free by then."""


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
    leave_by_ns: int | None = None  # it was asked to end, because a home leaves the pool

    def frozen(self, now_ns: int) -> bool:
        """Whether it has served and is silent for too long now."""
        return self.ready and now_ns > self.heard_ns + SILENCE_NS + self.count * SILENCE_HOME_NS

    @property
    def text(self) -> str:
        """The range as the command line has it."""
        return f"{self.first}:{self.count}"


class Pool:
    """The master: starts the shards, replaces a dead one, is ready when all are."""

    def __init__(
        self,
        words: argparse.Namespace,
        spans: list[tuple[int, int]],
        stop: StopFlag,
    ) -> None:
        self._words = words
        self._spans = spans
        self._left: list[int] = []  # the homes that have left, ascending
        self._look_ns = 0  # when homes that leave are looked for again
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
            for first, count in self._spans:
                self._shards.append(Shard(first, count, *self._spawn(first, count, path)))
            while not self._stop.is_set():
                self._wait()
                self._look_who_left()
                for shard in list(self._shards):
                    self._look_after(shard, path)
                self._notifier.beat()
            self._notifier.stopping("shards are ending")
        return Exit.OK

    def _spawn(self, first: int, count: int, notify: Path) -> tuple[subprocess.Popen[bytes], int]:
        """Start a shard; its process, and a descriptor that is readable when it is dead."""
        words = [*interpreter(), "-m", "energymarket.homesd", "--shard", f"{first}:{count}"]
        words += ["--run", str(self._words.run), "--state", str(self._words.state)]
        words += ["--compiled", str(self._words.compiled)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("WATCHDOG_", "LISTEN_"))}
        environment["NOTIFY_SOCKET"] = str(notify)
        environment["WATCHDOG_USEC"] = str(SILENCE_NS // 1000)
        environment["ENERGY_POOL_PIDFD"] = str(self._own_pidfd)
        process = subprocess.Popen(words, env=environment, pass_fds=(self._own_pidfd,))
        return process, os.pidfd_open(process.pid)

    def _look_who_left(self) -> None:
        """Which homes have left the pool, looked for now and then."""
        now_ns = boottime_ns()
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + LOOK_MS * 1_000_000
            self._left = sorted(apart.homes_in(self._words.state))

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
                data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS_BYTES))
            except BlockingIOError:
                break
            message, pid = data.decode("utf-8", "replace"), sender_of(ancillary)
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
            log.info("%d homes in %d shards trade", homes, len(self._shards))
        elif latest:
            self._notifier.status(text)

    def _look_after(self, shard: Shard, notify: Path) -> None:
        """Replace a dead shard; it goes on from what the ledger has of it. Let homes leave that want to."""
        code = shard.process.poll()
        if self._stop.is_set():
            return
        if code is None:
            self._look_at_living(shard, boottime_ns())
            return
        os.close(shard.pidfd)
        self._shards.remove(shard)
        parts = ranges.rest_of(shard.first, shard.count, self._left)
        has_left = parts != [(shard.first, shard.count)]
        if not has_left or (shard.leave_by_ns is None and code != Exit.TRY_AGAIN):
            self._count_death(shard, code)
        for first, count in parts:
            process, pidfd = self._spawn(first, count, notify)
            self._shards.append(Shard(first, count, process, pidfd, deaths=list(shard.deaths)))
        self._shards.sort(key=lambda each: each.first)

    def _look_at_living(self, shard: Shard, now_ns: int) -> None:
        if shard.frozen(now_ns):
            fields = Occasion.SHARD_FROZEN.fields(homes=shard.text)
            log.error("shard %s is silent for too long: killed", shard.text, extra=fields)
            shard.ready = False
            shard.process.kill()
        elif shard.leave_by_ns is None:
            self._let_leave(shard, now_ns)
        elif now_ns > shard.leave_by_ns:
            log.warning("shard %s does not end: killed", shard.text)
            shard.process.kill()

    def _let_leave(self, shard: Shard, now_ns: int) -> None:
        """End a shard of which a home wants to leave; what is left of it is started when it has ended."""
        leaving = [home for home in self._left if shard.first <= home < shard.first + shard.count]
        if not leaving:
            return
        for home in leaving:
            fields = Occasion.HOME_LEFT.fields(home=home)
            log.info("home %d leaves the pool: shard %s is cut", home, shard.text, extra=fields)
        shard.leave_by_ns = now_ns + STOP_NS
        shard.process.terminate()

    def _count_death(self, shard: Shard, code: int) -> None:
        """Say that a shard died; too often ends the pool."""
        now = boottime_ns()
        shard.deaths = [each for each in shard.deaths if each > now - DEATHS_WINDOW_NS] + [now]
        fields = Occasion.SHARD_DIED.fields(homes=shard.text, cause=_how(code))
        log.error("shard %s is dead: %s", shard.text, _how(code), extra=fields)
        if code == Exit.CONFIGURATION:
            raise ConfigError(f"shard {shard.text} refuses its configuration")
        if len(shard.deaths) > DEATHS_MAX:
            raise Failure(f"shard {shard.text} died {len(shard.deaths)} times within a minute")

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


def without(pooled: npt.NDArray[np.bool_], apart_: Iterable[int]) -> npt.NDArray[np.bool_]:
    """The homes of the pool that have not left it."""
    left = np.array([home for home in apart_ if home <= len(pooled)], np.int64)
    still = pooled.copy()
    still[left - 1] = False
    return still


def _how(code: int) -> str:
    return f"killed by {signal_name(-code)}" if code < 0 else f"exit {code}"


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("energy-homesd", description=__doc__)
    household.add_arguments(parser)
    parser.add_argument("--shards", type=int, default=0, help="number of processes")
    parser.add_argument(
        "--speed",
        type=speed,
        metavar="X",
        help="the market's, instead of the scenario's; by it a pool decides how many processes it needs",
    )
    parser.add_argument("--shard", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _serve(words: argparse.Namespace, stop: StopFlag) -> int:
    compiled = open_scenario(words)
    words.compiled = compiled.directory
    words.state.mkdir(parents=True, exist_ok=True)
    if words.shard is not None:
        _die_with_parent()
        file = files.of_shard(words.state, *map(int, words.shard.split(":")))
        household.keep(compiled, words.run, file, stop, single=False, wait_s=FILE_FREE_S)
        return Exit.OK
    is_stepped = is_lockstep(words, compiled)
    spans = _spans(compiled, words, stop, is_stepped=is_stepped)
    compiled.forget_pages()
    memory.give_back()
    return SteppedPool(compiled, words, spans, stop).run() if is_stepped else Pool(words, spans, stop).run()


def _spans(
    compiled: Compiled, words: argparse.Namespace, stop: StopFlag, *, is_stepped: bool
) -> list[tuple[int, int]]:
    """The ranges of the shards."""
    wanted = words.shards or compiled.settings.get("service", {}).get("shards", 0)
    pooled = np.asarray(compiled.homes["single"]) == 0
    if not pooled.any():
        raise ConfigError("every home of the scenario is a process of its own", "the pool is not needed")
    slot_s = 0.0 if is_stepped else compiled.period.slot_s / (words.speed or compiled.period.speed)
    wanted = wanted or ranges.wanted(int(pooled.sum()), len(os.sched_getaffinity(0)), slot_s)
    if not is_stepped:
        return _cut(words.state, pooled, wanted, stop)
    # There a home that is late in a scene must not keep its whole range from handing in.
    late = np.zeros_like(pooled)
    late[_late_homes(compiled) - 1] = True
    spans = _cut(words.state, pooled & ~late, wanted, stop) if (pooled & ~late).any() else []
    return sorted(spans + [(home, 1) for home in (np.flatnonzero(pooled & late) + 1).tolist()])


def _late_homes(compiled: Compiled) -> npt.NDArray[np.int64]:
    scenes = Scenes.of(compiled.settings, 1, compiled.homes_count, compiled.period.first_slot)
    return np.array([home for home, scene in scenes.by_home.items() if "late_slots" in scene], np.int64)


def _cut(state: Path, pooled: npt.NDArray[np.bool_], shards: int, stop: StopFlag) -> list[tuple[int, int]]:
    """The ranges of the shards: as their state files are cut already, else as many as there shall be."""
    kept, alone = _kept(state, stop)
    found = ranges.refine(without(pooled, [*apart.homes_in(state), *alone]), kept, shards)
    if kept and len(kept) != shards:
        log.info("%d shards, as their state was cut: %d are asked for", len(found), shards)
    return found


def _kept(state: Path, stop: StopFlag) -> tuple[list[tuple[int, int]], list[int]]:
    """What the directory has; a home that opens its file there is waited for."""
    until_ns = boottime_ns() + round(FILE_FREE_S * 1e9)
    while True:
        try:
            return files.ranges_kept(state)
        except files.InUse:
            if boottime_ns() >= until_ns or stop.wait_until(boottime_ns() + household.LOOK_AGAIN_NS):
                raise


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

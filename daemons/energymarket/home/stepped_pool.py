"""The home pool in lockstep: its shards are processes on the event bus, which end each phase together.

A death is told to all of them at the barrier where they wait; none goes on alone. The market takes the slot
back, the master puts a new process into the empty seat, and the slot is run again.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import select
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.exits import ConfigError, Exit, Failure
from energymarket.home import files, household
from energymarket.home.stepping import Stepper
from energymarket.runtime import service
from energymarket.runtime.child import die_with_parent, signal_name
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.kill_points import Point, reach
from energymarket.runtime.notify import CREDENTIALS_BYTES, Notifier, sender_of
from energymarket.runtime.occasions import Occasion
from energymarket.transport import resources
from energymarket.transport.page import ClockReader
from event_bus import BusStopped, BusTimeout, MemberLost, Process, ProcessManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from energymarket.runtime.service import StopFlag
    from energymarket.scenario.compiled import Compiled
    from event_bus import Handle, Message

log = logging.getLogger(__name__)

PROGRAM: Final = "energy-homesd"

DEATHS_MAX: Final = 5
"""A shard that dies so often while no slot is settled will die again: its supervisor decides then."""

LOOK_S: Final = 0.1
"""One wait at a barrier: after it the clock page is looked at, because the slot may have been taken back."""

LOOK_MS: Final = 250
"""How often the master tells its supervisor that it lives."""

SILENCE_NS: Final = 4_000_000_000
SILENCE_HOME_NS: Final = 10_000
"""A shard that is ready and says nothing for so long (and a little longer per home) is stuck: killed."""

EPOCHS_APART: Final = 64
"""Barriers of so many consecutive epochs are different ones: who is late waits with nobody of a later one."""

FILE_FREE_S: Final = 5.0
"""How long a shard waits for its state file: that of one that was killed is free within that time."""


@dataclass(frozen=True, slots=True)
class Where:
    """What all shards are told."""

    compiled: Compiled
    run_dir: Path
    state_dir: Path
    notify: Path
    master_pidfd: int


class PoolShard(Process):
    """One range of homes, which its seat is called after."""

    def __init__(self, process_id: int, bus_size: int, where: Where) -> None:
        super().__init__(process_id, bus_size)
        self._where = where

    def process(self, message_box: list[Message]) -> None:
        """Keep the homes until told to stop; nobody sends a shard messages."""
        del message_box
        os.environ["NOTIFY_SOCKET"] = str(self._where.notify)
        os.environ["WATCHDOG_USEC"] = str(LOOK_MS * 8_000)
        # Born by fork: what its master has for signals is not for it.
        signal.set_wakeup_fd(-1)
        code = service.run(PROGRAM, self._keep)
        if code != Exit.OK:
            sys.exit(code)
        self.stop()

    def _keep(self, stop: StopFlag) -> int:
        where = self._where
        if not die_with_parent(where.master_pidfd, signal.SIGKILL):
            raise Failure("the pool's master died before the shard had started", code=Exit.TRY_AGAIN)
        file = files.of_shard(where.state_dir, *span_of(self.name))
        keeper = functools.partial(Stepper, in_step=self._in_step)
        household.keep(
            where.compiled, where.run_dir, file, stop, single=False, wait_s=FILE_FREE_S, keeper=keeper
        )
        return Exit.OK

    def _in_step(self, point: str, epoch: int, goes_on: Callable[[], bool]) -> bool:
        """Wait until all shards have come to this point; False if the slot is over in this epoch."""
        if self.bus_size == 1:
            return goes_on()  # whoever is alone has nobody to wait for
        barrier = self.communicator.barrier(f"{point} {epoch % EPOCHS_APART}", keep_all=True)
        while goes_on():
            try:
                barrier.wait(timeout=LOOK_S)
            except MemberLost as lost:
                log.info("%s at %s: the slot will be taken back", lost, point)
            except BusTimeout:
                continue
            except BusStopped:
                return False
            else:
                return True
        return False


class SteppedPool:
    """The master: seats the shards, fills an empty seat again, is ready when all are."""

    def __init__(
        self, compiled: Compiled, words: argparse.Namespace, spans: list[tuple[int, int]], stop: StopFlag
    ) -> None:
        self._compiled = compiled
        self._words = words
        self._spans = spans
        self._stop = stop
        self._notifier = Notifier()
        self._manager: ProcessManager
        self._handles: dict[str, Handle] = {}
        self._heard_ns: dict[int, int] = {}  # by pid of those that are ready: their last word
        self._deaths: dict[str, list[int]] = {}  # by seat: the slots that were open
        self._told = False

    def run(self) -> int:
        """Serve until asked to stop."""
        with ExitStack() as stack:
            own = os.environ.get("RUNTIME_DIRECTORY")
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shards-", dir=own)))
            ear = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            ear.bind(str(directory / "notify"))
            ear.setblocking(False)
            pidfd = os.pidfd_open(os.getpid())
            stack.callback(os.close, pidfd)
            clock = stack.enter_context(ClockReader(resources.ensure(self._words.run)))
            self._manager = stack.enter_context(ProcessManager())
            stack.callback(self._terminate)
            where = Where(self._compiled, self._words.run, self._words.state, directory / "notify", pidfd)
            names = [name_of(span) for span in self._spans]
            found = self._manager.add_process(len(names), PoolShard, seat_names=names, where=where)
            self._handles = {handle.name: handle for handle in found}
            try:
                self._serve(ear, clock)
            except BusStopped as error:
                raise Failure("the pool's bus has lost its keeper", "start again", Exit.TRY_AGAIN) from error
            self._notifier.stopping("shards are ending")
        return Exit.OK

    def _serve(self, ear: socket.socket, clock: ClockReader) -> None:
        poll = select.poll()
        for fd in (ear.fileno(), self._stop.fileno(), self._manager.fileno()):
            poll.register(fd, select.POLLIN)
        while not self._stop.is_set():
            poll.poll(LOOK_MS)
            self._hear(ear)
            for name in self._manager.losses():
                if not self._stop.is_set():
                    page = clock.read()
                    self._replace(name, -1 if page is None else page.slot)
            self._kill_who_is_stuck()
            self._notifier.beat()

    def _kill_who_is_stuck(self) -> None:
        """The bus finds who is stopped; who runs and gets nowhere is found here."""
        now_ns = boottime_ns()
        for first, count in self._spans:
            handle = self._handles[name_of((first, count))]
            heard_ns = self._heard_ns.get(handle.pid)
            if heard_ns is None or now_ns < heard_ns + SILENCE_NS + count * SILENCE_HOME_NS:
                continue
            fields = Occasion.SHARD_FROZEN.fields(homes=handle.name)
            log.error("shard %s is silent for too long: killed", handle.name, extra=fields)
            del self._heard_ns[handle.pid]
            handle.kill()

    def _hear(self, ear: socket.socket) -> None:
        """READY and STATUS of the shards."""
        latest = ""
        while True:
            try:
                data, ancillary, _, _ = ear.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS_BYTES))
            except BlockingIOError:
                break
            words = data.decode("utf-8", "replace").split("\n")
            pid = sender_of(ancillary)
            if "READY=1" in words or pid in self._heard_ns:
                self._heard_ns[pid] = boottime_ns()
            latest = next((word[7:] for word in words if word.startswith("STATUS=")), latest)
        homes = sum(count for _, count in self._spans)
        text = f"{homes} homes in {len(self._spans)} shards, in lockstep; {latest}"
        if not self._told and self._heard_ns.keys() >= {handle.pid for handle in self._handles.values()}:
            self._told = True
            self._notifier.ready(text)
        elif latest:
            self._notifier.status(text)

    def _replace(self, name: str, slot: int) -> None:
        """Put a new process into the seat of one that is gone, unless that will not help."""
        handle = self._handles[name]
        self._heard_ns.pop(handle.pid, None)
        handle.join(1.0)
        code = handle.exitcode or 0
        how = f"killed by {signal_name(-code)}" if code < 0 else f"exit {code}"
        fields = Occasion.SHARD_DIED.fields(homes=name, cause=how)
        log.error("shard %s is dead: %s", name, how, extra=fields)
        if code == Exit.CONFIGURATION:
            raise ConfigError(f"shard {name} refuses its configuration")
        deaths = [each for each in self._deaths.get(name, []) if each == slot] + [slot]
        self._deaths[name] = deaths
        if len(deaths) > DEATHS_MAX:
            raise Failure(f"shard {name} died {len(deaths)} times in slot {slot + 1}")
        reach(Point.POOL_REPLACING, slot)
        self._handles[name] = self._manager.replace(name)

    def _terminate(self) -> None:
        """Ask the shards to end: they write their state; the bus waits for them and kills who hangs."""
        for handle in self._handles.values():
            if handle.alive:
                os.kill(handle.pid, signal.SIGTERM)


def name_of(span: tuple[int, int]) -> str:
    """What the seat of a range of (first home, count) is called."""
    return f"{span[0]}:{span[1]}"


def span_of(name: str) -> tuple[int, int]:
    """The range of a seat."""
    first, _, count = name.partition(":")
    return int(first), int(count)

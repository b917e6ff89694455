"""The keeper's process: one loop; it hears the kernel, the manager and every process.

Once somebody is lost it has a thread that writes the log, which may be a pipe that nobody reads.
"""

from __future__ import annotations

import logging
import os
import resource
import select
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import assert_never

from event_bus import limits
from event_bus.errors import ProtocolError
from event_bus.protocol import records
from event_bus.protocol.keeper import EXPECTED, Connect, Keeper, Kill, ToManager, ToProcess
from event_bus.shell.clock import now_s
from event_bus.shell.connection import Packets

log = logging.getLogger("event_bus")


@dataclass(slots=True)
class Ward:
    """A process that is kept: its line, and the descriptor that tells its death."""

    life: int
    line: Packets
    pidfd: int


class Keeping:
    """The keeper and its descriptors."""

    def __init__(self, manager: socket.socket, manager_pidfd: int, silence_s: float) -> None:
        self._keeper = Keeper(silence_s)
        self._manager = Packets(manager, takes_descriptors=True)
        self._manager_pidfd = manager_pidfd
        self._wards: dict[int, Ward] = {}  # by life
        self._by_descriptor: dict[int, Ward] = {}
        self._epoll = select.epoll()
        self._stopped = False
        self._spent: dict[int, int] = {}  # by life: the processor time of those who are quiet
        self._words: SimpleQueue[tuple[str, str]] = SimpleQueue()  # names and causes, to be logged
        self._logger = threading.Thread(target=self._log, name="event bus log", daemon=True)

    def run(self) -> None:
        """Keep, until everything has stopped."""
        self._epoll.register(self._manager, select.EPOLLIN)
        self._epoll.register(self._manager_pidfd, select.EPOLLIN)
        next_s = now_s()
        while not self._stopped:
            for descriptor, happened in self._epoll.poll(max(0.0, next_s - now_s())):
                self._serve(descriptor, happened)
                self._carry_out()
            if now_s() >= next_s:
                self._look_who_works(now_s())
                self._keeper.on_tick(now_s())
                self._carry_out()
                next_s = now_s() + limits.HEARTBEAT_S / 2
        self._end_log()

    def _look_who_works(self, at_s: float) -> None:
        """A process that says nothing because it computes, its interpreter's lock in hand, is not frozen."""
        quiet = self._keeper.quiet(at_s)
        before, self._spent = self._spent, {life: _cpu_ticks(pid) for life, pid in quiet.items()}
        for life, ticks in self._spent.items():
            if ticks > before.get(life, ticks):
                self._keeper.on_working(life, at_s)

    def _serve(self, descriptor: int, happened: int) -> None:
        ward = self._by_descriptor.get(descriptor)
        if ward is not None:
            self._serve_ward(ward, descriptor, happened)
        elif descriptor == self._manager_pidfd:
            self._epoll.unregister(self._manager_pidfd)
            self._keeper.on_stop(now_s())
        elif descriptor == self._manager.fileno():
            self._serve_manager(happened)

    def _serve_manager(self, happened: int) -> None:
        if happened & select.EPOLLOUT:
            self._manager.send_more()
            self._watch(self._manager)
        if not happened & ~select.EPOLLOUT:
            return
        try:
            record = self._manager.receive()
        except EOFError:
            self._epoll.unregister(self._manager)
            self._keeper.on_stop(now_s())
        else:
            match record:
                case records.Join():
                    self._adopt(record, *self._manager.descriptors)
                    self._keeper.on_join(record, now_s())
                case records.Quit():
                    self._keeper.on_quit(record.life)
                case records.GiveUp():
                    self._keeper.on_give_up(record.batch)
                case records.Stop():
                    self._keeper.on_stop(now_s())
                case None:
                    pass
                case _:
                    raise ProtocolError(f"the manager does not say {type(record).__name__}")

    def _adopt(self, join: records.Join, line: int, pidfd: int) -> None:
        ward = Ward(join.life, Packets(socket.socket(fileno=line)), pidfd)
        self._wards[join.life] = ward
        for descriptor in (ward.line.fileno(), pidfd):
            self._by_descriptor[descriptor] = ward
            self._epoll.register(descriptor, select.EPOLLIN)

    def _serve_ward(self, ward: Ward, descriptor: int, happened: int) -> None:
        if descriptor == ward.pidfd:
            while self._hear(ward):
                pass  # its last words come before its death
            self._bury(ward)
        elif happened & ~select.EPOLLOUT:
            self._hear(ward)
        else:
            ward.line.send_more()
            self._watch(ward.line)

    def _hear(self, ward: Ward) -> bool:
        """Hear one record of a process; whether there was one."""
        try:
            record = ward.line.receive()
        except EOFError:
            # It has closed its line and lives: its end is near, and the kernel will tell.
            if self._by_descriptor.pop(ward.line.fileno(), None) is not None:
                self._epoll.unregister(ward.line)
            return False
        if record is None:
            return False
        self._keeper.on_report(ward.life, record, now_s())
        return True

    def _bury(self, ward: Ward) -> None:
        for descriptor in (ward.line.fileno(), ward.pidfd):
            if self._by_descriptor.pop(descriptor, None) is not None:
                self._epoll.unregister(descriptor)
        del self._wards[ward.life]
        ward.line.close()
        os.close(ward.pidfd)
        self._keeper.on_death(ward.life)

    def _carry_out(self) -> None:
        effects, self._keeper.effects = self._keeper.effects, []
        for effect in effects:
            match effect:
                case ToProcess():
                    self._send(effect.life, effect.record)
                case ToManager():
                    self._tell_manager(effect.record)
                case Connect():
                    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                    for life, other, end in zip(effect.lives, reversed(effect.lives), ends, strict=True):
                        self._send(life, records.Link(other, effect.number), end.detach())
                case Kill():
                    ward = self._wards.get(effect.life)
                    if ward is not None:
                        with suppress(ProcessLookupError):  # it was faster
                            signal.pidfd_send_signal(ward.pidfd, effect.signal)
                case _ as never:
                    assert_never(never)

    def _send(self, life: int, record: records.Record, *descriptors: int) -> None:
        ward = self._wards.get(life)
        if ward is None:
            for descriptor in descriptors:
                os.close(descriptor)
            return
        ward.line.send(record, *descriptors)
        if ward.line.unsent and ward.line.fileno() in self._by_descriptor:
            self._watch(ward.line)

    def _tell_manager(self, record: records.Record) -> None:
        if isinstance(record, records.Gone) and record.cause not in EXPECTED:
            self._words.put((record.name, record.cause))
            if not self._logger.is_alive():
                self._logger.start()  # with the first loss
        self._stopped = isinstance(record, records.Stopped)
        self._manager.send(record)

    def _log(self) -> None:
        """A thread's whole life: nobody may be reading the log, and the bus does not wait for that."""
        while True:
            name, cause = self._words.get()
            if not name:
                return
            log.warning("event bus: %s is lost: %s", name, cause)

    def _end_log(self) -> None:
        if not self._logger.is_alive():
            return
        self._words.put(("", ""))
        self._logger.join(limits.LOG_S)
        if self._logger.is_alive():
            os._exit(0)  # what it holds would hold the orderly end as well

    def _watch(self, line: Packets) -> None:
        self._epoll.modify(line, select.EPOLLIN | (select.EPOLLOUT if line.unsent else 0))


def _cpu_ticks(pid: int) -> int:
    """The processor time that a process has used; 0 if it is gone, which the kernel tells as well."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return int(after_name[11]) + int(after_name[12])


def keep(manager: socket.socket, managers_end: socket.socket, manager_pidfd: int, silence_s: float) -> None:
    """The keeper's whole life. Ctrl-C is for the manager: it stops the bus in order."""
    managers_end.close()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # it was held for the fork
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with suppress(OSError):  # a sandbox may forbid it
        # It hears all who have come to a barrier at once, instead of cutting in at each: rounds take 220 µs
        # every time, where without it some took 200 and some 500.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # also bounds what is on its way to others
    _let_go_of_all_but({0, 1, 2, manager.fileno(), manager_pidfd, *_log_descriptors()})
    Keeping(manager, manager_pidfd, silence_s).run()


def _let_go_of_all_but(kept: set[int]) -> None:
    """Close what was inherited: a lock or a pipe of the program is not the keeper's to hold.

    /dev/null takes the numbers: whatever of the program still writes to one, or closes it, hits no line here.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in {int(name) for name in os.listdir("/proc/self/fd")} - kept - {null}:  # noqa: PTH208
        os.dup2(null, number, inheritable=False)


def _log_descriptors() -> set[int]:
    """Where the program's log goes: the keeper's words go there too."""
    found: set[int] = set()
    logger: logging.Logger | None = log
    while logger is not None:
        for handler in logger.handlers:
            for name in ("stream", "sock", "socket"):
                with suppress(AttributeError, OSError, ValueError):
                    found.add(getattr(handler, name).fileno())
        logger = logger.parent if logger.propagate else None
    return found

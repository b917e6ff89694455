"""The connections of one process, and the thread that serves them while the program does its own work."""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Final

from event_bus import limits
from event_bus.errors import BusError, BusStopped, BusTimeout, NotOnBus
from event_bus.protocol import records
from event_bus.protocol.member import NOBODY, Member
from event_bus.shell.clock import now_s
from event_bus.shell.connection import Packets, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_bus.protocol.records import Record

EXIT_SOFTWARE: Final = 70
"""The exit code of a process whose bus thread met what cannot be, or lost its keeper and did not end."""


_LONGEST_S: Final = 2e6
"""23 days: longer than that the system does not count, so it is for ever."""


def _borne(timeout: float | None) -> float | None:
    """A timeout as the system's calls bear it. Raises ValueError if it is no number."""
    if timeout is None or timeout > _LONGEST_S:
        return None
    if math.isnan(timeout):
        raise ValueError("a timeout is a number of seconds, or None: not nan")
    return max(0.0, timeout)


class Step:
    """A change of the state, under its lock; what follows is carried out at the end, and waiters woken."""

    __slots__ = ("_anyhow", "_wires")

    def __init__(self, wires: Wires, *, anyhow: bool) -> None:
        self._wires = wires
        self._anyhow = anyhow  # also while the process is not on the bus

    def __enter__(self) -> Member:
        wires = self._wires
        if not (self._anyhow or wires.member.joined):
            raise NotOnBus(
                "this process is not on the bus: its constructor still runs, or it is a fork of one that is"
            )
        if wires.bus_wants:
            # A lock goes to whoever asks for it next, not to who waits: a program that sends in a loop
            # would keep the bus thread from reading, and from answering the keeper, for seconds.
            with wires.turn:
                pass
        wires.changed.acquire()
        return wires.member

    def __exit__(self, *_: object) -> None:
        wires = self._wires
        try:
            wires.carry_out()
            if wires.waiting:
                wires.changed.notify_all()
        finally:
            wires.changed.release()


class Wires:
    """One process's state on the bus, behind one lock; whoever changes it carries out what follows."""

    def __init__(self, life: int, line: socket.socket) -> None:
        self.member = Member(life)
        self.changed = threading.Condition(threading.Lock())
        self.turn = threading.Lock()  # held by the bus thread while it waits for the other
        self.bus_wants = False
        self.waiting = 0  # threads of the program that wait for a change
        self._line = Packets(line, takes_descriptors=True)
        self._streams: dict[int, Stream] = {}  # by life
        self._lives: dict[int, int] = {}  # by descriptor
        self._epoll = select.epoll()
        self._nudge = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # ends the wait of who serves the line
        self._line_lent = False
        self._poll = select.poll()
        self._poll.register(self._line, select.POLLIN)
        self._poll.register(self._nudge, select.POLLIN)
        self._keeper_lost = False
        self._end_s: float | None = None  # when to end by force: the keeper is gone
        self._left = False
        self._step = Step(self, anyhow=False)
        self._own_step = Step(self, anyhow=True)

    def start(self) -> None:
        """Begin to serve."""
        self._epoll.register(self._line, select.EPOLLIN)
        self._epoll.register(self._nudge, select.EPOLLIN)
        os.register_at_fork(after_in_child=self._disown)
        threading.Thread(target=self._serve, name="event bus", daemon=True).start()

    # ------------------------------------------------------------------ for the program's threads

    def step(self) -> Step:
        """`with wires.step() as member:` changes the state, and carries out what follows.

        Raises NotOnBus while the process is in no view.
        """
        return self._step

    def own_step(self) -> Step:
        """Likewise, for the process's own life: at any time."""
        return self._own_step

    def wait(
        self, done: Callable[[], bool], timeout: float | None, what: str, *, quiet: bool = False
    ) -> None:
        """Wait, within `step()`, until something holds.

        Raises BusTimeout, or BusStopped when the bus stops (with `quiet` it returns then).
        """
        if done():
            return
        self.carry_out()
        self.waiting += 1
        try:
            self.changed.wait_for(lambda: done() or self.member.stopping, _borne(timeout))
        finally:
            self.waiting -= 1
        if not done() and not (quiet and self.member.stopping):
            raise self._not_done(what, timeout)

    def wait_for_keeper(self, done: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait likewise for what only the keeper says.

        The thread that waits serves the line itself meanwhile: that spares waking the bus thread and being
        woken by it, which is most of what a barrier costs.
        """
        if self._line_lent or self._end_s is not None:
            self.wait(done, timeout, what)
            return
        self.carry_out()
        self._lend_line(lent=True)
        try:
            self._serve_line_until(done, timeout)
        finally:
            self._lend_line(lent=False)
        if not done():
            raise self._not_done(what, timeout)

    def _serve_line_until(self, done: Callable[[], bool], timeout: float | None) -> None:
        timeout = _borne(timeout)
        until_s = None if timeout is None else now_s() + timeout
        while not (done() or self.member.stopping):
            left_ms = None if until_s is None else max(0, math.ceil((until_s - now_s()) * 1000))
            self.changed.release()
            try:
                happened = self._poll.poll(left_ms)
            finally:
                self.changed.acquire()
            for descriptor, what in happened:
                if descriptor != self._nudge and self._end_s is None:
                    self._serve_line(what)
            self.carry_out()
            if self.waiting:
                self.changed.notify_all()
            if left_ms == 0:
                return

    def _lend_line(self, *, lent: bool) -> None:
        self._line_lent = lent
        if self._end_s is None:
            self._watch(self._line)

    def _not_done(self, what: str, timeout: float | None) -> BusError:
        if self.member.stopping:
            return BusStopped(f"the bus stops: {what} did not come to its end")
        return BusTimeout(f"{what}: not within {timeout:g} s")

    def report(self, record: Record) -> None:
        """Say something to the keeper."""
        with self.own_step() as member:
            member.reports.append(record)

    def stop(self) -> None:
        """This process ends: everyone who waits is woken.

        It takes no lock, for a handler of signals calls it too, amid whatever the program does.
        """
        self.member.stopping = True
        os.eventfd_write(self._nudge, 1)

    def leave(self) -> None:
        """End in order: give the kernel what is still to be sent, and say goodbye."""
        with self.changed:
            self.waiting += 1
            self.changed.wait_for(
                lambda: not any(stream.unsent for stream in self._streams.values()), limits.FLUSH_S
            )
            self.waiting -= 1
            self._left = True
            if not self.member.inside:  # a thread may still be in there: then only the kernel says goodbye
                self._line.send(records.Leave())

    def _disown(self) -> None:
        """In a fork that the program made: it is not on the bus, and holds no connection of who is."""
        self.member.view = NOBODY
        self.member.stopping = self._left = True
        self.changed = threading.Condition(threading.Lock())  # the old ones may be held for ever
        self.turn = threading.Lock()
        self.bus_wants = False
        for stream in self._streams.values():
            stream.close()
        self._line.close()
        self._epoll.close()

    # ------------------------------------------------------------------ the thread

    def _serve(self) -> None:
        try:
            while not self._left:
                self._serve_once()
        except Exception:  # noqa: BLE001 - the top of this thread's life: a bug ends the process, seen
            if not self._left:
                traceback.print_exc(file=sys.stderr)
                os._exit(EXIT_SOFTWARE)

    def _serve_once(self) -> None:
        timeout = None if self._end_s is None else max(0.0, self._end_s - now_s())
        for descriptor, happened in self._epoll.poll(timeout):
            with self.turn:
                self.bus_wants = True
                self.changed.acquire()
                self.bus_wants = False
            try:
                life = self._lives.get(descriptor)
                if life is not None:
                    self._serve_stream(life, happened)
                elif descriptor == self._line.fileno():
                    self._serve_line(happened)
                    self._end_when_lost()
                elif descriptor == self._nudge:
                    self._epoll.unregister(self._nudge)  # it stays readable, and those who wait are woken now
                self.carry_out()
                if self.waiting:
                    self.changed.notify_all()
            finally:
                self.changed.release()
        if self._end_s is not None and now_s() >= self._end_s:
            os._exit(EXIT_SOFTWARE)

    def _serve_line(self, happened: int) -> None:
        if happened & select.EPOLLOUT:
            self._line.send_more()
            self._watch(self._line)
        if not happened & ~select.EPOLLOUT:
            return
        try:
            record = self._line.receive()
        except EOFError:
            self._keeper_lost = True
            self.stop()
            return
        if isinstance(record, records.Link):
            if not self._line.descriptors:
                raise OSError(errno.EMFILE, "this process has no descriptor left for a connection")
            self._plug(record, *self._line.descriptors)
        if record is not None:
            self.member.on_record(record)

    def _end_when_lost(self) -> None:
        """The keeper is gone: this thread, which waits for nobody, ends the process if it does not end."""
        if self._keeper_lost and self._end_s is None:
            self._end_s = now_s() + limits.STOP_TERM_S
            self._epoll.unregister(self._line)

    def _plug(self, link: records.Link, end: int) -> None:
        """A connection: one before it is read no further, for the new one begins with its rest."""
        self._unplug(link.life)
        stream = Stream(socket.socket(fileno=end), link.number)
        self._streams[link.life] = stream
        self._lives[stream.fileno()] = link.life
        self._epoll.register(stream, select.EPOLLIN)

    def _unplug(self, life: int) -> None:
        stream = self._streams.pop(life, None)
        if stream is not None:
            del self._lives[stream.fileno()]
            self._epoll.unregister(stream)
            stream.close()

    def _serve_stream(self, life: int, happened: int) -> None:
        stream = self._streams[life]
        if happened & select.EPOLLOUT:
            stream.send_more()
            self._watch(stream)
        if not happened & ~select.EPOLLOUT:
            return
        frames = stream.receive()
        if frames is None:
            self._unplug(life)
            self.member.on_link_down(life, stream.number)
            return
        on_frame = self.member.on_frame
        for frame in frames:
            on_frame(life, frame)

    # ------------------------------------------------------------------ carrying out

    def carry_out(self) -> None:
        """Send what the state wants to say."""
        member = self.member
        if member.outgoing:
            outgoing, member.outgoing = member.outgoing, []
            for life, data in outgoing:
                stream = self._streams.get(life)
                if stream is None:
                    continue  # the frame is kept, and goes over the next connection
                if stream.unsent:
                    stream.unsent.append(data)
                else:
                    stream.send(data)
                    if stream.unsent:
                        self._watch(stream)
        if member.reports:
            said, member.reports = member.reports, []
            for record in said:
                self._line.send(record)
            if self._line.unsent and self._end_s is None:
                self._watch(self._line)

    def _watch(self, end: Stream | Packets) -> None:
        read = 0 if end is self._line and self._line_lent else select.EPOLLIN
        self._epoll.modify(end, read | (select.EPOLLOUT if end.unsent else 0))

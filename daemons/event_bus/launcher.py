"""`ProcessManager`: forks processes onto a bus, replaces lost ones, and stops them all."""

from __future__ import annotations

import logging
import multiprocessing
import os
import select
import socket
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any, Self

from event_bus import limits
from event_bus.errors import BusError, BusStopped, BusTimeout, NoSuchProcess, StartFailed
from event_bus.protocol import records
from event_bus.shell.clock import now_s
from event_bus.shell.connection import Packets
from event_bus.shell.interruption import interruption_later
from event_bus.shell.keeping import keep
from event_bus.shell.life import live
from event_bus.shell.news import News

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

    from event_bus.process import Process

log = logging.getLogger("event_bus")
_fork = multiprocessing.get_context("fork")


class Handle:
    """A process, as its manager has it."""

    def __init__(self, manager: ProcessManager, life: int, name: str, process: ForkProcess) -> None:
        self.name = name
        self.life = life
        self._manager = manager
        self._process = process

    def __repr__(self) -> str:
        """For eyes."""
        return f"<{self.name}, pid {self.pid}, {'alive' if self.alive else f'ended with {self.exitcode}'}>"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None  # noqa: S101 - it was started
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.is_alive()

    def is_alive(self) -> bool:
        """Whether it runs, as `multiprocessing.Process` says it."""
        return self.alive

    @property
    def exitcode(self) -> int | None:
        """None while it runs; -N if signal N ended it."""
        return self._process.exitcode

    @property
    def process_id(self) -> int:
        """Its number among the living; -1 if it is not of them."""
        living = [handle.life for handle in self._manager.process_list]
        return living.index(self.life) if self.life in living else -1

    def stop(self) -> None:
        """Ask it to end in order, as its own `stop()` does."""
        self._manager._quit(self.life)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; whether it has."""
        self._process.join(timeout)
        return not self.alive

    def terminate(self) -> None:
        """SIGTERM: it ends wherever it is, running its `finally` blocks."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()


class ProcessManager:
    """Starts processes and stops them. Used from one thread; it makes none.

    What is not stopped when the program ends is stopped then.
    `silence_s`: a process that has been stopped or hangs in the kernel for so long is killed.
    `start_s`: how long a batch may take until all its constructors have returned.
    """

    def __init__(self, *, silence_s: float = limits.SILENCE_S, start_s: float = limits.START_S) -> None:
        self._silence_s = silence_s
        self._start_s = start_s
        self._keeper: ForkProcess | None = None
        self._line: Packets | None = None
        self._news: News | None = None  # there when the line is
        self._handles: dict[str, Handle] = {}  # by name: who sits or sat there last
        self._births: dict[str, tuple[type[Process], dict[str, Any]]] = {}
        self._lost: set[int] = set()  # lives that the keeper has lost
        self._losses: list[str] = []  # names that the program was not told of
        self._at_exit: Finalize | None = None
        self._lives = 0
        self._batches = 0
        self._outcome: str | None = None  # of the last batch: "", or why it failed

    def __enter__(self) -> Self:
        """`with ProcessManager() as manager:` stops the bus at the end, whatever happens."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop_process()

    # ------------------------------------------------------------------ starting

    def add_process(
        self, n: int, cls: type[Process], /, *, seat_names: list[str] | None = None, **parameters: Any
    ) -> list[Handle]:
        """Fork `n` processes of class `cls`; return when all are on the bus.

        Each is constructed as `cls(process_id, bus_size, **parameters)` in its own process. `seat_names`
        names their seats, else they are called by class and number. Raises StartFailed with the traceback
        if a constructor raises; then none of the batch is on the bus.
        """
        names = self._new_names(n, cls, seat_names)
        births = [(name, cls, dict(parameters)) for name in names]
        return self._start(births, len(self.process_list))

    def replace(self, name: str, **changes: Any) -> Handle:
        """Fork a process into the seat of one that was lost: same class, same parameters but for `changes`.

        It gets the number of the lost one back. Raises NoSuchProcess if there is no such seat.
        """
        if name not in self._births:
            raise NoSuchProcess(f"no seat {name!r}: there are {', '.join(self._births) or 'none'}")
        handle = self._handles[name]
        if handle.alive and handle.life not in self._lost:
            raise BusError(f"the seat {name!r} is taken by pid {handle.pid}, which runs")
        self._await_loss(handle)
        if not handle.join(limits.STOP_KILL_S):  # it has left the bus, and goes on with something else
            handle.kill()
            handle.join()
        cls, parameters = self._births[name]
        living = [each.name for each in self.process_list]
        seats = [each for each in self._births if each in living or each == name]
        return self._start([(name, cls, parameters | changes)], seats.index(name))[0]

    def _new_names(self, n: int, cls: type[Process], names: list[str] | None) -> list[str]:
        if n < 1:
            raise ValueError(f"{n} processes: at least one is started")
        if len(self.process_list) + n > limits.PROCESSES_MAX:
            raise ValueError(f"{n} more processes: a bus has at most {limits.PROCESSES_MAX}")
        if names is None:
            first = len(self._births)
            names = [f"{cls.__name__}-{first + index}" for index in range(n)]
        if len(names) != n or len({*names, *self._births}) != n + len(self._births):
            raise ValueError(
                f"{len(names)} names for {n} processes: each seat has a name of its own: {names}"
            )
        for name in names:
            if not 0 < len(name.encode()) <= limits.NAME_BYTES_MAX:
                raise ValueError(f"the name {name!r} has not 1 to {limits.NAME_BYTES_MAX} bytes")
        return names

    def _start(self, births: list[tuple[str, type[Process], dict[str, Any]]], first: int) -> list[Handle]:
        self._running_line()
        self._batches += 1
        self._outcome = None
        batch, size = self._batches, len(births)
        bus_size = len(self.process_list) + size
        handles: list[Handle] = []
        try:
            with interruption_later():
                for index, (name, cls, parameters) in enumerate(births):
                    self._lives += 1
                    process = self._fork(
                        self._lives, name, batch, size, cls, (first + index, bus_size), parameters
                    )
                    handles.append(Handle(self, self._lives, name, process))
            self._await_batch()
        except BaseException:
            if self._was_on_the_bus(batch, handles):
                self._seat(handles, births)  # and is lost: `replace` fills its seats
            raise
        self._seat(handles, births)
        return handles

    def _seat(self, handles: list[Handle], births: list[tuple[str, type[Process], dict[str, Any]]]) -> None:
        for handle, (name, cls, parameters) in zip(handles, births, strict=False):
            self._handles[name] = handle
            self._births[name] = (cls, parameters)

    def _was_on_the_bus(self, batch: int, handles: list[Handle]) -> bool:
        """Give a batch up, and end it; whether the keeper had it on the bus before it heard of that."""
        self._running_line().send(records.GiveUp(batch))
        deadline_s = now_s() + limits.STOP_KILL_S
        try:
            while self._outcome is None and now_s() < deadline_s:
                self._hear(max(0.0, deadline_s - now_s()))
        except BusStopped:
            self._outcome = "the keeper is gone"
        for handle in handles:
            if not handle.join(max(0.0, deadline_s - now_s())):  # the keeper is frozen or gone
                handle.kill()
                handle.join()
        return self._outcome == ""

    def _await_batch(self) -> None:
        deadline_s = now_s() + self._start_s
        while self._outcome is None:
            self._hear(max(0.0, deadline_s - now_s()))
            if now_s() >= deadline_s and self._outcome is None:
                raise StartFailed(f"not all were on the bus within {self._start_s:g} s")
        if self._outcome:
            raise StartFailed(self._outcome)

    def _fork(
        self,
        life: int,
        name: str,
        batch: int,
        size: int,
        cls: type[Process],
        arguments: tuple[int, int],
        parameters: dict[str, Any],
    ) -> ForkProcess:
        line = self._running_line()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        not_its = [ours, line, self._news]
        process = _fork.Process(
            target=live, name=name, daemon=True, args=(life, theirs, not_its, cls, arguments, parameters)
        )
        try:
            process.start()
            assert process.pid is not None  # noqa: S101
            pidfd = os.pidfd_open(process.pid)
        except OSError as error:
            ours.close()  # if it runs, it ends of that
            raise StartFailed(f"process {name} cannot be forked: {error}") from error
        finally:
            theirs.close()
        join = records.Join(life, name, process.pid, batch, size)
        line.send(join, ours.detach(), pidfd)
        return process

    def _running_line(self) -> Packets:
        """The line to the keeper, which is forked first."""
        if self._line is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pidfd = os.pidfd_open(os.getpid())
            with interruption_later():
                keeper = _fork.Process(
                    target=keep,
                    name="event bus keeper",
                    daemon=True,
                    args=(theirs, ours, pidfd, self._silence_s),
                )
                try:
                    keeper.start()
                except OSError as error:
                    ours.close()
                    raise StartFailed(f"the bus's keeper cannot be forked: {error}") from error
                finally:
                    theirs.close()
                    os.close(pidfd)
                line = Packets(ours)
                try:
                    self._news = News(line)
                except OSError as error:
                    line.close()  # the keeper ends of that
                    raise StartFailed(f"the bus cannot be watched: {error}") from error
                self._keeper, self._line = keeper, line
                # First, for `multiprocessing` ends what is left by SIGTERM, and waits however long it takes.
                self._at_exit = Finalize(None, self.stop_process, exitpriority=100)
        return self._line

    # ------------------------------------------------------------------ watching

    @property
    def process_list(self) -> list[Handle]:
        """The processes that live, in the order of their numbers."""
        self._hear(0.0)
        return [
            self._handles[name]
            for name in self._births
            if self._handles[name].life not in self._lost and self._handles[name].alive
        ]

    def fileno(self) -> int:
        """A descriptor that is readable as long as there is news: then ask `losses()`."""
        self._running_line()
        assert self._news is not None  # noqa: S101
        return self._news.fileno()

    def losses(self) -> list[str]:
        """The names of the seats lost since this was asked last: dead, frozen and so killed, or left."""
        self._hear(0.0)
        losses, self._losses = self._losses, []
        if self._news is not None:
            self._news.told()
        return losses

    def join(self, timeout: float | None = None) -> None:
        """Wait until every process has ended by itself. Raises BusTimeout."""
        deadline_s = None if timeout is None else now_s() + timeout
        for handle in list(self._handles.values()):
            if not handle.join(None if deadline_s is None else max(0.0, deadline_s - now_s())):
                raise BusTimeout(f"{handle.name} (pid {handle.pid}) runs after {timeout:g} s")

    def stop_process(self) -> None:
        """Stop all processes; returns within three seconds, and none is left, whatever they hang in.

        Each is asked to end: calls that wait raise BusStopped. Who has not ended after 1 s gets SIGTERM,
        after 1.8 s SIGKILL.
        """
        if self._line is None or self._news is None or self._keeper is None:
            return
        self._line.send(records.Stop())
        deadline_s = now_s() + limits.STOP_GIVE_UP_S
        processes = [*(handle._process for handle in self._handles.values()), self._keeper]
        for process in processes:
            process.join(max(0.0, deadline_s - now_s()))
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()
        for each in (self._line, self._news):
            each.close()
        self._line = self._news = self._keeper = None
        if self._at_exit is not None:
            self._at_exit.cancel()
            self._at_exit = None
        self._handles.clear()
        self._births.clear()
        self._losses.clear()

    def _quit(self, life: int) -> None:
        if self._line is not None:
            self._line.send(records.Quit(life))

    def _await_loss(self, handle: Handle) -> None:
        """The kernel was faster than the keeper: hear the keeper's word too."""
        deadline_s = now_s() + self._start_s
        while handle.life not in self._lost:
            self._hear(max(0.0, deadline_s - now_s()))
            if now_s() >= deadline_s:
                raise BusTimeout(f"the keeper does not say that {handle.name} is lost")

    def _hear(self, timeout_s: float) -> None:
        """Hear the keeper, until there is something or the time is over."""
        if self._line is None:
            return
        poll = select.poll()
        poll.register(self._line, select.POLLIN | (select.POLLOUT if self._line.unsent else 0))
        for _, happened in poll.poll(timeout_s * 1000):
            if happened & select.POLLOUT:
                self._line.send_more()
        while True:
            try:
                record = self._line.receive()
            except EOFError:
                raise BusStopped(
                    "the keeper is gone, and the bus with it: stop_process() ends what is left"
                ) from None
            match record:
                case records.Joined() if record.batch == self._batches:
                    self._outcome = ""
                case records.Refused() if record.batch == self._batches and self._outcome is None:
                    self._outcome = record.text
                case records.Gone():
                    self._lost.add(record.life)
                    self._losses.append(record.name)
                    if self._news is not None:
                        self._news.mark()
                case None:
                    return
                case _:
                    pass  # of a batch that was given up; or Stopped, which the kernel says as well

"""What the examples share: the standard input as orders to processes, and an end in order.

A manager has no voice on the bus. What a person types goes to each process through a pipe of its own, which
it inherits with the fork; a thread of the process reads it. So a process has two threads that do something:
one calls `process()`, the other carries out orders, and a lock lets only one of them at the state.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from io import TextIOWrapper
from multiprocessing import Pipe, parent_process
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from event_bus import BusError, Message, Process, ProcessManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from event_bus import Handle

QUIT: Final = frozenset({"quit", "exit", "q"})

EXIT_LOST: Final = 1
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as a shell says it


class Lost(NamedTuple):
    """An order of a kind of its own, to all that live: the process of that name is gone."""

    name: str


class Ordered(Process):
    """A process that takes orders: `on_order()` for each, and `over()` when all that it began has ended."""

    def __init__(self, process_id: int, bus_size: int, lines: list[Connection]) -> None:
        super().__init__(process_id, bus_size)
        self._line = lines[process_id]
        self._turn = threading.Lock()

    def process(self, message_box: list[Message]) -> None:
        """Each message in its turn; the first call, with none, is the moment to begin listening to orders."""
        if not message_box:
            threading.Thread(target=self._listen, daemon=True).start()
        for message in message_box:
            with self._turn:
                self.on_message(message)

    def _listen(self) -> None:
        while True:
            order = self._line.recv()
            with self._turn:
                self.on_order(order)

    def on_order(self, order: Any) -> None:
        """An order has come."""
        raise NotImplementedError

    def on_message(self, message: Message) -> None:
        """A message has come."""
        raise NotImplementedError

    def over(self) -> None:
        """An order has been carried out, to its last consequence."""
        self._line.send(None)

    def say(self, text: str) -> None:
        """Tell the person who watches."""
        show(f"{self.name}: {text}")


class Console:
    """The manager's side: starts the processes, hands them orders, waits until these are over."""

    def __init__(
        self, manager: ProcessManager, cls: type[Ordered], names: list[str], **parameters: Any
    ) -> None:
        pipes = [Pipe() for _ in names]
        self._manager = manager
        self._names = names
        self._lines = [ours for ours, _ in pipes]
        self._gone: set[int] = set()
        lines = [theirs for _, theirs in pipes]
        for handle in manager.add_process(len(names), cls, seat_names=names, lines=lines, **parameters):
            show(f"{handle.name} is pid {handle.pid}")

    @property
    def living(self) -> list[int]:
        """Which processes live, by their place in the list of names: that stays, whoever dies."""
        self._look_who_is_gone()
        return [index for index in range(len(self._names)) if index not in self._gone]

    def carry_out(self, orders: list[tuple[int, Any]], *, needs_all: bool = False) -> None:
        """Hand out orders, all at once; return when each is over, or the process that had it is gone.

        With `needs_all` as soon as anybody is gone: an order may wait for what that one should have said.
        """
        for index, order in orders:
            self._lines[index].send(order)
        open_orders = Counter(index for index, _ in orders)
        while True:
            self._look_who_is_gone()
            waiting = {self._lines[index]: index for index in open_orders if index not in self._gone}
            if not waiting or (needs_all and self._gone):
                return
            news = wait([*waiting, self._manager.fileno()])
            for line in [line for line in waiting if line in news]:
                line.recv()
                open_orders -= Counter([waiting[line]])

    def _look_who_is_gone(self) -> None:
        for name in self._manager.losses():
            show(f"{name} is gone")
            self._gone.add(self._names.index(name))
            for index, line in enumerate(self._lines):
                if index not in self._gone:
                    line.send(Lost(name))


def show(line: str) -> None:
    """A line, in one write: those of several processes do not mix."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        if parent_process() is None:
            raise  # the manager ends in order: `run`
        os._exit(EXIT_LOST)  # nobody watches this process any more


def lines(prompt: str) -> Iterator[str]:
    """The lines of the standard input, each asked for; ends where it ends, or at a word like `quit`."""
    if sys.stdin is None:
        return
    text = TextIOWrapper(sys.stdin.buffer, errors="replace")
    while True:
        sys.stdout.write(f"{prompt}: ")
        sys.stdout.flush()
        line = text.readline()
        if not line or not sys.stdin.isatty():
            show(line.rstrip("\n"))  # so that a transcript reads as on a terminal
        if not line or line.strip() in QUIT:
            return
        if line.strip():
            yield line.strip()


def await_end(handles: list[Handle], manager: ProcessManager) -> int:
    """Wait until all have ended by themselves; if one was killed, the others would wait for it in vain."""
    by_name = {handle.name: handle for handle in handles}
    while by_name:
        wait([manager.fileno()])
        for name in manager.losses():
            handle = by_name.pop(name)
            handle.join()
            if handle.exitcode != 0:
                sys.stderr.write(f"{name} is gone: the others cannot go on without it\n")
                return EXIT_LOST
    return 0


def run(program: Callable[[], int]) -> int:
    """The exit code of a program, also when it is interrupted, or nobody reads any more what it prints."""
    try:
        return program()
    except KeyboardInterrupt:
        show("")
        return EXIT_INTERRUPTED
    except BusError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_LOST
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_LOST

"""`Process`: what a program on the bus derives its own from."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING

from event_bus.communicator import Communicator
from event_bus.errors import NotOnBus

if TYPE_CHECKING:
    from event_bus.message import Message
    from event_bus.shell.wires import Wires

wires_of_birth: contextvars.ContextVar[Wires | None] = contextvars.ContextVar("wires_of_birth", default=None)
"""The connections of the process that is being constructed."""


class Process:
    """A process on the bus: `process()` is called with what has come.

    The constructor runs in the new process; when those of its batch have all returned, each process is on
    the bus and `process([])` is called once, then `process(messages)` whenever messages have come. What
    `process()` raises is reported with its traceback, and the process lives on.
    """

    def __init__(self, process_id: int, bus_size: int) -> None:
        self._process_id = process_id
        self._bus_size = bus_size
        self._wires = wires_of_birth.get()
        self._communicator = None if self._wires is None else Communicator(self._wires)

    def check(self) -> None:
        """Raise TypeError if a derived constructor has not called this class's."""
        if "_wires" not in self.__dict__:
            name = type(self).__name__
            raise TypeError(f"{name}.__init__ does not call super().__init__(process_id, bus_size)")

    def process(self, message_box: list[Message]) -> None:
        """Called with the messages that arrived since the last call, oldest first; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it does with messages")

    @property
    def communicator(self) -> Communicator:
        """Its voice on the bus."""
        if self._communicator is None:
            raise NotOnBus("no manager has started this process: use ProcessManager.add_process")
        return self._communicator

    @property
    def process_id(self) -> int:
        """Its number among the living, consecutive from 0."""
        if self._wires is None or not self._wires.member.joined:
            return self._process_id
        return self._wires.member.number

    @property
    def bus_size(self) -> int:
        """How many live."""
        if self._wires is None or not self._wires.member.joined:
            return self._bus_size
        return len(self._wires.member.view.seats)

    @property
    def name(self) -> str:
        """The name of its seat, which a process that replaces it gets too."""
        member = None if self._wires is None else self._wires.member
        return "" if member is None or not member.joined else member.name_of(member.life)

    @property
    def alive(self) -> bool:
        """False when the bus stops, or this process does: `process()` should return soon."""
        return self._wires is not None and not self._wires.member.stopping

    def stop(self) -> None:
        """End this process: after `process()` returns, it leaves the bus."""
        if self._wires is not None:
            self._wires.stop()

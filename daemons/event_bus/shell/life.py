"""A process's life, from its fork to its end: constructor, `process([])`, `process(messages)`, goodbye."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

from event_bus.communicator import opened
from event_bus.errors import BusStopped, MemberLost, NoSuchProcess, ProcessLost
from event_bus.process import Process, wires_of_birth
from event_bus.protocol import records
from event_bus.shell.wires import Wires

if TYPE_CHECKING:
    from event_bus.message import Message

log = logging.getLogger("event_bus")

_TEXT_MAX: Final = 16_384
"""Of a traceback that a constructor raised, so many bytes go to the manager: it travels in one packet."""


_STOPPED: Final = (BusStopped, NoSuchProcess, ProcessLost, MemberLost)
"""What is no news while the bus stops: the others are gone, too."""


class _Terminated(SystemExit):
    """SIGTERM has come."""


class Closes(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Close it."""


def live(
    life: int,
    line: socket.socket,
    not_ours: list[Closes],
    cls: type[Process],
    arguments: tuple[int, int],
    parameters: dict[str, Any],
) -> None:
    """Run a process. Called in the child, right after the fork."""
    for inherited in not_ours:
        inherited.close()
    signal.set_wakeup_fd(-1)  # the manager's event loop is not to hear of signals that come here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the manager, which stops the bus in order
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # it was held for the fork
    signal.signal(signal.SIGTERM, _terminate)
    wires = Wires(life, line)
    wires.start()
    wires_of_birth.set(wires)
    try:
        process = cls(*arguments, **parameters)
        process.check()
    except Exception:  # noqa: BLE001 - whatever the program's constructor raises is told to the manager
        text = traceback.format_exc().encode(errors="replace")[-_TEXT_MAX:]
        wires.report(records.Failed(text.decode(errors="ignore")))
        _end(1)
    wires.report(records.Ready())
    try:
        _loop(process, wires)
    except _Terminated:
        raise
    except SystemExit:  # of the program's: an end like any other
        _leave(wires)
        raise
    _leave(wires)
    _end(0)


def _leave(wires: Wires) -> None:
    if wires.member.joined:  # else this is a fork that the program made
        wires.leave()


def _loop(process: Process, wires: Wires) -> None:
    with wires.own_step() as member:
        wires.wait(lambda: member.joined, None, "the bus is joined", quiet=True)
    if member.joined:
        _call(process, wires, [])  # once, even if the bus stops already
    while process.alive:
        messages = _take(wires)
        if messages and process.alive:
            _call(process, wires, messages)


def _take(wires: Wires) -> list[Message]:
    with wires.own_step() as member:
        wires.wait(lambda: bool(member.mailbox), None, "a message comes", quiet=True)
        envelopes = member.mailbox.take_all()
        for envelope in envelopes:
            member.taken(envelope)
    messages = []
    for envelope in envelopes:
        try:
            messages.append(opened(member, envelope))
        except Exception:  # reported, and no other message lost
            log.exception("event bus: %s cannot read a message of type %r", _who(wires), envelope.type)
    return messages


def _call(process: Process, wires: Wires, messages: list[Message]) -> None:
    try:
        process.process(messages)
    except SystemExit:
        raise
    except BaseException as error:  # the bus lives on; what the program raised is reported, whole
        if isinstance(error, _STOPPED) and not process.alive:
            return
        log.exception("event bus: process() of %s raised", _who(wires))
        if process.communicator.in_critical_section:
            log.warning("event bus: %s was in the critical section: released", _who(wires))
            process.communicator.release_critical_section()


def _who(wires: Wires) -> str:
    member = wires.member
    return f"{member.name_of(member.life)} (process {member.number}, pid {os.getpid()})"


def _terminate(_signal: int, _frame: object) -> NoReturn:
    """SIGTERM ends a process wherever it is, running its `finally` blocks."""
    raise _Terminated(128 + signal.SIGTERM)


def _end(code: int) -> NoReturn:
    sys.exit(code)

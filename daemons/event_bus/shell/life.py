"""A process's life, from its fork to its end: constructor, `process([])`, `process(messages)`, goodbye."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, NoReturn

from event_bus.communicator import opened
from event_bus.errors import BusStopped
from event_bus.process import Process, wires_of_birth
from event_bus.protocol import records
from event_bus.shell.wires import Wires

if TYPE_CHECKING:
    from event_bus.message import Message

log = logging.getLogger("event_bus")

_TEXT_MAX: Final = 16_384
"""Of a traceback that a constructor raised, so much goes to the manager: it travels in one packet."""


def live(
    life: int,
    line: socket.socket,
    not_ours: list[socket.socket],
    cls: type[Process],
    arguments: tuple[int, int],
    parameters: dict[str, Any],
) -> None:
    """Run a process. Called in the child, right after the fork."""
    for inherited in not_ours:
        inherited.close()
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
        wires.report(records.Failed(traceback.format_exc()[-_TEXT_MAX:]))
        _end(1)
    wires.report(records.Ready())
    _loop(process, wires)
    wires.leave()
    _end(0)


def _loop(process: Process, wires: Wires) -> None:
    with wires.step() as member:
        wires.wait(lambda: member.joined, None, "the bus is joined", quiet=True)
        stopping = member.stopping
    if not stopping:
        _call(process, wires, [])
    while process.alive:
        with wires.step() as member:
            wires.wait(lambda: bool(member.mailbox), None, "a message comes", quiet=True)
            messages = _take(wires)
        if messages and not member.stopping:
            _call(process, wires, messages)


def _take(wires: Wires) -> list[Message]:
    member, messages = wires.member, []
    for envelope in member.mailbox.take_all():
        member.taken(envelope)
        try:
            messages.append(opened(member, envelope))
        except Exception:  # reported, and no other message lost
            log.exception("event bus: %s cannot read a message of type %r", _who(wires), envelope.type)
    return messages


def _call(process: Process, wires: Wires, messages: list[Message]) -> None:
    try:
        process.process(messages)
    except Exception as error:  # the bus lives on; what the program raised is reported, whole
        if isinstance(error, BusStopped) and not process.alive:
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
    sys.exit(128 + signal.SIGTERM)


def _end(code: int) -> NoReturn:
    sys.exit(code)

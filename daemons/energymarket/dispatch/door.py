"""A worker's door: who is let in, once it has said where it is. Touches nothing."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from energymarket.dispatch.lines import error_line, refusal
from energymarket.dispatch.records import Task


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Not this one; the line says why."""

    line: str


@dataclass(frozen=True, slots=True)
class LetIn:
    """This is the one that is expected."""


@dataclass(frozen=True, slots=True)
class Waits:
    """It has not said yet who it is."""


Verdict = TurnedAway | LetIn | Waits

NO_TICKET: Final = TurnedAway(
    error_line(
        "no service without a ticket",
        "what was said is not the ticket of this port",
        "ask the dispatcher; its answer is PORT TICKET, and a ticket is valid once and for a short time",
    )
)
TAKEN: Final = TurnedAway(
    error_line("too late", "this port serves somebody else now", "ask the dispatcher for another port")
)
EXPIRED: Final = TurnedAway(
    error_line("too late", "the time for this ticket is over", "ask the dispatcher for another one")
)
OTHER_ADDRESS: Final = TurnedAway(refusal("this port is for another address: ask the dispatcher for one"))


def on_arrival(task: Task, peer: str) -> Verdict:
    """Somebody has connected. Without a ticket its address decides."""
    if task.ticket:
        return Waits()
    return LetIn() if peer == task.peer else OTHER_ADDRESS


def on_line(task: Task, line: bytes) -> Verdict:
    """Somebody who waits has said a line: it has to be the ticket."""
    return LetIn() if hmac.compare_digest(line.strip(), task.ticket.encode()) else NO_TICKET

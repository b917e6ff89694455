"""What stands in the shared segment: the task of a worker, and the worker's word about itself.

Both travel as JSON: some hundred bytes a request, and readable with `strings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec


class Mode(StrEnum):
    """How a result reaches its client."""

    REDIRECT = "redirect"  # the client goes to the worker
    RELAY = "relay"  # through the segment and the dispatcher


class Phase(StrEnum):
    """What a worker does."""

    IDLE = "idle"
    LISTENING = "listening"  # for the client of its task
    SERVING = "serving"


class Outcome(StrEnum):
    """How a worker's last task ended."""

    NONE = "none"  # there was none
    SERVED = "served"  # the client has its answer: a result, or an error that is its own
    EXPIRED = "expired"  # the client never came
    ABANDONED = "abandoned"  # the client left, or its time was over
    CALLED_OFF = "called off"
    FAILED = "failed"  # it could not be begun; `reason` says why


@dataclass(frozen=True, slots=True)
class Task:
    """What the dispatcher asks of a worker."""

    number: int  # rising, never used twice
    kind: str
    peer: str  # the client's address
    ticket: str  # empty: the first of this address is the one
    question: str  # JSON; what an empty line to the worker stands for
    mode: Mode
    ticket_s: float  # how long to wait for the client
    deadline_s: float  # how long an exchange may take


@dataclass(frozen=True, slots=True)
class Word:
    """What a worker says about itself."""

    incarnation: int  # of the process: another one, another number
    pid: int
    phase: Phase = Phase.IDLE
    number: int = 0  # of its task, or of the last one
    port: int = 0
    outcome: Outcome = Outcome.NONE
    reason: str = ""
    exchanges: int = 0
    share: float = 0.0  # of the running answer
    doing: str = ""


_TASKS: Final = msgspec.json.Decoder(Task)
_WORDS: Final = msgspec.json.Decoder(Word)


def pack(record: Task | Word) -> bytes:
    """The record as bytes."""
    return msgspec.json.encode(record)


def unpack_task(raw: bytes) -> Task | None:
    """A task, or None if the bytes are none."""
    try:
        return _TASKS.decode(raw)
    except (ValueError, RecursionError):
        return None


def unpack_word(raw: bytes) -> Word | None:
    """A word, or None if the bytes are none."""
    try:
        return _WORDS.decode(raw)
    except (ValueError, RecursionError):
        return None

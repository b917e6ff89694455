"""What the dispatcher's book asks its shell to do: one small record per effect. Touches nothing."""

from __future__ import annotations

from dataclasses import dataclass

from energymarket.dispatch.records import Task


@dataclass(frozen=True, slots=True)
class Say:
    """Answer a client's request with a line."""

    client: int
    line: str


@dataclass(frozen=True, slots=True)
class Relay:
    """Answer a client's request with the result that this worker left in the segment."""

    client: int
    worker: int
    number: int


@dataclass(frozen=True, slots=True)
class Hand:
    """Leave a task in a worker's slot and tell it; if that fails: `Book.unreached` or `Book.unfit`."""

    worker: int
    task: Task


@dataclass(frozen=True, slots=True)
class CallOff:
    """Tell a worker that nobody comes for this task."""

    worker: int
    number: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask a worker whether it is there."""

    worker: int


@dataclass(frozen=True, slots=True)
class Leave:
    """The number of exchanges is reached: tell this worker to end."""

    worker: int


Effect = Say | Relay | Hand | CallOff | Ping | Leave

"""Records between a process and the keeper, and between keeper and manager: one packet each.

Both ends are forks of one program, so a record travels as `marshal` writes it: its number in the table
below, then its fields. Descriptors travel beside it.
"""

from __future__ import annotations

import marshal
from typing import Final, NamedTuple

from event_bus.errors import ProtocolError

# ruff: noqa: D101 - the comment beside each record says what it is


class Seat(NamedTuple):
    """A living process in a view: `life` is unique for ever, `name` is its seat's."""

    life: int
    name: str


class View(NamedTuple):
    """Who lives, in the order of the seats: a process's number is its index. The token's generation."""

    number: int
    seats: tuple[Seat, ...]
    losses: int  # how many were lost so far


class Link(NamedTuple):  # keeper -> process, with a descriptor: the connection `number` of the pair
    life: int
    number: int


class Grant(NamedTuple):  # keeper -> process: the token of this generation is yours
    generation: int


class Open(NamedTuple):  # keeper -> process: the barrier at which you arrived opens
    barrier: str
    arrival: int


class Withdrawn(NamedTuple):  # keeper -> process: the arrival counts no more
    barrier: str
    arrival: int


class Lost(NamedTuple):  # keeper -> process: the losses up to this number have these seats' names
    losses: int
    name: str


class Ping(NamedTuple):  # keeper -> process
    number: int


class Stop(NamedTuple):  # keeper -> process; manager -> keeper
    pass


class Ready(NamedTuple):  # process -> keeper: the constructor has returned
    pass


class Failed(NamedTuple):  # process -> keeper -> manager: the constructor has raised
    text: str


class Seen(NamedTuple):  # process -> keeper: the view is in force here; whether the token was here
    number: int
    holds: bool


class Relink(NamedTuple):  # process -> keeper: connection `number` to that process is broken
    life: int
    number: int


class Arrive(NamedTuple):  # process -> keeper: at the barrier, having been told of so many losses
    barrier: str
    keep_all: bool
    arrival: int
    told: int


class Withdraw(NamedTuple):  # process -> keeper: it waits no longer
    barrier: str
    arrival: int


class Pong(NamedTuple):  # process -> keeper
    number: int


class Leave(NamedTuple):  # process -> keeper: it ends in order
    pass


class Join(NamedTuple):  # manager -> keeper, with two descriptors: its socket, its pidfd
    life: int
    name: str
    pid: int
    batch: int
    size: int  # processes in the batch


class Quit(NamedTuple):  # manager -> keeper: stop this one process
    life: int


class GiveUp(NamedTuple):  # manager -> keeper: kill all of this batch, on the bus or not
    batch: int


class Joined(NamedTuple):  # keeper -> manager: the batch is on the bus
    batch: int


class Refused(NamedTuple):  # keeper -> manager: a process of the batch did not come up, and why
    batch: int
    text: str


class Gone(NamedTuple):  # keeper -> manager: a process is lost (or has left), and what happened
    life: int
    name: str
    cause: str


class Stopped(NamedTuple):  # keeper -> manager: every process has ended
    pass


Record = (
    View | Link | Grant | Open | Withdrawn | Lost | Ping | Stop
    | Ready | Failed | Seen | Relink | Arrive | Withdraw | Pong | Leave
    | Join | Quit | GiveUp | Joined | Refused | Gone | Stopped
)  # fmt: skip

RECORDS: Final[tuple[type, ...]] = Record.__args__
_NUMBER: Final = {record: number for number, record in enumerate(RECORDS)}


def pack(record: Record) -> bytes:
    """A record as a packet."""
    if isinstance(record, View):
        number, seats, losses = record  # a seat is a tuple of its own kind, which `marshal` does not take
        return marshal.dumps((_NUMBER[View], number, tuple(tuple(seat) for seat in seats), losses))
    return marshal.dumps((_NUMBER[type(record)], *record))


def unpack(packet: bytes | memoryview) -> Record:
    """The record of a packet."""
    number, *fields = marshal.loads(packet)  # noqa: S302 - from a fork of this very program, over a socket pair
    if number >= len(RECORDS):
        raise ProtocolError(f"record number {number} is not in the table")
    record: Record = RECORDS[number](*fields)
    if isinstance(record, View):
        return record._replace(seats=tuple(Seat(*seat) for seat in record.seats))
    return record

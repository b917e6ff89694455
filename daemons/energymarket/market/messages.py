"""What other threads tell the owner of the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from energymarket.core.market import Order
    from energymarket.transport.call import Call
    from energymarket.wire.event_record import EventRecord


def stopping(call: Call) -> str:
    """The error that turns a call away: both interfaces have it."""
    return f"{call.method.rpartition('.')[0]}.Stopping"


def turn_away(messages: Iterable[Message], slot: int | None) -> None:
    """Nobody who asked too late is left waiting for an answer; desks turn away who comes after."""
    for message in messages:
        match message:
            case StopAsked(answer):
                answer(slot)
            case OrderAsked(answer=say):
                say(("Stopping", {}))
            case Asked(call) if not call.gone:
                call.error(stopping(call))
            case _:
                continue


RefusedOrder: TypeAlias = tuple[str, dict[str, Any]]
"""The name of an error of the interface, and its parameters."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that only the owner can answer."""

    call: Call


@dataclass(frozen=True, slots=True)
class OrderAsked:
    """A single order (energy above zero: a sale); `answer` is called once, when it is durable or refused."""

    peer: int
    home: int
    energy_wh: int
    id: str
    answer: Callable[[Order | RefusedOrder], None]


@dataclass(frozen=True, slots=True)
class Heard:
    """Records of `external`, and the slot up to which it has said everything."""

    records: Sequence[EventRecord]
    reported_slot: int


@dataclass(frozen=True, slots=True)
class Left:
    """A connection that is gone."""

    peer: int


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Settle and stop; `answer` gets the last committed slot."""

    answer: Callable[[int | None], None]


@dataclass(frozen=True, slots=True)
class Continue:
    """A long answer in steps, so that slots go on between them: `step` is called until it says False."""

    step: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    """SIGHUP: read the coefficients of the price again."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Do you still work? `answer` is called after a look into the ledger."""

    answer: Callable[[], None]


Message: TypeAlias = Asked | OrderAsked | Heard | Left | StopAsked | Continue | ReloadAsked | Beat

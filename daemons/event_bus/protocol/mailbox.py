"""The mailbox: what has come and the program has not taken yet, in the order of arrival."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Envelope(NamedTuple):
    """A message as it came, the payload still pickled."""

    life: int  # the sender's
    number: int  # the sender's number when it sent
    type: str
    stamp: int
    call: int  # not 0 if the sender waits for an answer
    payload: bytes


class Mailbox:
    """Messages by arrival. Those that a sender waits for are kept for the calls that receive them."""

    __slots__ = ("_rendezvous", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Envelope] = deque()
        self._rendezvous: deque[Envelope] = deque()

    def __len__(self) -> int:
        """The messages that `process()` would get."""
        return len(self._waiting)

    def put(self, envelope: Envelope) -> None:
        """A message has come."""
        if envelope.call:
            self._rendezvous.append(envelope)
        else:
            self._waiting.append(envelope)

    def take_all(self) -> list[Envelope]:
        """All that `process()` gets next."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def pick(self, wanted: Callable[[Envelope], bool]) -> Envelope | None:
        """The oldest message that is wanted, or None."""
        return _first(self._waiting, wanted)

    def pick_rendezvous(self, wanted: Callable[[Envelope], bool]) -> Envelope | None:
        """The oldest message whose sender waits and that is wanted, or None."""
        return _first(self._rendezvous, wanted)

    def take_back(self, life: int, call: int) -> Envelope | None:
        """The message of a call whose sender waits no longer, if it has not been received."""
        return self.pick_rendezvous(lambda each: each.life == life and each.call == call)


def _first(envelopes: deque[Envelope], wanted: Callable[[Envelope], bool]) -> Envelope | None:
    for index, envelope in enumerate(envelopes):
        if wanted(envelope):
            del envelopes[index]
            return envelope
    return None

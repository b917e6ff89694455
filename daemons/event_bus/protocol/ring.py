"""The token's ring: who may enter the critical section, as one table.

After Martin (1985): who wants the token asks to the right, each asks on once until the holder is reached,
and the token comes back to the left, past everyone who wants it in between. An idle token rests where it
was used last and costs nothing. Each asker is on the token's way, so nobody starves. It is passed only to
one who asked: passed on unasked, it and the asks can run after each other for ever, and nobody wants it.

A change of membership begins a new generation: a token of an older one is void wherever it turns up. Each
process says whether it holds the token; when all have, the keeper grants the new token to the one that does
or, if the token died or was on its way, to anyone. A process that is inside stays inside meanwhile.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from event_bus.errors import ProtocolError


class Place(Enum):
    """Where a process stands towards the token."""

    OUT = auto()
    """The token is elsewhere, and nobody asked through here."""
    RELAYING = auto()
    """The left has asked, and so the right was asked; the token will be passed on."""
    WAITING = auto()
    """This process wants to enter; the right was asked."""
    WAITING_RELAYING = auto()
    """Likewise, and the left has asked too."""
    EXPECTING = auto()
    """This process gave up waiting, and the left has not asked; the right was: the token may come."""
    RESTING = auto()
    """The token is here, and nobody wants it."""
    INSIDE = auto()
    """In the critical section."""
    INSIDE_ASKED = auto()
    """In the critical section; the left has asked."""
    INSIDE_BETWEEN = auto()
    """In the critical section while the token is renewed: it will be granted to here."""
    INSIDE_BETWEEN_ASKED = auto()
    """Likewise, and the left has asked in the new generation."""


class Event(Enum):
    """What happens to it."""

    WANT = auto()
    """The program asks to enter."""
    CANCEL = auto()
    """The program gives up waiting."""
    LEAVE = auto()
    """The program leaves the critical section."""
    ASKED = auto()
    """The left asks for the token."""
    TOKEN = auto()
    """The token comes: from the right, or granted by the keeper."""
    RENEW = auto()
    """A new generation begins."""


class Act(Enum):
    """What follows."""

    ASK = auto()
    """Ask to the right."""
    PASS = auto()
    """Pass the token to the left."""


_P, _E = Place, Event

TABLE: Final[dict[tuple[Place, Event], tuple[Place, Act | None]]] = {
    (_P.OUT, _E.WANT): (_P.WAITING, Act.ASK),
    (_P.OUT, _E.ASKED): (_P.RELAYING, Act.ASK),
    (_P.OUT, _E.TOKEN): (_P.RESTING, None),
    (_P.OUT, _E.RENEW): (_P.OUT, None),
    (_P.RELAYING, _E.WANT): (_P.WAITING_RELAYING, None),
    (_P.RELAYING, _E.ASKED): (_P.RELAYING, None),
    (_P.RELAYING, _E.TOKEN): (_P.OUT, Act.PASS),
    (_P.RELAYING, _E.RENEW): (_P.OUT, None),
    (_P.WAITING, _E.CANCEL): (_P.EXPECTING, None),
    (_P.WAITING, _E.ASKED): (_P.WAITING_RELAYING, None),
    (_P.WAITING, _E.TOKEN): (_P.INSIDE, None),
    (_P.WAITING, _E.RENEW): (_P.WAITING, Act.ASK),
    (_P.WAITING_RELAYING, _E.CANCEL): (_P.RELAYING, None),
    (_P.WAITING_RELAYING, _E.ASKED): (_P.WAITING_RELAYING, None),
    (_P.WAITING_RELAYING, _E.TOKEN): (_P.INSIDE_ASKED, None),
    (_P.WAITING_RELAYING, _E.RENEW): (_P.WAITING, Act.ASK),
    (_P.EXPECTING, _E.WANT): (_P.WAITING, None),
    (_P.EXPECTING, _E.ASKED): (_P.RELAYING, None),
    (_P.EXPECTING, _E.TOKEN): (_P.RESTING, None),
    (_P.EXPECTING, _E.RENEW): (_P.OUT, None),
    (_P.RESTING, _E.WANT): (_P.INSIDE, None),
    (_P.RESTING, _E.ASKED): (_P.OUT, Act.PASS),
    (_P.RESTING, _E.RENEW): (_P.OUT, None),
    (_P.INSIDE, _E.LEAVE): (_P.RESTING, None),
    (_P.INSIDE, _E.ASKED): (_P.INSIDE_ASKED, None),
    (_P.INSIDE, _E.RENEW): (_P.INSIDE_BETWEEN, None),
    (_P.INSIDE_ASKED, _E.LEAVE): (_P.OUT, Act.PASS),
    (_P.INSIDE_ASKED, _E.ASKED): (_P.INSIDE_ASKED, None),
    (_P.INSIDE_ASKED, _E.RENEW): (_P.INSIDE_BETWEEN, None),
    (_P.INSIDE_BETWEEN, _E.LEAVE): (_P.OUT, None),
    (_P.INSIDE_BETWEEN, _E.ASKED): (_P.INSIDE_BETWEEN_ASKED, None),
    (_P.INSIDE_BETWEEN, _E.TOKEN): (_P.INSIDE, None),
    (_P.INSIDE_BETWEEN, _E.RENEW): (_P.INSIDE_BETWEEN, None),
    (_P.INSIDE_BETWEEN_ASKED, _E.LEAVE): (_P.RELAYING, None),
    (_P.INSIDE_BETWEEN_ASKED, _E.TOKEN): (_P.INSIDE_ASKED, None),
    (_P.INSIDE_BETWEEN_ASKED, _E.RENEW): (_P.INSIDE_BETWEEN, None),
}

HOLDING: Final = frozenset({_P.RESTING, _P.INSIDE, _P.INSIDE_ASKED})
"""The token is here."""

WITHIN: Final = frozenset({_P.INSIDE, _P.INSIDE_ASKED, _P.INSIDE_BETWEEN, _P.INSIDE_BETWEEN_ASKED})
"""The program is in the critical section."""

WANTING: Final = frozenset({_P.WAITING, _P.WAITING_RELAYING})
"""The program waits for it."""


class Ring:
    """The token as one process knows it."""

    __slots__ = ("generation", "place")

    def __init__(self) -> None:
        self.place = Place.OUT
        self.generation = 0

    def on(self, event: Event) -> Act | None:
        """Go where the table says; what is to be done."""
        try:
            self.place, act = TABLE[self.place, event]
        except KeyError:
            raise ProtocolError(f"the token: {event.name} when {self.place.name}") from None
        return act

    def renew(self, generation: int) -> tuple[bool, Act | None]:
        """Begin a generation; whether the token (of the one before, or to be granted) is here."""
        holds = self.place in HOLDING or self.place in WITHIN
        self.generation = generation
        return holds, self.on(Event.RENEW)

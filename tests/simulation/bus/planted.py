"""Bugs planted into the protocol, one of each kind: what a mistake in it would look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from event_bus.protocol import ring
from event_bus.protocol.barrier import Barrier
from event_bus.protocol.frames import Frame, Kind
from event_bus.protocol.keeper import Keeper, Life, Stage
from event_bus.protocol.member import Member
from event_bus.protocol.pair import Pair
from event_bus.protocol.records import Lost, Open, Ping, Record, Seen, View
from event_bus.protocol.ring import Act, Event, Place, Ring
from tests.simulation.bus.truth import Truth


@dataclass(frozen=True)
class Bug:
    """A bug: another keeper, another member, or a patch."""

    name: str
    seen: str  # what is seen of it
    keeper: type[Keeper] = Keeper
    member: type[Member] = Member
    patch: Callable[[pytest.MonkeyPatch], None] = lambda _: None
    near: int = 0  # the search begins here: not far before the first seed that finds it


# ---------------------------------------------------------------- of the keeper


class _GrantsEarly(Keeper):
    """The first to have seen a view is enough."""

    def _on_seen(self, said: Life, record: Seen) -> None:
        if record.number == self.view.number and not record.holds:
            for seat in self.view.seats:
                self._lives[seat.life].seen = record.number
        super()._on_seen(said, record)


class _GrantsToTheFirst(Keeper):
    """Whoever holds the token, the first seat gets it."""

    def _on_seen(self, said: Life, record: Seen) -> None:
        super()._on_seen(said, record._replace(holds=False))


class _OpensEarly(Keeper):
    """All but one have come."""

    def _open(self, name: str) -> None:
        arrivals = self._barriers[name]._arrivals
        if len(arrivals) > 1 and len(arrivals) == len(self.view.seats) - 1:
            for life, arrival in arrivals.items():
                self._to(life, Open(name, arrival))
            arrivals.clear()
        super()._open(name)


class _DoesNotFence(Keeper):
    """Who is silent is taken for dead, and lives."""

    def _look_at(self, life: Life, now_s: float, *, late: bool) -> None:
        if not late and now_s - life.heard_s > self.silence_s:
            life.stage = Stage.LEAVING
            self._lose(life, "it is silent")
        else:
            super()._look_at(life, now_s, late=late)

    def on_tick(self, now_s: float) -> None:
        self._lives, lives = dict(self._lives), self._lives
        super().on_tick(now_s)
        self._lives = lives


class _SleepsAndKills(Keeper):
    """After the machine slept, all were silent."""

    def _look_at(self, life: Life, now_s: float, *, late: bool) -> None:
        del late
        super()._look_at(life, now_s, late=False)


class _AsksTheUnborn(Keeper):
    """Who waited long for the others of its batch was silent. It was so."""

    def _on_ready(self, ready: Life, now_s: float) -> None:
        heard_s = {life.life: life.heard_s for life in self._lives.values()}
        super()._on_ready(ready, now_s)
        for life in self._lives.values():
            life.heard_s = heard_s[life.life]


class _SeatsByAge(Keeper):
    """Who replaces another goes to the end."""

    def _living(self) -> list[Life]:
        return sorted(super()._living(), key=lambda life: life.life)


class _ForgetsToLookAfterALoss(Keeper):
    """Who died was the last that a barrier waited for."""

    def _lose(self, lost: Life, cause: str) -> None:
        barriers, self._barriers = self._barriers, {}
        for barrier in barriers.values():
            barrier.lose(lost.life)
        super()._lose(lost, cause)
        self._barriers = barriers


# ---------------------------------------------------------------- of a process


class _TakesOldTokens(Member):
    """A token is a token."""

    def _on_numbered(self, life: int, frame: Frame) -> None:
        if frame.kind == Kind.TOKEN:
            frame = frame._replace(call=self.ring.generation)
        super()._on_numbered(life, frame)


class _HeartbeatTicks(Member):
    """A heartbeat moves the clock."""

    def on_record(self, record: Record) -> None:
        super().on_record(record)
        self.clock += isinstance(record, Ping)


class _TokenTicks(Member):
    """A system frame moves the clock."""

    def _on_numbered(self, life: int, frame: Frame) -> None:
        super()._on_numbered(life, frame)
        if frame.kind == Kind.TOKEN:
            self.clock = max(self.clock, frame.stamp) + 1


class _AnswersDoNotTick(Member):
    """A message of the program does not move it."""

    def _on_numbered(self, life: int, frame: Frame) -> None:
        clock = self.clock
        super()._on_numbered(life, frame)
        if frame.kind == Kind.ANSWER:
            self.clock = clock


class _NumbersWithGaps(Member):
    """Who has a number keeps it."""

    def _on_view(self, view: View) -> None:
        known = dict(self._numbers)
        super()._on_view(view)
        self._numbers.update(known)


class _ForgetsWhoAskedEarly(Member):
    """What comes before its view is not for now."""

    def _on_numbered(self, life: int, frame: Frame) -> None:
        if frame.kind != Kind.ASK or frame.call == self.ring.generation:
            super()._on_numbered(life, frame)


class _ForgetsWhatCameEarly(Member):
    """Who is in no view says nothing."""

    def _on_view(self, view: View) -> None:
        self._early.clear()
        super()._on_view(view)


class _WaitsForTheDead(Member):
    """An answer is waited for, whoever owes it."""

    def _on_view(self, view: View) -> None:
        waiting = {call: dict(by_life) for call, by_life in self.answers.items()}
        super()._on_view(view)
        for call, by_life in waiting.items():
            self.answers[call].update(by_life)


class _TellsTwice(Member):
    """A loss stays untold."""

    def untold(self) -> tuple[str, ...]:
        told = self._told
        names = super().untold()
        self._told = told if len(names) > 1 else self._told
        return names


class _LeavesWhenToldOfALoss(Member):
    """A loss opens the barrier, as if it kept nobody."""

    def on_record(self, record: Record) -> None:
        super().on_record(record)
        if isinstance(record, Lost):
            for arrival in self._arrivals.values():
                arrival.opened = True


class _AsksTheGoneForRoom(Member):
    """Room at one who is gone. It was so."""

    def has_room(self, life: int) -> bool:
        return life == self.life or self._pairs[life].has_room()


# ---------------------------------------------------------------- patches


def _table(
    place: Place, event: Event, then: tuple[Place, Act | None]
) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setitem(ring.TABLE, (place, event), then)


def _sends_nothing_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pair, "again", lambda _: [])


def _says_nothing_of_what_came(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pair, "again", lambda pair: [data for _, data in pair._unacknowledged])


def _accepts_all(patch: pytest.MonkeyPatch) -> None:
    accept = Pair.accept
    patch.setattr(Pair, "accept", lambda pair, number: accept(pair, number) or True)


def _has_room_always(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pair, "has_room", lambda _: True)


def _credits_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pair, "take", lambda *_: None)


def _keeps_arrivals(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Barrier, "lose", lambda barrier, life: barrier._arrivals.pop(life, None))


def _withdraws_in_words(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Barrier, "withdraw", lambda barrier, life, arrival: barrier._arrivals.get(life) == arrival)


def _holds_when_resting_only(patch: pytest.MonkeyPatch) -> None:
    def renew(self: Ring, generation: int) -> tuple[bool, Act | None]:
        holds = self.place in ring.HOLDING
        self.generation = generation
        return holds, self.on(Event.RENEW)

    patch.setattr(Ring, "renew", renew)


def _believes(patch: pytest.MonkeyPatch) -> None:
    """Let the observer take the keeper's word for who lives, to see what comes of it."""

    def view_made(truth: Truth, view: View) -> None:
        truth.in_view = {seat.life for seat in view.seats}
        truth._views[view.number] = view

    patch.setattr(Truth, "view_made", view_made)


_P, _E = Place, Event

BUGS: Final = (
    Bug(
        "two tokens: granted before all have seen the view",
        r"(the token of .* not in force)",
        keeper=_GrantsEarly,
    ),
    Bug(
        "two tokens: granted to the first seat, whoever holds one",
        r"(enters the critical section, in which|tokens of the gen)",
        keeper=_GrantsToTheFirst,
    ),
    Bug("two tokens: one of an old generation is taken", r"(comes from nowhere)", member=_TakesOldTokens),
    Bug(
        "two inside: who is inside between two generations is forgotten",
        r"(enters the critical section, in which)",
        patch=_holds_when_resting_only,
        near=9_700,
    ),
    Bug(
        "two inside: who is frozen is not killed before another enters",
        r"(enters the critical section, in which|tokens of the gen)",
        keeper=_DoesNotFence,
        patch=_believes,
    ),
    Bug(
        "starvation: who waits does not ask anew in a new generation",
        r"(hang: .*: the critical section)",
        patch=_table(_P.WAITING, _E.RENEW, (_P.WAITING, None)),
    ),
    Bug(
        "starvation: the left's ask is forgotten by who gives up",
        r"(hang: .*: the critical section)",
        patch=_table(_P.WAITING_RELAYING, _E.CANCEL, (_P.OUT, None)),
    ),
    Bug(
        "starvation: the left's ask is forgotten by who enters",
        r"(hang: .*: the critical section)",
        patch=_table(_P.WAITING_RELAYING, _E.TOKEN, (_P.INSIDE, None)),
    ),
    Bug(
        "starvation: who asked before the view came is forgotten",
        r"(hang: .*: the critical section)",
        member=_ForgetsWhoAskedEarly,
    ),
    # As the table was, before this simulator found it.
    Bug(
        "the token runs in circles: passed on unasked by who gave up",
        r"(does not come to rest|KeyError)",
        patch=_table(_P.WAITING, _E.CANCEL, (_P.RELAYING, None)),
    ),
    Bug("early barrier exit: all but one have come", r"(opens for)", keeper=_OpensEarly),
    Bug("early barrier exit: a withdrawn arrival counts", r"(opens, . waits at)", patch=_withdraws_in_words),
    Bug(
        "early barrier exit: it keeps all, and counts who was not told",
        r"(it opens, and . was told of)",
        patch=_keeps_arrivals,
        near=2_000,
    ),
    Bug(
        "early barrier exit: a loss opens it",
        "passes barrier .* which is shut",
        member=_LeavesWhenToldOfALoss,
    ),
    Bug(
        "barrier hangs: the last that it waited for has died",
        r"(hang: .*opens)",
        keeper=_ForgetsToLookAfterALoss,
    ),
    Bug("a loss is told twice", r"(is told of)", member=_TellsTwice),
    Bug("clock moved by a heartbeat", r"(Ping.*moves the clock)", member=_HeartbeatTicks),
    Bug("clock moved by the token", r"(kind=4.*moves the clock)", member=_TokenTicks),
    Bug("clock not moved by an answer", r"(kind=2.*moves the clock)", member=_AnswersDoNotTick),
    Bug(
        "lost on reconnect: nothing is sent again",
        r"(ProtocolError.*came after|hang)",
        patch=_sends_nothing_again,
    ),
    Bug(
        "lost on reconnect: what was taken is not said again",
        r"(hang: .*room at)",
        patch=_says_nothing_of_what_came,
        near=900,
    ),
    Bug(
        "lost at the start: what came before the view",
        r"(clock . after|came before|hang)",
        member=_ForgetsWhatCameEarly,
    ),
    Bug("doubled: a number that came already is taken", r"(came before)", patch=_accepts_all),
    Bug("numbering with a gap", r"(numbers the living)", member=_NumbersWithGaps),
    Bug("numbering: who replaces another gets another place", r"(the seats' order is)", keeper=_SeatsByAge),
    Bug("credit: there is room always", r"(may send on)", patch=_has_room_always),
    Bug("credit: nothing is ever told as taken", r"(hang: .*room at)", patch=_credits_nothing),
    Bug("credit: room at one who is gone", r"(KeyError)", member=_AsksTheGoneForRoom),
    Bug("a call waits for the answer of the dead", r"(hang: .*answers of)", member=_WaitsForTheDead),
    Bug("who waits for its batch is killed as silent", r"(is killed, silent for)", keeper=_AsksTheUnborn),
    Bug("a machine that slept kills the healthy", r"(is killed, silent for)", keeper=_SleepsAndKills),
)

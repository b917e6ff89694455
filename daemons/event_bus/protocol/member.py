"""A process's side of the protocol: records and frames in, records and frames out, state between.

Pure: the shell (`event_bus.shell`) hands in what came over the connections, carries out what stands in
`reports` (to the keeper) and `outgoing` (to other processes) after every call, and wakes those who wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from event_bus.errors import NoSuchProcess, ProtocolError
from event_bus.protocol import records
from event_bus.protocol.frames import Frame, Kind
from event_bus.protocol.mailbox import Envelope, Mailbox
from event_bus.protocol.pair import Pair
from event_bus.protocol.ring import WANTING, WITHIN, Act, Event, Ring

if TYPE_CHECKING:
    from event_bus.protocol.records import Record, Seat, View

NOBODY: Final = records.View(0, (), 0)

# Kinds as plain numbers: a comparison with an enum's member costs more than the frame's other handling.
_MESSAGE, _ANSWER, _ASK, _TOKEN, _ACK, _TAKE_BACK = (int(kind) for kind in Kind)


class Arrival:
    """An arrival at a barrier, and what became of it."""

    __slots__ = ("awaited", "barrier", "number", "opened", "withdrawn")

    def __init__(self, barrier: str, number: int) -> None:
        self.barrier = barrier
        self.number = number
        self.awaited = False  # a thread of the program waits for it
        self.opened = False
        self.withdrawn = False


class Member:
    """One process on the bus, from its birth to its end."""

    def __init__(self, life: int) -> None:
        self.life = life
        self.clock = 0  # Lamport's
        self.view: View = NOBODY
        self.stopping = False
        self.mailbox = Mailbox()
        self.answers: dict[int, dict[int, bytes | None]] = {}  # by call and by life; None: not yet
        self.ring = Ring()
        self.lost_names: list[str] = []  # every loss since this process is on the bus
        self.reports: list[Record] = []
        self.outgoing: list[tuple[int, bytes]] = []
        self._pairs: dict[int, Pair] = {}
        self._numbers: dict[int, int] = {}  # by life: its number, or the last it had
        self._names: dict[int, str] = {}
        self._early: dict[int, list[Frame]] = {}  # of lives that are in no view yet
        self._asked_early = 0  # the generation in which the left asked before its view came
        self._calls = 0
        self._arrivals: dict[str, Arrival] = {}
        self._arrived = 0
        self._living: frozenset[int] = frozenset()
        self._losses_before = 0  # losses before this process was on the bus
        self._told = 0  # losses since then that the program has been told of

    # ------------------------------------------------------------------ who is who

    @property
    def number(self) -> int:
        """Its own number; -1 while it is in no view."""
        return self._numbers.get(self.life, -1)

    @property
    def joined(self) -> bool:
        """Whether it is in a view."""
        return self.view is not NOBODY

    def seat(self, dest: int | str) -> Seat:
        """The living process of that number, or in the seat of that name."""
        if isinstance(dest, str):
            for seat in self.view.seats:
                if seat.name == dest:
                    return seat
            names = ", ".join(seat.name for seat in self.view.seats)
            raise NoSuchProcess(f"no process is called {dest!r}: there are {names}")
        return self._numbered(dest)

    def _numbered(self, number: int) -> Seat:
        if not 0 <= number < len(self.view.seats):
            raise NoSuchProcess(f"no process {number}: {len(self.view.seats)} live, numbered from 0")
        return self.view.seats[number]

    def lives(self, life: int) -> bool:
        """Whether that process is in the view."""
        return life in self._living

    def number_of(self, life: int) -> int:
        """The number of a process, or the last it had."""
        return self._numbers[life]

    def name_of(self, life: int) -> str:
        """The name of a process's seat."""
        return self._names[life]

    def others(self) -> list[int]:
        """The lives of all others in the view."""
        return [seat.life for seat in self.view.seats if seat.life != self.life]

    # ------------------------------------------------------------------ from the keeper

    def on_record(self, record: Record) -> None:
        """What the keeper says."""
        match record:
            case records.View():
                self._on_view(record)
            case records.Link():
                self._on_link(record)
            case records.Grant():
                if record.generation == self.ring.generation:
                    self._turn(Event.TOKEN)
            case records.Open() | records.Withdrawn():
                arrival = self._arrivals.get(record.barrier)
                if arrival is not None and arrival.number == record.arrival:
                    arrival.opened = isinstance(record, records.Open)
                    arrival.withdrawn = not arrival.opened
            case records.Lost():
                self.lost_names.append(record.name)
            case records.Ping():
                self.reports.append(records.Pong(record.number))
            case records.Stop():
                self.stopping = True
            case _:
                raise ProtocolError(f"the keeper does not say {type(record).__name__}")

    def _on_view(self, view: View) -> None:
        if not self.joined:
            self._losses_before = view.losses
        self.view = view
        self._living = frozenset(seat.life for seat in view.seats)
        for number, seat in enumerate(view.seats):
            self._numbers[seat.life] = number
            self._names[seat.life] = seat.name
        for by_life in self.answers.values():
            for life in [life for life, answer in by_life.items() if answer is None and not self.lives(life)]:
                del by_life[life]
        for life in [life for life, pair in self._pairs.items() if not pair.link and self._is_past(life)]:
            del self._pairs[life]
        holds, act = self.ring.renew(view.number)
        self.reports.append(records.Seen(view.number, holds))
        self._act(act)
        if self._asked_early == view.number:
            self._turn(Event.ASKED)
        for life in [life for life in self._early if self.lives(life)]:
            for frame in self._early.pop(life):
                self._on_numbered(life, frame)

    def _on_link(self, link: records.Link) -> None:
        pair = self._pairs.setdefault(link.life, Pair())
        pair.link = link.number
        self.outgoing.extend((link.life, data) for data in pair.again())

    # ------------------------------------------------------------------ from other processes

    def on_link_down(self, life: int, number: int) -> None:
        """A connection is broken: the keeper makes another, unless that process is dead."""
        pair = self._pairs.get(life)
        if pair is None or pair.link != number:
            return
        pair.link = 0
        if self._is_past(life):
            del self._pairs[life]
        else:
            self.reports.append(records.Relink(life, number))

    def _is_past(self, life: int) -> bool:
        return life in self._names and life not in self._living

    def on_frame(self, life: int, frame: Frame) -> None:
        """A frame that came over a connection."""
        pair = self._pairs[life]
        if frame.kind == _ACK:
            pair.acknowledged(frame.stamp, frame.call)
            return
        if not pair.accept(frame.number):
            return
        if life in self._names:
            self._on_numbered(life, frame)
        else:
            self._early.setdefault(life, []).append(frame)
        ack = pair.ack_due()
        if ack is not None:
            self._send(life, pair, ack)

    def _on_numbered(self, life: int, frame: Frame) -> None:
        kind = frame.kind
        if kind == _MESSAGE:
            self.clock = max(self.clock, frame.stamp) + 1
            self.mailbox.put(Envelope(life, frame.sender, frame.type, frame.stamp, frame.call, frame.payload))
        elif kind == _ANSWER:
            self.clock = max(self.clock, frame.stamp) + 1
            self._pairs[life].take(len(frame.payload))
            waiting = self.answers.get(frame.call)
            if waiting is not None and life in waiting:
                waiting[life] = frame.payload
        elif kind == _TAKE_BACK:
            envelope = self.mailbox.take_back(life, frame.call)
            if envelope is not None:
                self.taken(envelope)
        elif kind == _ASK:
            if frame.call == self.ring.generation:
                self._turn(Event.ASKED)
            else:
                self._asked_early = max(self._asked_early, frame.call)
        elif kind == _TOKEN:
            if frame.call == self.ring.generation:
                self._turn(Event.TOKEN)
        else:
            raise ProtocolError(f"a numbered frame of kind {kind}")

    # ------------------------------------------------------------------ the program's messages

    def has_room(self, life: int) -> bool:
        """Whether a message to that process may be sent now."""
        pair = self._pairs.get(life)
        return pair is None or pair.has_room()  # there is none with itself, nor with one who is gone

    def send(self, lives: list[int], payload: bytes, type_: str, *, answered: bool = False) -> int:
        """Send one message, to one or to many; the number of the call if an answer is wanted, else 0."""
        self.clock += 1
        call = 0
        if answered:
            self._calls += 1
            call = self._calls
            self.answers[call] = dict.fromkeys(lives)
        stamp, sender = self.clock, self.number
        for life in lives:
            if life == self.life:
                self.clock += 1
                self.mailbox.put(Envelope(life, self.number, type_, stamp, call, payload))
                continue
            pair = self._pairs[life]
            data = pair.keep(_MESSAGE, stamp, call, type_, payload, sender)
            if pair.link:
                self.outgoing.append((life, data))
        return call

    def give_up(self, call: int) -> None:
        """The program waits no longer for a call's answers: who has not received it yet never will."""
        for life, answer in self.answers.pop(call).items():
            if answer is None and self.lives(life):
                pair = self._pairs[life]
                self._send(life, pair, pair.keep(_TAKE_BACK, 0, call))

    def answer(self, envelope: Envelope, payload: bytes) -> None:
        """Answer a message whose sender waits, if it still lives."""
        self.clock += 1
        if self.lives(envelope.life):
            pair = self._pairs[envelope.life]
            data = pair.keep(_ANSWER, self.clock, envelope.call, "", payload)
            self._send(envelope.life, pair, data)

    def taken(self, envelope: Envelope) -> None:
        """The program has taken a message out of the mailbox."""
        pair = self._pairs.get(envelope.life)
        if pair is None:
            return  # the sender is dead, or is this process itself
        pair.take(len(envelope.payload))
        ack = pair.ack_due()
        if ack is not None:
            self._send(envelope.life, pair, ack)

    def _send(self, life: int, pair: Pair, data: bytes) -> None:
        if pair.link:
            self.outgoing.append((life, data))

    # ------------------------------------------------------------------ the critical section

    @property
    def inside(self) -> bool:
        """Whether the program is in the critical section."""
        return self.ring.place in WITHIN

    def want_token(self) -> None:
        """The program wants to enter."""
        self._turn(Event.WANT)

    def cancel_token(self) -> None:
        """It waits no longer."""
        if self.ring.place in WANTING:
            self._turn(Event.CANCEL)
        elif self.inside:
            self._turn(Event.LEAVE)  # it came just then

    def leave_critical_section(self) -> None:
        """It leaves."""
        self._turn(Event.LEAVE)

    def _turn(self, event: Event) -> None:
        self._act(self.ring.on(event))

    def _act(self, act: Act | None) -> None:
        seats = self.view.seats
        if act is None or (act is Act.ASK and len(seats) < 2):
            return  # who is alone is granted it unasked
        step, kind = (1, Kind.ASK) if act is Act.ASK else (-1, Kind.TOKEN)
        life = seats[(self.number + step) % len(seats)].life
        pair = self._pairs[life]
        self._send(life, pair, pair.keep(kind, 0, self.ring.generation))

    # ------------------------------------------------------------------ barriers

    def untold(self) -> tuple[str, ...]:
        """The seats lost since the program was told last; it is told now."""
        names = tuple(self.lost_names[self._told :])
        self._told = len(self.lost_names)
        return names

    def arrive(self, barrier: str, *, keep_all: bool) -> Arrival:
        """The program has come to a barrier."""
        self._arrived += 1
        arrival = self._arrivals[barrier] = Arrival(barrier, self._arrived)
        told = self._losses_before + self._told
        self.reports.append(records.Arrive(barrier, keep_all, self._arrived, told))
        return arrival

    def waits_at(self, barrier: str) -> bool:
        """Whether a thread of the program waits at that barrier."""
        arrival = self._arrivals.get(barrier)
        return arrival is not None and arrival.awaited

    def withdraw(self, arrival: Arrival) -> None:
        """It waits no longer; the keeper says whether that was in time."""
        self.reports.append(records.Withdraw(arrival.barrier, arrival.number))

    @property
    def has_untold(self) -> bool:
        """Whether there are losses that the program was not told of."""
        return self._told < len(self.lost_names)

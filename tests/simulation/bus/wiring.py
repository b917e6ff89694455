"""Connections and processes as the kernel would have them, without a kernel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import NamedTuple

from event_bus.protocol.frames import Reassembly
from event_bus.protocol.mailbox import Envelope, Mailbox
from event_bus.protocol.member import Member
from event_bus.protocol.records import Record
from event_bus.protocol.ring import HOLDING, Act, Event, Ring
from tests.simulation.bus.truth import Truth


class Wait(NamedTuple):
    """What a thread of a program waits for."""

    done: Callable[[], bool]
    what: str
    timed: bool = False  # it may give up
    quiet: bool = False  # it goes on when the bus stops


Program = Generator[Wait | None, None, None]


class End:
    """One end of a connection: what is on the way to it, and whether the other end is closed."""

    __slots__ = ("closed", "eof", "inbox", "number", "peer", "reassembly", "stalled")

    peer: End

    def __init__(self, number: int) -> None:
        self.number = number
        self.inbox = bytearray()
        self.eof = False
        self.closed = False
        self.reassembly = Reassembly()
        self.stalled = 0  # nothing is read before this turn

    def send(self, data: bytes) -> None:
        """Give bytes to the kernel; a connection that is gone takes everything."""
        if not self.eof and not self.closed and not self.peer.eof:
            self.peer.inbox += data

    def close(self) -> None:
        """What was not read is lost; the other end reads what was sent, and then the end."""
        self.closed = True
        self.inbox.clear()
        self.peer.eof = True


def connection(number: int) -> tuple[End, End]:
    """A connection's two ends."""
    one, other = End(number), End(number)
    one.peer, other.peer = other, one
    return one, other


class Thread:
    """A thread of a program."""

    __slots__ = ("name", "over", "program", "wait")

    def __init__(self, name: str, program: Program) -> None:
        self.name = name
        self.program = program
        self.wait: Wait | None = None
        self.over = False


class WatchedRing(Ring):
    """The ring, which tells the truth where the token goes."""

    __slots__ = ("_truth",)

    def __init__(self, truth: Truth) -> None:
        super().__init__()
        self._truth = truth

    def on(self, event: Event) -> Act | None:
        """As the table says."""
        if event is Event.TOKEN:
            self._truth.token_came(self.generation)
        act = super().on(event)
        if act is Act.PASS:
            self._truth.token_sent(self.generation)
        elif self.place in HOLDING:
            self._truth.token_is_held()
        return act


class WatchedMailbox(Mailbox):
    """The mailbox, which tells the truth what came."""

    __slots__ = ("_life", "_truth")

    def __init__(self, truth: Truth, life: int) -> None:
        super().__init__()
        self._truth = truth
        self._life = life

    def put(self, envelope: Envelope) -> None:
        """A message has come."""
        self._truth.arrived(self._life, envelope)
        super().put(envelope)

    def take_back(self, life: int, call: int) -> Envelope | None:
        """Its sender waits no longer: it is out of the way, as if the program had taken it."""
        envelope = super().take_back(life, call)
        if envelope is not None:
            self._truth.taken(self._life, envelope)
            self._truth.counts["taken back"] += 1
        return envelope


class Proc:
    """A process: its protocol, its descriptors, the threads of its program."""

    def __init__(self, life: int, name: str, batch: int, member: Member, truth: Truth) -> None:
        self.life = life
        self.name = name
        self.batch = batch
        self.member = member
        member.ring = WatchedRing(truth)
        member.mailbox = WatchedMailbox(truth, life)
        self.line_in: deque[tuple[Record, End | None]] = deque()
        self.line_out: deque[Record] = deque()
        self.ends: dict[int, End] = {}
        self.threads: list[Thread] = []
        self.frozen = False
        self.condemned = False  # SIGKILL is on its way
        self.left = False  # it has said goodbye, and takes no step any more
        self.dead = False
        self.exited = False  # it died in order, of its own will
        self.in_stalled = self.out_stalled = self.threads_stalled = 0
        # what the program knows
        self.section = False  # one of its threads is, or wants to be, in the critical section
        self.rounds = 0  # of the barrier that keeps all
        self.done = False  # it has done all it wanted
        self.waits_at: tuple[str, int] | None = None
        self.moves = 0  # by how much the thread that runs has moved the clock
        # what an observer counts
        self.came: dict[int, int] = {}  # by life: numbered frames
        self.known: set[int] = set()  # lives that were in a view here
        self.early: dict[int, list[int]] = {}  # stamps of what came from others
        self.told = 0
        self.heard_s = 0.0

    @property
    def runs(self) -> bool:
        """Whether it may take a step."""
        return not (self.dead or self.frozen or self.left)

    def plug(self, life: int, end: End) -> None:
        """A new connection; one before it is read no further."""
        self.unplug(life)
        self.ends[life] = end

    def unplug(self, life: int) -> None:
        """Close a connection."""
        end = self.ends.pop(life, None)
        if end is not None:
            end.close()

    def carry_out(self) -> None:
        """What `Wires.carry_out` does."""
        member = self.member
        if member.outgoing:
            for life, data in member.outgoing:
                end = self.ends.get(life)
                if end is not None:
                    end.send(data)
            member.outgoing.clear()
        if member.reports:
            self.line_out.extend(member.reports)
            member.reports.clear()

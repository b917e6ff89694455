"""What an observer sees who is everywhere at once, and what must hold for it at every step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from event_bus import limits
from event_bus.protocol.mailbox import Envelope
from event_bus.protocol.records import View
from event_bus.protocol.ring import HOLDING

if TYPE_CHECKING:
    from tests.simulation.bus.wiring import Proc

LOCKSTEP: Final = "lockstep"
"""The name of the barrier that keeps everyone."""


class Violation(AssertionError):
    """Something was seen that must not be."""


def must(holds: bool, what: str) -> None:
    """Raise unless it holds."""
    if not holds:
        raise Violation(what)


class Truth:
    """Everything, told as it happens."""

    def __init__(self, procs: dict[int, Proc]) -> None:
        self._procs = procs
        self.inside: set[int] = set()
        self.in_view: set[int] = set()
        self.losses: list[str] = []
        self.broken: set[frozenset[int]] = set()  # pairs whose connection broke
        self.counts: Counter[str] = Counter()  # how often what is to be met was met
        self._opened: set[tuple[int, str, int]] = set()  # by life, barrier and arrival
        self.opens = 0  # of the barrier that keeps all
        self._losses_before: dict[int, int] = {}
        self._seat_order: list[str] = []
        self._views: dict[int, View] = {}
        self._on_the_way: dict[int, int] = {}  # by generation: tokens
        self._sent: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._arrived: dict[tuple[int, int], int] = defaultdict(int)
        self._untaken_bytes: dict[tuple[int, int], int] = defaultdict(int)
        self._clocks: dict[int, dict[int, int]] = defaultdict(dict)  # vector clocks, by life
        self._stamps: dict[int, list[int]] = defaultdict(list)
        self._messages: list[tuple[int, dict[int, int]]] = []

    # ------------------------------------------------------------------ the critical section and its token

    def enter(self, life: int) -> None:
        """A program enters."""
        must(not self.inside, f"{life} enters the critical section, in which {self.inside} is")
        self.inside.add(life)
        self.counts["entered"] += 1

    def leave(self, life: int) -> None:
        """A program leaves."""
        self.inside.discard(life)

    def granted(self, generation: int) -> None:
        """The keeper grants a token."""
        must(generation not in self._on_the_way, f"the token of {generation} is granted twice")
        late = [life for life in self.in_view if self._procs[life].member.ring.generation != generation]
        must(not late, f"the token of {generation} is granted, which is not in force at {late}")
        self._on_the_way[generation] = 1
        self.counts["token lost"] += self._on_the_way.get(generation - 1, 0) > 0
        self.counts["renewed around one inside"] += bool(self.inside)

    def token_came(self, generation: int) -> None:
        """A process takes a token for good."""
        left = self._on_the_way[generation] = self._on_the_way.get(generation, 0) - 1
        must(left >= 0, f"a token of generation {generation} comes from nowhere")

    def token_sent(self, generation: int) -> None:
        """A process passes the token on."""
        self._on_the_way[generation] += 1
        self.counts["token passed"] += 1
        self.token_is_held()

    def token_is_held(self) -> None:
        """The token has come to somebody, or goes."""
        held = [
            proc.member.ring.generation
            for proc in self._procs.values()
            if not proc.dead and not proc.left and proc.member.ring.place in HOLDING
        ]
        must(len(held) < 2, f"tokens of the generations {held} are held")
        if held:
            must(self._on_the_way[held[0]] == 0, f"the token of {held[0]} is held and on its way")

    def token_exists(self, generation: int) -> bool:
        """Whether there is one, held by the living or on its way."""
        held = [p for p in self._procs.values() if p.life in self.in_view and p.member.ring.place in HOLDING]
        return len(held) + self._on_the_way.get(generation, 0) == 1

    # ------------------------------------------------------------------ who lives

    def joined(self, lives: Collection[int], now_s: float) -> None:
        """A batch is on the bus; from now on who is silent is frozen."""
        for life in sorted(lives):
            proc = self._procs[life]
            self.in_view.add(life)
            self._losses_before[life] = len(self.losses)
            proc.rounds = self.opens
            proc.heard_s = now_s
            self.counts["replaced"] += proc.name in self._seat_order
            if proc.name not in self._seat_order:
                self._seat_order.append(proc.name)

    def lost(self, life: int) -> None:
        """The keeper has heard that a process left or died."""
        if life in self.in_view:
            self.in_view.discard(life)
            self.losses.append(self._procs[life].name)

    def view_made(self, view: View) -> None:
        """The keeper has made a view."""
        must({seat.life for seat in view.seats} == self.in_view, f"{view} where {self.in_view} live")
        names = {self._procs[life].name for life in self.in_view}
        wanted = [name for name in self._seat_order if name in names]
        must([seat.name for seat in view.seats] == wanted, f"{view}: the seats' order is {wanted}")
        must(view.number not in self._views, f"two views {view.number}")
        self._views[view.number] = view

    def view_seen(self, proc: Proc, view: View) -> None:
        """A view is in force at a process."""
        must(view == self._views[view.number], f"{view} is not the keeper's {self._views[view.number]}")
        member = proc.member
        numbers = [member.number_of(seat.life) for seat in view.seats]
        must(numbers == list(range(len(view.seats))), f"{proc.life} numbers the living {numbers}")
        must([member.seat(number) for number in numbers] == list(view.seats), f"{proc.life} mixes up seats")
        must(view.seats[member.number].life == proc.life, f"{proc.life} believes to be {member.number}")

    # ------------------------------------------------------------------ messages

    def sends(self, proc: Proc, lives: Collection[int]) -> bytes:
        """A message is about to be sent; the head of its payload, by which it is known."""
        clock = self._clocks[proc.life]
        clock[proc.life] = clock.get(proc.life, 0) + 1
        self._messages.append((proc.life, dict(clock)))
        number = len(self._messages) - 1
        for life in lives:
            self._sent[proc.life, life].append(number)
        return number.to_bytes(4, "little")

    def has_sent(self, proc: Proc, stamp: int, lives: Collection[int] = (), size: int = 0) -> None:
        """It was sent: its stamp is above the stamps of all that it could have known of."""
        for life, count in self._clocks[proc.life].items():
            if life != proc.life:
                known = self._stamps[life][count - 1]
                must(known < stamp, f"{proc.life} stamps {stamp}, knowing of {known} of {life}")
        stamps = self._stamps[proc.life]
        must(not stamps or stamps[-1] < stamp, f"{proc.life} stamps {stamp} after {stamps[-1:]}")
        stamps.append(stamp)
        for life in lives:
            self._untaken_bytes[proc.life, life] += size

    def _knows(self, life: int, head: bytes) -> int:
        number = int.from_bytes(head[:4], "little")
        mine, (sender, theirs) = self._clocks[life], self._messages[number]
        for other, count in theirs.items():
            if mine.get(other, 0) < count:
                mine[other] = count
        must(sender != life or theirs[life] <= mine[life], "a message from the future")
        return number

    def arrived(self, life: int, envelope: Envelope) -> None:
        """A message is in the mailbox: the next of its pair."""
        number = self._knows(life, envelope.payload)
        pair = (envelope.life, life)
        at = self._arrived[pair]
        self._arrived[pair] = at + 1
        sent = self._sent[pair]
        if at >= len(sent) or sent[at] != number:
            raise Violation(f"{pair}: message {number} came, {at} came before: {sent}")
        stamp = self._stamps[envelope.life][self._messages[number][1][envelope.life] - 1]
        must(envelope.stamp == stamp, "a message comes with another stamp than it was sent with")

    def answered(self, life: int, sender: int, payload: bytes, asked: bytes) -> None:
        """An answer is in the program's hands: it is that sender's, to what was asked."""
        number = self._knows(life, payload)
        must(self._messages[number][0] == sender, f"an answer of {self._messages[number][0]}, not {sender}")
        must(payload[4:8] == asked[:4], f"{life}: {sender} answers another question")

    def taken(self, life: int, envelope: Envelope) -> None:
        """A program has taken a message."""
        self._untaken_bytes[envelope.life, life] -= len(envelope.payload)

    def has_room(self, life: int, other: int) -> None:
        """It was said that there is room for a message."""
        untaken = self._untaken_bytes[life, other]
        must(untaken < limits.UNTAKEN_BYTES_MAX, f"{life} has {untaken} bytes at {other}, and may send on")

    def nothing_is_lost(self) -> None:
        """All is quiet: what was sent to the living has come and was taken.

        From the living, and from those who left in order over a connection that never broke.
        """
        for (sender, receiver), sent in self._sent.items():
            if receiver not in self.in_view:
                continue
            whole = self._procs[sender].exited and frozenset((sender, receiver)) not in self.broken
            if sender in self.in_view or whole:
                self.counts["left in order"] += whole
                came = self._arrived[sender, receiver]
                must(came == len(sent), f"{sender} sent {len(sent)} messages to {receiver}, {came} came")
                untaken = self._untaken_bytes[sender, receiver]
                must(untaken == 0, f"{untaken} bytes of {sender} wait at {receiver} for ever")

    # ------------------------------------------------------------------ barriers

    def opened(self, name: str, arrivals: dict[int, int]) -> None:
        """The keeper opens a barrier: everyone who lives waits at it."""
        must(set(arrivals) == self.in_view, f"barrier {name!r} opens for {set(arrivals)} of {self.in_view}")
        for life, arrival in arrivals.items():
            self._opened.add((life, name, arrival))
            proc = self._procs[life]
            must(proc.waits_at == (name, arrival), f"barrier {name!r} opens, {life} waits at {proc.waits_at}")
            if name == LOCKSTEP:
                told = self._losses_before[life] + proc.told
                must(
                    told == len(self.losses),
                    f"it opens, and {life} was told of {told} losses of {self.losses}",
                )
        if name == LOCKSTEP:
            must(
                len(self.in_view) == len(self._seat_order),
                f"it opens for {self.in_view} of {self._seat_order}",
            )
            self.opens += 1
        self.counts[f"barrier {name!r} opened"] += len(arrivals) > 1

    def told(self, proc: Proc, names: tuple[str, ...]) -> None:
        """A program gets MemberLost."""
        self.counts["losses told"] += 1
        first = self._losses_before[proc.life] + proc.told
        proc.told += len(names)
        wanted = tuple(self.losses[first : first + len(names)])
        must(names == wanted and bool(names), f"{proc.life} is told of {names}, lost are {wanted}")

    def passed(self, proc: Proc, name: str, arrival: int) -> None:
        """A program goes on after a barrier: the keeper has opened it."""
        must(
            (proc.life, name, arrival) in self._opened, f"{proc.life} passes barrier {name!r}, which is shut"
        )

    def counted(self, proc: Proc) -> None:
        """A program has passed the barrier that keeps all, and counts its rounds."""
        must(proc.rounds <= self.opens, f"{proc.life} has passed {proc.rounds} rounds of {self.opens}")

    # ------------------------------------------------------------------ deaths

    def died(self, life: int) -> None:
        """A process is dead."""
        self.counts["killed inside"] += life in self.inside
        self.inside.discard(life)

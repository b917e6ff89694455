"""The keeper's side of the protocol: who lives, whose the token is, which barriers open. Pure.

One process, forked before all others, that runs no program of its own. Deaths come to it from the kernel;
of a process that is frozen it makes a dead one, by SIGKILL, before anybody else may take its place: so a
process that was stopped inside the critical section never wakes up beside another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Final, NamedTuple

from event_bus import limits
from event_bus.errors import ProtocolError
from event_bus.protocol import records
from event_bus.protocol.barrier import Barrier
from event_bus.protocol.records import Seat, View

if TYPE_CHECKING:
    from collections.abc import Iterable

    from event_bus.protocol.records import Record


LEFT: Final = "it has left"
GIVEN_UP: Final = "its manager gave its start up"
EXPECTED: Final = frozenset({LEFT, GIVEN_UP})
"""Causes of a loss that are no news: who was lost, or who let it be started, wanted it so."""


class Stage(Enum):
    """How far a life is."""

    STARTING = auto()
    """Forked; its constructor runs."""
    READY = auto()
    """Its constructor has returned; others of its batch are awaited."""
    LIVING = auto()
    """In the view."""
    LEAVING = auto()
    """Out of the view, by its own will or because its batch failed; its end is awaited."""


@dataclass(slots=True)
class Life:
    """One process, from its fork to its death."""

    life: int
    name: str
    pid: int
    batch: int
    stage: Stage = Stage.STARTING
    heard_s: float = 0.0
    busy_s: float | None = None  # since when it computes and says nothing
    seen: int = 0  # the last view that is in force there
    condemned: str = ""  # why it is being killed


class ToProcess(NamedTuple):
    """Say this to a process."""

    life: int
    record: Record


class ToManager(NamedTuple):
    """Say this to the manager."""

    record: Record


class Connect(NamedTuple):
    """Make a connection for a pair of processes, and give each its end, with this number."""

    lives: tuple[int, int]
    number: int


class Kill(NamedTuple):
    """Send a signal."""

    life: int
    signal: int


Effect = ToProcess | ToManager | Connect | Kill


@dataclass(slots=True)
class Keeper:
    """All that the keeper knows. Every call appends to `effects`; the shell carries them out in order."""

    silence_s: float = limits.SILENCE_S
    effects: list[Effect] = field(default_factory=list)
    view: View = field(default_factory=lambda: View(0, (), 0))
    _lives: dict[int, Life] = field(default_factory=dict)
    _seats: list[str] = field(default_factory=list)  # every name that was ever on the bus, in order
    _links: dict[tuple[int, int], int] = field(default_factory=dict)
    _batches: dict[int, int] = field(default_factory=dict)  # processes of a batch that is not complete
    _barriers: dict[str, Barrier] = field(default_factory=dict)
    _holder: int | None = None  # who said that the token is there, since the last view
    _losses: int = 0
    _pings: int = 0
    _ticked_s: float = 0.0
    _stop_s: float | None = None  # when it was asked to stop
    _signalled: int = 0

    # ------------------------------------------------------------------ from the manager

    def on_join(self, record: records.Join, now_s: float) -> None:
        """A process was forked: it is connected with all that are there."""
        for other in self._lives.values():
            if other.stage is not Stage.LEAVING:
                self._connect(record.life, other.life)
        self._lives[record.life] = Life(record.life, record.name, record.pid, record.batch, heard_s=now_s)
        self._batches[record.batch] = record.size
        if self._stop_s is not None:
            self._to(record.life, records.Stop())

    def on_quit(self, life: int) -> None:
        """One process is to end."""
        if life in self._lives:
            self._to(life, records.Stop())

    def on_give_up(self, batch: int) -> None:
        """A batch that the manager has forked is not to be: it took too long, or was interrupted."""
        living = [each for each in self._lives.values() if each.batch == batch and each.stage is Stage.LIVING]
        for life in living:  # it was on the bus before the manager heard of it
            life.condemned = GIVEN_UP
            self.effects.append(Kill(life.life, SIGKILL))
        if not living:
            self._fail(batch, GIVEN_UP)

    def on_stop(self, now_s: float) -> None:
        """All are to end; told again, or by the manager's death, nothing changes."""
        if self._stop_s is None:
            self._stop_s = now_s
            for life in self._lives:
                self._to(life, records.Stop())
            self._say_when_stopped()

    # ------------------------------------------------------------------ from the kernel and the clock

    def on_death(self, life: int) -> None:
        """The kernel says that a process is dead."""
        dead = self._lives.pop(life)
        cause = dead.condemned or (LEFT if dead.stage is Stage.LEAVING else "it has died")
        if dead.stage is Stage.LIVING:
            self._lose(dead, cause)
        elif dead.stage is not Stage.LEAVING:
            self._fail(dead.batch, f"process {dead.name} (pid {dead.pid}) died before it was on the bus")
        self._say_when_stopped()

    def on_tick(self, now_s: float) -> None:
        """Time passes: ask who lives, kill who is frozen, press on with a stop."""
        late = now_s - self._ticked_s > 2 * limits.HEARTBEAT_S
        if now_s - self._ticked_s >= limits.HEARTBEAT_S:
            self._ticked_s = now_s
            self._pings += 1
            for life in self._lives.values():
                if life.stage is Stage.LIVING:
                    self._look_at(life, now_s, late=late)
        if self._stop_s is not None:
            self._press(now_s - self._stop_s)

    def quiet(self, now_s: float) -> dict[int, int]:
        """Who has not been heard for half of the time after which it is frozen: life and process id."""
        living = (life for life in self._lives.values() if life.stage is Stage.LIVING and not life.condemned)
        return {each.life: each.pid for each in living if now_s - each.heard_s > self.silence_s / 2}

    def on_working(self, life: int, now_s: float) -> None:
        """The kernel says that a quiet process computes: that is no silence, for BUSY_S at most."""
        working = self._lives[life]
        if working.busy_s is None:
            working.busy_s = working.heard_s
        if now_s - working.busy_s <= limits.BUSY_S:
            working.heard_s = now_s

    def _look_at(self, life: Life, now_s: float, *, late: bool) -> None:
        if late:
            # Whoever slept (the whole machine, or a terminal's Ctrl-Z) cannot tell who else did.
            life.heard_s = now_s
        if now_s - life.heard_s > self.silence_s and not life.condemned:
            since_s = life.heard_s if life.busy_s is None else life.busy_s
            life.condemned = f"it was silent for {now_s - since_s:.1f} s, and was killed"
            self.effects.append(Kill(life.life, SIGKILL))
        self._to(life.life, records.Ping(self._pings))

    def _press(self, stopping_s: float) -> None:
        for step, after_s, signal in ((1, limits.STOP_TERM_S, SIGTERM), (2, limits.STOP_KILL_S, SIGKILL)):
            if stopping_s >= after_s and self._signalled < step:
                self._signalled = step
                for life in self._lives.values():
                    life.condemned = life.condemned or "it did not end when the bus stopped, and was made to"
                    self.effects.append(Kill(life.life, signal))

    # ------------------------------------------------------------------ from a process

    def on_report(self, life: int, record: Record, now_s: float) -> None:
        """What a process says."""
        said = self._lives.get(life)
        if said is None:
            return  # its last words came after the kernel's
        said.heard_s, said.busy_s = now_s, None
        match record:
            case records.Arrive():  # first, for it comes most often
                self._on_arrive(said, record)
            case records.Ready():
                self._on_ready(said, now_s)
            case records.Failed():
                said.stage = Stage.LEAVING
                self._fail(said.batch, record.text)
            case records.Seen():
                self._on_seen(said, record)
            case records.Relink():
                self._on_relink(said, record)
            case records.Withdraw():
                barrier = self._barriers.get(record.barrier)
                if barrier is not None and barrier.withdraw(life, record.arrival):
                    self._to(life, records.Withdrawn(record.barrier, record.arrival))
            case records.Leave():
                if said.stage is Stage.LIVING:
                    said.stage = Stage.LEAVING
                    self._lose(said, LEFT)
            case records.Pong():
                pass
            case _:
                raise ProtocolError(f"a process does not say {type(record).__name__}")

    def _on_ready(self, ready: Life, now_s: float) -> None:
        if ready.stage is not Stage.STARTING:
            return  # its batch has failed
        ready.stage = Stage.READY
        batch = [life for life in self._lives.values() if life.batch == ready.batch]
        if len(batch) < self._batches[ready.batch] or any(life.stage is not Stage.READY for life in batch):
            return
        for life in batch:
            life.stage = Stage.LIVING
            life.heard_s = now_s  # nobody was asked before, however long the last constructor took
            if life.name not in self._seats:
                self._seats.append(life.name)
        self._change_view()
        self.effects.append(ToManager(records.Joined(ready.batch)))

    def _fail(self, batch: int, text: str) -> None:
        for life in self._lives.values():
            if life.batch == batch:
                life.stage = Stage.LEAVING
                self.effects.append(Kill(life.life, SIGKILL))
        self.effects.append(ToManager(records.Refused(batch, text)))

    def _on_relink(self, said: Life, record: records.Relink) -> None:
        other = self._lives.get(record.life)
        if other is None or Stage.LEAVING in {said.stage, other.stage}:
            return
        pair = (min(said.life, record.life), max(said.life, record.life))
        if self._links[pair] == record.number:  # else the other side was first to say so
            self._connect(said.life, record.life)

    def _connect(self, one: int, other: int) -> None:
        pair = (min(one, other), max(one, other))
        self._links[pair] = self._links.get(pair, 0) + 1
        self.effects.append(Connect(pair, self._links[pair]))

    # ------------------------------------------------------------------ views and the token

    def _living(self) -> list[Life]:
        """Those in the view, in the order of their seats."""
        living = (life for life in self._lives.values() if life.stage is Stage.LIVING)
        return sorted(living, key=lambda life: self._seats.index(life.name))

    def _lose(self, lost: Life, cause: str) -> None:
        self._losses += 1
        self._links = {pair: number for pair, number in self._links.items() if lost.life not in pair}
        for barrier in self._barriers.values():
            barrier.lose(lost.life)
        self._change_view()
        self._tell(self._living(), records.Lost(self._losses, lost.name))
        self.effects.append(ToManager(records.Gone(lost.life, lost.name, cause)))
        for name in self._barriers:
            self._open(name)

    def _change_view(self) -> None:
        living = self._living()
        seats = tuple(Seat(life.life, life.name) for life in living)
        self.view = View(self.view.number + 1, seats, self._losses)
        self._holder = None
        self._tell(living, self.view)

    def _on_seen(self, said: Life, record: records.Seen) -> None:
        if record.number != self.view.number or said.stage is not Stage.LIVING:
            return
        said.seen = record.number
        if record.holds:
            if self._holder is not None:
                raise ProtocolError(f"two tokens: {self._holder} and {said.life} in view {record.number}")
            self._holder = said.life
        if all(self._lives[seat.life].seen == record.number for seat in self.view.seats):
            holder = self.view.seats[0].life if self._holder is None else self._holder
            self._to(holder, records.Grant(record.number))

    # ------------------------------------------------------------------ barriers

    def _on_arrive(self, said: Life, record: records.Arrive) -> None:
        if said.stage is not Stage.LIVING:
            return
        barrier = self._barriers.setdefault(record.barrier, Barrier(keep_all=record.keep_all))
        if barrier.keep_all and record.told != self._losses:
            return  # word of the loss is on its way there, and ends the wait
        barrier.arrive(said.life, record.arrival)
        self._open(record.barrier)

    def _open(self, name: str) -> None:
        barrier, living = self._barriers[name], self.view.seats
        if barrier.arrived < len(living):
            return
        for life, arrival in barrier.open([seat.life for seat in living], len(self._seats)).items():
            self._to(life, records.Open(name, arrival))

    # ------------------------------------------------------------------ telling

    def _to(self, life: int, record: Record) -> None:
        self.effects.append(ToProcess(life, record))

    def _tell(self, lives: Iterable[Life], record: Record) -> None:
        self.effects.extend(ToProcess(life.life, record) for life in lives)

    def _say_when_stopped(self) -> None:
        if self._stop_s is not None and not self._lives:
            self.effects.append(ToManager(records.Stopped()))

"""The manager of a bus in the simulator: it starts, stops and replaces processes, and hears of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from event_bus.protocol import records
from event_bus.protocol.records import Record
from tests.simulation.bus import programs
from tests.simulation.bus.truth import must
from tests.simulation.bus.wiring import Proc, Thread

if TYPE_CHECKING:
    from tests.simulation.bus.world import World


class Manager:
    """Forks batches of processes, one after the other."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.says: deque[Record] = deque()  # on its way to the keeper
        self.hears: deque[Record] = deque()  # from the keeper
        self.pending: list[int] = []  # lives of the batch that is not on the bus yet
        self.seats: list[str] = []
        self.vacant: list[str] = []
        self.stop_asked = False
        self.stopped = False  # the keeper says so
        self._batches = 0
        self._started = 0  # in which turn the last one was

    def start(self, names: Sequence[str]) -> None:
        """Fork a batch."""
        world = self._world
        self._batches += 1
        self._started = world.turn
        for name in names:
            life = len(world.everyone) + 1
            proc = Proc(life, name, self._batches, world.member(life), world.truth)
            proc.threads.append(Thread("main", programs.main(world, proc)))
            world.procs[life] = world.everyone[life] = proc
            self.pending.append(life)
            self.says.append(records.Join(life, name, 1000 + life, self._batches, len(names)))

    def ask_stop(self) -> None:
        """Stop the bus."""
        self.stop_asked = True
        self.says.append(records.Stop())

    def quit(self, life: int) -> None:
        """Stop one process."""
        self.says.append(records.Quit(life))

    def may_start(self) -> bool:
        """Whether it is free, and wants more: not after the last round."""
        world = self._world
        over = world.truth.opens >= world.plan.rounds if world.plan.lockstep else world.all_done()
        return not (self.pending or self.stop_asked or world.leaving or over)

    def serve(self) -> None:
        """Hear one record."""
        record = self.hears.popleft()
        self._world.note("manager hears", record)
        match record:
            case records.Joined() if record.batch == self._batches:
                for life in self.pending:
                    name = self._world.everyone[life].name
                    self.seats += [name] if name not in self.seats else []
                self.pending.clear()
            case records.Refused() if record.batch == self._batches and self.pending:
                self.give_up()
            case records.Gone():
                must(record.name not in self.vacant, f"{record} is told twice")
                self.vacant.append(record.name)
            case records.Stopped():
                self.stopped = True
            case _:  # of a batch that was given up
                pass

    def give_up(self) -> None:
        """The batch has failed, or takes too long: the keeper kills it, and its seats are as before."""
        self.says.append(records.GiveUp(self._batches))
        for life in self.pending:
            proc = self._world.everyone[life]
            if proc.name in self.seats and proc.name not in self.vacant:
                self.vacant.append(proc.name)
        self.pending.clear()

    def moves(self, *, patience_turns: int) -> bool:
        """Give up a batch that is too old, or fill a seat of a lockstep's; whether it did.

        A patience of no turns is one that has come to its end.
        """
        world = self._world
        if self.pending and not self.stop_asked and world.turn - self._started >= patience_turns:
            self.give_up()
            return True
        if self.vacant and world.plan.lockstep and self.may_start():
            self.start([self.vacant.pop(0)])
            return True
        return False

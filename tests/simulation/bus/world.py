"""The simulator: a keeper, a manager and processes as pure objects, and everything that may befall them.

No socket, no thread, no clock. A seed decides every step: who goes next, what is delivered and how much of
it, what is held back, whose connection breaks, who is frozen, thawed, killed, stopped, replaced. After the
chaos everything that can happen does, in turns, until nothing is left: then everyone must be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random  # noqa: TID251 - one stream of chance, in the order of steps
from signal import SIGKILL
from typing import Final, TypeVar

from event_bus import limits
from event_bus.errors import BusStopped, BusTimeout
from event_bus.protocol import records
from event_bus.protocol.frames import Frame, Kind
from event_bus.protocol.keeper import Connect, Keeper, Kill, ToManager, ToProcess
from event_bus.protocol.member import Member
from event_bus.protocol.records import Record
from tests.simulation.bus.chaos import Chaos
from tests.simulation.bus.managing import Manager
from tests.simulation.bus.plan import planned
from tests.simulation.bus.truth import Truth, Violation, must
from tests.simulation.bus.wiring import End, Proc, Thread, connection

_T = TypeVar("_T")
_QUIET_TURNS_MAX: Final = 3_000
_TICKS_MAX: Final = 60
_STEPS_SHOWN: Final = 400
_PATIENCE_TURNS: Final = 50  # those who are done go round at the barrier: time passes for the others too
_USER: Final = (int(Kind.MESSAGE), int(Kind.ANSWER))
_ACK: Final = int(Kind.ACK)


class World:
    """A bus of one seed."""

    def __init__(
        self, seed: int, *, member: type[Member] = Member, keeper: type[Keeper] = Keeper, traced: bool = False
    ) -> None:
        self.rng = Random(seed)
        self.plan = planned(self.rng)
        self.trace: list[str] | None = [] if traced else None
        self.keeper = keeper()
        self.procs: dict[int, Proc] = {}  # whoever is not buried
        self.everyone: dict[int, Proc] = {}
        self.truth = Truth(self.everyone)
        self.turn = 0
        self.now_s = self._woke_s = 100.0
        self.calm = False  # nothing bad happens any more
        self.leaving = False
        self.member = member
        self.manager = Manager(self)
        self._seen_view = 0
        self._adopted: set[int] = set()
        self.chaos = Chaos(self)

    # ------------------------------------------------------------------ chance

    def chance(self, share: float) -> bool:
        """Whether something happens that happens so often."""
        return self.rng.random() < share

    def below(self, bound: int) -> int:
        """A number below another."""
        return int(self.rng.random() * bound)

    def pick(self, items: Sequence[_T]) -> _T:
        """One of them."""
        return items[int(self.rng.random() * len(items))]

    def some_of(self, proc: Proc) -> list[int]:
        """One of the living, as a process knows them; sometimes itself."""
        return [self.pick(proc.member.view.seats).life]

    def note(self, *words: object) -> None:
        """A line of the trace."""
        if self.trace is not None:
            self.trace.append(f"{self.turn:4} " + " ".join(str(word) for word in words))

    # ------------------------------------------------------------------ what programs ask

    def all_done(self) -> bool:
        """Whether every process that lives has done what it wanted."""
        return not self.manager.pending and all(
            proc.done or proc.left for proc in self.procs.values() if not proc.dead
        )

    def may_leave(self) -> bool:
        """Whether the end has come."""
        return self.leaving

    # ------------------------------------------------------------------ steps of a process

    def serve_line(self, proc: Proc) -> None:
        """One record from the keeper."""
        record, end = proc.line_in.popleft()
        self.note(proc.life, "hears", record)
        if end is not None and isinstance(record, records.Link):
            proc.plug(record.life, end)
        member = proc.member
        before = member.clock
        member.on_record(record)
        if isinstance(record, records.View):
            self._check_view(proc, record, before)
        elif member.clock != before:
            raise Violation(f"{record} moves the clock of {proc.life}")
        proc.carry_out()

    def _check_view(self, proc: Proc, view: records.View, before: int) -> None:
        self.truth.view_seen(proc, view)
        stamps = [stamp for seat in view.seats for stamp in proc.early.pop(seat.life, ())]
        proc.known.update(seat.life for seat in view.seats)
        clock = proc.member.clock
        if stamps:
            least = max(before, *stamps)
            must(least < clock <= least + len(stamps), f"{proc.life}: clock {clock} after {before}, {stamps}")
        else:
            must(clock == before, f"a view moves the clock of {proc.life}")

    def serve_stream(self, proc: Proc, life: int, end: End, size: int) -> None:
        """Some bytes from another process, or the end of the connection."""
        if not end.inbox:
            self.note(proc.life, "sees the end of connection", end.number, "to", life)
            proc.unplug(life)
            proc.member.on_link_down(life, end.number)
        else:
            data = bytes(end.inbox[:size])
            del end.inbox[:size]
            for frame in end.reassembly.add(data):
                self.note(proc.life, "gets from", life, Kind(frame.kind).name, frame[1:4])
                self._serve_frame(proc, life, frame)
        proc.carry_out()

    def _serve_frame(self, proc: Proc, life: int, frame: Frame) -> None:
        member = proc.member
        before = wanted = member.clock
        if frame.kind != _ACK and frame.number == proc.came.get(life, 0) + 1:
            proc.came[life] = frame.number
            if frame.kind in _USER:
                if life in proc.known:
                    wanted = max(before, frame.stamp) + 1
                else:
                    proc.early.setdefault(life, []).append(frame.stamp)
                    self.truth.counts["came before its view"] += 1
        elif frame.kind != _ACK:
            self.truth.counts["came again"] += 1
        member.on_frame(life, frame)
        if member.clock != wanted:
            raise Violation(f"{frame} moves the clock of {proc.life}: {before} -> {member.clock}")

    def run_thread(self, proc: Proc, thread: Thread) -> bool:
        """A thread of a program goes on, if it can; whether it did."""
        wait, member = thread.wait, proc.member
        before, proc.moves = member.clock, 0
        try:
            if wait is None or wait.done() or (wait.quiet and member.stopping):
                thread.wait = next(thread.program)
            elif member.stopping:
                thread.wait = thread.program.throw(BusStopped("it stops"))
            elif wait.timed and not self.calm and self.chance(self.plan.impatience):
                self.note(proc.life, thread.name, "gives up:", wait.what)
                self.truth.counts[f"gave up {wait.what[:4]}"] += 1
                thread.wait = thread.program.throw(BusTimeout("too long"))
            else:
                return False
        except StopIteration:
            thread.over = True
            proc.threads.remove(thread)
        if member.clock != before + proc.moves:
            raise Violation(f"{proc.life}: the clock went {before} -> {member.clock}")
        proc.carry_out()
        self.note(proc.life, thread.name, "->", thread.wait.what if thread.wait else "goes on")
        return True

    # ------------------------------------------------------------------ the kernel

    def kill(self, proc: Proc) -> None:
        """A process ends here and now; of what it sent, some has reached the kernel, or all."""
        self.note(proc.life, "is dead")
        proc.dead = True
        self.truth.died(proc.life)
        proc.threads.clear()
        whole = self.chance(0.5)
        for end in proc.ends.values():
            if not whole:
                inbox = end.peer.inbox
                del inbox[self.below(len(inbox) + 1) :]
            end.close()
        if not whole:
            for _ in range(self.below(len(proc.line_out) + 1)):
                proc.line_out.pop()
        self._hang_up(proc)

    def exit(self, proc: Proc) -> None:
        """A process that has said goodbye ends in order."""
        self.note(proc.life, "has exited")
        proc.dead = proc.exited = True
        proc.threads.clear()
        for end in proc.ends.values():
            end.close()
        self._hang_up(proc)

    def _hang_up(self, proc: Proc) -> None:
        proc.ends.clear()
        for _, end in proc.line_in:
            if end is not None:
                end.close()
        proc.line_in.clear()

    # ------------------------------------------------------------------ the keeper

    def hear(self, proc: Proc) -> None:
        """The keeper hears one record of a process."""
        record = proc.line_out.popleft()
        self.note("keeper hears of", proc.life, record)
        proc.heard_s = self.now_s
        if isinstance(record, records.Leave):
            self.truth.lost(proc.life)
        self.keeper.on_report(proc.life, record, self.now_s)
        self._carry_out()

    def bury(self, proc: Proc) -> None:
        """The kernel tells the keeper of a death; its last words come first."""
        while proc.line_out:
            self.hear(proc)
        self.note("keeper buries", proc.life)
        del self.procs[proc.life]
        self.truth.lost(proc.life)
        self.keeper.on_death(proc.life)
        self._carry_out()

    def tick(self, step_s: float = limits.HEARTBEAT_S) -> None:
        """Time passes for the keeper."""
        self.now_s += step_s
        self.note("tick", f"{self.now_s:.1f}")
        if step_s > 2 * limits.HEARTBEAT_S:
            self._woke_s = self.now_s
        self.keeper.on_tick(self.now_s)
        if not self.manager.stop_asked:
            for effect in self.keeper.effects:
                if isinstance(effect, Kill):
                    silent_s = self.now_s - max(self._woke_s, self.procs[effect.life].heard_s)
                    must(silent_s > limits.SILENCE_S, f"{effect.life} is killed, silent for {silent_s:.1f} s")
        self._carry_out()

    def hear_manager(self) -> None:
        """The keeper hears one record of the manager."""
        record = self.manager.says.popleft()
        self.note("keeper hears of the manager", record)
        match record:
            case records.Join():
                self._adopted.add(record.life)
                self.keeper.on_join(record, self.now_s)
            case records.Quit():
                self.keeper.on_quit(record.life)
            case records.GiveUp():
                self.keeper.on_give_up(record.batch)
            case _:
                self.keeper.on_stop(self.now_s)
        self._carry_out()

    def _carry_out(self) -> None:
        effects, self.keeper.effects = self.keeper.effects, []
        opened: dict[str, dict[int, int]] = {}
        joined = [
            e.record.batch
            for e in effects
            if isinstance(e, ToManager) and isinstance(e.record, records.Joined)
        ]
        for batch in joined:
            self.truth.joined([proc.life for proc in self.procs.values() if proc.batch == batch], self.now_s)
        if self.keeper.view.number != self._seen_view:
            self._seen_view = self.keeper.view.number
            self.truth.view_made(self.keeper.view)
        for effect in effects:
            match effect:
                case ToProcess():
                    record = effect.record
                    if isinstance(record, records.Open):
                        opened.setdefault(record.barrier, {})[effect.life] = record.arrival
                    elif isinstance(record, records.Grant):
                        self.truth.granted(record.generation)
                    self._say(effect.life, record, None)
                case ToManager():
                    self.manager.hears.append(effect.record)
                case Connect():
                    self._connect(effect)
                case Kill():
                    self._signal(effect)
        for name, arrivals in opened.items():
            self.truth.opened(name, arrivals)

    def _say(self, life: int, record: Record, end: End | None) -> None:
        proc = self.procs.get(life)
        if proc is not None and not proc.dead:
            proc.line_in.append((record, end))
        elif end is not None:
            end.close()

    def _connect(self, effect: Connect) -> None:
        one, other = effect.lives
        for life, peer, end in zip((one, other), (other, one), connection(effect.number), strict=True):
            self._say(life, records.Link(peer, effect.number), end)

    def _signal(self, effect: Kill) -> None:
        self.note("keeper kills", effect.life, effect.signal)
        self.truth.counts["condemned"] += 1
        proc = self.procs.get(effect.life)
        if proc is not None and (effect.signal == SIGKILL or not proc.frozen):
            proc.condemned = True

    # ------------------------------------------------------------------ the whole

    def play(self) -> None:
        """From the fork to the last end."""
        self.manager.start([f"p{number}" for number in range(self.plan.processes)])
        idle = 0
        for turn in range(self.plan.turns):
            self.turn = turn
            self.chaos.turn()
            if self.turn % 16 == 0:
                idle = idle + 1 if self.all_done() else 0
                if idle > 6:
                    break
        self.calm = True
        self.chaos.end()
        self._settle()
        if not self.manager.stop_asked:
            self._check_quiet()
            self.leaving = True
            self._settle()
        must(not self.procs, f"never ended: {self._waits()}")
        if not self.manager.stop_asked:
            self.manager.ask_stop()
            self._settle()
        must(self.manager.stopped, "the keeper does not say that all have ended")

    def _settle(self) -> None:
        """Let everything happen that can, time included."""
        ticks = 0
        for turn in range(1, _QUIET_TURNS_MAX):
            self.turn += 1
            moved = self.chaos.round()
            if moved and turn % _PATIENCE_TURNS:
                continue
            if self.manager.moves(patience_turns=_PATIENCE_TURNS if moved else 0):
                continue
            if not any(proc.frozen or proc.condemned for proc in self.procs.values()):
                if not self.chaos.round():
                    return
                continue
            ticks += 1
            must(ticks < _TICKS_MAX, f"frozen, and not killed: {self._waits()}")
            self.tick()
        raise Violation(f"it does not come to rest: {self._waits()}")

    def knows(self, proc: Proc) -> bool:
        """Whether the keeper has been told of a process."""
        return proc.life in self._adopted

    def _check_quiet(self) -> None:
        must(self.all_done(), f"hang: {self._waits()}")
        self.truth.nothing_is_lost()
        living = [proc for proc in self.procs.values() if not proc.dead]
        must({proc.life for proc in living} == self.truth.in_view, "who lives is in the view")
        if living:
            must(self.truth.token_exists(self.keeper.view.number), "the token is lost")
        for proc in living:
            must(not self.plan.lockstep or proc.rounds == self.truth.opens, f"{proc.life} missed a round")

    def _waits(self) -> str:
        lines = []
        for proc in self.procs.values():
            waits = [f"{t.name}: {t.wait.what if t.wait else 'runs'}" for t in proc.threads]
            state = [s for s in ("frozen", "condemned", "left", "dead", "done") if getattr(proc, s)]
            lines.append(f"{proc.life} ({proc.name}) {state} {waits} {proc.member.ring.place.name}")
        return "; ".join(lines)


def finding(world: World) -> str:
    """What goes wrong in it; nothing, if nothing does."""
    try:
        world.play()
    except Exception as error:  # noqa: BLE001 - whatever the core raises is a finding
        return repr(error)
    return ""


def play(seed: int) -> World:
    """Play a seed; what goes wrong is raised with the seed and the steps that led there."""
    world = World(seed)
    found = finding(world)
    if found:
        again = World(seed, traced=True)
        must(finding(again) == found, f"seed {seed} does not replay: {found}")
        steps = "\n".join((again.trace or [])[-_STEPS_SHOWN:])
        raise Violation(f"seed {seed}: {found}\n{again.plan}\n{steps}\nseed {seed}: {found}")
    return world

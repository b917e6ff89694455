"""Who goes next, and what befalls whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.bus.wiring import End, Proc
    from tests.simulation.bus.world import World


class Chaos:
    """The hand of chance."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._faults: dict[str, Callable[[], None]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "thaw": self._thaw,
            "drop": self._drop,
            "stall": self._stall,
            "sleep": self._sleep,
            "quit": self._quit,
            "batch": self._batch,
            "replace": self._replace,
            "tick": self._tick,
            "stop": self._stop,
        }

    # ------------------------------------------------------------------ one turn

    def turn(self) -> None:
        """Something happens, or nothing."""
        world = self._world
        chance = world.rng.random()
        if chance < world.plan.fault:
            self._faults[world.pick(world.plan.faults)]()
            return
        chance = world.rng.random()
        if chance < (0.15 if world.manager.says else 0.05):
            self._office()
            return
        procs = list(world.procs.values())
        if not procs:
            return
        proc = procs[int(world.rng.random() * len(procs))]
        if chance < 0.4:
            self._heard(proc)
        elif proc.condemned and chance < 0.7:
            world.kill(proc)
        elif proc.runs:
            self._step(proc)

    def _office(self) -> None:
        world = self._world
        if world.chance(0.08):
            world.tick()
        elif world.manager.says and world.chance(0.6):
            world.hear_manager()
        elif world.manager.hears:
            world.manager.serve()

    def _heard(self, proc: Proc) -> None:
        world = self._world
        if proc.dead:
            if world.knows(proc):
                world.bury(proc)
        elif proc.line_out and proc.out_stalled <= world.turn and world.knows(proc):
            world.hear(proc)
        elif proc.left and not proc.frozen and world.chance(0.5):
            world.exit(proc)

    def _step(self, proc: Proc) -> None:
        world = self._world
        chance = world.rng.random()
        if chance < 0.4 and proc.line_in:
            if proc.in_stalled <= world.turn:
                world.serve_line(proc)
            return
        if chance < 0.75 and proc.ends:
            life = world.pick(list(proc.ends))
            end = proc.ends[life]
            if (end.inbox or end.eof) and end.stalled <= world.turn:
                size = len(end.inbox)
                world.serve_stream(proc, life, end, size if chance < 0.7 else world.below(size) + 1)
            return
        if proc.threads and proc.threads_stalled <= world.turn:
            world.run_thread(proc, world.pick(proc.threads))

    # ------------------------------------------------------------------ after the chaos: all, in turns

    def round(self) -> bool:
        """Everything that can happen happens once; whether anything did."""
        world = self._world
        moved = False
        procs = list(world.procs.values())
        world.rng.shuffle(procs)
        for proc in procs:
            moved |= self._let(proc)
        while world.manager.says:
            world.hear_manager()
            moved = True
        while world.manager.hears:
            world.manager.serve()
            moved = True
        return moved

    def _let(self, proc: Proc) -> bool:
        world = self._world
        if not world.knows(proc):
            return False
        if proc.dead:
            world.bury(proc)
            return True
        if proc.condemned:
            world.kill(proc)
            return True
        moved = False
        if proc.runs:
            for _ in range(len(proc.line_in)):
                world.serve_line(proc)
                moved = True
            for life, end in list(proc.ends.items()):
                if (end.inbox or end.eof) and proc.ends.get(life) is end:
                    world.serve_stream(proc, life, end, len(end.inbox))
                    moved = True
            for thread in list(proc.threads):
                if proc.runs:
                    moved |= world.run_thread(proc, thread)
        while proc.line_out:
            world.hear(proc)
            moved = True
        if proc.left and not proc.frozen and not proc.dead:
            world.exit(proc)
            moved = True
        return moved

    def end(self) -> None:
        """The chaos is over: of the frozen some wake, the others never will (who has left is not missed)."""
        world = self._world
        for proc in world.procs.values():
            if proc.frozen and (proc.left or world.chance(0.5)):
                proc.frozen = False

    # ------------------------------------------------------------------ faults

    def _victim(self, alive: Callable[[Proc], bool]) -> Proc | None:
        world = self._world
        if world.truth.inside and world.chance(0.4):
            proc = world.everyone[world.pick(sorted(world.truth.inside))]
            return proc if alive(proc) else None
        procs = [proc for proc in world.procs.values() if alive(proc)]
        return world.pick(procs) if procs else None

    def _kill(self) -> None:
        proc = self._victim(lambda p: not p.dead)
        if proc is not None:
            self._world.kill(proc)

    def _freeze(self) -> None:
        proc = self._victim(lambda p: not p.dead and not p.frozen)
        if proc is not None:
            self._world.note(proc.life, "is frozen")
            proc.frozen = True

    def _thaw(self) -> None:
        proc = self._victim(lambda p: not p.dead and p.frozen)
        if proc is not None:
            self._world.note(proc.life, "is thawed")
            proc.frozen = False

    def _drop(self) -> None:
        """A connection breaks: what is on its way is lost, but for some of its beginning."""
        world = self._world
        proc = self._victim(lambda p: bool(p.ends))
        if proc is None:
            return
        life = world.pick(list(proc.ends))
        end = proc.ends[life]
        world.note("connection", end.number, "of", proc.life, "and", life, "breaks")
        world.truth.broken.add(frozenset((proc.life, life)))
        world.truth.counts["broken with something on its way"] += bool(end.inbox or end.peer.inbox)
        for each in (end, end.peer):
            del each.inbox[world.below(len(each.inbox) + 1) :]
            each.eof = True

    def _stall(self) -> None:
        """Somebody, or something on its way, is slow for a while."""
        world = self._world
        proc = self._victim(lambda p: p.runs)
        if proc is None:
            return
        until = world.turn + world.below(60) + 5
        what = world.below(4)
        if what == 0:
            proc.in_stalled = until
        elif what == 1:
            proc.out_stalled = until
        elif what == 2:
            proc.threads_stalled = until
        else:
            ends: list[End] = list(proc.ends.values())
            if ends:
                world.pick(ends).stalled = until

    def _sleep(self) -> None:
        """The whole machine slept."""
        self._world.tick(100.0)

    def _tick(self) -> None:
        for _ in range(self._world.below(6)):
            self._world.tick()

    def _quit(self) -> None:
        proc = self._victim(lambda p: not p.dead)
        if proc is not None:
            self._world.manager.quit(proc.life)

    def _batch(self) -> None:
        world = self._world
        room = world.plan.lives_max - len(world.everyone)
        if room > 0 and world.manager.may_start():
            first = len(world.everyone)
            world.manager.start([f"p{first + number}" for number in range(min(room, world.below(2) + 1))])

    def _replace(self) -> None:
        world, manager = self._world, self._world.manager
        if manager.vacant and manager.may_start() and len(world.everyone) < world.plan.lives_max + 3:
            manager.start([manager.vacant.pop(world.below(len(manager.vacant)))])

    def _stop(self) -> None:
        if not self._world.manager.stop_asked:
            self._world.manager.ask_stop()

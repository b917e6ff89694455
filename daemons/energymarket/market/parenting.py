"""The market as the parent of `external`: starts it, hears its heart, kills it when frozen."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

from energymarket.core.events import Origin
from energymarket.exits import Failure
from energymarket.runtime.child import Action, Child, Limits, Watch, spawn
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.occasions import Occasion
from energymarket.wire.external_task import ActiveEvent, ExternalTask

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.market.owner import Owner
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.doorbell import Doorbell

log = logging.getLogger(__name__)

STOP_NS: Final = 1_000_000_000
"""How long `external` may take to end when asked; then it is killed."""


LOCKSTEP_LIMITS: Final = Limits(delay_ns_max=100_000_000, deaths_max=1_000_000)
DEATHS_MAX: Final = 10
"""Lockstep: a child that dies so often while no slot is settled will die again."""


class Parent:
    """Everything about the child; used by the main thread only."""

    def __init__(self, run_dir: Path, compiled: Compiled, owner: Owner) -> None:
        self._run_dir = run_dir
        self._compiled = compiled
        self._owner = owner
        # In lockstep nothing goes on without it: it is not left alone for a minute, but ends the market.
        self._watch = Watch(boottime_ns(), LOCKSTEP_LIMITS if owner.lockstep else None)
        self._deaths: list[int] = []  # lockstep: the last slot that was settled, at each death
        self._child: Child | None = None
        self._pidfd = os.pidfd_open(os.getpid())
        self._starts = 0
        self._degraded = False

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to wait on: the child's pidfd, readable when it is dead."""
        return () if self._child is None else (self._child.fileno(),)

    def describe(self) -> dict[str, Any]:
        """The child for `status`; read by the server's thread."""
        child = self._child
        return {
            "external_pid": None if child is None else child.pid,
            "external_starts": self._starts,
            "external_degraded": self._degraded,
        }

    def heard(self) -> None:
        """A record came: the child lives."""
        self._watch.heard(boottime_ns())

    def wake(self) -> None:
        """Let the child look at the clock page now."""
        if self._child is not None:
            self._child.wake()

    def tend(self, doorbell: Doorbell) -> int:
        """Reap, kill or start as is due; the answer is when to look again at the latest."""
        self._reap(doorbell)
        now = boottime_ns()
        action = self._watch.action(now)
        if action is Action.KILL and self._child is not None:
            fields = Occasion.EXTERNAL_FROZEN.fields(pid=self._child.pid)
            log.error("external (pid %d) is silent for too long: killed", self._child.pid, extra=fields)
            self._child.kill()
        elif action is Action.SPAWN:
            self._spawn(doorbell)
        self._degraded = self._watch.degraded(now)
        return self._watch.due_ns()

    def _spawn(self, doorbell: Doorbell) -> None:
        words = ["-m", "energymarket.external", "--run", str(self._run_dir), "--task", self._task().to_text()]
        try:
            self._child = spawn(words, (self._pidfd, doorbell.write_fd), os.environ)
        except OSError as error:
            log.warning("external cannot be started, it is tried again: %s", error)
            self._watch.died(boottime_ns())
            return
        self._starts += 1
        self._watch.started(boottime_ns())
        log.info("external started, pid %d", self._child.pid)

    def _task(self) -> ExternalTask:
        """What the child has to say: from the first slot that is not settled on."""
        market = self._owner.market
        first = self._owner.next_to_open()
        active = tuple(
            ActiveEvent(event.kind, event.seq, event.until_slot)
            for event in market.book.listed(first)
            if event.origin is Origin.EXTERNAL and event.until_slot is not None
        )
        return ExternalTask(
            seed=self._compiled.seed,
            kinds=market.rules.price.events,
            first_slot=first,
            market_pid=os.getpid(),
            active=active,
        )

    def _reap(self, doorbell: Doorbell) -> None:
        child = self._child
        death = None if child is None else child.reap()
        if child is None or death is None:
            return
        fields = Occasion.EXTERNAL_DIED.fields(pid=child.pid, cause=death)
        log.warning("external (pid %d) is dead: %s", child.pid, death, extra=fields)
        child.close()
        self._child = None
        doorbell.forget_rest()
        self._watch.died(boottime_ns())
        if self._owner.lockstep:
            self._count_death(self._owner.market.slot)

    def _count_death(self, slot: int) -> None:
        self._deaths = [each for each in self._deaths if each == slot] + [slot]
        if len(self._deaths) > DEATHS_MAX:
            raise Failure(f"external died {len(self._deaths)} times before slot {slot + 1} was settled")

    def stop(self) -> None:
        """Let the child end, and reap it."""
        if self._child is not None:
            self._child.stop(boottime_ns() + STOP_NS)
            self._child.close()
            self._child = None
        os.close(self._pidfd)

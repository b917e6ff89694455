"""The supervisor's decisions: events in, effects out. It starts nothing, kills nothing, reads no clock.

A run goes STARTING -> RUNNING -> WORKERS -> DISPATCHER -> ASKING -> HOMES -> REST -> OVER, and can leave for
the end from any phase. Who falls meanwhile is started again by the policy of its unit, or given up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, assert_never

from energyctl.exits import Exit
from energyctl.up.events import (
    Announce,
    AskStop,
    Cause,
    Effect,
    Event,
    Exited,
    LastWords,
    MarketEnded,
    Notified,
    NotStarted,
    Order,
    Ordered,
    Say,
    SlotSettled,
    Start,
    StopAnswered,
    StopWanted,
    Tick,
    ending,
)
from energyctl.up.life import LEFT_S_MAX, Daemon, Role, State, daemon
from energyctl.up.policy import Policy

READY_S_MAX: Final = 90.0  # a cold first start of 10,000 homes on a loaded two-core machine takes under 20 s
REFUSALS: Final = frozenset({Exit.SECOND_INSTANCE, Exit.IO_ERROR, Exit.PERMISSION, Exit.CONFIGURATION})
ASK_S_MAX: Final = 20.0  # the market settles and seals the open slot
RESTARTS_MAX: Final = 5  # in lockstep, of one daemon while no slot is settled: then it will die again
AWAY_S_MIN: Final = 3.0
"""We wait for a second at most. Who hears nothing for longer was away: stopped, suspended, or swapped out."""


class Phase(Enum):
    """Where the run is."""

    STARTING = "starting"
    RUNNING = "running"
    WORKERS = "workers"  # workers are going
    DISPATCHER = "dispatcher"
    ASKING = "asking"  # the market was asked to settle and say good-bye
    HOMES = "homes"  # homes are going
    REST = "rest"  # weather and market are going
    OVER = "over"


STAGES: Final[dict[Phase, frozenset[Role]]] = {
    Phase.WORKERS: frozenset({Role.WORKER}),
    Phase.DISPATCHER: frozenset({Role.DISPATCHER}),
    Phase.ASKING: frozenset({Role.MARKET}),
    Phase.HOMES: frozenset({Role.HOMES}),
    Phase.REST: frozenset(Role),
}
"""Who goes when, in this order. In ASKING nobody is sent away: the market is waited for."""


Listed = tuple[str, Role, Policy, bool]
"""A daemon of a plan: name, role, policy, and whether the first start needs it."""


@dataclass(slots=True)
class Suite:
    """A run: its daemons, its phase, and why it ends. `handle` alone changes it."""

    daemons: dict[str, Daemon]
    phase: Phase = Phase.STARTING
    cause: Cause | None = None
    failed: bool = False
    refused: Exit | None = None  # with this a daemon told at its start why it cannot run
    was_ready: bool = False
    lockstep: bool = False  # nothing goes on without each of them
    renewing: bool = False  # the end of all is to be followed by their start
    asked_until_s: float | None = None
    now_s: float = 0.0
    _effects: list[Effect] = field(default_factory=list)

    def handle(self, event: Event, now_s: float) -> list[Effect]:
        """Take one event; the answer is what has to be done, in order."""
        self._effects = []
        self._pass_time(now_s)
        match event:
            case Notified():
                self._do(self.daemons[event.name].heard(event, self.now_s))
                self._look_whether_ready()
            case Exited():
                self._exited(self.daemons[event.name], event.code)
            case NotStarted():
                self._not_started(self.daemons[event.name], event.why)
            case MarketEnded():
                self._market_ended()
            case SlotSettled():
                self._slot_settled()
            case StopWanted():
                self._stop_wanted(event.cause)
            case StopAnswered():
                self._stop_answered()
            case Ordered():
                self._ordered(event.order, event.names)
            case Tick():
                self._tick()
            case _:
                assert_never(event)
        return self._effects

    @property
    def stopping(self) -> bool:
        """Whether the run is on its way to the end."""
        return self.phase not in {Phase.STARTING, Phase.RUNNING}

    @property
    def exit_code(self) -> Exit:
        """How the run ended, for the shell."""
        match self.cause:
            case Cause.DIED:
                return self.refused or Exit.FAILED
            case Cause.NOT_READY:
                return Exit.WAIT_TIMED_OUT
            case Cause.INTERRUPTED:
                return Exit.INTERRUPTED
            case Cause.ENDED | Cause.ASKED | None:
                return Exit.FAILED if self.failed else Exit.OK
            case _:
                assert_never(self.cause)

    def due_s(self) -> float | None:
        """When time alone changes something."""
        due = [each.due_s() for each in self.daemons.values() if self._is_judged(each)]
        due.append(self.asked_until_s)
        return min((at_s for at_s in due if at_s is not None), default=None)

    def _is_judged(self, each: Daemon) -> bool:
        """Whether it is held to its deadline; at the end the stages bound all that is not going yet."""
        return not (self.stopping and each.state in {State.READY, State.STARTING})

    # ------------------------------------------------------------- time

    def _pass_time(self, now_s: float) -> None:
        """Time does not go back; and what happened while we were away is nobody's silence."""
        away_s = now_s - self.now_s
        if away_s > AWAY_S_MIN:
            for each in self.daemons.values():
                each.forgive(away_s)
            if self.asked_until_s is not None:
                self.asked_until_s += away_s
        self.now_s = max(self.now_s, now_s)

    def _tick(self) -> None:
        for each in self.daemons.values():
            if each.is_due(self.now_s) and self._is_judged(each):
                self._due(each)
        if self.asked_until_s is not None and self.now_s >= self.asked_until_s:
            self.failed = True
            self._say(f"the market did not answer Stop within {ASK_S_MAX:.0f} s")
            self._enter(Phase.HOMES)

    def _due(self, each: Daemon) -> None:
        match each.state:
            case State.WAITING:
                self._start(each)
            case State.STARTING if self._is_first_start(each):
                self._say(f"not ready within {READY_S_MAX:.0f} s: {each.name}")
                self._effects.append(LastWords(each.name, f"{each.name} is not ready"))
                self._begin_stop(Cause.NOT_READY)
            case State.STARTING:
                self._do(each.give_no_more_time(self.now_s))
            case State.READY:
                self._do(each.freeze(self.now_s, f"is frozen, without progress for {each.watchdog_s:g} s"))
            case State.STOPPING:
                self.failed = self.failed or each.told
                self._do(each.kill())
            case State.LEFT if self._market_goes():
                each.deadline_s = self.now_s + LEFT_S_MAX  # that will be why
            case State.LEFT:
                self._give_up(each, f"{each.name} left without a word")
            case _:
                return

    def _market_goes(self) -> bool:
        return any(
            each.role is Role.MARKET and each.state is State.STOPPING for each in self.daemons.values()
        )

    # ------------------------------------------------------------- lives

    def _exited(self, each: Daemon, code: int) -> None:
        if not each.alive:
            return
        why, by_itself = each.fell(code), not each.told
        each.code = code
        if self.stopping:
            if each.fell_on_the_way_out(code):
                self.failed = True
                self._effects.append(LastWords(each.name, f"{each.name} {ending(code)} while stopping"))
            each.enter(State.ENDED, self.now_s)
            self._advance()
        elif why:
            self._fell(each, why)
        elif by_itself:
            self._left(each)
        elif each.again:
            self._start(each)
        else:
            each.enter(State.STOPPED, self.now_s)

    def _not_started(self, each: Daemon, why: str) -> None:
        if self.stopping:
            each.enter(State.ENDED, self.now_s)
            self._advance()
        else:
            self._fell(each, f"could not be started: {why}")

    def _left(self, each: Daemon) -> None:
        """It went without an error. The market may, which is the end; who else does knew of it before us."""
        if each.role is Role.MARKET and each.code == 0:
            each.enter(State.ENDED, self.now_s)
            self._begin_stop(Cause.ENDED)
        else:
            each.enter(State.LEFT, self.now_s, self.now_s + LEFT_S_MAX)

    def _fell(self, each: Daemon, why: str) -> None:
        """It failed: started again after a while, unless that is in vain."""
        each.why = why
        each.deaths += 1
        if self._is_final(each):
            self._give_up(each, f"{each.name} {why}")
        elif self.lockstep and each.deaths > RESTARTS_MAX:
            self._give_up(each, f"{each.name} died {each.deaths} times, and no slot was settled between")
        elif each.told and not each.again:
            each.enter(State.STOPPED, self.now_s)
        else:
            each.restarts += 1
            delay_s = each.policy.delay_s(each.restarts)
            each.enter(State.WAITING, self.now_s, self.now_s + delay_s)
            self._say(f"{each.name} {why}: started again in {delay_s:.2g} s (restart {each.restarts})")

    def _is_final(self, each: Daemon) -> bool:
        """Whether another start is in vain by its own words; at a first start a person waits for them."""
        code = each.code or 0
        if each.failure is not None or code <= 0:
            return False
        return code in each.policy.final_codes or (code != Exit.TRY_AGAIN and self._is_first_start(each))

    def _is_first_start(self, each: Daemon) -> bool:
        return each.required and not self.was_ready and not each.served

    def _start(self, each: Daemon) -> None:
        """Another life, if the limit of starts allows one."""
        if not each.limit.take(self.now_s):
            window = f"{each.limit.starts_max} starts within {each.limit.window_s:g} s"
            each.why = f"{each.why or 'ended'}; {window}"
            self._give_up(each, f"{each.name} has failed for good: {each.why}")
            return
        each.start(self.now_s, READY_S_MAX if self._is_first_start(each) else None)
        self._effects.append(Start(each.name))

    def _give_up(self, each: Daemon, text: str) -> None:
        each.enter(State.FAILED, self.now_s)
        self.failed = True
        self._effects.append(LastWords(each.name, text))
        if not each.served and each.code in REFUSALS and self.refused is None:
            self.refused = Exit(each.code)
        needed = each.required and (not self.was_ready or self.lockstep or each.role is Role.MARKET)
        if needed:
            self._begin_stop(Cause.DIED)
        else:
            self._say(f"{each.name} is not started again; the others serve on")
            self._look_whether_ready()

    def _late(self) -> bool:
        """Whether somebody has to say yet that it is ready; an option that fails is waited for only once."""
        awaited = {State.STARTING, State.WAITING}
        return any(
            each.state in awaited and (each.required or not each.restarts) for each in self.daemons.values()
        )

    def _look_whether_ready(self) -> None:
        if self.phase is Phase.STARTING and not self._late():
            self.phase, self.was_ready = Phase.RUNNING, True
            self._effects.append(Announce())

    # ------------------------------------------------------------- what people want

    def _ordered(self, order: Order, names: Sequence[str]) -> None:
        if self.stopping:
            return
        if not names and order is Order.RESTART:
            self.renewing = True
            self._begin_stop(Cause.ASKED)
            return
        if not names and order is Order.STOP:
            self._begin_stop(Cause.ASKED)
            return
        for each in [self.daemons[name] for name in names or self.daemons]:
            if order is Order.STOP:
                self._stop_one(each)
            elif each.alive:
                if order is Order.RESTART:
                    each.again = True
                    self._do(each.terminate(self.now_s))
                elif each.told:
                    each.again = True
            else:
                each.limit.reset()
                self._start(each)

    def _market_ended(self) -> None:
        if not self.stopping:
            self._begin_stop(Cause.ENDED)

    def _slot_settled(self) -> None:
        for each in self.daemons.values():
            each.deaths = 0

    def _stop_answered(self) -> None:
        if self.phase is Phase.ASKING:
            self._enter(Phase.HOMES)

    def _stop_one(self, each: Daemon) -> None:
        each.again = False
        if each.alive:
            self._do(each.terminate(self.now_s))
        elif each.state is not State.FAILED:
            each.enter(State.STOPPED, self.now_s)

    def _stop_wanted(self, cause: Cause) -> None:
        if not self.stopping:
            self._begin_stop(cause)
        elif self.renewing:
            self.renewing, self.cause = False, cause
        elif self.phase is not Phase.OVER and self.cause in {Cause.ASKED, Cause.INTERRUPTED}:
            self._say("asked twice: killing what is left")
            self.phase, self.asked_until_s, self.failed = Phase.REST, None, True
            for each in self.daemons.values():
                each.told = True
                self._do(each.kill())

    # ------------------------------------------------------------- the way to the end

    def _begin_stop(self, cause: Cause) -> None:
        self.cause = cause
        for each in self.daemons.values():
            if each.state in {State.WAITING, State.LEFT}:
                each.enter(State.ENDED, self.now_s)
        self._enter(Phase.WORKERS)

    def _enter(self, phase: Phase) -> None:
        """Go on to a phase of the end, and past all those in which nobody is left to go."""
        self.asked_until_s = None
        stages = list(STAGES)
        for self.phase in stages[stages.index(phase) :]:
            going = self._living(STAGES[self.phase])
            if self.phase is Phase.ASKING:
                if any(each.state is not State.STARTING and each.failure is None for each in going):
                    self.asked_until_s = self.now_s + ASK_S_MAX
                    self._effects.append(AskStop())
                    return
                continue
            for each in going:
                self._do(each.terminate(self.now_s))
            if going:
                return
        self._over()

    def _over(self) -> None:
        self.phase = Phase.OVER
        if self.renewing:
            self.renewing, self.was_ready, self.cause, self.phase = False, False, None, Phase.STARTING
            for each in self.daemons.values():
                each.limit.reset()
                each.served = False
                self._start(each)

    def _advance(self) -> None:
        if self.phase in STAGES and not self._living(STAGES[self.phase]):
            self._enter(self.phase)

    def _living(self, roles: frozenset[Role]) -> list[Daemon]:
        return [each for each in self.daemons.values() if each.role in roles and each.alive]

    def _do(self, effects: Iterable[Effect]) -> None:
        self._effects += effects

    def _say(self, text: str) -> None:
        self._effects.append(Say(text))


def suite(daemons: Iterable[Listed], now_s: float, *, lockstep: bool = False) -> Suite:
    """A run whose daemons are being started."""
    found = {}
    for name, role, policy, required in daemons:
        each = daemon(name, role, policy, required=required)
        each.limit.take(now_s)
        each.start(now_s, READY_S_MAX if required else None)
        found[name] = each
    return Suite(found, lockstep=lockstep, now_s=now_s)

"""The supervisor's decisions: events in, effects out. It starts nothing, kills nothing, reads no clock.

A run goes STARTING -> RUNNING -> (DOUBT) -> ASKING -> HOMES -> REST -> OVER, and can leave for the end
from any phase. Every phase but RUNNING has a deadline.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, assert_never

from energyctl.exits import Exit

READY_S_MAX: Final = 90.0  # a cold start of 10,000 homes on a loaded two-core machine takes under 20 s
REFUSALS: Final = frozenset({Exit.SECOND_INSTANCE, Exit.IO_ERROR, Exit.PERMISSION, Exit.CONFIGURATION})
DOUBT_S_MAX: Final = 2.0  # a home that left before the market's good-bye reached us
ASK_S_MAX: Final = 20.0  # the market settles and seals the open slot
TERM_S_MAX: Final = 10.0  # a daemon writes its state and goes
RESTARTS_MAX: Final = 5  # of one daemon while no slot is settled: then it will die again


class Role(Enum):
    """What a daemon is for: it decides when it is stopped."""

    MARKET = "market"
    WEATHER = "weather"
    HOMES = "homes"


class State(Enum):
    """Where a daemon's life is."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    DEAD = "dead"


class Phase(Enum):
    """Where the run is."""

    STARTING = "starting"
    RUNNING = "running"
    DOUBT = "doubt"  # a daemon left without an error: has the market ended?
    ASKING = "asking"  # the market was asked to settle and say good-bye
    HOMES = "homes"  # homes are going
    REST = "rest"  # weather and market are going
    OVER = "over"


class Cause(Enum):
    """Why a run ends."""

    ENDED = "the market has ended"
    ASKED = "asked to stop"
    INTERRUPTED = "interrupted"
    DIED = "a daemon died"
    NOT_READY = "a daemon was not ready in time"


@dataclass(frozen=True, slots=True)
class Notified:
    """A daemon said something on its notify socket."""

    name: str
    ready: bool = False
    stopping: bool = False
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Exited:
    """A daemon is gone; a code below zero is the signal that killed it."""

    name: str
    code: int


@dataclass(frozen=True, slots=True)
class MarketEnded:
    """The market's snapshot says that market time is over."""


@dataclass(frozen=True, slots=True)
class SlotSettled:
    """The market goes on."""


@dataclass(frozen=True, slots=True)
class StopWanted:
    """Somebody wants the run to end; a second time, at once."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class StopAnswered:
    """The market has answered `Stop`, or its connection ended."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Notified | Exited | MarketEnded | SlotSettled | StopWanted | StopAnswered | Tick


@dataclass(frozen=True, slots=True)
class AskStop:
    """Call `Control.Stop`."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send SIGTERM."""

    name: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL to the daemon's whole group."""

    name: str


@dataclass(frozen=True, slots=True)
class Restart:
    """Start a daemon again that has died."""

    name: str


@dataclass(frozen=True, slots=True)
class Announce:
    """All daemons are ready."""


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the operator."""

    text: str


@dataclass(frozen=True, slots=True)
class LastWords:
    """Tell what a daemon wrote last."""

    name: str
    text: str


Effect = AskStop | Terminate | Kill | Restart | Announce | Say | LastWords


@dataclass(slots=True)
class Daemon:
    """One child as the supervisor sees it."""

    name: str
    role: Role
    state: State = State.STARTING
    status: str = ""
    code: int | None = None
    told: bool = False  # SIGTERM was sent: dying of it is no failure
    killed: bool = False
    deaths: int = 0  # since the last slot was settled


@dataclass(slots=True)
class Suite:
    """A run: its daemons, its phase, and why it ends. `handle` alone changes it."""

    daemons: dict[str, Daemon]
    deadline_s: float | None
    phase: Phase = Phase.STARTING
    cause: Cause | None = None
    failed: bool = False
    refused: Exit | None = None  # with this a daemon told at its start why it cannot run
    ended: bool = False  # the market announced its end
    was_ready: bool = False
    restarts: bool = False  # who dies is started again: in lockstep, where nothing goes on without it
    _effects: list[Effect] = field(default_factory=list)

    def handle(self, event: Event, now_s: float) -> list[Effect]:
        """Take one event; the answer is what has to be done, in order."""
        self._effects = []
        match event:
            case Notified():
                self._notified(event, now_s)
            case Exited():
                self._exited(event, now_s)
            case MarketEnded():
                self._market_ended(now_s)
            case SlotSettled():
                for daemon in self.daemons.values():
                    daemon.deaths = 0
            case StopWanted():
                self._stop_wanted(event, now_s)
            case StopAnswered():
                if self.phase is Phase.ASKING:
                    self._enter_homes(now_s)
            case Tick():
                self._tick(now_s)
            case _:
                assert_never(event)
        return self._effects

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

    # ------------------------------------------------------------- events

    def _notified(self, event: Notified, now_s: float) -> None:
        daemon = self.daemons[event.name]
        if daemon.state is State.DEAD:
            return
        if event.status is not None:
            daemon.status = event.status
        if event.ready and daemon.state is State.STARTING:
            daemon.state = State.READY
        if event.stopping:
            before, daemon.state = daemon.state, State.STOPPING
            if daemon.role is Role.MARKET and before is State.READY:
                self._market_ended(now_s)
        if self.phase in {Phase.STARTING, Phase.RUNNING} and not self._late():
            if self.phase is Phase.STARTING:
                self._effects.append(Announce())
            self.phase, self.deadline_s, self.was_ready = Phase.RUNNING, None, True

    def _exited(self, event: Exited, now_s: float) -> None:
        daemon = self.daemons[event.name]
        before, daemon.state, daemon.code = daemon.state, State.DEAD, event.code
        if self.phase in {Phase.STARTING, Phase.RUNNING, Phase.DOUBT}:
            self._left(daemon, before, now_s)
            return
        fell = event.code != 0 and not (daemon.killed or (daemon.told and event.code == -15))
        if fell:
            self.failed = True
            self._effects.append(LastWords(daemon.name, f"{daemon.name} {ending(event.code)} while stopping"))
        self._advance(now_s)

    def _left(self, daemon: Daemon, before: State, now_s: float) -> None:
        """A daemon went that nobody had sent away."""
        if self._starts_again(daemon, now_s):
            return
        if before is not State.STARTING and daemon.code == 0:
            if daemon.role is Role.MARKET:
                self.ended = True
            if self.ended:
                self._begin_stop(Cause.ENDED, now_s)
            elif self.phase is not Phase.DOUBT:
                self.phase, self.deadline_s = Phase.DOUBT, now_s + DOUBT_S_MAX
            return
        if before is State.STARTING and daemon.code in REFUSALS and self.refused is None:
            self.refused = Exit(daemon.code)
        when = "before it was ready" if before is State.STARTING else "in the middle of the run"
        self._effects.append(LastWords(daemon.name, f"{daemon.name} {ending(daemon.code or 0)} {when}"))
        self._begin_stop(Cause.DIED, now_s)

    def _starts_again(self, daemon: Daemon, now_s: float) -> bool:
        """Whether the dead daemon is started again; not one that has an end or a refusal of its own."""
        code = daemon.code or 0
        told = code in {0, *REFUSALS} or (code > 0 and not self.was_ready)  # it says itself why it cannot run
        if not self.restarts or told:
            return False
        daemon.deaths += 1
        if daemon.deaths > RESTARTS_MAX:
            text = f"{daemon.name} died {daemon.deaths} times, and no slot was settled between"
            self._effects.append(Say(text))
            return False
        self._effects += [
            Say(f"{daemon.name} {ending(code)}: started again"),
            Restart(daemon.name),
        ]
        daemon.state, daemon.code, daemon.status = State.STARTING, None, ""
        self.deadline_s = now_s + READY_S_MAX
        return True

    def _late(self) -> list[str]:
        """Daemons that have to say yet that they are ready."""
        return [daemon.name for daemon in self.daemons.values() if daemon.state is State.STARTING]

    def _market_ended(self, now_s: float) -> None:
        self.ended = True
        if self.phase in {Phase.STARTING, Phase.RUNNING, Phase.DOUBT}:
            self._begin_stop(Cause.ENDED, now_s)

    def _stop_wanted(self, event: StopWanted, now_s: float) -> None:
        if self.phase in {Phase.STARTING, Phase.RUNNING, Phase.DOUBT}:
            self._begin_stop(event.cause, now_s)
        elif self.phase is not Phase.OVER and self.cause in {Cause.ASKED, Cause.INTERRUPTED}:
            self._effects.append(Say("asked twice: killing what is left"))
            self.phase = Phase.REST
            self._kill(self.daemons.values())

    def _tick(self, now_s: float) -> None:
        if self.deadline_s is None or now_s < self.deadline_s:
            return
        match self.phase:
            case Phase.STARTING | Phase.RUNNING:
                late = self._late()
                self._effects.append(Say(f"not ready within {READY_S_MAX:.0f} s: {', '.join(late)}"))
                self._effects += [LastWords(name, f"{name} is not ready") for name in late]
                self._begin_stop(Cause.NOT_READY, now_s)
            case Phase.DOUBT:
                gone = [d for d in self.daemons.values() if d.state is State.DEAD]
                self._effects += [LastWords(d.name, f"{d.name} left without a word") for d in gone]
                self._begin_stop(Cause.DIED, now_s)
            case Phase.ASKING:
                self.failed = True
                self._effects.append(Say(f"the market did not answer Stop within {ASK_S_MAX:.0f} s"))
                self._enter_homes(now_s)
            case Phase.HOMES:
                self._kill(self._living(Role.HOMES))
                self._enter_rest(now_s)
            case Phase.REST:
                self._kill(self.daemons.values())
            case Phase.OVER:
                return
            case _:
                assert_never(self.phase)

    # ------------------------------------------------------------- the way to the end

    def _begin_stop(self, cause: Cause, now_s: float) -> None:
        self.cause = cause
        market = [d for d in self._living(Role.MARKET) if d.state is not State.STARTING]
        if market:
            self.phase, self.deadline_s = Phase.ASKING, now_s + ASK_S_MAX
            self._effects.append(AskStop())
        else:
            self._enter_homes(now_s)

    def _enter_homes(self, now_s: float) -> None:
        self.phase, self.deadline_s = Phase.HOMES, now_s + TERM_S_MAX
        self._terminate(self._living(Role.HOMES))
        self._advance(now_s)

    def _enter_rest(self, now_s: float) -> None:
        self.phase, self.deadline_s = Phase.REST, now_s + TERM_S_MAX
        self._terminate([d for d in self.daemons.values() if d.role is not Role.HOMES])
        self._advance(now_s)

    def _advance(self, now_s: float) -> None:
        if self.phase is Phase.ASKING and not self._living(Role.MARKET):
            self._enter_homes(now_s)
        elif self.phase is Phase.HOMES and not self._living(Role.HOMES):
            self._enter_rest(now_s)
        elif all(d.state is State.DEAD for d in self.daemons.values()):
            self.phase, self.deadline_s = Phase.OVER, None

    def _living(self, role: Role) -> list[Daemon]:
        return [d for d in self.daemons.values() if d.role is role and d.state is not State.DEAD]

    def _terminate(self, daemons: Iterable[Daemon]) -> None:
        for daemon in daemons:
            if daemon.state is not State.DEAD:
                daemon.state, daemon.told = State.STOPPING, True
                self._effects.append(Terminate(daemon.name))

    def _kill(self, daemons: Iterable[Daemon]) -> None:
        for daemon in daemons:
            if daemon.state is not State.DEAD and not daemon.killed:
                daemon.state, daemon.killed = State.STOPPING, True
                self.failed = True
                self._effects += [Say(says_killed(daemon.name)), Kill(daemon.name)]
        self.deadline_s = None  # SIGKILL is final: its exit is the next event


def suite(daemons: Iterable[tuple[str, Role]], now_s: float, *, restarts: bool = False) -> Suite:
    """A run whose daemons have just been started."""
    found = {name: Daemon(name, role) for name, role in daemons}
    return Suite(found, now_s + READY_S_MAX, restarts=restarts)


def says_killed(name: str) -> str:
    """What is said of a daemon that had to be killed; `energyctl stop` finds it in the log."""
    return f"{name} does not go: killed"


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

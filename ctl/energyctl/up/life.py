"""The life of one daemon as its supervisor sees it: states, deadlines, signs of life. It touches nothing.

STARTING -> READY -> STOPPING -> one of the ends; after a failure WAITING, and STARTING again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from energyctl.up.events import Abort, Effect, Kill, Notified, Say, Terminate, ending, says_killed
from energyctl.up.policy import DAEMON, Policy, StartLimit

CLEAN: Final = frozenset({0, -1, -2, -13, -15})
"""Ends that are no failure by themselves: code 0, SIGHUP, SIGINT, SIGPIPE, SIGTERM (systemd.service(5))."""
LEFT_S_MAX: Final = 2.0  # a home that left before the market's good-bye reached us


class Role(Enum):
    """What a daemon is for: it decides when it is stopped."""

    MARKET = "market"
    WEATHER = "weather"
    HOMES = "homes"
    DISPATCHER = "dispatcher"
    WORKER = "worker"


class State(Enum):
    """Where a daemon's life is."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    WAITING = "waiting"  # dead, and to be started again
    LEFT = "left"  # went without an error, and nobody knows why yet
    ENDED = "ended"  # with the run
    STOPPED = "stopped"  # by an operator
    FAILED = "failed"  # for good


LIVING: Final = frozenset({State.STARTING, State.READY, State.STOPPING})


class Failure(Enum):
    """Why a daemon that lives is put down; systemd's words for its Result."""

    WATCHDOG = "watchdog"
    TIMEOUT = "timeout"


@dataclass(slots=True)
class Daemon:
    """One daemon: whether it has a process, how it is, and until when it has to say something."""

    name: str
    role: Role
    policy: Policy = DAEMON
    required: bool = True  # without it the first start has failed
    state: State = State.STARTING
    status: str = ""
    why: str = ""  # how it fell last
    code: int | None = None
    told: bool = False  # sent away by us: dying of it is no failure
    again: bool = False  # an operator wants another life after this one
    killed: bool = False
    failure: Failure | None = None
    served: bool = False  # it was ready once
    restarts: int = 0
    deaths: int = 0  # since the last slot was settled
    since_s: float = 0.0
    deadline_s: float | None = None
    watchdog_s: float = 0.0
    alive_until_s: float = 0.0
    limit: StartLimit = field(default_factory=lambda: StartLimit(DAEMON.starts_max, DAEMON.starts_window_s))

    @property
    def alive(self) -> bool:
        """Whether it has a process."""
        return self.state in LIVING

    def due_s(self) -> float | None:
        """When time alone changes something: the deadline of its state, or the end of its silence."""
        if self.state is State.READY:
            return self.alive_until_s if self.watchdog_s else None
        return self.deadline_s

    def is_due(self, now_s: float) -> bool:
        """Whether that time has come."""
        due_s = self.due_s()
        return due_s is not None and now_s >= due_s

    def enter(self, state: State, now_s: float, deadline_s: float | None = None) -> None:
        """Change the state; nothing else does."""
        self.state, self.since_s, self.deadline_s = state, now_s, deadline_s

    # ------------------------------------------------------------- it lives

    def start(self, now_s: float, start_s: float | None = None) -> None:
        """Begin a life: the next Exited is this one's."""
        span_s = self.policy.start_s if start_s is None else start_s
        self.enter(State.STARTING, now_s, now_s + span_s)
        self.status, self.code, self.failure = "", None, None
        self.told = self.again = self.killed = False
        self.watchdog_s = self.policy.watchdog_s

    def heard(self, event: Notified, now_s: float) -> list[Effect]:
        """Take what it says. The dead and those who are being put down are not believed."""
        if not self.alive or self.failure is not None:
            return []
        if event.status is not None:
            self.status = event.status
        if event.watchdog_s is not None and self.policy.watchdog_s:
            self.watchdog_s = event.watchdog_s
        if event.ready and self.state is State.STARTING:
            self.enter(State.READY, now_s)
            self.served = True
            self.alive_until_s = now_s + self.watchdog_s
        if event.alive:
            self.alive_until_s = max(self.alive_until_s, now_s + self.watchdog_s)
        if event.extend_s is not None:
            self.extend(now_s + event.extend_s)
        if event.stopping and self.state in {State.STARTING, State.READY}:
            self.enter(State.STOPPING, now_s, now_s + self.policy.stop_s)
        if event.trigger and self.state is State.READY and self.watchdog_s:
            return self.freeze(now_s, "says itself that it is stuck")
        return []

    def extend(self, until_s: float) -> None:
        """It asks for more time: for its start, its stop, or until its next sign of life."""
        if self.deadline_s is not None:
            self.deadline_s = max(self.deadline_s, until_s)
        self.alive_until_s = max(self.alive_until_s, until_s)

    def forgive(self, span_s: float) -> None:
        """We were away for so long: what was not heard meanwhile is nobody's silence."""
        self.alive_until_s += span_s
        if self.deadline_s is not None:
            self.deadline_s += span_s

    # ------------------------------------------------------------- it is put down

    def terminate(self, now_s: float) -> list[Effect]:
        """Send it away; one that is going already goes on."""
        if not self.alive:
            return []
        self.told = True
        if self.failure is not None:
            return []
        self.enter(State.STOPPING, now_s, now_s + self.policy.stop_s)
        return [Terminate(self.name)]

    def freeze(self, now_s: float, text: str) -> list[Effect]:
        """No progress: it gets the chance to leave its stack, then it is killed."""
        self.failure, self.why = Failure.WATCHDOG, "frozen"
        self.enter(State.STOPPING, now_s, now_s + self.policy.abort_s)
        return [Say(f"{self.name} {text}: killed"), Abort(self.name)]

    def give_no_more_time(self, now_s: float) -> list[Effect]:
        """It was not ready in time, and is tried once more."""
        text = f"not ready within {self.policy.start_s:g} s"
        self.failure, self.why = Failure.TIMEOUT, text
        self.enter(State.STOPPING, now_s, now_s + self.policy.stop_s)
        return [Say(f"{self.name} is {text}"), Terminate(self.name)]

    def kill(self) -> list[Effect]:
        """SIGKILL, once: its exit is the next event."""
        if not self.alive or self.killed:
            return []
        self.killed, self.state, self.deadline_s = True, State.STOPPING, None
        if self.failure is Failure.WATCHDOG:
            return [Kill(self.name)]  # that was said when it was found
        if self.failure is None and not self.told:
            self.failure, self.why = Failure.TIMEOUT, "did not end"
        return [Say(says_killed(self.name)), Kill(self.name)]

    # ------------------------------------------------------------- it is gone

    def fell(self, code: int) -> str:
        """How its life has failed, in words; empty if it has not, or was sent away."""
        if self.failure is not None:
            return self.why
        before = self.state is State.STARTING
        if self.told or (code in CLEAN and not before):
            return ""
        return f"{ending(code)}{' before it was ready' if before else ''}"

    def fell_on_the_way_out(self, code: int) -> bool:
        """Whether one that was sent away has ended otherwise than by that."""
        return code != 0 and not self.killed and self.failure is None and not (self.told and code == -15)


def daemon(name: str, role: Role, policy: Policy, *, required: bool) -> Daemon:
    """A daemon that has not been started yet, with limits of its own."""
    limit = StartLimit(policy.starts_max, policy.starts_window_s)
    return Daemon(name, role, policy, required, watchdog_s=policy.watchdog_s, limit=limit)

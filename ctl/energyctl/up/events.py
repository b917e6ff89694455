"""What happens to a run, and what is to be done about it: the words between the core and the loop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """Why a run ends."""

    ENDED = "the market has ended"
    ASKED = "asked to stop"
    INTERRUPTED = "interrupted"
    DIED = "a daemon died"
    NOT_READY = "a daemon was not ready in time"


class Order(Enum):
    """What an operator may want of units."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"


# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Notified:
    """A daemon said something on its notify socket (sd_notify(3))."""

    name: str
    ready: bool = False
    stopping: bool = False
    status: str | None = None
    alive: bool = False  # WATCHDOG=1
    trigger: bool = False  # WATCHDOG=trigger
    watchdog_s: float | None = None  # WATCHDOG_USEC=
    extend_s: float | None = None  # EXTEND_TIMEOUT_USEC=


@dataclass(frozen=True, slots=True)
class Exited:
    """A daemon is gone and reaped; a code below zero is the signal that killed it."""

    name: str
    code: int


@dataclass(frozen=True, slots=True)
class NotStarted:
    """A daemon could not be started at all: no process, no memory, no program."""

    name: str
    why: str


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
class Ordered:
    """An operator wants something of these units; of all of them if none is named."""

    order: Order
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    Notified | Exited | NotStarted | MarketEnded | SlotSettled | StopWanted | StopAnswered | Ordered | Tick
)


# ---------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class AskStop:
    """Call `Control.Stop`."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a daemon that has no process."""

    name: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send SIGTERM, and SIGCONT so that one that is stopped hears it."""

    name: str


@dataclass(frozen=True, slots=True)
class Abort:
    """Send SIGABRT and SIGCONT: it leaves its stack in the log."""

    name: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL to the daemon's whole group."""

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


Effect = AskStop | Start | Terminate | Abort | Kill | Announce | Say | LastWords


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def says_killed(name: str) -> str:
    """What is said of a daemon that had to be killed; `energyctl stop` finds it in the log."""
    return f"{name} does not go: killed"

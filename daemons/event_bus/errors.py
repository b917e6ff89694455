"""What a call on the bus may raise: every error says what happened, to whom, and what to do."""

from __future__ import annotations


class BusError(Exception):
    """The root of all that this library raises of its own accord."""


class BusTimeout(BusError, TimeoutError):
    """A blocking call was not answered in time; nothing it asked for holds any more."""


class BusStopped(BusError):
    """The bus stops, or this process does: leave `process()`, its loop ends after it."""


class NoSuchProcess(BusError, LookupError):
    """A number or name that no living process has."""


class ProcessLost(BusError):
    """The one process that a call waited for has died, or has left the bus."""


class MemberLost(BusError):
    """A barrier that must keep everyone has lost somebody: it did not open.

    `names` are the seats that were lost since this process was told last. The barrier opens again when each
    seat is filled (`ProcessManager.replace`) and every process, having been told, has arrived anew.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(
            f"lost {', '.join(names)}: the barrier did not open; "
            "go back to what all share, and arrive again when the seat is filled"
        )
        self.names = names


class StartFailed(BusError):
    """A process of a batch did not come up: the batch was ended, the bus is as before."""


class NotOnBus(BusError):
    """A process that no manager started, whose constructor still runs, or that forked off one on the bus."""


class ProtocolError(BusError):
    """A state that cannot be: a bug of this library, which ends the process where it is seen."""

"""The market's child: started by fork and exec, watched by pidfd, started again within limits.

Every start is from the main thread, because the parent-death signal follows the thread that forked.
`posix_spawn` runs no Python between fork and exec, so that threads of NumPy and others do not matter.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import sys
import threading
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Self

from energymarket.runtime.clock import boottime_ns, wait_readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIRST_FD: Final = 3
"""The child finds the handed descriptors at 3, 4, .. in the order given."""

_STRIPPED: Final = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "MAINPID")
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15


class Action(Enum):
    """What the watch asks for."""

    NONE = "none"
    SPAWN = "spawn"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Limits:
    """How a child is started again, and when it counts as frozen."""

    first_delay_ns: int = 20_000_000  # doubled with each death in the window
    delay_ns_max: int = 2_000_000_000
    deaths_max: int = 5  # in the window; then the next start waits until the oldest has left it
    window_ns: int = 60_000_000_000
    silence_ns_max: int = 2_000_000_000  # heartbeats come twice a second
    start_ns_max: int = 10_000_000_000  # until the first heartbeat: a slow disk reads Python slowly


class Watch:
    """When to start the child and when to kill it: pure, time is an argument (CLOCK_BOOTTIME)."""

    def __init__(self, now_ns: int, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._deaths: deque[int] = deque()
        self._start_ns: int | None = now_ns  # None while it runs
        self._alive_until_ns = 0

    def started(self, now_ns: int) -> None:
        """Note that the child was started."""
        self._start_ns = None
        self._alive_until_ns = now_ns + self._limits.start_ns_max

    def heard(self, now_ns: int) -> None:
        """Note a heartbeat, or any record of it."""
        if self._start_ns is None:
            self._alive_until_ns = now_ns + self._limits.silence_ns_max

    def died(self, now_ns: int) -> None:
        """Note that the child is dead and reaped (or could not be started)."""
        self._deaths.append(now_ns)
        self._forget(now_ns)
        if len(self._deaths) >= self._limits.deaths_max:
            self._start_ns = self._deaths[0] + self._limits.window_ns
        else:
            delay_ns = self._limits.first_delay_ns << (len(self._deaths) - 1)
            self._start_ns = now_ns + min(delay_ns, self._limits.delay_ns_max)

    def action(self, now_ns: int) -> Action:
        """What is to be done now."""
        if self._start_ns is not None:
            return Action.SPAWN if now_ns >= self._start_ns else Action.NONE
        if now_ns < self._alive_until_ns:
            return Action.NONE
        self._alive_until_ns = now_ns + self._limits.silence_ns_max  # asked again if it was in vain
        return Action.KILL

    def due_ns(self) -> int:
        """When to ask again at the latest."""
        return self._alive_until_ns if self._start_ns is None else self._start_ns

    def degraded(self, now_ns: int) -> bool:
        """Whether it died so often lately that it is not started again for a while."""
        self._forget(now_ns)
        return len(self._deaths) >= self._limits.deaths_max

    def _forget(self, now_ns: int) -> None:
        while self._deaths and self._deaths[0] + self._limits.window_ns <= now_ns:
            self._deaths.popleft()


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended."""

    pid: int
    code: int | None  # exit code
    signal: int | None  # that killed it

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {signal_name(self.signal)}"
        return f"exit {self.code}"


def signal_name(number: int) -> str:
    """The name of a signal; most real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Child:
    """A running child; its pidfd is readable when it is dead."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    def fileno(self) -> int:
        """The pidfd, for select, poll and epoll."""
        return self._pidfd

    def send(self, number: signal.Signals) -> None:
        """Send a signal; none if it is dead already."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def wake(self) -> None:
        """Make it look at the clock page; harmless at any time, because the signal is born blocked."""
        self.send(signal.SIGUSR1)

    def kill(self) -> None:
        """End it without its help: also one that is stopped."""
        self.send(signal.SIGKILL)

    def reap(self) -> Death | None:
        """Take its exit status, if it is dead; else None. Never blocks."""
        try:
            status = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return Death(self.pid, None, None)  # somebody else reaped it
        if status is None:
            return None
        exited = status.si_code == os.CLD_EXITED
        return Death(self.pid, status.si_status if exited else None, None if exited else status.si_status)

    def stop(self, deadline_ns: int) -> Death:
        """Ask it to end, kill it at the deadline, reap it."""
        self.send(signal.SIGTERM)
        if not wait_readable(self._pidfd, deadline_ns):
            self.kill()
            wait_readable(self._pidfd, boottime_ns() + 1_000_000_000)  # a killed one is dead at once
        return self.reap() or Death(self.pid, None, None)

    def close(self) -> None:
        """Close the pidfd. Twice is allowed."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def interpreter() -> tuple[str, str]:
    """This Python, with no module from the current directory; as isolated as we are ourselves."""
    return sys.executable, "-I" if sys.flags.isolated else "-P"


def spawn(arguments: Sequence[str], descriptors: Sequence[int], environment: Mapping[str, str]) -> Child:
    """Start `python arguments...` with these descriptors at 3, 4, ..; in it SIGUSR1 and SIGUSR2 are blocked.

    RuntimeError if this is not the main thread, or if SIGUSR1 would still kill us: that is our bug.
    OSError if the kernel refuses.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "a child is started from the main thread: its parent-death signal follows the thread"
        )
    if signal.getsignal(signal.SIGUSR1) in {signal.SIG_DFL, None}:
        raise RuntimeError("the doorbell comes before the child: its first signal would kill us")
    copies: list[int] = []
    above = FIRST_FD + len(descriptors)  # so that no copy overwrites another's source
    try:
        copies.extend(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in descriptors)
        pid = os.posix_spawn(
            sys.executable,
            [*interpreter(), *arguments],
            {name: text for name, text in environment.items() if not name.startswith(_STRIPPED)},
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, FIRST_FD + at) for at, fd in enumerate(copies)],
            setsigmask=[signal.SIGUSR1, signal.SIGUSR2],
            setsigdef=[signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT],
        )
    finally:
        for fd in copies:
            os.close(fd)
    return Child(pid, os.pidfd_open(pid))


def die_with_parent(parent_pidfd: int, number: signal.Signals) -> bool:
    """Get this signal when the parent dies; False if it is dead already."""
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), zero, zero, zero) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    poll = select.poll()
    poll.register(parent_pidfd, select.POLLIN)
    return not poll.poll(0)


def begin_as_child(name: str, market_pidfd: int, descriptors: int) -> bool:
    """The first thing a child does: die with its parent, keep only what was handed to it, take a name.

    False if the parent is dead already: it died before the parent-death signal was set, which the
    pidfd (unlike a parent's pid) tells without a race.
    """
    if not die_with_parent(market_pidfd, signal.SIGKILL):
        return False
    zero = ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), zero, zero, zero)
    os.closerange(FIRST_FD + descriptors, os.sysconf("SC_OPEN_MAX"))
    return True

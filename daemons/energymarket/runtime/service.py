"""The life of a daemon's process: signals that only set flags, a way out with a documented code.

    def main() -> int:
        return service.run("energy-weatherd", _serve)

`_serve(stop)` gets a `StopFlag`, waits on its descriptor among others, and returns when it is set.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Final, Self

from energymarket import once
from energymarket.exits import Exit, Failure, exit_of
from energymarket.runtime import clock
from energymarket.runtime import log as logs
from energymarket.runtime.occasions import Occasion

log = logging.getLogger(__name__)

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
# Their default action is death. Who has a use for them (the doorbell) takes them over.
_STRAY: Final = (signal.SIGUSR1, signal.SIGUSR2)


class Flag:
    """A flag with a descriptor: setting it wakes whoever waits. A signal handler or a thread may set it."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._set = False

    def fileno(self) -> int:
        """Readable while the flag is set, for select, poll and epoll."""
        return self._fd

    def set(self) -> None:
        """Set the flag and wake who waits for it."""
        self._set = True
        try:
            os.eventfd_write(self._fd, 1)
        except BlockingIOError:
            # 2**64 - 2 wakings unread: whoever waits is awake.
            return

    def clear(self) -> bool:
        """Take the flag down; whether it was set."""
        was_set, self._set = self._set, False
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return was_set
        return True

    def is_set(self) -> bool:
        """Whether it is set; costs no system call."""
        return self._set

    def __bool__(self) -> bool:
        return self._set

    def wait_until(self, deadline_ns: int) -> bool:
        """Wait until it is set or CLOCK_BOOTTIME reaches the deadline; whether it is set."""
        return self._set or clock.wait_readable(self._fd, deadline_ns)

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StopFlag(Flag):
    """Set when the daemon is to stop; it remembers why, for the log and the exit code."""

    def __init__(self) -> None:
        super().__init__()
        self.reason = ""
        self.interrupted = False

    def stop(self, reason: str) -> None:
        """Ask for the end; the first reason stands."""
        self.reason = self.reason or reason
        self.set()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGTERM and SIGINT."""
        del frame
        self.interrupted = self.interrupted or number == signal.SIGINT
        self.stop(signal.Signals(number).name)


def install(stack: ExitStack, number: signal.Signals, flag: Flag) -> None:
    """Let a signal set a flag until the stack is closed; only the main thread may ask."""
    handler = flag.on_signal if isinstance(flag, StopFlag) else lambda _number, _frame: flag.set()
    before = signal.signal(number, handler)
    stack.callback(signal.signal, number, before)


def run(program: str, serve: Callable[[StopFlag], int | None]) -> int:
    """Run a daemon's life and answer its exit code; a `main` hands it to `sys.exit`.

    Failures with a name end with their code and one line; anything else is a bug, told with its traceback.
    """
    once.open_streams()  # before a descriptor of ours, a file, takes the place of a closed one
    faulthandler.enable()
    logs.configure(program)
    with ExitStack() as stack:
        stop = StopFlag()
        stack.callback(stop.close)
        for number in _STRAY:
            signal.signal(number, signal.SIG_IGN)
        try:
            code = Exit(_ordered(serve, stop) or 0)
        except Failure as failure:
            refused = failure.code is Exit.CONFIGURATION
            fields = Occasion.CONFIGURATION_REFUSED.fields() if refused else None
            for line in str(failure).splitlines():
                log.error("%s", line, extra=fields)  # noqa: TRY400 said for a person, without the traceback
            return failure.code
        except OSError as error:
            code = exit_of(error)
            log.critical("%s", error, exc_info=code is Exit.IO_ERROR)
            return code
        except Exception:  # the one broad except of a daemon's life
            log.critical("this is a bug of %s", program, exc_info=True)
            return Exit.FAILED
        # An ordered stop is a success, also by Ctrl-C: the shell's 130 is for a command cut short.
        return code


def _ordered(serve: Callable[[StopFlag], int | None], stop: StopFlag) -> int | None:
    """The life with its signals. Once it is over they are ignored until the process is gone.

    With the default action back, a SIGTERM behind a crash would make of its exit code a death by SIGTERM,
    which whoever sent it forgives. SIG_IGN, because the interpreter's own end puts handlers back.
    """
    for number in _STOPPING:
        signal.signal(number, stop.on_signal)
    try:
        return serve(stop)
    finally:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)


def run_once(program: str, act: Callable[[StopFlag], int], *, as_json: bool) -> int:
    """Run a program that answers once: as `run`, but a failed system call is told in one line, too.

    With `as_json` a Failure is a JSON document on stderr, in the form of energyctl's own.
    """
    return run(program, lambda stop: once.answered(lambda: act(stop), as_json=as_json))


def usage(program: str, text: str) -> int:
    """Say what is wrong with the command line; the exit code for it."""
    sys.stderr.write(f"{program}: {text}\n")
    return Exit.USAGE

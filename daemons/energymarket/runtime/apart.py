"""A program's work in a child of its own, so that somebody is left to say how it ended.

Some libraries end the process that they are in when they have lost what they hold on to: without an
exception, without a word, with an exit code that means something else.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energymarket.exits import Exit
from energymarket.runtime.child import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


@dataclass(frozen=True, slots=True)
class Ending:
    """How the child ended."""

    finished: bool  # by coming to its end, whatever it said there
    code: int  # its exit code; minus the signal that killed it


def work_apart(act: Callable[[], int]) -> Ending:
    """Run `act` in a child that dies with us; the signals that ask for an end are passed on to it.

    To be called before there are threads, by a program that ends when its work has. The child ends
    without the exit handlers of the interpreter.
    """
    ours, theirs = os.pipe()
    us = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        code = act() if die_with_parent(us, signal.SIGKILL) else Exit.FAILED
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(theirs, b".")
        os._exit(code)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(pid, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    os.close(theirs)
    os.close(us)
    finished = os.read(ours, 1) == b"."  # or it is gone, and nobody has the other end any more
    _, status = os.waitpid(pid, 0)
    for number in (signal.SIGTERM, signal.SIGINT):  # what there was to end has ended
        signal.signal(number, signal.SIG_IGN)
    os.close(ours)
    return Ending(finished, os.waitstatus_to_exitcode(status))

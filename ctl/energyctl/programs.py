"""Verbs that run one of the suite's programs: it inherits our stdio, and its exit code is ours."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of the suite's programs, found where we were found: never in the cwd.

    Plain `python -m` looks into the current directory first, so that root in somebody's directory would run
    that one's package. -P leaves the directory out and lets PYTHONPATH stand; who was isolated from that
    too (the installed commands are) starts only what is isolated.
    """
    apart = "-I" if sys.flags.isolated else "-P"
    return [sys.executable, apart, "-m", f"energymarket.{module}", *arguments]


def run_program(module: str, arguments: Sequence[str]) -> int:
    """Run energymarket.MODULE and return its exit code; 128 + the signal that killed it.

    Ctrl-C is the program's to answer: it may have something to save, and is waited for. Asked a second
    time it is killed. SIGTERM, which `timeout` sends to us alone, is handed on: nothing outlives its verb.
    """
    told: list[int] = []
    with subprocess.Popen(python(module, *arguments)) as program:

        def hand_on(number: int, _frame: FrameType | None) -> None:
            told.append(number)
            program.send_signal(number)

        before = signal.signal(signal.SIGTERM, hand_on)
        interrupted, code = False, None
        while code is None:
            try:
                code = program.wait()
            except KeyboardInterrupt:
                # A terminal has interrupted it too, but `kill -INT` of this process has not.
                program.send_signal(signal.SIGKILL if interrupted else signal.SIGINT)
                interrupted = True
        signal.signal(signal.SIGTERM, before)
    if told:
        return 128 + told[0]
    if interrupted and code in {0, -signal.SIGINT}:
        return 130
    return 128 - code if code < 0 else code

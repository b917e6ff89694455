"""Processes for the tests of kernel objects: each runs a few lines of Python and says when it is ready."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from energymarket.runtime.clock import boottime_ns, sleep_until_boottime_ns

PRELUDE = """\
import os, select, signal, sys
from pathlib import Path
import numpy as np
from energymarket.core import weather
from energymarket.core.records import OFFER, Phase
from energymarket.runtime.clock import boottime_ns
from energymarket.transport import page, resources
from energymarket.transport.queue import OfferQueue, QueueFrozen
from energymarket.wire.clock_page import ClockPage
def ready():
    print("ready", flush=True)
def for_ever():
    select.poll().poll()
"""


def environment() -> dict[str, str]:
    """Ours, with the path that finds the packages under test."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def pass_time(span_s: float) -> None:
    """Let others work for a while: what is tested here is that something does not happen meanwhile."""
    sleep_until_boottime_ns(boottime_ns() + int(span_s * 1e9))


@contextmanager
def process(body: str, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run `body` after the prelude until it has said ready; it is killed and reaped at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + body, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n", "the process did not get ready"
            yield running
        finally:
            running.kill()


FORKING = """
while sys.stdin.readline():
    if not (child := os.fork()):
        print(os.getpid(), flush=True)
        break
    print(os.waitpid(child, 0)[1], flush=True)
else:
    sys.exit()
"""


@contextmanager
def killed_again_and_again(
    imports: str, body: str, *arguments: str | Path
) -> Iterator[Callable[[float], None]]:
    """A call runs `body` in a process of its own until it has said ready, and so long; then it is killed.

    One interpreter imports, and each process is a fork of it: a kill costs a few milliseconds.
    """
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + imports + FORKING + body, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as forking:
        assert forking.stdin is not None
        assert forking.stdout is not None
        said, told = forking.stdout, forking.stdin

        def killed(after_s: float) -> None:
            told.write("\n")
            told.flush()
            pid = int(said.readline())
            assert said.readline() == "ready\n", "the process did not get ready"
            pass_time(after_s)
            os.kill(pid, signal.SIGKILL)
            assert int(said.readline()) == signal.SIGKILL, "it had ended before"

        try:
            yield killed
        finally:
            with suppress(ProcessLookupError):
                os.killpg(forking.pid, signal.SIGKILL)

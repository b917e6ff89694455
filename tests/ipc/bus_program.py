"""Programs on the event bus, each run as a user would: a script in an interpreter of its own, unguarded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from energymarket.runtime.clock import monotonic_s
from tests.ipc.processes import pass_time

HEAD = """
import json, os, signal, sys, threading, time
from event_bus import *

def say(**words):
    # one write, so that lines of many processes do not mix
    os.write(1, (json.dumps({"t": time.monotonic(), **words}) + "\\n").encode())
"""


class Run:
    """A program that runs, in a session of its own."""

    def __init__(self, program: str, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(exist_ok=True)
        script = directory.parent / f"{directory.name}.py"
        script.write_text(HEAD + textwrap.dedent(program))
        self._out = script.with_suffix(".out")
        self._errors = script.with_suffix(".err")
        with self._out.open("wb") as out, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                cwd=directory,
                start_new_session=True,
            )

    def said(self, **words: Any) -> list[dict[str, Any]]:
        """What it has said so far that has these words."""
        lines = self._out.read_text().rpartition("\n")[0].splitlines()  # the last one may still grow
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [each for each in found if words.items() <= each.items()]

    def wait_said(self, number: int = 1, timeout_s: float = 20.0, **words: Any) -> list[dict[str, Any]]:
        """Wait until it has said that so often."""
        until = monotonic_s() + timeout_s
        while len(said := self.said(**words)) < number:
            assert monotonic_s() < until, f"{words} not said {number} times: {self.story()}"
            pass_time(0.005)
        return said

    def errors(self) -> str:
        """What stands on its standard error."""
        return self._errors.read_text()

    def story(self) -> str:
        """Everything, for a failure."""
        return f"{self._out.read_text()[-3000:]}\n{self.errors()[-3000:]}"

    def end(self, timeout_s: float = 30.0) -> Run:
        """Wait for its end, and see that it ended well and left nothing."""
        code = self.process.wait(timeout_s)
        assert code == 0, self.story()
        self.left_nothing()
        return self

    def living(self) -> list[int]:
        """The processes of its session that are not zombies."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    os.getsid(process.pid) == self.process.pid
                    and process.status() != psutil.STATUS_ZOMBIE
                    and process.pid != self.process.pid
                ):
                    found.append(process.pid)
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        return found

    def left_nothing(self, within_s: float = 0.0) -> None:
        """No process of its session, and no file where it ran."""
        until = monotonic_s() + within_s
        while self.living() and monotonic_s() < until:
            pass_time(0.02)
        assert self.living() == [], self.story()
        assert list(self.directory.iterdir()) == []

    def sweep(self) -> None:
        """End what a failed test leaves."""
        for pid in [*self.living(), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(10)


Start = Callable[[str], Run]
"""Starts a program."""

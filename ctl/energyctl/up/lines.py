"""A run told in lines: for people without a terminal, and as JSON lines for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

from energyctl.render import RED, YELLOW, clean, paint, to_json, wants_colour
from energyctl.slotline import slot_line, spoken, with_eur
from energyctl.up import core
from energyctl.up.life import State
from energyctl.up.process import Child
from energymarket.runtime import clock

STEP_TOLD_S: Final = 2.0


class Paper:
    """A stream that may go away: a closed terminal or reader must not keep a run from ending in order."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self.colour = wants_colour(stream)

    def line(self, text: str) -> None:
        """Write one line, now."""
        if self._stream is None:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except OSError:
            self._stream = None


class PlainLines:
    """One line per slot on stdout; everything else on stderr."""

    def __init__(self, title: str) -> None:
        self._out = Paper(sys.stdout)
        self._err = Paper(sys.stderr)
        self._title = title
        self._waiting: tuple[str, ...] | None = None

    def starting(self, suite: core.Suite, children: Mapping[str, Child]) -> None:  # noqa: ARG002
        """Say whom we wait for, whenever that changes."""
        waiting = tuple(d.name for d in suite.daemons.values() if d.state is State.STARTING)
        if waiting and waiting != self._waiting:
            self._err.line(f"starting: waiting for {_few(waiting)}")
        self._waiting = waiting

    def ready(self) -> None:
        """All daemons are ready."""
        self._err.line(f"running: {self._title}")

    def slot(self, snapshot: dict[str, Any]) -> None:
        """One line per slot."""
        self._out.line(clean(slot_line(snapshot)))

    def tick(self, suite: core.Suite, children: Mapping[str, Child]) -> None:
        """Nothing: lines tell changes, not time."""

    def said(self, name: str, line: str) -> None:
        """A daemon's own words: a person wants to see them."""
        self._err.line(clean(spoken(name, line)))

    def note(self, text: str) -> None:
        """The supervisor's words."""
        self._err.line(paint(clean(text), YELLOW, on=self._err.colour))

    def last_words(self, text: str, lines: list[str]) -> None:
        """The daemon's lines have been shown as they came: say how it ended."""
        del lines
        self._err.line(paint(f"error: {clean(text)}", RED, on=self._err.colour))

    def close(self) -> None:
        """Nothing to give back."""


class StepLines(PlainLines):
    """A run in lockstep whose outcome a program reads from stdout: how far it is, on stderr, now and then."""

    def __init__(self, title: str, slots: int | None) -> None:
        super().__init__(title)
        self._slots = slots
        self._done = 0
        self._told_s = self._began_s = clock.monotonic_s()

    def slot(self, snapshot: dict[str, Any]) -> None:
        """A line every two seconds at most."""
        self._done = int(snapshot.get("slots_done", self._done))
        now_s = clock.monotonic_s()
        if now_s < self._told_s + STEP_TOLD_S:
            return
        self._told_s = now_s
        rate = self._done / max(now_s - self._began_s, 1e-9)
        of = "" if self._slots is None else f" of {self._slots:,}"
        self._err.line(f"{self._done:,}{of} slots, {rate:,.0f} per second")


class JsonLines:
    """Every happening as one JSON document on stdout, each with a type."""

    def __init__(self) -> None:
        self._out = Paper(sys.stdout)
        self._states: dict[str, str] = {}

    def _tell(self, kind: str, **members: object) -> None:
        self._out.line(to_json({"type": kind, **members}))

    def starting(self, suite: core.Suite, children: Mapping[str, Child]) -> None:
        """One document for each change of a daemon's state."""
        for daemon in suite.daemons.values():
            if self._states.get(daemon.name) != daemon.state.value:
                self._states[daemon.name] = daemon.state.value
                child = children.get(daemon.name)
                self._tell(
                    "daemon", name=daemon.name, state=daemon.state.value, pid=child.pid if child else 0
                )

    def ready(self) -> None:
        """All daemons are ready."""
        self._tell("ready")

    def slot(self, snapshot: dict[str, Any]) -> None:
        """The snapshot as it came, the price also as a decimal number."""
        self._out.line(to_json({**with_eur(snapshot), "type": "slot"}))

    def tick(self, suite: core.Suite, children: Mapping[str, Child]) -> None:
        """One document for each change of a daemon's state."""
        self.starting(suite, children)

    def said(self, name: str, line: str) -> None:
        """A daemon's own words."""
        self._tell("log", name=name, line=line)

    def note(self, text: str) -> None:
        """The supervisor's words."""
        self._tell("note", text=text)

    def last_words(self, text: str, lines: list[str]) -> None:
        """How a daemon ended, and its last lines."""
        self._tell("died", message=text, last_lines=lines)

    def close(self) -> None:
        """Nothing to give back."""


class Silence:
    """A run that nobody watches: everything is in up.log."""

    def starting(self, suite: core.Suite, children: Mapping[str, Child]) -> None:
        """Nothing."""

    def ready(self) -> None:
        """Nothing."""

    def slot(self, snapshot: dict[str, Any]) -> None:
        """Nothing."""

    def tick(self, suite: core.Suite, children: Mapping[str, Child]) -> None:
        """Nothing."""

    def said(self, name: str, line: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def last_words(self, text: str, lines: list[str]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")

"""The supervisor at work: waits for what happens, hands it to the core, does what the core says."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TextIO, assert_never

from energyctl.up import core, feed, proc, record
from energyctl.up.process import Child, Command, kill_orphans, spawn
from energymarket.runtime import clock
from energymarket.wire.messages import CONTROL, CONTROL_SOCKET

_WAIT_S_MAX: Final = 1.0  # the display's clock and the attempts to hear the market go on at least this often
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Watcher(Protocol):
    """Who is told what goes on: the live display, plain lines, JSON lines."""

    def starting(self, suite: core.Suite, children: Mapping[str, Child]) -> None:
        """Daemons are starting; called at every change until all are ready."""

    def ready(self) -> None:
        """All daemons are ready."""

    def slot(self, snapshot: dict[str, Any]) -> None:
        """A snapshot came from the market."""

    def tick(self, suite: core.Suite, children: Mapping[str, Child]) -> None:
        """A second has passed, or something changed."""

    def said(self, name: str, line: str) -> None:
        """A daemon wrote a line."""

    def note(self, text: str) -> None:
        """The supervisor has something to say."""

    def last_words(self, text: str, lines: list[str]) -> None:
        """A daemon ended as it should not; these were its last lines."""

    def close(self) -> None:
        """The run is over: give the terminal back."""


class Supervisor:
    """One run: its children, the core that decides, and who watches."""

    def __init__(self, run: Path, watcher: Watcher, log: TextIO, *, restarts: bool = False) -> None:
        self._run = run
        self._watcher = watcher
        self._log = log
        self._restarts = restarts
        self._children: dict[str, Child] = {}
        self._environ: Mapping[str, str] = {}
        self._life_fd = -1
        self._kept: proc.Record
        self._ear: feed.Feed | None = None  # Watch
        self._voice: feed.Feed | None = None  # Stop
        self._suite = core.Suite({}, None)
        self._last_slot = -1

    def supervise(self, commands: list[Command], environ: Mapping[str, str], kept: proc.Record) -> core.Suite:
        """Start the daemons, keep them, take them down; the answer says how it went."""
        with ExitStack() as stack:
            wake_fd = stack.enter_context(_signals_on_descriptor())
            stack.callback(self._close)
            life_fd = os.pidfd_open(os.getpid())
            stack.callback(os.close, life_fd)
            self._suite = core.suite(
                [(command.name, command.role) for command in commands],
                clock.monotonic_s(),
                restarts=self._restarts,
            )
            self._environ, self._life_fd = environ, life_fd
            for command in commands:
                self._children[command.name] = spawn(command, environ, life_fd)
                # Recorded one by one: a SIGKILL of ours between two starts leaves none unknown.
                kept = self._note_children(kept, ready=False)
            self._kept = kept
            self._watcher.starting(self._suite, self._children)
            while self._suite.phase is not core.Phase.OVER:
                was_ready = self._suite.was_ready
                self._round(wake_fd)
                if self._suite.was_ready and not was_ready:
                    self._kept = self._note_children(self._kept, ready=True)
                    self._watcher.ready()
        return self._suite

    def _note_children(self, kept: proc.Record, *, ready: bool) -> proc.Record:
        children = tuple(
            proc.process(c.command.name, c.pid, c.command.role.value) for c in self._children.values()
        )
        kept = proc.Record(kept.up, children, kept.scenario, kept.compiled, kept.state, ready)
        record.write(self._run, kept)
        return kept

    # ------------------------------------------------------------- one round

    def _round(self, wake_fd: int) -> None:
        """Wait for something, then take all that has come. A child's words are read before its death."""
        poll = select.poll()
        poll.register(wake_fd, select.POLLIN)
        living = [c for c in self._children.values() if self._suite.daemons[c.command.name].code is None]
        for child in living:
            for fd in (child.notify.fileno(), child.pidfd, child.output_fd):
                poll.register(fd, select.POLLIN)
        for connection in (self._ear, self._voice):
            if connection is not None:
                poll.register(connection.fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(self._wait_ms())}
        if wake_fd in ready:
            self._take_signals(wake_fd)
        self._listen(ready)
        for child in living:
            dead = child.pidfd in ready
            self._take_words(child)
            for notified in child.notifications():
                self._handle(notified)
            if dead:
                self._bury(child)
        self._answer_of_stop(ready)
        self._handle(core.Tick())
        if self._suite.phase is core.Phase.STARTING:
            self._watcher.starting(self._suite, self._children)
        else:
            self._watcher.tick(self._suite, self._children)

    def _wait_ms(self) -> int:
        wait_s = _WAIT_S_MAX
        if self._suite.deadline_s is not None:
            wait_s = min(wait_s, max(0.0, self._suite.deadline_s - clock.monotonic_s()))
        return int(wait_s * 1000) + 1

    def _take_signals(self, wake_fd: int) -> None:
        for number in os.read(wake_fd, 64):
            if number in _STOP_SIGNALS:
                cause = core.Cause.INTERRUPTED if number == signal.SIGINT else core.Cause.ASKED
                self._handle(core.StopWanted(cause))

    def _listen(self, ready: set[int]) -> None:
        """Take the snapshots that have come; call again whenever the market has hung up."""
        if self._ear is None and self._suite.phase in {core.Phase.STARTING, core.Phase.RUNNING}:
            market = [d for d in self._suite.daemons.values() if d.role is core.Role.MARKET]
            if market and market[0].state is core.State.READY:
                self._ear = feed.call(self._run / CONTROL_SOCKET, f"{CONTROL}.Watch", more=True)
            return
        if self._ear is None or self._ear.fd not in ready:
            return
        replies = self._ear.replies()
        for reply in replies or ():
            snapshot = reply.get("parameters", {}).get("snapshot")
            if isinstance(snapshot, dict):
                self._take_snapshot(snapshot)
        if replies is None:
            self._ear.close()
            self._ear = None

    def _take_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Show a slot once: a new connection repeats the last one, and a change of phase names it again."""
        slot = snapshot.get("slot")
        if isinstance(slot, int) and slot > self._last_slot:
            self._last_slot = slot
            self._watcher.slot(snapshot)
            self._handle(core.SlotSettled())
        if snapshot.get("phase") in {"ended", "stopped"}:
            self._handle(core.MarketEnded())

    def _answer_of_stop(self, ready: set[int]) -> None:
        if self._voice is None or self._voice.fd not in ready:
            return
        # Whatever it said: with a reply the slot is durable, without one its death will tell.
        if self._voice.replies() != []:
            self._voice.close()
            self._voice = None
            self._handle(core.StopAnswered())

    def _take_words(self, child: Child, *, last: bool = False) -> None:
        for line in child.flush_output() if last else child.read_output():
            self._log.write(f"{child.command.name}: {line}\n")
            self._watcher.said(child.command.name, line)
        self._log.flush()

    def _bury(self, child: Child) -> None:
        code = child.reap()
        self._take_words(child, last=True)
        self._handle(core.Exited(child.command.name, code))

    # ------------------------------------------------------------- what the core wants

    def _handle(self, event: core.Event) -> None:
        for effect in self._suite.handle(event, clock.monotonic_s()):
            match effect:
                case core.AskStop():
                    self._ask_stop()
                case core.Terminate():
                    self._children[effect.name].send(signal.SIGTERM)
                case core.Kill():
                    self._children[effect.name].kill_group()
                case core.Restart():
                    self._start_again(effect.name)
                case core.Announce():
                    self._log.write("all daemons are ready\n")
                case core.Say():
                    self._log.write(f"energyctl: {effect.text}\n")
                    self._watcher.note(effect.text)
                case core.LastWords():
                    self._log.write(f"energyctl: {effect.text}\n")
                    self._watcher.last_words(effect.text, list(self._children[effect.name].last_lines))
                case _:
                    assert_never(effect)
        self._log.flush()

    def _start_again(self, name: str) -> None:
        dead = self._children[name]
        dead.close()
        self._children[name] = spawn(dead.command, self._environ, self._life_fd)
        self._kept = self._note_children(self._kept, ready=self._suite.was_ready)

    def _ask_stop(self) -> None:
        if any(
            self._is_frozen(name) for name, d in self._suite.daemons.items() if d.role is core.Role.MARKET
        ):
            self._handle(core.StopAnswered())  # it will say nothing: the rest of the run need not wait for it
            return
        self._voice = feed.call(self._run / CONTROL_SOCKET, f"{CONTROL}.Stop", more=False)
        if self._voice is None:
            self._handle(core.StopAnswered())

    def _is_frozen(self, name: str) -> bool:
        child = self._children[name]
        return proc.process(name, child.pid).frozen()

    def _close(self) -> None:
        """End whatever is left: after an orderly end that is nothing, after an exception everything."""
        for child in self._children.values():
            daemon = self._suite.daemons.get(child.command.name)
            if daemon is None or daemon.code is None:
                child.kill_group()
                child.reap()
            child.close()
        kill_orphans()
        for connection in (self._ear, self._voice):
            if connection is not None:
                connection.close()


@contextmanager
def _signals_on_descriptor() -> Iterator[int]:
    """SIGINT, SIGTERM and SIGHUP become bytes on a descriptor; the handlers do nothing at all."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    old_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    old_handlers = {number: signal.signal(number, lambda *_: None) for number in _STOP_SIGNALS}
    try:
        yield reader.fileno()
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_fd)
        reader.close()
        writer.close()

"""The supervisor at work: waits for what happens, hands it to the core, does what the core says."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, assert_never

from energyctl.up import core, events, feed, proc, record
from energyctl.up.desk import Desk
from energyctl.up.life import Daemon, Role, State
from energyctl.up.log import Log
from energyctl.up.process import Child, Command, end_orphans, kill_orphans, reap_orphans, spawn
from energyctl.up.sockets import Sockets
from energymarket.runtime import clock
from energymarket.wire.messages import CONTROL, CONTROL_SOCKET

_WAIT_S_MAX: Final = 1.0  # the display's clock and the attempts to hear the market go on at least this often
_HEAR_S: Final = 0.05  # a hundred homes say several times a second that they live
_CALM_S: Final = 0.25  # while all are ready, their words are heard together so often
_COUNTDOWN_S: Final = 0.2  # while somebody waits for a restart, the display counts down
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OVER: Final = frozenset({State.ENDED, State.STOPPED, State.FAILED})


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

    def __init__(self, run: Path, watcher: Watcher, log: Log, *, lockstep: bool = False) -> None:
        self._run = run
        self._watcher = watcher
        self._log = log
        self._lockstep = lockstep
        self._commands: dict[str, Command] = {}
        self._children: dict[str, Child] = {}
        self._environ: Mapping[str, str] = {}
        self._life_fd = -1
        self._sockets = Sockets()
        self._desk: Desk
        self._kept: proc.Record
        self._ear: feed.Feed | None = None  # Watch
        self._voice: feed.Feed | None = None  # Stop
        self._suite = core.Suite({})
        self._last_slot = -1
        self._heard_s = 0.0

    def supervise(self, commands: list[Command], environ: Mapping[str, str], kept: proc.Record) -> core.Suite:
        """Start the daemons, keep them, take them down; the answer says how it went."""
        with ExitStack() as stack:
            wake_fd = stack.enter_context(_signals_on_descriptor())
            stack.callback(self._close)
            self._life_fd = os.pidfd_open(os.getpid())
            stack.callback(os.close, self._life_fd)
            self._environ, self._kept = environ, kept
            self._commands = {command.name: command for command in commands}
            daemons = [(each.name, each.role, each.policy, each.required) for each in commands]
            self._suite = core.suite(daemons, clock.monotonic_s(), lockstep=self._lockstep)
            self._desk = Desk(self._children, {each.name: each.unit for each in commands})
            self._desk.open(self._run, self._suite)
            stack.callback(self._desk.close)
            for name in self._commands:
                self._start(name)
            self._watcher.starting(self._suite, self._children)
            was_ready = False
            while self._suite.phase is not core.Phase.OVER:
                self._round(wake_fd)
                if self._suite.was_ready != was_ready:
                    was_ready = self._suite.was_ready
                    self._note_children()
                    if was_ready:
                        self._watcher.ready()
        return self._suite

    def _note_children(self) -> None:
        """Record who runs: a SIGKILL of ours leaves none unknown."""
        children = tuple(
            proc.process(each.command.name, each.pid, each.command.role.value) for each in self._living()
        )
        kept = self._kept
        self._kept = proc.Record(
            kept.up, children, kept.scenario, kept.compiled, kept.state, self._suite.was_ready
        )
        try:
            record.write(self._run, self._kept)
        except OSError as error:  # a full disk; who outlives us is killed by the kernel all the same
            self._log.line(f"energyctl: {proc.RECORD} cannot be written: {error.strerror}")

    def _living(self) -> list[Child]:
        """Children that have not been reaped."""
        return [
            each for name, each in self._children.items() if not each.reaped and name in self._suite.daemons
        ]

    # ------------------------------------------------------------- one round

    def _round(self, wake_fd: int) -> None:
        """Wait for something, then take all that has come. A child's words are read before its death."""
        living = self._living()
        ready = self._wait(wake_fd, living)
        self._listen(ready)
        dead = [child for child in living if child.pidfd in ready]
        for child in living:
            if child in dead or child.output_fd in ready:
                self._take_words(child)
            if child in dead or child.notify.fileno() in ready:
                self._heard_s = clock.monotonic_s()
                for notified in child.notifications():
                    self._handle(notified)
        for child in dead:
            self._bury(child)
        if wake_fd in ready:
            self._take_signals(wake_fd)
        self._answer_of_stop(ready)
        for wanted in self._desk.turn():
            self._handle(wanted)
        self._handle(events.Tick())
        for name, each in self._suite.daemons.items():
            if each.state in _OVER:
                self._sockets.close(name)
        self._desk.tell(self._suite.now_s)
        if self._suite.phase is core.Phase.STARTING:
            self._watcher.starting(self._suite, self._children)
        else:
            self._watcher.tick(self._suite, self._children)

    def _wait(self, wake_fd: int, living: list[Child]) -> set[int]:
        """The descriptors on which something has come. Many daemons' signs of life are heard together."""
        calm_s = self._calm_until_s() - clock.monotonic_s()
        poll = select.poll()
        fds = [wake_fd, self._desk.fileno()]
        fds += [fd for child in living for fd in (child.pidfd, child.output_fd)]
        fds += [connection.fd for connection in (self._ear, self._voice) if connection is not None]
        fds += [child.notify.fileno() for child in living] if calm_s <= 0 else []
        for fd in fds:
            poll.register(fd, select.POLLIN)
        wait_ms = self._wait_ms()
        return {fd for fd, _ in poll.poll(wait_ms if calm_s <= 0 else min(wait_ms, int(calm_s * 1000) + 1))}

    def _calm_until_s(self) -> float:
        """So long nobody's words are listened for; but nobody is judged by words that were not heard."""
        ready = all(each.state is State.READY for each in self._suite.daemons.values())
        until_s = self._heard_s + (_CALM_S if ready else _HEAR_S)
        due_s = self._suite.due_s()
        return until_s if due_s is None else min(until_s, due_s)

    def _wait_ms(self) -> int:
        wait_s = min(_WAIT_S_MAX, self._desk.wait_s())
        if any(each.state is State.WAITING for each in self._suite.daemons.values()):
            wait_s = min(wait_s, _COUNTDOWN_S)
        due_s = self._suite.due_s()
        if due_s is not None:
            wait_s = min(wait_s, max(0.0, due_s - clock.monotonic_s()))
        return int(wait_s * 1000) + 1

    def _take_signals(self, wake_fd: int) -> None:
        numbers = os.read(wake_fd, 64)
        if signal.SIGCHLD in numbers:
            reap_orphans(child.pid for child in self._living())
        for number in numbers:
            if number in _STOP_SIGNALS:
                cause = events.Cause.INTERRUPTED if number == signal.SIGINT else events.Cause.ASKED
                self._handle(events.StopWanted(cause))

    def _listen(self, ready: set[int]) -> None:
        """Take the snapshots that have come; call again whenever the market has hung up."""
        if self._ear is None and self._suite.phase in {core.Phase.STARTING, core.Phase.RUNNING}:
            # The socket is ours: who calls before it serves is heard as soon as it does, and misses no slot.
            if any(each.state in {State.STARTING, State.READY} for each in self._markets()):
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
            self._handle(events.SlotSettled())
        if snapshot.get("phase") in {"ended", "stopped"}:
            self._handle(events.MarketEnded())

    def _answer_of_stop(self, ready: set[int]) -> None:
        if self._voice is None or self._voice.fd not in ready:
            return
        # Whatever it said: with a reply the slot is durable, without one its death will tell.
        if self._voice.replies() != []:
            self._voice.close()
            self._voice = None
            self._handle(events.StopAnswered())

    def _take_words(self, child: Child, *, last: bool = False) -> None:
        for line in child.flush_output() if last else child.read_output():
            self._log.line(f"{child.command.name}: {line}")
            self._watcher.said(child.command.name, line)

    def _bury(self, child: Child) -> None:
        code = child.reap()
        self._take_words(child, last=True)
        # What it had started outside its group has come to us, and has nobody who knows it any more.
        kill_orphans(each.pid for each in self._living())
        self._note_children()
        self._handle(events.Exited(child.command.name, code))

    # ------------------------------------------------------------- what the core wants

    def _handle(self, event: events.Event) -> None:
        for effect in self._suite.handle(event, clock.monotonic_s()):
            match effect:
                case events.AskStop():
                    self._ask_stop()
                case events.Start():
                    self._start(effect.name)
                case events.Terminate():
                    self._children[effect.name].send(signal.SIGTERM, signal.SIGCONT)
                case events.Abort():
                    self._children[effect.name].send(signal.SIGABRT, signal.SIGCONT)
                case events.Kill():
                    self._children[effect.name].kill_group()
                case events.Announce():
                    self._log.line("energyctl: all daemons are ready")
                case events.Say():
                    self._log.line(f"energyctl: {effect.text}")
                    self._watcher.note(effect.text)
                case events.LastWords():
                    self._tell_last_words(effect)
                case _:
                    assert_never(effect)

    def _tell_last_words(self, effect: events.LastWords) -> None:
        self._log.line(f"energyctl: {effect.text}")
        child = self._children.get(effect.name)
        self._watcher.last_words(effect.text, list(child.last_lines) if child else [])

    def _start(self, name: str) -> None:
        """A new child in the place of the dead one."""
        dead = self._children.pop(name, None)
        if dead is not None:
            dead.close()
        command = self._commands[name]
        try:
            sockets = self._sockets.of(command)
            self._children[name] = spawn(command, self._environ, self._life_fd, sockets)
        except OSError as error:
            self._handle(events.NotStarted(name, error.strerror or str(error)))
            return
        self._note_children()

    def _ask_stop(self) -> None:
        for each in self._markets():
            self._children[each.name].send(signal.SIGCONT)  # one that is stopped settles, too
        self._voice = feed.call(self._run / CONTROL_SOCKET, f"{CONTROL}.Stop", more=False)
        if self._voice is None:
            self._handle(events.StopAnswered())

    def _markets(self) -> list[Daemon]:
        return [each for each in self._suite.daemons.values() if each.role is Role.MARKET]

    def _close(self) -> None:
        """End whatever is left: after an orderly end that is nothing, after an exception everything."""
        self._sockets.close_all()
        for child in self._children.values():
            if not child.reaped:
                child.kill_group()
                child.reap()
            child.close()
        end_orphans()
        for connection in (self._ear, self._voice):
            if connection is not None:
                connection.close()


@contextmanager
def _signals_on_descriptor() -> Iterator[int]:
    """SIGINT, SIGTERM, SIGHUP and SIGCHLD become bytes on a descriptor; the handlers do nothing at all."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    old_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    heard = (*_STOP_SIGNALS, signal.SIGCHLD)
    old_handlers = {number: signal.signal(number, lambda *_: None) for number in heard}
    try:
        yield reader.fileno()
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_fd)
        reader.close()
        writer.close()

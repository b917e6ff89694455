"""A worker's exchange: it listens for the client of a task, hears the question, answers, and closes.

One thread does all of it, so the watchdog that it feeds on the way knows a frozen answer from a long one.
"""

from __future__ import annotations

import logging
import select
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from energymarket.dispatch import door
from energymarket.dispatch.door import LetIn, TurnedAway, Verdict, Waits
from energymarket.dispatch.guest import Guest
from energymarket.dispatch.limits import (
    ANTEROOM_MAX,
    BACKLOG,
    NS_PER_S,
    PORT_ABOVE,
    PROGRESS_EVERY_S,
    SAY_TICKET_S,
    STALLED_S,
)
from energymarket.dispatch.lines import (
    Broken,
    Misspoken,
    error_line,
    parse_question,
    progress_line,
    refusal,
    result_line,
)
from energymarket.dispatch.post import Post
from energymarket.dispatch.records import Mode, Outcome, Phase, Task
from energymarket.dispatch.segment import TooLong
from energymarket.exits import Failure
from energymarket.requests.kind import Abandoned, Context, Moment, Refused, RequestType
from energymarket.runtime import clock
from energymarket.runtime.service import StopFlag

log = logging.getLogger(__name__)

BEAT_S: Final = 0.5
"""Longest wait between two signs of life."""
LINGER_S: Final = 1.0
"""For a client that is told off while it still talks."""
_PORT_TRIES: Final = 16
_STEP_NS: Final = int(PROGRESS_EVERY_S * NS_PER_S)


class _Over(Exception):
    """The exchange ends here; whoever listens has been told."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass(slots=True)
class Workplace:
    """What a worker works with."""

    post: Post
    types: Mapping[str, RequestType]
    address: str
    runtime: Path
    now: Callable[[], Moment]
    beat: Callable[[], None]
    stop: StopFlag


def work(place: Workplace, task: Task) -> Outcome:
    """Do a task, whatever becomes of it, and say so to the dispatcher."""
    exchange = Exchange(place, task)
    place.beat()
    reason = ""
    if task.kind not in place.types:
        outcome, reason = Outcome.FAILED, f"this worker knows no {task.kind}: it is of another version"
    elif task.mode is Mode.RELAY:
        outcome = exchange.relay()
    else:
        try:
            outcome = exchange.redirect()
        except OSError as error:
            outcome, reason = Outcome.FAILED, f"the worker cannot listen: {error.strerror}"
    place.post.end(task, outcome, reason)
    return outcome


@dataclass(slots=True)
class Exchange:
    """One task being done."""

    place: Workplace
    task: Task
    _guest: Guest | None = None
    _deadline_ns: int = 0
    _look_at_ns: int = 0
    _anteroom: list[Guest] = field(default_factory=list)

    # ---- relay: no client comes

    def relay(self) -> Outcome:
        """Answer into the segment."""
        self.place.post.begin(self.task, Phase.SERVING)
        self._begin_answering()
        try:
            line = self._answer(self.task.question.encode())
        except _Over as over:
            return over.outcome
        try:
            self.place.post.leave_result(self.task, line)
        except TooLong as problem:
            told = error_line("the result cannot be relayed", str(problem), "ask for less, or by redirect")
            self.place.post.leave_result(self.task, told)
        return Outcome.SERVED

    # ---- redirect: the client comes here

    def redirect(self) -> Outcome:
        """Listen, let the one client in, answer it. Raises OSError if there is no port to listen at."""
        others = door.EXPIRED
        try:
            with _listening(self.place.address) as listener:
                self.place.post.begin(self.task, Phase.LISTENING, listener.getsockname()[1])
                self._guest = guest = self._expect(listener)
            others = door.TAKEN
        except _Over as over:
            return over.outcome
        finally:
            self._empty(others)
        self.place.post.begin(self.task, Phase.SERVING)
        self._begin_answering()
        linger_s = 0.0
        try:
            if self.task.ticket:
                line, linger_s = self._asked_and_answered(guest)
            else:
                line = self._answer(b"")
            guest.say(line)
            self._deliver(guest)
        except _Over as over:
            return over.outcome
        finally:
            guest.close(linger_s)
        return Outcome.SERVED

    def _expect(self, listener: socket.socket) -> Guest:
        """Wait for the one that the task is for. _Over if it does not come, OSError without a descriptor."""
        until_ns = clock.boottime_ns() + int(self.task.ticket_s * NS_PER_S)
        while True:
            self._look(until_ns, Outcome.EXPIRED)
            ready = self._wait([listener, *self._anteroom], until_ns)
            guest = self._knock(listener) if listener.fileno() in ready else None
            for known in [guest for guest in self._anteroom if guest.fileno() in ready]:
                guest = guest or self._hear_ticket(known)
            if guest is not None:
                return guest
            self._forget_silent()

    def _knock(self, listener: socket.socket) -> Guest | None:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionError):
            return None
        sock.setblocking(False)
        guest = Guest(sock, address[0], clock.boottime_ns() + SAY_TICKET_S * NS_PER_S)
        self._anteroom.append(guest)
        if len(self._anteroom) > ANTEROOM_MAX:  # whoever came first has had the most time
            self._dismiss(self._anteroom[0], door.NO_TICKET)
        return self._judged(guest, door.on_arrival(self.task, guest.peer))

    def _hear_ticket(self, guest: Guest) -> Guest | None:
        guest.read()
        if guest.lines:
            line = guest.lines.popleft()
            verdict = door.NO_TICKET if isinstance(line, Broken) else door.on_line(self.task, line)
            return self._judged(guest, verdict)
        if guest.ended:
            self._dismiss(guest, door.NO_TICKET)
        return None

    def _judged(self, guest: Guest, verdict: Verdict) -> Guest | None:
        match verdict:
            case LetIn():
                self._anteroom.remove(guest)
                return guest
            case TurnedAway():
                self._dismiss(guest, verdict)
            case Waits():
                pass
        return None

    def _dismiss(self, guest: Guest, verdict: TurnedAway) -> None:
        self._anteroom.remove(guest)
        guest.turn_away(verdict.line)

    def _forget_silent(self) -> None:
        now_ns = clock.boottime_ns()
        for guest in [guest for guest in self._anteroom if now_ns >= guest.until_ns]:
            self._dismiss(guest, door.NO_TICKET)

    def _empty(self, verdict: TurnedAway) -> None:
        for guest in list(self._anteroom):
            self._dismiss(guest, verdict)

    # ---- question, answer, delivery

    def _begin_answering(self) -> None:
        self._deadline_ns = clock.boottime_ns() + int(self.task.deadline_s * NS_PER_S)

    def _asked_and_answered(self, guest: Guest) -> tuple[str, float]:
        """The line for the client, and how long to hear it out afterwards."""
        while not guest.lines and not guest.ended:
            self._look(self._deadline_ns, Outcome.ABANDONED)
            self._wait([guest], self._deadline_ns)
            guest.read()
        line = guest.lines.popleft() if guest.lines else b""
        if isinstance(line, Broken):
            return error_line(
                "the question is too long", "a line has at most 64 KiB", "ask shorter"
            ), LINGER_S
        return self._answer(line.strip() or self.task.question.encode()), 0.0

    def _answer(self, question: bytes) -> str:
        """The line that answers. _Over if nobody waits for it."""
        kind = self.place.types[self.task.kind]
        context = Context(self._progress, self.place.runtime, self.place.now)
        try:
            found = kind.answer(parse_question(question), context)
            return (
                " ".join(found.split())
                if isinstance(found, str) and not kind.ticketed
                else result_line(found)
            )
        except Misspoken as problem:
            return self._no("the question is none", str(problem), "ask with a JSON object, or an empty line")
        except Refused as refused:
            return self._no(refused.what, refused.why, refused.do)
        except Failure as failure:
            return self._no(f"{kind.name} failed", str(failure.args[0]), failure.hint)
        except Abandoned as abandoned:
            self._farewell(str(abandoned))
            raise _Over(Outcome.ABANDONED) from None
        except Exception:  # one request type's bug: its client is told, the journal has the rest
            log.critical("this is a bug of the request type %s", kind.name, exc_info=True)
            return self._no(f"{kind.name} failed", "it has a bug", "see the journal of the worker")

    def _no(self, what: str, why: str, do: str) -> str:
        """An error as its client understands it: the classic names know no JSON."""
        if self.place.types[self.task.kind].ticketed:
            return error_line(what, why, do)
        return refusal(f"{what}: {why}")

    def _progress(self, share: float, doing: str) -> None:
        self.place.beat()
        now_ns = clock.boottime_ns()
        if now_ns < self._look_at_ns:
            return
        self._look_at_ns = now_ns + _STEP_NS
        self.place.post.tend()
        self.place.post.progress(share, doing)
        if self.place.stop.is_set():
            raise Abandoned("the worker stops")
        if now_ns >= self._deadline_ns:
            raise Abandoned(f"the answer has taken {self.task.deadline_s:g} s")
        if self.place.post.is_called_off(self.task):
            raise Abandoned("the client has gone")
        guest = self._guest
        if guest is None or not self.task.ticket:
            return
        if not guest.out:  # one that does not read misses some
            guest.say(progress_line(share, doing))
        if not guest.push() or guest.gone():
            raise Abandoned("the client has gone")

    def _farewell(self, why: str) -> None:
        """Tell a client that may still be there why there is no result."""
        line = self._no("no result", why, "ask again, or for less")
        if self._guest is not None:
            self._guest.say(line)
            self._guest.push()
        elif self.task.mode is Mode.RELAY:
            self.place.post.leave_result(self.task, line)
            raise _Over(Outcome.SERVED)  # an error, and the client's own

    def _deliver(self, guest: Guest) -> None:
        """Send all; _Over if the client goes, does not read, or reads so slowly that its time is over."""
        stalled_ns = clock.boottime_ns() + STALLED_S * NS_PER_S
        while guest.out:
            before = len(guest.out)
            if not guest.push():
                raise _Over(Outcome.ABANDONED)
            now_ns = clock.boottime_ns()
            if guest.out and now_ns >= self._deadline_ns:
                raise _Over(Outcome.ABANDONED)
            if len(guest.out) < before:
                stalled_ns = now_ns + STALLED_S * NS_PER_S
            elif now_ns >= stalled_ns or self.place.stop.is_set():
                raise _Over(Outcome.ABANDONED)
            if guest.out:
                self.place.beat()
                guest.wait_writable(_STEP_NS // 1_000_000)

    # ---- waiting

    def _look(self, until_ns: int, late: Outcome) -> None:
        """What may end any wait."""
        self.place.beat()
        self.place.post.tend()
        if self.place.stop.is_set() or self.place.post.is_called_off(self.task):
            raise _Over(Outcome.CALLED_OFF)
        if clock.boottime_ns() >= until_ns:
            raise _Over(late)

    def _wait(self, reading: list[socket.socket | Guest], until_ns: int) -> set[int]:
        """The descriptors that are ready; nobody is waited for longer than a beat."""
        self.place.beat()
        poll = select.poll()
        for one in reading:
            poll.register(one.fileno(), select.POLLIN)
        for always in (self.place.post, self.place.stop):
            poll.register(always.fileno(), select.POLLIN)
        left_s = (until_ns - clock.boottime_ns()) / NS_PER_S
        return {fd for fd, _ in poll.poll(max(0.0, min(left_s, BEAT_S)) * 1000)}


def _listening(address: str) -> socket.socket:
    """A socket that listens at a port above 2222. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    refused: list[socket.socket] = []
    try:
        for _ in range(_PORT_TRIES):
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            refused.append(made)  # a port that is kept is not given again
            made.bind((address, 0))
            if made.getsockname()[1] > PORT_ABOVE:
                made.listen(BACKLOG)
                return refused.pop()
    finally:
        for low in refused:
            low.close()
    raise OSError(0, f"the kernel gives no port above {PORT_ABOVE}: see ip_local_port_range")

"""The dispatcher's book: who asks, who works for whom, who waits. Events in, effects out; touches nothing.

Every request that was asked gets exactly one answer, unless its client leaves before. A worker is

    absent     no process of its number is there
    idle       ready for a task
    asked      was handed one, and has not taken it up yet
    serving    its client was told the port, or its result is to be relayed; or it works on from before
    lost       silent for too long

Whoever is absent, serving or lost is asked once a second how it stands: a token that was lost delays a
worker by no more than that.

Deadlines are nanoseconds of one clock that the caller hands in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from energymarket.dispatch.effects import CallOff, Effect, Hand, Leave, Ping, Relay, Say
from energymarket.dispatch.limits import GRACE_S, NS_PER_S, PING_S, QUEUE_WAIT_S, TAKE_UP_S, TRIES_MAX
from energymarket.dispatch.lines import refusal
from energymarket.dispatch.records import Mode, Outcome, Phase, Task, Word


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says."""

    workers: int
    queue_max: int  # requests that wait while all workers are at work
    ticket_s: float
    deadline_s: float
    mode: Mode = Mode.REDIRECT
    exchanges_max: int = 0  # then all end; 0: never


ENDED: Final = "busy: no worker is free now, and who has ended its side of the connection waits for none"


class State(StrEnum):
    """What the dispatcher knows of a worker."""

    ABSENT = "absent"
    IDLE = "idle"
    ASKED = "asked"
    SERVING = "serving"
    LOST = "lost"


_BOUNDED = frozenset({State.ASKED, State.SERVING})
_PINGED = frozenset({State.ABSENT, State.SERVING, State.LOST})


@dataclass(slots=True)
class Request:
    """A request that has no answer yet."""

    client: int
    peer: str
    kind: str
    ticketed: bool
    question: str
    until_ns: int  # it waits no longer for a worker
    tries: int = 0
    left: bool = False  # its client is gone
    ended: bool = False  # its client says nothing more, and is perhaps gone: it does not wait in the queue


@dataclass(slots=True)
class Worker:
    """A worker as the dispatcher knows it."""

    state: State = State.ABSENT
    word: Word | None = None  # the last one
    task: Task | None = None  # that it was handed, until it is over or somebody else's
    request: Request | None = None  # that waits for what becomes of the task
    until_ns: int = 0  # asked, serving: then it is lost
    ping_ns: int = 0  # absent, serving, lost: then it is asked again
    starts: int = 0  # processes of this number that were seen


@dataclass(slots=True)
class Tally:
    """What has become of all requests since the dispatcher's start."""

    asked: int = 0
    served: int = 0
    refused: int = 0
    expired: int = 0  # tickets that nobody came with
    failed: int = 0


@dataclass(slots=True)
class Book:
    """The book of one dispatcher."""

    rules: Rules
    mint: Callable[[], str]  # a ticket that nobody can guess
    last_number: int  # no number that a worker may know from a dispatcher before is above it
    workers: dict[int, Worker] = field(init=False)
    tally: Tally = field(default_factory=Tally)
    queue: deque[Request] = field(default_factory=deque)
    leaving: bool = False  # the number of exchanges is reached
    _first_number: int = field(init=False)

    def __post_init__(self) -> None:
        """Nobody is there yet."""
        self.workers = {number: Worker() for number in range(1, self.rules.workers + 1)}
        self._first_number = self.last_number + 1

    # ---- clients

    def asked(
        self, client: int, peer: str, kind: str, question: str, now_ns: int, *, ticketed: bool
    ) -> list[Effect]:
        """A client asks; its requests before must have been answered."""
        self.tally.asked += 1
        no_room = self._no_room()
        if no_room:
            return [self._refuse(client, no_room)]
        until_ns = now_ns + QUEUE_WAIT_S * NS_PER_S
        self.queue.append(Request(client, peer, kind, ticketed, question, until_ns))
        return self._assign(now_ns)

    def left(self, client: int) -> list[Effect]:
        """A client is gone: what it waits for is called off. One that was told a port may still come."""
        self.queue = deque(request for request in self.queue if request.client != client)
        effects: list[Effect] = []
        for number, worker in self.workers.items():
            request = worker.request
            if request is not None and request.client == client and worker.task is not None:
                request.left = True
                effects.append(CallOff(number, worker.task.number))
        return effects

    def ended(self, client: int) -> list[Effect]:
        """A client says nothing more. One that has hung up looks the same: it keeps no place in the queue."""
        for request in [*self.queue, *(worker.request for worker in self.workers.values())]:
            if request is not None and request.client == client:
                request.ended = True
        return self._unwaited()

    # ---- workers

    def said(self, number: int, word: Word, now_ns: int) -> list[Effect]:
        """A worker's word, as it stands in the segment now. The same word twice changes nothing."""
        effects = self._heard(number, word, now_ns)
        if self.leaving:
            return [*effects, Leave(number)]
        return [*effects, *self._assign(now_ns)]

    def gone(self, number: int, last: Word | None, now_ns: int) -> list[Effect]:
        """The kernel says that the worker has let go of its pipe; it may have said a last word before."""
        effects = [] if last is None else self._heard(number, last, now_ns)
        return [*effects, *self._died(self.workers[number]), *self._assign(now_ns)]

    def unreached(self, number: int, now_ns: int) -> list[Effect]:
        """A task could not be handed over: nobody reads there."""
        worker = self.workers[number]
        if worker.state is not State.ASKED:
            return []
        return [*self._lose(worker), *self._assign(now_ns)]

    def unfit(self, number: int, reason: str, now_ns: int) -> list[Effect]:
        """A task does not fit its slot: the client is told, the worker was not."""
        worker = self.workers[number]
        request = worker.request
        if worker.state is not State.ASKED or request is None:
            return []
        self._free(worker)
        return [*self._answer_no(request, reason), *self._assign(now_ns)]

    # ---- time

    def due(self, now_ns: int) -> list[Effect]:
        """Whatever the time has come for."""
        effects: list[Effect] = []
        for number, worker in self.workers.items():
            if worker.state in _BOUNDED and now_ns >= worker.until_ns:
                effects += self._lose(worker)
            if worker.state in _PINGED and now_ns >= worker.ping_ns:
                worker.ping_ns = now_ns + PING_S * NS_PER_S
                effects.append(Ping(number))
        late = [request for request in self.queue if now_ns >= request.until_ns]
        self.queue = deque(request for request in self.queue if now_ns < request.until_ns)
        effects += [self._refuse(request.client, self._why_late()) for request in late]
        return [*effects, *self._assign(now_ns)]

    def next_ns(self) -> int | None:
        """When `due` has something to do; None: not before something happens."""
        workers = self.workers.values()
        timed = [request.until_ns for request in self.queue]
        timed += [worker.until_ns for worker in workers if worker.state in _BOUNDED]
        timed += [worker.ping_ns for worker in workers if worker.state in _PINGED]
        return min(timed, default=None)

    @property
    def under_way(self) -> int:
        """Requests that wait or are worked for."""
        busy = sum(worker.state in _BOUNDED for worker in self.workers.values())
        return len(self.queue) + busy

    # ---- inside: requests

    def _no_room(self) -> str:
        most = self.rules.exchanges_max
        if self.leaving or (most and self.tally.served + self.under_way >= most):
            return f"the dispatcher stops after {most} exchanges"
        if len(self.queue) >= self.rules.queue_max and not self._idle_workers():
            return f"busy: {len(self.workers)} workers are at work, and {len(self.queue)} requests wait"
        return ""

    def _idle_workers(self) -> bool:
        return any(worker.state is State.IDLE for worker in self.workers.values())

    def _why_late(self) -> str:
        if all(worker.state in {State.ABSENT, State.LOST} for worker in self.workers.values()):
            return f"no worker is there, and none came within {QUEUE_WAIT_S} s"
        return f"busy: no worker was free within {QUEUE_WAIT_S} s"

    def _assign(self, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for number, worker in self.workers.items():
            if worker.state is not State.IDLE or not self.queue:
                continue
            request = self.queue.popleft()
            request.tries += 1
            self.last_number += 1
            worker.state, worker.request = State.ASKED, request
            worker.task = self._task(self.last_number, request)
            worker.until_ns = now_ns + TAKE_UP_S * NS_PER_S
            effects.append(Hand(number, worker.task))
        return [*effects, *self._unwaited()]

    def _unwaited(self) -> list[Effect]:
        gone = [request for request in self.queue if request.ended]
        self.queue = deque(request for request in self.queue if not request.ended)
        return [self._refuse(request.client, ENDED) for request in gone]

    def _task(self, number: int, request: Request) -> Task:
        rules = self.rules
        shown = request.ticketed and rules.mode is Mode.REDIRECT
        return Task(
            number=number,
            kind=request.kind,
            peer=request.peer,
            ticket=self.mint() if shown else "",
            question=request.question,
            mode=rules.mode,
            ticket_s=rules.ticket_s,
            deadline_s=rules.deadline_s,
        )

    def _refuse(self, client: int, reason: str) -> Say:
        self.tally.refused += 1
        return Say(client, refusal(reason))

    def _answer_no(self, request: Request, reason: str) -> list[Effect]:
        return [] if request.left else [self._refuse(request.client, reason)]

    def _again(self, request: Request, reason: str) -> list[Effect]:
        """A request whose worker failed it goes to another, before those that came after it."""
        if request.left:
            return []
        if self.leaving or request.tries >= TRIES_MAX:
            return [self._refuse(request.client, f"{reason} ({request.tries} tries)")]
        self.queue.appendleft(request)
        return []

    # ---- inside: workers

    def _heard(self, number: int, word: Word, now_ns: int) -> list[Effect]:
        worker = self.workers[number]
        effects: list[Effect] = []
        if worker.word is None or worker.word.incarnation != word.incarnation:
            effects += self._died(worker)
            worker.starts += 1
        worker.word = word
        match word.phase:
            case Phase.IDLE:
                return [*effects, *self._idle(number, worker, word)]
            case Phase.LISTENING | Phase.SERVING:
                return [*effects, *self._busy(number, worker, word, now_ns)]

    def _idle(self, number: int, worker: Worker, word: Word) -> list[Effect]:
        task, request = worker.task, worker.request
        if task is None or word.number < task.number:
            if worker.state is not State.ASKED:  # one that was asked has not looked at its task yet
                self._free(worker)
            return []
        self._free(worker)
        effects: list[Effect] = []
        served = word.number == task.number and word.outcome is Outcome.SERVED
        if request is not None and not request.left:
            if served and task.mode is Mode.RELAY:
                effects.append(Relay(request.client, number, task.number))
            else:
                reason = word.reason or f"the worker gave up: {word.outcome}"
                effects += self._again(request, reason)
        return [*effects, *self._counted(word.outcome)]

    def _counted(self, outcome: Outcome) -> list[Effect]:
        match outcome:
            case Outcome.SERVED:
                self.tally.served += 1
            case Outcome.EXPIRED:
                self.tally.expired += 1
            case Outcome.ABANDONED | Outcome.FAILED:
                self.tally.failed += 1
            case Outcome.NONE | Outcome.CALLED_OFF:
                pass
        most = self.rules.exchanges_max
        if not most or self.leaving or self.tally.served < most:
            return []
        self.leaving = True
        waiting = [self._refuse(request.client, self._no_room()) for request in self.queue]
        self.queue.clear()
        return [*waiting, *(Leave(number) for number in self.workers)]

    def _busy(self, number: int, worker: Worker, word: Word, now_ns: int) -> list[Effect]:
        task, request = worker.task, worker.request
        if task is None or task.number != word.number:
            return self._busy_elsewhere(number, worker, word, now_ns)
        if worker.state is State.LOST:
            self._serves(worker, now_ns)  # the client was told; it goes on
        if worker.state is not State.ASKED or request is None:
            return []
        self._serves(worker, now_ns)
        if request.left:
            return [CallOff(number, task.number)]
        if task.mode is Mode.RELAY:
            return []
        worker.request = None
        if word.phase is not Phase.LISTENING:  # whoever it serves was not sent by us
            worker.task = None
            return self._again(request, "the worker serves somebody else")
        return [Say(request.client, f"{word.port} {task.ticket}".rstrip())]

    def _busy_elsewhere(self, number: int, worker: Worker, word: Word, now_ns: int) -> list[Effect]:
        """It is at a task that it was not handed just now: of a dispatcher before, or given to another."""
        if worker.state is not State.ASKED:
            self._serves(worker, now_ns)
            worker.task = None
        ours = word.number >= self._first_number
        return [CallOff(number, word.number)] if ours else []

    def _serves(self, worker: Worker, now_ns: int) -> None:
        worker.state = State.SERVING
        longest_s = self.rules.ticket_s + self.rules.deadline_s + GRACE_S
        worker.until_ns = now_ns + int(longest_s * NS_PER_S)
        worker.ping_ns = now_ns + PING_S * NS_PER_S

    @staticmethod
    def _free(worker: Worker) -> None:
        worker.state, worker.task, worker.request = State.IDLE, None, None

    def _lose(self, worker: Worker) -> list[Effect]:
        """It is silent. A request that nobody has taken up goes to another worker."""
        effects = self._forsaken(worker, "the worker does not answer")
        worker.state = State.LOST
        return effects

    def _died(self, worker: Worker) -> list[Effect]:
        self.tally.failed += worker.state is State.SERVING
        effects = self._forsaken(worker, "the worker died")
        worker.state, worker.task = State.ABSENT, None
        return effects

    def _forsaken(self, worker: Worker, reason: str) -> list[Effect]:
        request, worker.request = worker.request, None
        if worker.state not in {State.ASKED, State.SERVING}:
            return []
        if worker.state is State.SERVING:
            return [] if request is None else self._answer_no(request, f"{reason} while it worked")
        worker.task = None
        return [] if request is None else self._again(request, reason)

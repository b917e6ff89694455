"""A world around the dispatcher's book: clients, workers that die and freeze, tokens that get lost. One seed.

Nothing here is ours but the book: workers follow the page (packaging/doc/dispatcher.md), the supervisor
starts again what died and kills what froze, and time is a number. What must never happen is asserted
where it would happen.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random  # noqa: TID251 chance of a test's world

from energymarket.dispatch.book import Book, Rules, State
from energymarket.dispatch.effects import CallOff, Effect, Hand, Leave, Ping, Relay, Say
from energymarket.dispatch.limits import GRACE_S, QUEUE_WAIT_S, TAKE_UP_S, TRIES_MAX
from energymarket.dispatch.records import Mode, Outcome, Phase, Task, Word
from energymarket.dispatch.tokens import Kind

MS = 1_000_000
S = 1_000 * MS
WATCHDOG_NS = 10 * S
RESTART_NS = 300 * MS
TICKET_S, DEADLINE_S = 5, 20
WAIT_NS_MAX = (QUEUE_WAIT_S + TRIES_MAX * TAKE_UP_S + 2) * S
"""No client may wait longer to be told where to go, whatever dies meanwhile."""
RELAY_NS_MAX = (TICKET_S + DEADLINE_S + GRACE_S) * S
"""In relay mode there is the work itself to wait for as well, until the worker is taken for lost."""


@dataclass(slots=True)
class SimClient:
    """Somebody who asks once, and perhaps goes where it is sent."""

    id: int
    asked_ns: int
    dispatcher: int  # which one of all that lived it is connected to
    answer: str | None = None  # of the dispatcher, or how it broke
    served: bool = False
    left: bool = False


@dataclass(slots=True)
class SimWorker:
    """A worker's process, as the page has it; its pipe and its cells outlive it."""

    number: int
    incarnation: int = 0
    alive: bool = False
    frozen_since: int | None = None
    leaves: bool = False
    word: Word = field(default_factory=lambda: Word(0, 0))
    inbox: list[tuple[Kind, int]] = field(default_factory=list)
    cell: Task | None = None
    result: tuple[int, int] | None = None  # number of the task, client whose question it was
    task: Task | None = None
    guest: int | None = None

    @property
    def awake(self) -> bool:
        """Whether it does anything."""
        return self.alive and self.frozen_since is None


class World:
    """All of it; `run` plays a while with faults, `settle` without, and checks that all are well again."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = Random(seed)
        mode = chance.choice([*Mode])
        self.rules = Rules(chance.randint(1, 4), chance.randint(0, 6), TICKET_S, DEADLINE_S, mode)
        self.now = 1_000 * S
        self.workers = {number: SimWorker(number) for number in range(1, self.rules.workers + 1)}
        self.clients: dict[int, SimClient] = {}
        self.ended: set[int] = set()  # clients that say nothing more
        self.tickets: set[str] = set()
        self.handed: set[int] = set()
        self.told: dict[int, int] = {}  # number of a task -> client
        self.faults = True
        self.dispatchers = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._new_dispatcher()
        for worker in self.workers.values():
            self._start(worker)

    # ---- time

    def after(self, span_ns: int, act: Callable[[], None]) -> None:
        """Let something happen later."""
        self._order += 1
        heapq.heappush(self._events, (self.now + span_ns, self._order, act))

    def soon(self, act: Callable[[], None]) -> None:
        """Let something happen after a while that nobody knows, but not out of its order with others."""
        self.after(self.chance.randint(0, 20) * MS, act)

    def play(self, until_ns: int) -> None:
        """Let time pass."""
        while True:
            due = self.book.next_ns()
            event_ns = self._events[0][0] if self._events else until_ns
            at = min(event_ns, until_ns, due if due is not None else until_ns)
            self.now = max(self.now, at)
            if due is not None and due <= self.now:
                self._perform(self.book.due(self.now))
            elif self._events and event_ns <= self.now:
                heapq.heappop(self._events)[2]()
            elif self.now >= until_ns:
                return

    # ---- the whole

    def run(self, clients: int) -> None:
        """Clients come, and things go wrong."""
        for number in range(1, clients + 1):
            self.after(self.chance.randint(0, 60_000) * MS, partial(self._ask, number))
        for _ in range(self.chance.randint(0, 12)):
            worker = self.chance.choice(list(self.workers.values()))
            fault = self.chance.choice([self._kill, self._freeze, self._freeze_shortly])
            self.after(self.chance.randint(0, 60_000) * MS, partial(fault, worker))
        for _ in range(self.chance.randint(0, 2)):
            self.after(self.chance.randint(0, 60_000) * MS, self._kill_dispatcher)
        self.play(self.now + 60 * S)

    def settle(self) -> None:
        """No more faults: soon everybody has an answer, and every worker works."""
        self.faults = False
        longest = self.rules.ticket_s + self.rules.deadline_s + 60
        self.play(self.now + int(longest) * S)
        assert not self.book.queue
        for client in self.clients.values():
            assert client.answer is not None or client.left, client
        states = {number: worker.state for number, worker in self.book.workers.items()}
        assert set(states.values()) == {State.IDLE}, states
        first = max(self.clients, default=0) + 1
        for number in range(first, first + self.rules.workers):
            self._ask(number)
        busy = [worker.state for worker in self.book.workers.values()]
        assert busy == [State.ASKED] * self.rules.workers, busy
        self.play(self.now + 10 * S)
        answers = [self.clients[number].answer for number in range(first, first + self.rules.workers)]
        assert all(answer is not None and not answer.startswith("-1") for answer in answers), answers

    # ---- dispatcher

    def _new_dispatcher(self) -> None:
        self.dispatchers += 1
        self.book = Book(self.rules, self._mint, self.now)

    def _kill_dispatcher(self) -> None:
        """Its clients see the end of their connections; the next one comes a little later."""
        for client in self.clients.values():
            if client.answer is None:
                client.answer = "-1 EOF"
        for worker in self.workers.values():
            worker.inbox.clear()  # nobody holds the pipe's other end while it is read again
        self._new_dispatcher()

    def _mint(self) -> str:
        ticket = f"ticket{len(self.tickets)}"
        self.tickets.add(ticket)
        return ticket

    def _perform(self, effects: list[Effect]) -> None:
        assert not self.ended & {request.client for request in self.book.queue}
        assert len(self.book.queue) <= self.rules.queue_max + self.rules.workers + 1
        for effect in effects:
            match effect:
                case Say(client, line):
                    self._answered(client, line, None)
                case Relay(client, number, task):
                    self._answered(client, "relayed", self.workers[number].result)
                    assert self.workers[number].result == (task, client)
                case Hand(number, task):
                    self._hand(self.workers[number], task)
                case CallOff(number, of):
                    self._ring(self.workers[number], Kind.CALL_OFF, of)
                case Ping(number):
                    self._ring(self.workers[number], Kind.PING, 0)
                case Leave():
                    raise AssertionError("nobody asked for an end")

    def _hand(self, worker: SimWorker, task: Task) -> None:
        assert task.number not in self.handed, "a number is handed out once"
        self.handed.add(task.number)
        worker.cell = task
        if not worker.alive:
            self._perform(self.book.unreached(worker.number, self.now))
            return
        self._ring(worker, Kind.WORK, task.number)

    def _ring(self, worker: SimWorker, kind: Kind, number: int) -> None:
        if not worker.alive or (self.faults and self.chance.random() < 0.03):
            return  # nobody there, or the token is torn
        worker.inbox.append((kind, number))
        self.soon(lambda: self._tend(worker))

    # ---- workers

    def _start(self, worker: SimWorker) -> None:
        worker.incarnation += 1
        worker.alive, worker.frozen_since, worker.task, worker.guest = True, None, None, None
        worker.word = Word(worker.incarnation, 1000 + worker.incarnation)
        self._tell(worker)

    def _kill(self, worker: SimWorker) -> None:
        if not worker.alive:
            return
        worker.alive, worker.frozen_since = False, None
        worker.inbox.clear()
        self._lose_guest(worker)
        dispatcher, number = self.dispatchers, worker.number
        word = worker.word if self.chance.random() < 0.5 else None
        self.soon(lambda: self._gone(dispatcher, number, word))
        self.after(RESTART_NS, lambda: self._start(worker))

    def _gone(self, dispatcher: int, number: int, word: Word | None) -> None:
        if dispatcher == self.dispatchers and not self.workers[number].alive:
            self._perform(self.book.gone(number, word, self.now))

    def _freeze(self, worker: SimWorker) -> None:
        if not worker.awake:
            return
        since, incarnation = self.now, worker.incarnation
        worker.frozen_since = since

        def find() -> None:
            if worker.frozen_since == since and worker.incarnation == incarnation:
                self._kill(worker)

        self.after(WATCHDOG_NS, find)

    def _freeze_shortly(self, worker: SimWorker) -> None:
        """Longer than the dispatcher waits for it, shorter than the watchdog does."""
        if not worker.awake:
            return
        worker.frozen_since = since = self.now

        def thaw() -> None:
            if worker.frozen_since == since:
                worker.frozen_since = None
                self._tend(worker)

        self.after(self.chance.randint(1, 9_000) * MS, thaw)

    def _tell(self, worker: SimWorker) -> None:
        dispatcher = self.dispatchers
        if self.faults and self.chance.random() < 0.02:
            return  # torn; its word stands in the segment all the same

        def heard() -> None:
            # The word as it stands now: a token only says where to look.
            if dispatcher == self.dispatchers and worker.alive:
                self._perform(self.book.said(worker.number, worker.word, self.now))

        self.soon(heard)
        if self.chance.random() < 0.05:
            self.soon(heard)  # twice does no harm

    def _tend(self, worker: SimWorker) -> None:
        if not worker.awake:
            return
        inbox, worker.inbox = worker.inbox, []
        for kind, number in inbox:
            if kind is Kind.PING:
                self._tell(worker)
            elif kind is Kind.CALL_OFF and self._minds(worker, number):
                self._end(worker, Outcome.CALLED_OFF)
        works = any(kind is Kind.WORK for kind, _ in inbox)
        task = worker.cell
        if worker.task is None and works and task is not None and task.number > worker.word.number:
            self._take(worker, task)

    def _minds(self, worker: SimWorker, number: int) -> bool:
        """Whether it can still let go of this task: a guest that was let in is served."""
        at_it = worker.task is not None and worker.task.number == number
        return at_it and (worker.word.phase is Phase.LISTENING or self.rules.mode is Mode.RELAY)

    def _take(self, worker: SimWorker, task: Task) -> None:
        worker.task = task
        incarnation = worker.incarnation

        def still(act: Callable[[], None]) -> Callable[[], None]:
            def guarded() -> None:
                if worker.incarnation != incarnation or not worker.alive or worker.task is not task:
                    return
                if worker.frozen_since is not None:
                    self.after(100 * MS, guarded)
                else:
                    act()

            return guarded

        if task.mode is Mode.RELAY:
            worker.word = replace(worker.word, phase=Phase.SERVING, number=task.number)

            def finish() -> None:
                worker.result = (task.number, int(task.question))
                self._end(worker, Outcome.SERVED)

            self.after(self.chance.randint(1, 8_000) * MS, still(finish))
        else:
            port = 30_000 + task.number % 30_000
            worker.word = replace(worker.word, phase=Phase.LISTENING, number=task.number, port=port)

            def expire() -> None:
                if worker.guest is None:
                    self._end(worker, Outcome.EXPIRED)

            self.after(int(task.ticket_s * S), still(expire))
        self._tell(worker)

    def _end(self, worker: SimWorker, outcome: Outcome) -> None:
        assert worker.task is not None
        exchanges = worker.word.exchanges + (outcome is Outcome.SERVED)
        worker.word = replace(
            worker.word, phase=Phase.IDLE, number=worker.task.number, outcome=outcome, exchanges=exchanges
        )
        worker.task, worker.guest = None, None
        self._tell(worker)

    def _lose_guest(self, worker: SimWorker) -> None:
        worker.task, worker.guest = None, None

    # ---- clients

    def _ask(self, number: int) -> None:
        client = self.clients[number] = SimClient(number, self.now, self.dispatchers)
        peer = f"10.0.0.{number}"
        self._perform(self.book.asked(number, peer, "report", str(number), self.now, ticketed=True))
        if self.faults and self.chance.random() < 0.1:
            self.after(self.chance.randint(1, 5_000) * MS, lambda: self._leave(client))
        elif self.chance.random() < 0.1:
            self.after(self.chance.randint(0, 5_000) * MS, lambda: self._end_its_side(client))
        relay_ns = RELAY_NS_MAX if self.rules.mode is Mode.RELAY else 0
        self.after(WAIT_NS_MAX + relay_ns, lambda: self._was_answered(client))

    def _was_answered(self, client: SimClient) -> None:
        assert client.answer is not None or client.left, f"client {client.id} hangs"

    def _leave(self, client: SimClient) -> None:
        if client.answer is None and client.dispatcher == self.dispatchers:
            client.left = True
            self._perform(self.book.left(client.id))

    def _end_its_side(self, client: SimClient) -> None:
        """It says nothing more; whatever happens from now on, it has no place in the queue."""
        if client.answer is None and not client.left and client.dispatcher == self.dispatchers:
            self.ended.add(client.id)
            self._perform(self.book.ended(client.id))

    def _answered(self, number: int, line: str, result: tuple[int, int] | None) -> None:
        client = self.clients[number]
        assert client.answer is None, f"client {number} is answered twice: {client.answer}, {line}"
        assert not client.left, f"client {number} left, and is answered"
        assert client.dispatcher == self.dispatchers, "a dead dispatcher answers"
        client.answer = line
        if result is not None or line.startswith("-1"):
            return
        port, ticket = line.split()
        (worker,) = [w for w in self.workers.values() if w.cell is not None and w.cell.ticket == ticket]
        assert worker.cell is not None
        assert worker.cell.number not in self.told, "a ticket is told once"
        self.told[worker.cell.number] = number
        assert int(worker.cell.question) == number, "somebody else's ticket"
        if self.chance.random() < 0.8:
            self.after(self.chance.randint(1, 3_000) * MS, lambda: self._visit(client, int(port), ticket))

    def _visit(self, client: SimClient, port: int, ticket: str) -> None:
        """It goes where it was sent; it may find nobody there, but never somebody else's place."""
        for worker in self.workers.values():
            task = worker.task
            if not worker.alive or task is None or worker.word.port != port or task.ticket != ticket:
                continue
            if worker.word.phase is Phase.LISTENING and worker.frozen_since is None:
                assert int(task.question) == client.id
                worker.guest = client.id
                client.served = True
                worker.word = replace(worker.word, phase=Phase.SERVING)
                self._tell(worker)
                self.after(self.chance.randint(1, 8_000) * MS, partial(self._serve, worker, task))

    def _serve(self, worker: SimWorker, task: Task) -> None:
        if worker.alive and worker.task is task:
            if worker.frozen_since is not None:
                self.after(100 * MS, lambda: self._serve(worker, task))
            else:
                self._end(worker, Outcome.SERVED)

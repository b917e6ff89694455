"""The dispatcher's shell: counter, crew and book joined in one loop; whoever asks about it is told."""

from __future__ import annotations

import logging
import os
import select
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from energymarket.dispatch import interface
from energymarket.dispatch.book import Book, State
from energymarket.dispatch.counter import Client, Counter, too_long
from energymarket.dispatch.crew import Crew
from energymarket.dispatch.effects import CallOff, Effect, Hand, Leave, Ping, Relay, Say
from energymarket.dispatch.limits import LEAVE_S, NS_PER_MS, NS_PER_S
from energymarket.dispatch.lines import Broken, Misspoken, error_line, parse_ask, refusal
from energymarket.dispatch.segment import TooLong
from energymarket.dispatch.tokens import Kind
from energymarket.requests.kind import RequestType
from energymarket.runtime import clock
from energymarket.runtime.service import Flag, StopFlag
from energymarket.transport.call import Call
from energymarket.wire.dispatch_text import NAME

log = logging.getLogger(__name__)

BEAT_S: Final = 0.5
"""Longest turn of the loop; the watchdog wants a sign within two seconds."""
CHECK_S: Final = 1.0
"""How often it is looked whether what we share is still there: two calls to the kernel."""


class Front:
    """One dispatcher at work."""

    def __init__(self, book: Book, types: Mapping[str, RequestType], bell: Flag) -> None:
        self._book = book
        self._types = types
        self._bell = bell
        self._questions: deque[Call] = deque()
        self._leave_by_ns: int | None = None
        self._began_ns = clock.boottime_ns()
        self._check_at_s = 0.0

    def question(self, call: Call) -> None:
        """A call about the dispatcher, from the thread of the varlink server: our own answers it."""
        self._questions.append(call)
        self._bell.set()

    def run(
        self,
        counter: Counter,
        crew: Crew,
        address: tuple[str, int],
        stop: StopFlag,
        beat: Callable[[str], None],
    ) -> None:
        """Serve until stopped, or until the number of exchanges is done and the workers left. Failure."""
        self._counter, self._crew = counter, crew
        self._address = address
        poll = select.poll()
        for one in (counter, crew, self._bell, stop):
            poll.register(one.fileno(), select.POLLIN)
        while not stop.is_set() and not self._done():
            poll.poll(self._wait_s() * 1000)
            self._turn()
            if clock.monotonic_s() >= self._check_at_s:
                crew.check()
                self._check_at_s = clock.monotonic_s() + CHECK_S
            beat(self._status())
        why = stop.reason or "its exchanges are done"
        counter.dismiss(refusal(f"the dispatcher stops ({why})"))

    def on_line(self, client: Client, line: bytes | Broken) -> None:
        """A client's line, in its turn."""
        if isinstance(line, Broken):
            self._counter.reply(client, too_long())
            return
        try:
            ask = parse_ask(line, self._types)
        except Misspoken as problem:
            self._counter.reply(client, refusal(str(problem)))
            return
        client.waits = True
        ticketed = self._types[ask.kind].ticketed
        now_ns = clock.boottime_ns()
        self._perform(
            self._book.asked(client.id, client.peer, ask.kind, ask.question, now_ns, ticketed=ticketed)
        )
        if client.ended and client.waits:
            self.on_ended(client.id)

    def on_ended(self, client: int) -> None:
        """A client that waits says nothing more."""
        self._perform(self._book.ended(client))

    def on_left(self, client: int) -> None:
        """A client that waited is gone."""
        self._perform(self._book.left(client))

    # ---- the loop

    def _turn(self) -> None:
        self._bell.clear()
        while self._questions:
            self._tell(self._questions.popleft())
        for news in self._crew.news():
            now_ns = clock.boottime_ns()
            if news.gone:
                self._perform(self._book.gone(news.worker, news.word, now_ns))
            elif news.word is not None:
                self._perform(self._book.said(news.worker, news.word, now_ns))
        self._counter.serve(clock.monotonic_s())
        self._counter.pump()
        due_ns = self._book.next_ns()
        if due_ns is not None and clock.boottime_ns() >= due_ns:
            self._perform(self._book.due(clock.boottime_ns()))
            self._counter.pump()

    def _wait_s(self) -> float:
        wait_s = self._counter.wait_s(clock.monotonic_s(), BEAT_S)
        due_ns = self._book.next_ns()
        if due_ns is None:
            return wait_s
        return max(0.0, min(wait_s, (due_ns - clock.boottime_ns()) / NS_PER_S))

    def _done(self) -> bool:
        """Whether the number of exchanges is done, and the workers have left or had their time for it."""
        if not self._book.leaving:
            return False
        workers = self._book.workers.values()
        if all(worker.state is State.ABSENT for worker in workers):
            return True
        if self._book.under_way:
            self._leave_by_ns = None
            return False
        if self._leave_by_ns is None:
            self._leave_by_ns = clock.boottime_ns() + LEAVE_S * NS_PER_S
        return clock.boottime_ns() >= self._leave_by_ns

    def _status(self) -> str:
        book = self._book
        there = sum(worker.state not in {State.ABSENT, State.LOST} for worker in book.workers.values())
        return (
            f"{there} of {len(book.workers)} workers, {book.tally.served} exchanges, {len(book.queue)} wait"
        )

    # ---- effects

    def _perform(self, effects: Iterable[Effect]) -> None:
        waiting = deque(effects)
        while waiting:
            waiting += self._done_with(waiting.popleft())

    def _done_with(self, effect: Effect) -> list[Effect]:
        """Carry an effect out; what follows from its failing."""
        match effect:
            case Say(client, line):
                self._counter.answer(client, line)
            case Relay(client, worker, number):
                self._counter.answer(client, self._relayed(worker, number))
            case Hand():
                return self._hand(effect)
            case CallOff(worker, number):
                self._crew.ring(worker, Kind.CALL_OFF, number)
            case Ping(worker):
                self._crew.ring(worker, Kind.PING)
            case Leave(worker):
                self._crew.ring(worker, Kind.LEAVE)
        return []

    def _hand(self, effect: Hand) -> list[Effect]:
        try:
            heard = self._crew.hand(effect.worker, effect.task)
        except TooLong as problem:
            return self._book.unfit(effect.worker, str(problem), clock.boottime_ns())
        return [] if heard else self._book.unreached(effect.worker, clock.boottime_ns())

    def _relayed(self, worker: int, number: int) -> str:
        line = self._crew.result(worker, number)
        if line is None:
            return error_line("no result", f"worker {worker} left none that is whole", "ask again")
        return line.decode()

    # ---- introspection

    def _tell(self, call: Call) -> None:
        book = self._book
        if call.method == f"{NAME}.Status":
            age_ms = (clock.boottime_ns() - self._began_ns) // NS_PER_MS
            call.reply(interface.status(book, os.getpid(), age_ms, self._address, len(self._counter)))
            return
        for number, worker in book.workers.items():
            # How far an answer is stands in the segment; nobody is rung for it.
            word = self._crew.word(number)
            if worker.word and word and word.incarnation == worker.word.incarnation:
                worker.word = replace(worker.word, share=word.share, doing=word.doing)
        call.reply({"workers": [interface.worker_row(*each) for each in book.workers.items()]})

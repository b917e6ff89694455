"""The dispatcher's book, rule by rule; tests/simulation/test_dispatch.py has all of it at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from energymarket.dispatch.book import Book, Rules, State
from energymarket.dispatch.effects import CallOff, Effect, Hand, Leave, Relay, Say
from energymarket.dispatch.limits import NS_PER_S, QUEUE_WAIT_S
from energymarket.dispatch.records import Mode, Outcome, Phase, Word

RULES = Rules(workers=2, queue_max=1, ticket_s=10, deadline_s=300)


class Driven:
    """A book whose workers say what a test wants, and the lines that clients got."""

    def __init__(self, rules: Rules = RULES, workers: int = 2) -> None:
        tickets = count(1)
        self.book = Book(rules, lambda: f"t{next(tickets)}", 1_000)
        self.words = {number: Word(number, 100 + number) for number in range(1, workers + 1)}
        for number in self.words:
            self.says(number)

    def ask(self, client: int, now_s: float = 0) -> list[Effect]:
        """A client asks for a report."""
        return self.book.asked(client, "127.0.0.1", "report", "", int(now_s * NS_PER_S), ticketed=True)

    def says(self, worker: int, now_s: float = 0, **changes: object) -> list[Effect]:
        """A worker's word changes so."""
        self.words[worker] = replace(self.words[worker], **changes)  # type: ignore[arg-type]
        return self.book.said(worker, self.words[worker], int(now_s * NS_PER_S))

    def listens(self, number: int, task: int) -> list[Effect]:
        """A worker has taken up its task."""
        return self.says(number, phase=Phase.LISTENING, number=task, port=40_000 + number)

    def done(self, number: int, outcome: Outcome = Outcome.SERVED) -> list[Effect]:
        """A worker is done with it."""
        return self.says(number, phase=Phase.IDLE, port=0, outcome=outcome)


def said(effects: list[Effect]) -> dict[int, str]:
    """The lines that clients get."""
    return {effect.client: effect.line for effect in effects if isinstance(effect, Say)}


def state(driven: Driven, worker: int) -> State:
    return driven.book.workers[worker].state


def test_a_client_is_told_only_where_somebody_listens() -> None:
    """The port and the ticket of its own task come after the worker's word, not before; once."""
    driven = Driven()
    (handed,) = driven.ask(7)
    assert isinstance(handed, Hand)
    assert (handed.worker, handed.task.number, handed.task.ticket) == (1, 1_001, "t1")
    assert driven.says(1) == []  # a word from before it has looked
    assert driven.listens(1, 1_001) == [Say(7, "40001 t1")]
    assert driven.listens(1, 1_001) == []


def test_a_full_queue_is_told_at_once_and_a_late_turn_after_its_time() -> None:
    """Two at work, one in the queue: the fourth hears busy; the third, that nobody was free in time."""
    driven = Driven()
    for client in (1, 2, 3):
        driven.ask(client)
    assert said(driven.ask(4)) == {4: "-1 busy: 2 workers are at work, and 1 requests wait"}
    driven.listens(1, 1_001)
    driven.listens(2, 1_002)
    assert said(driven.book.due(int((QUEUE_WAIT_S - 0.1) * NS_PER_S))) == {}
    late = said(driven.book.due(QUEUE_WAIT_S * NS_PER_S))
    assert late == {3: f"-1 busy: no worker was free within {QUEUE_WAIT_S} s"}


def test_who_ends_its_side_gives_its_place_in_the_queue_to_others_at_once() -> None:
    """It may have hung up. One that a worker was asked for is served; one whose worker is lost is told."""
    driven = Driven()
    for client in (1, 2, 3):
        driven.ask(client)
    assert driven.book.ended(1) == []
    assert driven.listens(1, 1_001) == [Say(1, "40001 t1")]
    assert said(driven.book.ended(3))[3].startswith("-1 busy: no worker is free now")
    assert driven.ask(4) == []  # there is room again
    assert driven.book.ended(2) == []
    assert said(driven.book.due(2 * NS_PER_S))[2].startswith("-1 busy")  # its worker has not looked at it
    assert [request.client for request in driven.book.queue] == [4]


def test_a_task_that_kills_three_workers_is_not_tried_on_a_fourth() -> None:
    """Who dies with an untaken task costs its client a try; the third time it is told."""
    driven = Driven(replace(RULES, workers=1), workers=1)
    effects = driven.ask(9)
    for turn in range(3):
        assert [effect.worker for effect in effects if isinstance(effect, Hand)] == [1]
        assert driven.book.gone(1, None, 0) == ([Say(9, "-1 the worker died (3 tries)")] if turn == 2 else [])
        effects = driven.says(1, incarnation=10 + turn, phase=Phase.IDLE)
    assert effects == []


def test_a_worker_that_died_with_its_last_word_counts_what_it_served() -> None:
    """Served and gone within one turn of the loop: the exchange counts, the worker is absent."""
    driven = Driven()
    driven.ask(1)
    driven.listens(1, 1_001)
    last = replace(driven.words[1], phase=Phase.IDLE, outcome=Outcome.SERVED)
    driven.book.gone(1, last, 0)
    assert driven.book.tally.served == 1
    assert driven.book.workers[1].state is State.ABSENT


def test_a_late_answer_to_a_task_that_another_has_by_now_is_called_off() -> None:
    """A worker thaws and listens for a client who was sent elsewhere: it is told that nobody comes."""
    driven = Driven()
    driven.ask(1)
    (handed,) = driven.book.due(3 * NS_PER_S)[-1:]
    assert isinstance(handed, Hand)
    assert handed.worker == 2
    assert driven.says(1, 3, phase=Phase.LISTENING, number=1_001, port=40_001) == [CallOff(1, 1_001)]
    assert state(driven, 1) is State.SERVING
    driven.done(1, Outcome.CALLED_OFF)
    assert state(driven, 1) is State.IDLE


def test_after_its_exchanges_it_lets_nobody_in_and_tells_the_workers_to_leave() -> None:
    """With two exchanges to go and two under way a third waits for no place; failed ones make room again."""
    driven = Driven(replace(RULES, exchanges_max=2))
    driven.ask(1)
    driven.ask(2)
    assert said(driven.ask(3)) == {3: "-1 the dispatcher stops after 2 exchanges"}
    driven.listens(1, 1_001)
    driven.listens(2, 1_002)
    driven.done(1, Outcome.EXPIRED)  # it never came, and does not count
    assert [type(effect) for effect in driven.ask(4)] == [Hand]
    driven.listens(1, 1_003)
    assert not [effect for effect in driven.done(2) if isinstance(effect, Leave)]
    assert {effect.worker for effect in driven.done(1) if isinstance(effect, Leave)} == {1, 2}
    assert said(driven.ask(5)) == {5: "-1 the dispatcher stops after 2 exchanges"}
    assert driven.says(2) == [Leave(2)]  # told again whenever it says a word


def test_a_relayed_result_goes_to_who_asked_and_to_nobody_who_left() -> None:
    """In relay mode there is no ticket; a client that left calls its task off."""
    driven = Driven(replace(RULES, mode=Mode.RELAY))
    (handed,) = driven.ask(5)
    assert isinstance(handed, Hand)
    assert handed.task.ticket == ""
    assert driven.says(1, phase=Phase.SERVING, number=1_001) == []
    assert driven.done(1) == [Relay(5, 1, 1_001)]
    driven.ask(6)
    driven.says(1, phase=Phase.SERVING, number=1_002)
    assert driven.book.left(6) == [CallOff(1, 1_002)]
    assert driven.done(1, Outcome.CALLED_OFF) == []
    assert driven.book.tally.served == 1

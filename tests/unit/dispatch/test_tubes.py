"""Pipes and segment between dispatcher and worker, in one process: each finds the other again."""

from __future__ import annotations

from pathlib import Path

from energymarket.dispatch.crew import Crew
from energymarket.dispatch.post import Post
from energymarket.dispatch.records import Mode, Phase, Task
from energymarket.dispatch.tokens import Kind


def heard(crew: Crew) -> list[int]:
    """Incarnations of those who have let the dispatcher know something."""
    return [news.word.incarnation for news in crew.news() if news.word is not None]


def test_every_order_of_starts_works(tmp_path: Path) -> None:
    """A worker that was there first is found by the ping, one that comes later says so itself."""
    with Post(tmp_path, 1, 11) as early, Crew(tmp_path, 2) as crew:
        assert heard(crew) == []
        assert crew.ring(1, Kind.PING)
        assert not crew.ring(2, Kind.PING)
        early.tend()
        assert heard(crew) == [11]
        with Post(tmp_path, 2, 22):
            assert heard(crew) == [22]


def test_a_dispatcher_that_removed_the_pipes_is_followed_by_one_that_finds_the_worker(tmp_path: Path) -> None:
    """The worker notices the end, makes its pipes anew, and takes its next task over them."""
    with Post(tmp_path, 1, 11) as worker:
        with Crew(tmp_path, 1) as first:
            assert first.ring(1, Kind.PING)
            worker.tend()
            first.remove()
        worker.tend()
        with Crew(tmp_path, 1) as second:
            task = Task(5, "report", "::1", "t", "", Mode.REDIRECT, 1.0, 2.0)
            assert second.hand(1, task)
            worker.tend()
            assert worker.take() == task
            assert worker.take() is None  # once
            worker.begin(task, Phase.LISTENING, 4_000)
            (news,) = second.news()
            assert news.word is not None
            assert (news.word.phase, news.word.number, news.word.port) == (Phase.LISTENING, 5, 4_000)


def test_a_dispatcher_that_stops_before_it_has_rung_leaves_no_worker_behind(tmp_path: Path) -> None:
    """It removed pipes that it never opened to write: nothing hung up, and the next one is heard."""
    with Post(tmp_path, 1, 11) as worker:
        with Crew(tmp_path, 1) as first:
            first.remove()
        with Crew(tmp_path, 1) as second:
            worker.tend()
            assert second.ring(1, Kind.PING)
            worker.tend()
            assert heard(second) == [11]


def test_a_worker_that_took_a_new_dispatcher_for_dead_cuts_off_nobody(tmp_path: Path) -> None:
    """It leaves, and removes the pipes that the new dispatcher just opened: the next ping finds others."""
    leaving = Post(tmp_path, 1, 11).open()
    with Crew(tmp_path, 1) as crew:
        leaving.close()  # it has heard of nobody
        assert list(tmp_path.glob("*tube*")) == []
        with Post(tmp_path, 1, 12) as worker:
            assert crew.ring(1, Kind.PING)
            worker.tend()
            assert heard(crew) == [12]


def test_a_word_fits_its_slot_whatever_an_answer_says_of_itself(tmp_path: Path) -> None:
    """Texts are cut, in whole characters: control characters take six bytes each in JSON."""
    with Crew(tmp_path, 1) as crew, Post(tmp_path, 1, 11) as worker:
        worker.progress(0.5, "\x00" * 1_000)
        worker.progress(0.5, "\N{SUN WITH FACE}" * 1_000)
        word = crew.word(1)
        assert word is not None
        assert word.doing == "\N{SUN WITH FACE}" * 120

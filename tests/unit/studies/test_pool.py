"""The pool: all orders are played, whatever becomes of the processes that play them."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from typing import Any

import pytest

from energymarket.runtime.service import Flag
from energymarket.studies.outcome import Outcome
from energymarket.studies.pool import LocalPool, play_all

FOREVER = "stay"


class Actor:
    """Plays what an order names: answers, breaks, dies, or stays."""

    def serve(self, order: Any) -> Outcome:
        """As the order's duration says."""
        match order.duration:
            case "break":
                raise ValueError("broken")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stay":
                signal.pause()
            case _:
                pass
        return Outcome(order.number, {"homes": os.getpid()})


class Order:
    """As much of an order as an actor needs."""

    def __init__(self, number: int, duration: str = "") -> None:
        self.number = number
        self.duration = duration


def played(acts: list[str], workers: int = 2) -> dict[int, Outcome]:
    found: dict[int, Outcome] = {}

    def hear(outcome: Outcome) -> None:
        assert outcome.number not in found
        found[outcome.number] = outcome

    pool = LocalPool(workers, Actor())  # type: ignore[arg-type] # as much of a player as a pool needs
    with Flag() as stop:
        try:
            orders: Any = [Order(number, act) for number, act in enumerate(acts, 1)]
            play_all(pool, orders, hear, stop)
        finally:
            pool.close()
    return found


def test_every_order_is_played_once_by_all_workers() -> None:
    """Twenty orders, twenty outcomes, by both processes."""
    found = played([""] * 20)
    assert sorted(found) == list(range(1, 21))
    assert len({each.values["homes"] for each in found.values()}) == 2


def test_a_process_that_dies_costs_its_own_case_only() -> None:
    """Killed in the middle: its case has failed, the others are played, by a process in its place."""
    found = played(["", "die", "", "die", "", ""], workers=1)
    assert [number for number, each in sorted(found.items()) if not each.is_done] == [2, 4]
    assert "died" in found[2].error


def test_a_bug_is_told_with_its_trace_and_costs_its_own_case_only() -> None:
    """The case's error names the exception, the trace says where it came from."""
    found = played(["break", "", ""])
    assert found[1].error == "a bug: ValueError: broken"
    assert "test_pool.py" in found[1].trace
    assert found[2].is_done
    assert found[3].is_done


def test_the_flag_ends_it_at_once() -> None:
    """What is being played when the flag is set is lost; its process is gone."""
    heard: list[int] = []
    pool = LocalPool(2, Actor())  # type: ignore[arg-type] # as much of a player as a pool needs
    with Flag() as stop:

        def hear(outcome: Outcome) -> None:
            heard.append(outcome.number)
            stop.set()

        orders: Any = [Order(1, FOREVER), Order(2), Order(3), Order(4)]
        play_all(pool, orders, hear, stop)
    pids = [worker.pid for worker in [*pool._busy, *pool._free]]
    pool.close()
    assert heard == [2]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_end_with_whoever_made_them() -> None:
    """`kill -9` of the study ends its processes also in the middle of a case: their pipe tells them later."""
    reader, writer = os.pipe()
    study = os.fork()
    if study == 0:
        pool = LocalPool(2, Actor())  # type: ignore[arg-type] # as much of a player as a pool needs
        pids = [worker.pid for worker in pool._free]
        order: Any = Order(1, FOREVER)
        pool.begin(order)
        os.write(writer, b" ".join(b"%d" % pid for pid in pids))
        signal.pause()
    pids = [int(pid) for pid in os.read(reader, 100).split()]
    watched = [os.pidfd_open(pid) for pid in pids]
    os.kill(study, signal.SIGKILL)
    os.waitpid(study, 0)
    try:
        for descriptor in watched:
            assert select.select([descriptor], [], [], 10)[0]
    finally:
        for descriptor in watched:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for descriptor in (*watched, reader, writer):
            os.close(descriptor)

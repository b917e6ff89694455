"""The pool of transactions: bounded, and fair between connections."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from energymarket.market.transactions import TransactionPool


def call(peer: int, number: int, *, gone: bool = False) -> Any:
    return SimpleNamespace(peer=SimpleNamespace(id=peer), number=number, gone=gone)


def test_connections_take_turns() -> None:
    """One permit: a hundred calls of one connection stand before the one of another, which comes second."""
    pool, done, go = TransactionPool(1), list[tuple[int, int]](), threading.Event()

    def carry_out(each: Any) -> None:
        go.wait(10)
        done.append((each.peer.id, each.number))

    pool.start(carry_out)
    for number in range(100):
        pool.submit(call(1, number))
    pool.submit(call(2, 0))
    pool.submit(call(3, 0, gone=True))
    go.set()
    pool.stop(10)
    assert done.index((2, 0)) <= 2
    assert [number for peer, number in done if peer == 1] == list(range(100))
    assert len(done) == 101, "who left before its turn has ordered nothing"
    assert pool.describe() == {"permits": 1, "busy": 0, "waiting": 0, "busy_max": 1}

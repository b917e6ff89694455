"""The dispatcher's book as io.energymarket.Dispatch tells it (wire/dispatch_text.py)."""

from __future__ import annotations

from typing import Any

from energymarket.dispatch.book import Book, Worker


def worker_row(number: int, worker: Worker) -> dict[str, Any]:
    """A worker as the interface tells it."""
    word, task = worker.word, worker.task
    alive = word is not None and worker.state != "absent"
    row: dict[str, Any] = {
        "number": number,
        "state": str(worker.state),
        "exchanges": 0 if word is None else word.exchanges,
        "restarts": max(0, worker.starts - 1),
        "outcome": "none" if word is None else str(word.outcome),
    }
    if alive and word is not None:
        row["pid"] = word.pid
    if task is not None:
        row |= {"client": task.peer, "request": task.kind}
    if alive and word is not None and word.port:
        row["port"] = word.port
    if alive and word is not None and word.doing:
        row |= {"progress": word.share, "doing": word.doing}
    return row


def status(book: Book, pid: int, age_ms: int, address: tuple[str, int], clients: int) -> dict[str, Any]:
    """The dispatcher as the interface tells it."""
    rules, tally = book.rules, book.tally
    return {
        "pid": pid,
        "age_ms": age_ms,
        "address": address[0],
        "port": address[1],
        "mode": str(rules.mode),
        "workers": rules.workers,
        "clients": clients,
        "waiting": len(book.queue),
        "asked": tally.asked,
        "served": tally.served,
        "refused": tally.refused,
        "expired": tally.expired,
        "failed": tally.failed,
        "exchanges_max": rules.exchanges_max,
        "leaving": book.leaving,
    }

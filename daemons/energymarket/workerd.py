"""energy-workerd: answers what the dispatcher refers to it, one request at a time, off the market's path."""

from __future__ import annotations

import argparse
import logging
import select
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from energymarket.dispatch import settings
from energymarket.dispatch.exchange import BEAT_S, Workplace, work
from energymarket.dispatch.limits import WORKERS_MAX
from energymarket.dispatch.post import Post
from energymarket.dispatch.records import Outcome
from energymarket.dispatch.suite_clock import SuiteClock
from energymarket.exits import Exit
from energymarket.requests.registry import known_types
from energymarket.runtime import clock, service
from energymarket.runtime.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.runtime.service import StopFlag

PROGRAM: Final = "energy-workerd"

log = logging.getLogger(__name__)


def _serve(words: argparse.Namespace, stop: StopFlag) -> int:
    address = settings.settings(words).address
    types = known_types(words.types)
    directory = settings.directory(words.run)
    with ExitStack() as stack:
        post = stack.enter_context(Post(directory, words.worker, clock.boottime_ns()))
        notifier = Notifier()
        stack.callback(notifier.close)
        place = Workplace(post, types, address, words.run, SuiteClock(words.run).now, notifier.beat, stop)
        notifier.ready("idle")
        _run(place, notifier)
        why = stop.reason or "the exchanges are done"
        notifier.stopping(f"stopping ({why}) after {post.word.exchanges} exchanges")
    return Exit.OK


def _run(place: Workplace, notifier: Notifier) -> None:
    post, stop = place.post, place.stop
    poll = select.poll()
    poll.register(post.fileno(), select.POLLIN)
    poll.register(stop.fileno(), select.POLLIN)
    while not stop.is_set():
        place.beat()
        post.tend()
        task = post.take()
        if task is not None:
            notifier.status(f"{task.kind} for {task.peer}")
            outcome = work(place, task)
            level = logging.DEBUG if outcome is Outcome.SERVED else logging.INFO
            log.log(level, "%s for %s: %s", task.kind, task.peer, outcome)
            notifier.status(f"idle; {post.word.exchanges} exchanges")
        elif post.leaves:
            return
        else:
            poll.poll(BEAT_S * 1000)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= WORKERS_MAX:
        message = f"{text!r} is no number of a worker: 1 to {WORKERS_MAX}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    settings.add_arguments(parser)
    parser.add_argument("worker", type=_number, metavar="N", help="number of this worker, from 1")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; the answer is an exit code."""
    words = _words(arguments)
    return service.run(PROGRAM, lambda stop: _serve(words, stop))


if __name__ == "__main__":
    sys.exit(main())

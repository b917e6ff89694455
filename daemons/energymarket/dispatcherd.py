"""energy-dispatcherd: answers on TCP and refers each client to a worker, which does what is heavy."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from contextlib import ExitStack, suppress
from threading import Thread
from typing import TYPE_CHECKING, Final

from energymarket import __version__
from energymarket.dispatch import counter as counters
from energymarket.dispatch import settings
from energymarket.dispatch.book import Book
from energymarket.dispatch.counter import Counter
from energymarket.dispatch.crew import Crew
from energymarket.dispatch.front import Front
from energymarket.dispatch.limits import CLIENTS_MAX
from energymarket.exits import Exit, Failure, SecondInstance, exit_of
from energymarket.requests.registry import known_types
from energymarket.runtime import clock, descriptors, service
from energymarket.runtime.notify import Notifier
from energymarket.runtime.service import Flag, StopFlag
from energymarket.transport.listening import InUse
from energymarket.transport.server import Server
from energymarket.transport.server_limits import ServerLimits
from energymarket.wire.dispatch_text import SOCKET, SOCKET_MODE, TEXT
from energymarket.wire.varlink import Maker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROGRAM: Final = "energy-dispatcherd"
ASKING: Final = ServerLimits(connections_max=64, connections_per_uid_max=48, backlog=64)
"""Of the socket that tells about the dispatcher: operators and monitoring."""
STATUS_EVERY_S: Final = 1.0
"""Most often that the supervisor is told a new status: every exchange changes it."""
DESCRIPTORS_SPARE: Final = 512
"""Beside clients: pipes of all workers, and who asks about the dispatcher."""
_TICKET_BYTES: Final = 16

log = logging.getLogger(__name__)


class Telling:
    """What the supervisor is told from the loop: that it turns, and now and then how it is."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._told = ""
        self._at_s = 0.0

    def beat(self, status: str) -> None:
        """The loop has turned."""
        self._notifier.beat()
        now_s = clock.monotonic_s()
        if status != self._told and now_s >= self._at_s + STATUS_EVERY_S:
            self._told, self._at_s = status, now_s
            self._notifier.status(status)


def _serve(words: argparse.Namespace, stop: StopFlag) -> int:
    descriptors.allow(CLIENTS_MAX + DESCRIPTORS_SPARE)
    found = settings.settings(words)
    rules = settings.rules(found)
    types = known_types(words.types)
    directory = settings.directory(words.run)
    # Numbers begin with the boot's clock in ns: above those of any dispatcher before, and of all its tasks.
    book = Book(rules, lambda: secrets.token_urlsafe(_TICKET_BYTES), clock.boottime_ns())
    with ExitStack() as stack:
        stack.callback(_leave, directory)
        front = Front(book, types, stack.enter_context(Flag()))
        # First of all the socket that tells about it: who has it is the one dispatcher of this directory.
        server = _server(directory / SOCKET, front)
        stack.callback(server.close)
        listener = counters.listen(found.address, found.port)
        stack.callback(listener.close)
        crew = stack.enter_context(Crew(directory, rules.workers))
        counter = stack.enter_context(Counter(listener, front.on_line, front.on_left, front.on_ended))
        thread = Thread(target=server.run, name="control")
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.stop)
        address = (found.address, int(listener.getsockname()[1]))
        notifier = Notifier()
        stack.callback(notifier.close)
        log.info("%s port %d, %d workers, %s", *address, rules.workers, rules.mode)
        notifier.ready(f"{address[0]} port {address[1]}")
        front.run(counter, crew, address, stop, Telling(notifier).beat)
        notifier.stopping(f"stopping ({stop.reason or 'its exchanges are done'})")
        crew.remove()
    return Exit.OK


def _leave(directory: Path) -> None:
    with suppress(OSError):  # something is in it, or it is the system's
        directory.rmdir()


def _server(path: Path, front: Front) -> Server:
    """Serve the interface there. SecondInstance, Failure."""
    server = Server(Maker("energy-market", PROGRAM, __version__, ""), ASKING).open()
    try:
        server.listen(path, SOCKET_MODE, front.question, [TEXT])
    except InUse as problem:
        server.close()
        raise SecondInstance(str(problem), "another dispatcher runs in this directory") from problem
    except OSError as error:
        server.close()
        hint = "the directory has to be this user's, and nothing else may be in the socket's place"
        raise Failure(f"{path}: {error.strerror or error}", hint, exit_of(error)) from error
    return server


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    settings.add_arguments(parser)
    settings.add_dispatcher_arguments(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; the answer is an exit code."""
    words = _words(arguments)
    return service.run(PROGRAM, lambda stop: _serve(words, stop))


if __name__ == "__main__":
    sys.exit(main())

"""energy-checkd: holds the ledger, the homes' own registers and physics together, and says what disagrees."""

from __future__ import annotations

import argparse
import json
import logging
import select
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from energymarket.audit import opening, telling
from energymarket.audit.reading import Check
from energymarket.audit.source import LedgerDamagedError, LedgerMovedError
from energymarket.exits import Exit, Failure, NotRunning, Unreachable
from energymarket.runtime import service
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.notify import Notifier
from energymarket.runtime.occasions import Occasion
from energymarket.transport.client import Connection, Disconnected, VarlinkError
from energymarket.wire.messages import CONTROL, CONTROL_SOCKET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.audit.checker import Checker
    from energymarket.audit.findings import Finding
    from energymarket.runtime.service import StopFlag

log = logging.getLogger(__name__)

PROGRAM: Final = "energy-checkd"
EXITS: Final = (
    "exit: 0 nothing is wrong, 5 something is (see the findings), 3 no market runs there, 4 no ledger there, "
    "73 a market has the file open, 74 no room for a copy, 78 not a compiled scenario"
)
WATCH_SETTLE_NS: Final = 50_000_000
"""After a commit, snapshots that come within this time are answered by one look."""


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, epilog=EXITS)
    opening.add_arguments(parser)
    parser.add_argument("--watch", action="store_true", help="keep checking as slots come (with --run)")
    parser.add_argument("--stay", action="store_true", help="with --watch: wait for a market that has gone")
    parser.add_argument("--chain-only", action="store_true", help="only hash chain, seals and digests")
    words = parser.parse_args(arguments)
    if words.watch and words.run is None:
        parser.error("--watch needs --run")
    if words.stay and not words.watch:
        parser.error("--stay needs --watch")
    return words


def check_once(words: argparse.Namespace) -> int:
    """One check; the answer goes to standard output."""
    with ExitStack() as stack:
        compiled = opening.open_compiled(words)
        try:
            ledger = opening.open_ledger(stack, words)
        except LedgerDamagedError as error:
            return _unreadable(words, error)
        homes = None if words.chain_only else opening.homes_directory(words)
        result = Check(ledger, homes, compiled, chain_only=words.chain_only).run().result()
    if words.json:
        sys.stdout.write(json.dumps(result.document()) + "\n")
    else:
        sys.stdout.write("\n".join(telling.lines_of(result, chain_only=words.chain_only)) + "\n")
    return Exit.OK if result.ok else Exit.DEGRADED


def _unreadable(words: argparse.Namespace, error: LedgerDamagedError) -> int:
    """A file that SQLite does not take for a database is a finding like another."""
    found: dict[str, Any] = {"kind": "database-damaged", "text": str(error)}
    document = {"type": "checked", "ok": False, "slots": 0, "findings_count": 1, "findings": [found]}
    sys.stdout.write(f"{json.dumps(document) if words.json else f'database-damaged: {error}'}\n")
    return Exit.DEGRADED


RETRY_NS: Final = 250_000_000
"""Between two looks for a market that is to come."""

BEAT_MS: Final = 250
"""However long a slot is, the watcher says several times a second that it lives."""


WENT: Final = frozenset({Exit.NOT_RUNNING, Exit.UNREACHABLE, Exit.TRY_AGAIN})
"""How a market fails us that goes while we look at it: with --stay the next one is awaited."""


class Watcher:
    """Checks slot after slot while the market runs."""

    def __init__(self, words: argparse.Namespace, stop: StopFlag) -> None:
        self._words = words
        self._stop = stop
        self._notifier = Notifier()

    def run(self) -> int:
        """Check until stopped; a market that has gone ends it, or is waited for."""
        with ExitStack() as stack:
            stack.callback(self._notifier.close)
            code = Exit.OK
            while code is Exit.OK and not self._stop.is_set():
                try:
                    code = self._one_market()
                except Failure as failure:
                    if not self._words.stay or failure.code not in WENT:
                        raise
                    log.info("%s", failure.args[0])
                    self._stop.wait_until(boottime_ns() + RETRY_NS)
                if not self._words.stay:
                    break
            self._notifier.stopping()
            return code

    def _one_market(self) -> Exit:
        """Check one life of the market; with --stay its beginning is awaited."""
        words = self._words
        with ExitStack() as stack:
            watch = self._connected(stack)
            if watch is None:
                return Exit.OK
            compiled = opening.open_compiled(words)
            homes = opening.homes_directory(words)
            # A market that is frozen is waited for until its watchdog has replaced it: that is no standstill.
            ledger = opening.open_ledger(stack, words, self._notifier.beat)
            check = Check(
                ledger,
                homes,
                compiled,
                chain_only=words.chain_only,
                watching=True,
                on_slot=lambda _row, _opened: self._notifier.beat(),  # a long ledger takes its time
            )
            self._tell(check.run())
            self._notifier.ready(self._status(check))
            while self._next_commit(watch):
                try:
                    check.go_on()
                except (LedgerMovedError, LedgerDamagedError) as error:
                    log.warning("%s: reading the ledger from the start", error)
                    check.run()
                except Unreachable:
                    break
                self._tell(check.checker)
                self._notifier.status(self._status(check))
            return Exit.DEGRADED if len(check.checker.findings) else Exit.OK

    def _connected(self, stack: ExitStack) -> Connection | None:
        """A connection that hears of every slot; None when asked to stop before there was a market."""
        told = False
        while True:
            try:
                watch = stack.enter_context(Connection(self._words.run / CONTROL_SOCKET))
                watch.start(f"{CONTROL}.Watch", {})
            except Disconnected as error:
                if not self._words.stay:
                    raise NotRunning(str(error)) from error
            else:
                return watch
            if not told:
                told = True
                self._notifier.ready("waiting for a market")
            self._notifier.beat()
            if self._stop.wait_until(boottime_ns() + RETRY_NS):
                return None

    def _next_commit(self, watch: Connection) -> bool:
        """Wait for a commit, and a moment longer for those behind it; False if there will be none."""
        poll = select.poll()
        poll.register(watch.fileno(), select.POLLIN)
        poll.register(self._stop.fileno(), select.POLLIN)
        while not watch.waiting and not poll.poll(BEAT_MS):
            self._notifier.beat()
        if self._stop.wait_until(boottime_ns() + WATCH_SETTLE_NS):
            return False
        try:
            while watch.receive(0) is not None:
                pass
        except (Disconnected, VarlinkError):
            log.info("the market has stopped")
            return False
        return True

    def _status(self, check: Check) -> str:
        result = check.checker.result()
        found = f"{result.findings_count} findings"
        return f"slot {result.last_slot} checked, {result.homes_compared} homes, {found}"

    def _tell(self, checker: Checker) -> None:
        for finding in checker.findings.take_fresh():
            self._tell_one(finding)

    def _tell_one(self, finding: Finding) -> None:
        log.error("%s", finding.line(), extra=Occasion.CHECK_FOUND.fields())
        if self._words.json:
            sys.stdout.write(json.dumps({"type": "finding"} | finding.document()) + "\n")
            sys.stdout.flush()


def main() -> int:
    """Run the checker; the answer is an exit code."""
    words = _words(None)
    if words.watch:
        return service.run(PROGRAM, lambda stop: Watcher(words, stop).run())
    return service.run_once(PROGRAM, lambda _stop: check_once(words), as_json=words.json)


if __name__ == "__main__":
    sys.exit(main())

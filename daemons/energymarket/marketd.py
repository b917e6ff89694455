"""energy-marketd: owns market time; prices, clears and settles; keeps the ledger; parent of `external`."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import select
import signal
import socket
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energymarket import __version__
from energymarket.archive.exchange import refuse_unfinished
from energymarket.core import ledger
from energymarket.core.market import Rules
from energymarket.exits import ConfigError, Exit, Failure, SecondInstance
from energymarket.market import recovery
from energymarket.market.bookkeeping import Bookkeeper
from energymarket.market.control import ControlDesk
from energymarket.market.lockstep import LockstepOwner, LockstepTimetable
from energymarket.market.lockstep_desk import LockstepControl, LockstepDesk
from energymarket.market.messages import Beat, Heard, Left, ReloadAsked, StopAsked
from energymarket.market.owner import Owner
from energymarket.market.parenting import Parent
from energymarket.market.recorder import Recorder
from energymarket.market.reload import Reloader
from energymarket.market.retention import Retention
from energymarket.market.timetable import Course, Timetable
from energymarket.market.trade import TradeDesk
from energymarket.market.transactions import TransactionPool
from energymarket.runtime import descriptors, memory, service
from energymarket.runtime.clock import boottime_ns, wall_ns
from energymarket.runtime.notify import Notifier
from energymarket.scenario.opening import is_lockstep, open_scenario, speed
from energymarket.transport import listening, resources
from energymarket.transport.doorbell import Doorbell
from energymarket.transport.ledger_rows import LARGE_HOMES
from energymarket.transport.page import BoardReader, ClockWriter
from energymarket.transport.queue import OfferQueue
from energymarket.transport.server import Server
from energymarket.transport.server_limits import TRADE_LIMITS, ServerLimits
from energymarket.transport.store import ForeignLedgerError, LedgerStore, StoreError
from energymarket.wire.event_record import RecordType
from energymarket.wire.messages import (
    CONTROL_INTERFACE,
    CONTROL_SOCKET,
    TRADE_INTERFACE,
    TRADE_SOCKET,
)
from energymarket.wire.varlink import Maker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energymarket.core.parameters import Period
    from energymarket.runtime.service import StopFlag
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.resources import Ipc

log = logging.getLogger(__name__)

MAKER = Maker("energy-market", "energy-market", __version__, "")
BEAT_NS = 500_000_000
"""How often the market sends itself a message through all that has to work, for the watchdog."""
DESCRIPTORS_SPARE = 1_024
"""Beside connections: the ledger, pipes, pages, and memory files on their way in and out."""


class MarketDaemon:
    """What the market is made of, in the order in which it is opened."""

    def __init__(self, words: argparse.Namespace, compiled: Compiled, stop: StopFlag) -> None:
        self.words = words
        self.compiled = compiled
        self.stop = stop
        self.service: dict[str, Any] = compiled.settings.get("service", {})
        self.notifier = Notifier()
        self.owner: Owner
        self.parent: Parent
        self.doorbell: Doorbell
        self.hangup: service.Flag
        self.server: Server
        self.failure: BaseException | None = None
        self.lockstep = is_lockstep(words, compiled)

    def run(self) -> int:
        """Serve until stopped; everything closes in reverse order."""
        with ExitStack() as stack:
            memory.keep_freed_memory()
            inherited = listening.inherited(os.environ, os.getpid())
            self.doorbell = stack.enter_context(Doorbell())
            self.hangup = stack.enter_context(service.Flag())
            service.install(stack, signal.SIGHUP, self.hangup)
            refuse_unfinished(self.words.state.parent)
            _lock(stack, self.words.state)
            store = self._open_store(stack)
            ipc = resources.ensure(self.words.run)
            offers = OfferQueue(ipc)
            offers.limit(self.service.get("queue_bytes_max", resources.QUEUE_BYTES))
            self.owner = self._owner(stack, store, ipc, offers)
            pool = TransactionPool(self.service.get("transactions_max", 16))
            desk = LockstepDesk if self.lockstep else TradeDesk
            trade = desk(self.owner, pool, TRADE_SOCKET, self.service.get("orders_per_slot_max", 1000))
            reloader = Reloader(self.compiled, self.words.config or self.compiled.directory / "scenario.toml")
            desk_of = LockstepControl if self.lockstep else ControlDesk
            control = desk_of(self.owner, self.compiled.period, ipc, reloader, CONTROL_SOCKET)
            self.owner.trade, self.owner.control = trade, control
            self.parent = Parent(self.words.run, self.compiled, self.owner)
            control.child = self.parent.describe
            self.server = self._server(stack, trade, control, inherited)
            self._serve(pool, trade)
        return Exit.OK

    def _open_store(self, stack: ExitStack) -> LedgerStore:
        compiled = self.compiled
        store = LedgerStore(self.words.state / "ledger.db")
        try:
            store.open(
                scenario_hash=compiled.hash, genesis=ledger.genesis(compiled.hash), homes=compiled.homes_count
            )
        except ForeignLedgerError as error:
            raise ConfigError(str(error), "choose another --state, or start anew with --fresh") from error
        except StoreError as error:
            raise Failure(str(error), "is the disk full, or the file damaged?", Exit.IO_ERROR) from error
        stack.callback(store.close)
        return store

    def _owner(self, stack: ExitStack, store: LedgerStore, ipc: Ipc, offers: OfferQueue) -> Owner:
        compiled, period = self.compiled, self.compiled.period
        rules = Rules(
            price=compiled.price,
            tariff=compiled.tariff,
            homes=compiled.homes_count,
            tariff_at=compiled.import_export_at,
            sharing=compiled.sharing.rule,
            key_weights=compiled.key_weights(),
        )
        try:
            market = recovery.restore(store, rules, ledger.genesis(compiled.hash))
        except (recovery.LedgerBrokenError, ledger.LedgerCorrupt) as error:
            hint = "keep a copy; `energyctl ledger verify` tells more; start with another --state"
            raise ConfigError(f"{store.path}: {error}", hint) from error
        generation = int(store.meta("generation") or "0") + 1
        store.put_state({"generation": str(generation)})
        timetable = self._timetable(period)
        disk_max = self.service.get("retention", {}).get("disk_max_bytes", 2 << 30)
        retention = Retention(disk_max, 86_400 // period.slot_s)
        recorder = None
        if self.service.get("record", True):
            follows, brief = store.is_recorded(market.slot), compiled.homes_count >= LARGE_HOMES
            recorder = Recorder(market, follows=follows, brief=brief)
        parts: dict[str, Any] = {
            "market": market,
            "books": Bookkeeper(store, market, retention, recorder),
            "timetable": timetable,
            "course": self._course(store, timetable),
            "page": stack.enter_context(ClockWriter(ipc)),
            "board": stack.enter_context(BoardReader(ipc)),
            "offers": offers,
            "policies": compiled.homes["policy"],
            "generation": generation,
            "pid": os.getpid(),
        }
        owner = self._in_lockstep(store, parts) if self.lockstep else Owner(**parts)
        stack.callback(owner.inbox.close)
        if market.slot >= 0:
            log.info("going on after slot %d, price %d ueur/kWh", market.slot, market.price_ueur_per_kwh)
        return owner

    def _timetable(self, period: Period) -> Timetable:
        pace = self.words.speed or period.speed
        parts = self.service.get("exchange_until", 0.5), self.service.get("gate_at", 0.8)
        return (LockstepTimetable if self.lockstep else Timetable)(period.slot_s, pace, *parts)

    @staticmethod
    def _in_lockstep(store: LedgerStore, parts: dict[str, Any]) -> LockstepOwner:
        """An owner that waits for all: in an epoch above those of the starts before, with an empty queue."""
        epoch = int(store.meta("epoch") or "-1") + 1
        store.put_state({"epoch": str(epoch)})
        return LockstepOwner(epoch=epoch, **parts)

    def _course(self, store: LedgerStore, timetable: Timetable) -> Course:
        """From the scenario's first slot, in real time from the slot of the first start.

        A run that has a name and a length begins where the ledger is when its name is first heard; a
        restart within the run finds it there, so that it ends where it would have ended.
        """
        present = timetable.slot_at(wall_ns()) if timetable.real_time else None
        first = int(store.meta("first_slot") or (present or self.compiled.period.first_slot))
        last = store.last_slot()
        begin = first
        if self.words.course:
            name, _, begun = (store.meta("course") or "").rpartition(" ")
            following = first if last is None else max(last + 1, present or 0)
            begin = int(begun) if name == self.words.course else following
            store.put_state({"course": f"{self.words.course} {begin}"})
        store.put_state({"first_slot": str(first)})
        wait_s = self.service.get("start_wait_s", 10.0)
        # Without a clock and an end it would play for ever, as fast as it goes.
        slots = self.words.slots or (self.compiled.period.slots if self.lockstep else None)
        return Course(first, begin, slots, round(wait_s * 1e9))

    def _server(
        self,
        stack: ExitStack,
        trade: TradeDesk,
        control: ControlDesk,
        inherited: Mapping[str, socket.socket],
    ) -> Server:
        """Both sockets: those that the service manager holds for us, else made here."""
        limits = ServerLimits(connections_max=self.service.get("connections_max", 4096))
        allowed = descriptors.allow(limits.connections_max + DESCRIPTORS_SPARE)
        if allowed < limits.connections_max + DESCRIPTORS_SPARE:
            log.warning("only %d descriptors are allowed: fewer connections than configured", allowed)
        trade_limits = replace(
            TRADE_LIMITS,
            calls_per_s_max=self.service.get("requests_per_s_max", 2000),
            frame_bytes_max=self.service.get("request_bytes_max", TRADE_LIMITS.frame_bytes_max),
        )
        inbox = self.owner.inbox
        server = Server(MAKER, limits, on_close=lambda peer: inbox.put(Left(peer.id))).open()
        stack.callback(server.close)
        for name, desk, text, its_limits in (
            (TRADE_SOCKET, trade, TRADE_INTERFACE, trade_limits),
            (CONTROL_SOCKET, control, CONTROL_INTERFACE, limits),
        ):
            handler = desk.handle
            if name in inherited:
                server.adopt(inherited[name], name, handler, [text], its_limits)
                continue
            try:
                server.listen(self.words.run / name, 0o660, handler, [text], its_limits)
            except listening.InUse as error:
                raise SecondInstance(str(error), "another market serves this run directory") from error
        return server

    def _serve(self, pool: TransactionPool, trade: TradeDesk) -> None:
        threading.excepthook = self._thread_failed
        owner_thread = threading.Thread(target=self._own, name="owner")
        server_thread = threading.Thread(target=self.server.run, name="server")
        if isinstance(self.owner, LockstepOwner):
            self.owner.empty_queue()
        try:
            pool.start(trade.carry_out)
            owner_thread.start()
            server_thread.start()
            self.notifier.ready("serving; waiting for homes and weather")
            self._watch_over(owner_thread)
        finally:
            self.notifier.stopping("closing the gate")
            if owner_thread.ident is not None:
                self.owner.inbox.put(StopAsked(lambda _slot: None))
                owner_thread.join()
            self.parent.stop()
            pool.stop(1.0)
            if server_thread.ident is not None:
                self.server.stop()
                server_thread.join()
        if self.failure is not None:
            raise self.failure

    def _own(self) -> None:
        """The owner's life; its end, asked for by `Stop`, wakes the main thread."""
        self.owner.run()
        self.stop.stop("the market has stopped")

    def _thread_failed(self, failed: threading.ExceptHookArgs) -> None:
        """A thread has died of a bug: the daemon ends with it, and the supervisor starts it again."""
        self.failure = failed.exc_value
        self.owner.stopped = True
        self.stop.stop("a thread died")

    def _watch_over(self, owner_thread: threading.Thread) -> None:
        """The main thread: parent of `external`, ear of the doorbell, until asked to stop."""
        event_fd, pipe_fd = self.doorbell.descriptors
        told, beat_ns = "", 0
        nudges = (self.owner.nudge,) if isinstance(self.owner, LockstepOwner) else ()
        while not self.stop.is_set() and owner_thread.is_alive():
            if boottime_ns() >= beat_ns:
                beat_ns = boottime_ns() + BEAT_NS
                self.owner.inbox.put(Beat(self._beat_on))
            due_ns = min(self.parent.tend(self.doorbell), beat_ns)
            poll = select.poll()
            flags = (self.hangup, self.stop, *nudges)
            for fd in (event_fd, pipe_fd, *(flag.fileno() for flag in flags), *self.parent.descriptors):
                poll.register(fd, select.POLLIN)
            poll.poll(max(0, (due_ns - boottime_ns()) // 1_000_000 + 1))
            if any(nudge.clear() for nudge in nudges):
                self.parent.wake()
            if self.hangup.clear():
                self.owner.inbox.put(ReloadAsked())
            records = self.doorbell.drain()
            if records:
                self.parent.heard()
                said = [each for each in records if each.type in {RecordType.BEGIN, RecordType.END}]
                reported = [each.slot for each in records if each.type is RecordType.REPORTED]
                if said or reported:
                    self.owner.inbox.put(Heard(said, max(reported, default=-1)))
            status = self._status()
            if status != told:
                told = status
                self.notifier.status(status)

    def _beat_on(self) -> None:
        """The main thread has asked and the owner has answered with the ledger: the server's loop tells."""
        self.server.call_in_loop(self.notifier.watchdog)

    def _status(self) -> str:
        shown, joined = self.owner.control.shown, self.owner.trade.leases.joined
        phase, slot = shown.get("phase", "starting"), shown.get("open_slot", shown.get("slot", "-"))
        return f"{phase}, slot {slot}, {self.owner.prices().price / 1e6:.4f} €/kWh, {joined} homes"


def _lock(stack: ExitStack, state: Path) -> None:
    """One market per ledger; the lock dies with us."""
    state.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SecondInstance(f"{state}: another market has this ledger open") from error


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("energy-marketd", description=__doc__)
    parser.add_argument("--compiled", type=Path, metavar="DIR", help="directory of a compiled scenario")
    parser.add_argument("--scenario", metavar="NAME", help="a scenario's name or file, compiled before")
    parser.add_argument("--config", type=Path, metavar="FILE", help="where a reload reads the coefficients")
    parser.add_argument(
        "--run",
        type=Path,
        required=True,
        metavar="DIR",
        help="run directory: sockets, and the record of IPC objects",
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="directory of the ledger")
    parser.add_argument(
        "--speed", type=speed, help="market seconds per real second, instead of the scenario's"
    )
    parser.add_argument(
        "--lockstep",
        action="store_true",
        help="without a clock: every slot waits for all, and nobody is late",
    )
    parser.add_argument("--slots", type=int, help="end after so many slots of the scenario")
    parser.add_argument(
        "--course", metavar="NAME", help="count --slots from where this run was first heard of"
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Run the daemon; the answer is an exit code."""
    words = _words(None)
    return service.run("energy-marketd", lambda stop: MarketDaemon(words, open_scenario(words), stop).run())


if __name__ == "__main__":
    sys.exit(main())

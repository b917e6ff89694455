"""The homes' way to the market: a connection to trade, one that tells the time; both are made again."""

from __future__ import annotations

import base64
import logging
import os
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from energymarket.runtime.clock import boottime_ns
from energymarket.transport import memory_fd
from energymarket.transport.client import Connection, Disconnected, VarlinkError
from energymarket.wire import batch as batch_wire
from energymarket.wire.messages import TRADE, TRADE_SOCKET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from energymarket.runtime.service import StopFlag
    from energymarket.wire.batch import Buffer

log = logging.getLogger(__name__)

RETRY_NS: Final = 100_000_000
"""Between two tries to reach the market: a restarted one serves again within half a second."""

TELL_AFTER_NS: Final = 3_000_000_000
TELL_EVERY_NS: Final = 600_000_000_000
"""A market that is away for a moment is no news; one that stays away is told now and then."""
BEAT_MS: Final = 400
"""However long a slot is, its homes say several times a second that they live."""

ANSWER_S: Final = 10.0
"""Of Join, Buy and Sell. A receipt of a batch is awaited until the slot must be over."""

STOP_NS: Final = 4_000_000_000
"""How long an answer is still awaited when asked to stop: a market that stops answers within 3 s."""

INLINE_BYTES_MAX: Final = 32_768
"""A batch up to this size goes inline; a larger one as a sealed memory file."""


class Lost(Exception):
    """The market is gone for now: join again, and send again what was not answered."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What the market knows of the homes."""

    batch_slot: int | None  # last slot of which the ledger has a batch of them
    receipt: dict[str, Any] | None  # its columns
    handed_slot: int | None  # the open slot, if some of them have handed in
    first_slot: int  # of the ledger
    committed_slot: int | None = None  # the last one that is settled, whether or not they were heard in it


@dataclass(frozen=True, slots=True)
class Refused:
    """A named refusal of the market."""

    name: str
    parameters: dict[str, Any]

    def standing_wh(self, slot: int) -> int:
        """Of an order: what stands in the slot under its id all the same (above zero: a sale)."""
        twice = self.parameters.get("reason") == "IdTwice" and self.parameters.get("slot") == slot
        return int(self.parameters["energy_wh"]) if twice else 0


class Session:
    """One range of homes at the market's door."""

    def __init__(
        self, run_dir: Path, first: int, count: int, name: str, stop: StopFlag, beat: Callable[[], None]
    ) -> None:
        self._path = run_dir / TRADE_SOCKET
        self._first = first
        self._count = count
        self._name = name
        self._stop = stop
        self._beat = beat
        self._trade: Connection | None = None
        self._watch: Connection | None = None
        self._stop_by_ns = 0  # when an answer is no longer waited for; 0: nobody has asked us to stop

    def close(self) -> None:
        """Hang up."""
        for connection in (self._trade, self._watch):
            if connection is not None:
                connection.close()
        self._trade = self._watch = None

    def join(self) -> Joined | None:
        """Connect and lease the homes, as often as it takes; None when asked to stop."""
        tell_ns = boottime_ns() + TELL_AFTER_NS
        while not self._stop.is_set():
            try:
                return self._join_once()
            except (Disconnected, VarlinkError) as error:
                self.close()
                if boottime_ns() >= tell_ns:
                    log.warning("waiting for the market: %s", error)
                    tell_ns += TELL_EVERY_NS
            self._beat()
            self._stop.wait_until(boottime_ns() + RETRY_NS)
        return None

    def _join_once(self) -> Joined:
        self.close()
        self._trade = Connection(self._path, ANSWER_S, self._while_waiting).open()
        joined = self._lease(self._trade)
        self._watch = Connection(self._path, ANSWER_S).open()
        self._watch.start(f"{TRADE}.Watch")
        return joined

    def join_again(self) -> Joined:
        """Ask on the same connection what the market knows of the homes; their lease stays. Raises Lost."""
        if self._trade is None:
            raise Lost
        try:
            return self._lease(self._trade)
        except (Disconnected, VarlinkError) as error:
            self.close()
            raise Lost from error

    def _lease(self, trade: Connection) -> Joined:
        asked = {"first": self._first, "count": self._count, "name": self._name}
        answer = trade.call(f"{TRADE}.Join", asked).parameters
        receipt, columns = answer.get("receipt"), None
        if receipt is not None:
            _, columns = batch_wire.unpack_receipt(base64.b64decode(receipt))
        return Joined(
            answer.get("batch_slot"),
            columns,
            answer.get("handed_slot"),
            answer["first_slot"],
            answer.get("committed_slot"),
        )

    def pass_slot(self, slot: int, epoch: int) -> None:
        """In lockstep: hand in nothing in a slot. Raises Lost."""
        if self._trade is None:
            raise Lost
        try:
            self._trade.call(f"{TRADE}.Pass", {"slot": slot, "epoch": epoch})
        except VarlinkError as error:
            log.warning("the slot %d cannot be passed: %s", slot, error.name)
        except Disconnected as error:
            self.close()
            raise Lost from error

    def _while_waiting(self) -> None:
        """Nobody who is asked to stop waits for the rest of a long slot: what was handed in stays there."""
        self._beat()
        if not self._stop.is_set():
            return
        self._stop_by_ns = self._stop_by_ns or boottime_ns() + STOP_NS
        if boottime_ns() >= self._stop_by_ns:
            raise Disconnected("asked to stop before the answer came")

    def notice(self) -> dict[str, Any] | None:
        """The latest notice, awaited; None when asked to stop. Raises Lost."""
        watch = self._watch
        if watch is None:
            raise Lost
        try:
            latest = _latest(watch)
            while latest is None:
                if self._stop.is_set():
                    return None
                poll = select.poll()
                poll.register(watch, select.POLLIN)
                poll.register(self._stop, select.POLLIN)
                poll.poll(BEAT_MS)
                self._beat()
                latest = _latest(watch)
        except (Disconnected, VarlinkError) as error:
            self.close()
            raise Lost from error
        return latest

    def submit(
        self,
        data: list[Buffer],
        batch_id: str,
        slot: int,
        epoch: int,
        *,
        shed: int,
        wait_s: float,
        readings: tuple[dict[str, Any], ...] = (),
    ) -> dict[str, Any] | Refused:
        """Hand in a batch, in parts; the answer is its receipt's columns, or why not. Raises Lost."""
        if self._trade is None:
            raise Lost
        asked: dict[str, Any] = {"id": batch_id, "slot": slot, "epoch": epoch, "shed": shed}
        if readings:
            asked["readings"] = list(readings)
        descriptors: tuple[int, ...] = ()
        if sum(len(part) for part in data) <= INLINE_BYTES_MAX:
            asked["data"] = base64.b64encode(b"".join(data)).decode()
        else:
            descriptors = (memory_fd.seal(data, "batch"),)
            asked["descriptor"] = 0
        try:
            answer = self._trade.call(f"{TRADE}.Submit", asked, descriptors, timeout_s=wait_s)
        except VarlinkError as error:
            return Refused(error.name.removeprefix(TRADE + "."), dict(error.parameters))
        except Disconnected as error:
            self.close()
            raise Lost from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return _receipt_of(answer.parameters, answer.descriptors)

    def order(self, home: int, energy_wh: int, order_id: str) -> dict[str, Any] | Refused:
        """Buy (below zero) or sell at once; the answer is the receipt, or why not. Raises Lost."""
        if self._trade is None:
            raise Lost
        method = "Sell" if energy_wh > 0 else "Buy"
        asked = {"home": home, "energy_wh": abs(energy_wh), "id": order_id}
        try:
            receipt = self._trade.call(f"{TRADE}.{method}", asked).parameters["receipt"]
        except VarlinkError as error:
            return Refused(error.name.removeprefix(TRADE + "."), dict(error.parameters))
        except Disconnected as error:
            self.close()
            raise Lost from error
        return dict(receipt)


def _latest(watch: Connection) -> dict[str, Any] | None:
    """The newest of the notices that have come; older ones are history."""
    latest = None
    while (answer := watch.receive(0)) is not None:
        latest = answer.parameters["notice"]
    return latest


def _receipt_of(answer: Mapping[str, Any], descriptors: tuple[int, ...]) -> dict[str, Any]:
    try:
        if answer.get("receipt") is not None:
            data: bytes | memoryview = base64.b64decode(answer["receipt"])
        else:
            data = memory_fd.map_sealed(descriptors[answer["descriptor"]], batch_wire.BATCH_BYTES_MAX)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    _, columns = batch_wire.unpack_receipt(data)
    return columns

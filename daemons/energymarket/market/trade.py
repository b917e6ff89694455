"""The trade desk: leases, batches, receipts and notices in the owner's thread; orders in the pool's."""

from __future__ import annotations

import base64
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Final

from energymarket.core.inputs import Refused
from energymarket.core.market import Order
from energymarket.core.records import Phase
from energymarket.core.refusals import Refusal
from energymarket.core.settlement import Batch, receipt_columns
from energymarket.market import receipts
from energymarket.market.leases import Lease, Leases
from energymarket.market.messages import Asked, OrderAsked, stopping
from energymarket.market.quota import OrderQuota
from energymarket.market.transactions import ORDER_ID_BYTES_MAX, ORDER_WH_MAX
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.kill_points import Point, reach
from energymarket.transport import memory_fd
from energymarket.wire import batch as batch_wire
from energymarket.wire.fault import WireError
from energymarket.wire.messages import TRADE
from energymarket.wire.varlink import encode_reply

if TYPE_CHECKING:
    from energymarket.core.market import Closed
    from energymarket.market.messages import RefusedOrder
    from energymarket.market.owner import Owner
    from energymarket.market.transactions import TransactionPool
    from energymarket.transport.call import Call

log = logging.getLogger(__name__)

INLINE_BYTES_MAX: Final = 32_768
"""A receipt up to this size is answered inline; a larger one as a sealed memory file."""

BATCH_ID_BYTES_MAX: Final = 128
NAME_CHARACTERS_MAX: Final = 64
REFUSALS_KEPT_MAX: Final = 100
LINES_PER_SLOT_MAX: Final = 20
OFFERS_PER_HOME_MAX: Final = 8
"""What a batch may say of shed offers: a home has one, and the parts that takers left of it."""

ORDER_WAIT_S: Final = 30.0
"""An order that the owner has not answered by then has failed: it will never have been booked twice."""

STOPPED_WAIT_S: Final = 0.5


class TradeDesk:
    """Everything behind the interface io.energymarket.Trade."""

    def __init__(self, owner: Owner, pool: TransactionPool, socket: str, orders_per_slot_max: int) -> None:
        self.owner = owner
        self.pool = pool
        self.socket = socket
        self.quota = OrderQuota(orders_per_slot_max)
        self.leases = Leases(owner.market.rules.homes)
        self.watchers: dict[int, Call] = {}
        self.pending: dict[tuple[int, int], Call] = {}  # range of homes -> the Submit that waits
        self.price: dict[str, Any] = {}
        self._told = 0  # lines about leases since the last commit

    # in the server's thread

    def handle(self, call: Call) -> None:
        """Answer what a snapshot can answer; hand the rest to the pool or to the owner."""
        method = call.method.removeprefix(TRADE + ".")
        if method == "Price":
            call.reply(self._price_now())
        elif self.owner.stopped:
            call.error(stopping(call))
        elif method in {"Buy", "Sell"}:
            self.pool.submit(call)
        else:
            self.owner.inbox.put(Asked(call))

    def _price_now(self) -> dict[str, Any]:
        left_ns = max(0, self.owner.moments.gate_ns - boottime_ns())
        return (self.price or self._price()) | {"gate_in_ms": left_ns // 1_000_000}

    # in a transaction's thread

    def carry_out(self, call: Call) -> None:
        """One Buy or Sell, from check to answer; the owner makes it durable."""
        asked = call.parameters
        home, energy_wh, order_id = asked["home"], asked["energy_wh"], asked["id"]
        if not 0 < energy_wh <= ORDER_WH_MAX:
            detail = f"energy_wh must be 1 .. {ORDER_WH_MAX}, not {energy_wh}"
            call.error(f"{TRADE}.OrderRefused", {"reason": Refusal.ENERGY_TOO_LARGE.value, "detail": detail})
            return
        if not 0 < len(order_id.encode()) <= ORDER_ID_BYTES_MAX:
            detail = f"id must have 1 .. {ORDER_ID_BYTES_MAX} bytes"
            call.error(f"{TRADE}.OrderRefused", {"reason": "IdMalformed", "detail": detail})
            return
        done = threading.Event()
        found: list[Order | RefusedOrder] = []

        def answer(result: Order | RefusedOrder) -> None:
            found.append(result)
            done.set()

        sign = 1 if call.method.endswith(".Sell") else -1
        self.owner.inbox.put(OrderAsked(call.peer.id, home, sign * energy_wh, order_id, answer))
        # An owner that has ended before it heard this will not hear it any more.
        if not done.wait(STOPPED_WAIT_S if self.owner.stopped else ORDER_WAIT_S):
            call.error(f"{TRADE}.StoreFailed", {"reason": "the ledger did not answer in time; ask again"})
            return
        result = found[0]
        if isinstance(result, Order):
            call.reply({"receipt": _receipt(result)})
        else:
            call.error(f"{TRADE}.{result[0]}", result[1])

    # in the owner's thread

    def refuse_order(self, asked: OrderAsked) -> RefusedOrder | None:
        """Why an order cannot be booked now, or None."""
        owner, market = self.owner, self.owner.market
        if not 1 <= asked.home <= market.rules.homes:
            return ("UnknownHome", {"home": asked.home, "homes": market.rules.homes})
        if self.leases.of_home(asked.home, asked.peer) is None:
            return ("NotJoined", {"home": asked.home})  # also to one who asks for another home's receipt
        known = market.orders_known.get((asked.home, asked.id))
        if known is not None:
            if known.energy_wh == asked.energy_wh:
                return None
            detail = f"id {asked.id} was used for another order of this home"
            stands = {"slot": known.slot, "energy_wh": known.energy_wh}
            return ("OrderRefused", {"reason": "IdTwice", "detail": detail} | stands)
        if owner.phase not in {Phase.EXCHANGE, Phase.TRADE} or market.opening is None:
            if owner.stopping:
                return ("Stopping", {})
            return ("NotOpen", {"phase": owner.phase.name.lower()})
        if boottime_ns() >= owner.moments.gate_ns:
            return ("GateClosed", {"slot": market.opening.slot, "open_slot": None})
        over = self.quota.refuse(market.opening.slot, asked.peer, asked.home, market.orders)
        return None if over is None else ("QuotaExceeded", over)

    def answer(self, call: Call) -> None:
        """Answer a call that only the owner can."""
        match call.method.removeprefix(TRADE + "."):
            case "Join" | "Watch" if call.gone:
                return  # nobody is there to hold the lease or to hear
            case "Join":
                self._join(call)
            case "Submit":
                self._submit(call)
            case "Watch":
                if call.more:
                    self.watchers[call.peer.id] = call
                call.reply({"notice": self._notice()}, continues=call.more)
            case "Pass":  # live, nobody is waited for
                call.reply({})
            case other:
                log.error("no answer for %s", other)

    def leave(self, peer: int) -> list[Lease]:
        """A connection is gone: its leases end, what it handed in stays. The answer is what it held."""
        self.watchers.pop(peer, None)
        left = self.leases.release(peer)
        for lease in left:
            self._tell("left", lease)
        if left:
            self.owner.control.publish_joined()
        for key in [key for key, call in self.pending.items() if call.peer.id == peer]:
            del self.pending[key]
        return left

    def _join(self, call: Call) -> None:
        first, count = call.parameters["first"], call.parameters["count"]
        homes = self.owner.market.rules.homes
        if first < 1 or count < 1 or first + count - 1 > homes:
            call.error(f"{TRADE}.UnknownHome", {"home": first if first < 1 else homes + 1, "homes": homes})
            return
        other = self.leases.conflict(first, count, call.peer.id)
        if other is not None:
            call.error(f"{TRADE}.HomesTaken", {"first": other.first, "count": other.count})
            return
        name = (call.parameters.get("name") or f"pid {call.peer.pid}")[:NAME_CHARACTERS_MAX]
        lease = Lease(first, count, call.peer.id, call.peer.uid, name)
        self.leases.grant(lease)
        self._tell("joined", lease)
        self.owner.control.publish_joined()
        market = self.owner.market
        heard = max(market.accounts.heard.slots_of(first, count))
        receipt = self._receipt_of(heard, first, count) if heard >= 0 else None
        # Their own batch counts too: takers and givers have gone by it, so that it is not said anew.
        handed_in = market.opening is not None and market.has_handed_in_some(first, count)
        call.reply(
            {
                "lease": lease.text,
                "homes": homes,
                "committed_slot": market.slot if market.slot >= 0 else None,
                "batch_slot": heard if heard >= 0 else None,
                "receipt": None if receipt is None else base64.b64encode(receipt).decode(),
                "first_slot": self.owner.course.first_slot,
                "handed_slot": market.opened().slot if handed_in else None,
            }
        )

    def _receipt_of(self, slot: int, first: int, count: int) -> bytes | bytearray | None:
        """The packed receipt of a committed slot; that of the last one without reading the ledger."""
        last = self.owner.last
        if last is None or last.slot != slot:
            return receipts.from_ledger(self.owner.books.store, slot, first, count)
        columns = receipt_columns(last.settlement, first, count)
        return batch_wire.pack_receipt(columns, slot=slot, epoch=0, first=first)

    def _tell(self, what: str, lease: Lease) -> None:
        """A line in the journal, of so many between two commits: a storm of joins floods no disk."""
        self._told += 1
        if self._told <= LINES_PER_SLOT_MAX:
            fields = {"ENERGY_HOME": lease.first} if lease.count == 1 else None
            log.info("homes %s have %s (%s)", lease.text, what, lease.name, extra=fields)

    def _submit(self, call: Call) -> None:
        batch, slot, epoch = self._read(call)
        if batch is None:
            return
        owner, market = self.owner, self.owner.market
        if not self.leases.holds(batch.first, batch.count, call.peer.id):
            call.error(f"{TRADE}.NotJoined", {"home": batch.first})
        elif self._sent_again(call, batch, slot):
            pass
        elif (
            market.opening is None
            or (slot, epoch) != (market.opening.slot, owner.epoch)
            or owner.phase not in {Phase.EXCHANGE, Phase.TRADE}
        ):
            self._too_late(call, batch, slot, epoch)
        else:
            self._hear(call, batch)

    def _read(self, call: Call) -> tuple[Batch | None, int, int]:
        asked = call.parameters
        try:
            data = self._bytes_of(call)
            head, columns, claims = batch_wire.unpack(data)
        except (WireError, ValueError, OSError) as error:
            self._refuse(call, "BatchMalformed", str(error))
            return None, 0, 0
        if (head.slot, head.epoch) != (asked["slot"], asked["epoch"]):
            self._refuse(call, "BatchMalformed", "slot and epoch of the call and of the batch differ")
            return None, 0, 0
        if not 0 < len(asked["id"].encode()) <= BATCH_ID_BYTES_MAX:
            self._refuse(call, "BatchMalformed", f"id must have 1 .. {BATCH_ID_BYTES_MAX} bytes")
            return None, 0, 0
        since = None if head.since == batch_wire.WHOLE else head.since
        batch = Batch(asked["id"], head.first, head.count, columns, claims, since, head.registers)
        return batch, head.slot, head.epoch

    def _bytes_of(self, call: Call) -> bytes | memoryview:
        data, place = call.parameters.get("data"), call.parameters.get("descriptor")
        if (data is None) == (place is None):
            raise ValueError("either data or descriptor must be given")
        if data is not None:
            return base64.b64decode(data, validate=True)
        descriptor = None if place is None else call.take_descriptor(place)
        if descriptor is None:
            raise ValueError(f"descriptor {place} was not passed")
        try:
            return memory_fd.map_sealed(descriptor, batch_wire.BATCH_BYTES_MAX)
        finally:
            os.close(descriptor)

    def _sent_again(self, call: Call, batch: Batch, slot: int) -> bool:
        """A batch that is in the ledger already: the same receipt again."""
        last = self.owner.last
        key = (batch.first, batch.count, batch.id)
        if last is not None and last.slot == slot and key in last.batches:
            self._send_receipt(call, last, batch.first, batch.count)
            return True
        if slot <= self.owner.market.slot and receipts.stands_in(self.owner.books.store, slot, key):
            receipt = receipts.from_ledger(self.owner.books.store, slot, batch.first, batch.count)
            if receipt is not None:
                self._reply_receipt(call, slot, [receipt])
                return True
        return False

    def _too_late(self, call: Call, batch: Batch, slot: int, epoch: int) -> None:
        del epoch
        opening = self.owner.market.opening
        self.owner.counts.late_batches += 1
        self.owner.counts.slot_late += 1
        self._note(batch, slot, Refusal.GATE_CLOSED.value, f"slot {slot}")
        call.error(
            f"{TRADE}.GateClosed", {"slot": slot, "open_slot": None if opening is None else opening.slot}
        )

    def _hear(self, call: Call, batch: Batch) -> None:
        problems = self.owner.market.hear_batch(batch)
        if problems:
            self.owner.counts.refused_batches += 1
            slot = self.owner.market.opened().slot
            self._note(batch, slot, problems[0].value, "; ".join(problem.text for problem in problems))
            self._refuse(call, problems[0].value, "; ".join(problem.text for problem in problems))
            return
        shed = min(max(call.parameters.get("shed") or 0, 0), OFFERS_PER_HOME_MAX * batch.count)
        self.owner.counts.shed_offers += shed
        self.owner.counts.slot_shed += shed
        self.owner.counts.shed_of[batch.first, batch.count] = shed
        if said := call.parameters.get("readings"):
            homes = range(batch.first, batch.first + batch.count)
            self.owner.counts.meters.hear(homes, said, self.owner.control.period.slot_s)
        before = self.pending.get((batch.first, batch.count))
        if before is not None:
            self._refuse(before, "Superseded", "the same homes have handed in again")
        self.pending[batch.first, batch.count] = call
        reach(Point.MARKET_HEARD, self.owner.market.opened().slot)

    def _note(self, batch: Batch, slot: int, reason: str, detail: str) -> None:
        """Keep a refusal with the slot, and say it in the journal."""
        refusals = self.owner.counts.refusals
        if len(refusals) < REFUSALS_KEPT_MAX:
            refusals.append({"first": batch.first, "count": batch.count, "reason": reason, "detail": detail})
            self.owner.counts.refused.append(Refused(batch.first, batch.count, slot, reason))
        if len(refusals) <= LINES_PER_SLOT_MAX:
            log.warning("batch %s of homes %d+%d refused: %s", batch.id, batch.first, batch.count, reason)

    def _refuse(self, call: Call, reason: str, detail: str) -> None:
        call.error(f"{TRADE}.BatchRefused", {"reason": reason, "detail": detail})

    # at the commit

    def all_handed_in(self) -> bool:
        """Whether every lease has its batch in."""
        market = self.owner.market
        return all(market.has_handed_in(lease.first, lease.count) for lease in self.leases)

    def settle(self, closed: Closed) -> None:
        """The slot is durable: every batch gets its receipt."""
        self._told = 0
        pending, self.pending = self.pending, {}
        for (first, count), call in pending.items():
            self._send_receipt(call, closed, first, count)

    def _send_receipt(self, call: Call, closed: Closed, first: int, count: int) -> None:
        columns = receipt_columns(closed.settlement, first, count)
        receipt = batch_wire.receipt_parts(columns, slot=closed.slot, epoch=0, first=first)
        self._reply_receipt(call, closed.slot, receipt)

    def _reply_receipt(self, call: Call, slot: int, receipt: list[batch_wire.Buffer]) -> None:
        if sum(len(part) for part in receipt) <= INLINE_BYTES_MAX:
            text = base64.b64encode(b"".join(receipt)).decode()
            call.reply({"slot": slot, "receipt": text, "descriptor": None})
            return
        try:
            fd = memory_fd.seal(receipt, "receipt")
        except OSError:  # no descriptor or no memory left: it goes inline, whatever its length
            text = base64.b64encode(b"".join(receipt)).decode()
            call.reply({"slot": slot, "receipt": text, "descriptor": None})
            return
        call.reply({"slot": slot, "receipt": None, "descriptor": 0}, descriptors=(fd,))

    # notices

    def notify(self) -> None:
        """Tell every watcher where market time is."""
        self.price = self._price()
        frame = encode_reply({"notice": self._notice()}, continues=True)
        for call in list(self.watchers.values()):
            call.reply_frame(frame, continues=True)

    def _price(self) -> dict[str, Any]:
        owner, market = self.owner, self.owner.market
        prices = owner.prices()
        return {
            "slot": market.slot if market.opening is None else market.opening.slot,
            "epoch": owner.epoch,
            "phase": owner.phase.name.lower(),
            "price_ueur_per_kwh": prices.price,
            "import_ueur_per_kwh": prices.import_,
            "export_ueur_per_kwh": prices.export,
            "gift_fee_ueur_per_kwh": prices.gift_fee,
            "gate_in_ms": 0,
            "weather_stale": owner.outside.weather_stale,
        }

    def _notice(self) -> dict[str, Any]:
        market, price = self.owner.market, self._price()
        names = ("slot", "epoch", "phase", "price_ueur_per_kwh", "import_ueur_per_kwh", "export_ueur_per_kwh")
        return {name: price[name] for name in names} | {
            "committed_slot": market.slot if market.slot >= 0 else None
        }


def _receipt(order: Order) -> dict[str, Any]:
    return {
        "receipt": order.receipt,
        "home": order.home,
        "slot": order.slot,
        "energy_wh": abs(order.energy_wh),
        "price_ueur_per_kwh": order.price_ueur_per_kwh,
        "total_ueur": abs(order.total_ueur),
    }

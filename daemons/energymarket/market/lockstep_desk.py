"""The desks in lockstep: who is done with the slot, who hears that it was taken back, what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from energymarket.core.records import Phase
from energymarket.market.control import ControlDesk
from energymarket.market.trade import TradeDesk
from energymarket.runtime.clock import boottime_ns
from energymarket.wire.messages import TRADE

if TYPE_CHECKING:
    from energymarket.core.market import Closed
    from energymarket.core.parameters import Period
    from energymarket.core.settlement import Batch
    from energymarket.market.leases import Lease
    from energymarket.market.owner import Owner
    from energymarket.market.reload import Reloader
    from energymarket.market.transactions import TransactionPool
    from energymarket.transport.call import Call
    from energymarket.transport.resources import Ipc

SHOW_EVERY_NS: Final = 100_000_000
"""Watchers are shown ten slots a second, and the last one: nobody reads a thousand."""


class LockstepDesk(TradeDesk):
    """Everything behind the interface io.energymarket.Trade, where the gate waits for all."""

    def __init__(self, owner: Owner, pool: TransactionPool, socket: str, orders_per_slot_max: int) -> None:
        super().__init__(owner, pool, socket, orders_per_slot_max)
        self.passed: set[tuple[int, int]] = set()  # ranges that hand in nothing in the open slot

    def answer(self, call: Call) -> None:
        """Answer a call that only the owner can."""
        if call.method == f"{TRADE}.Pass":
            self._pass(call)
        else:
            super().answer(call)

    def _pass(self, call: Call) -> None:
        """Homes that hand in nothing in this slot: nobody waits for them then."""
        opening, asked = self.owner.market.opening, call.parameters
        held = [lease for lease in self.leases if lease.peer == call.peer.id]
        if not held:
            call.error(f"{TRADE}.NotJoined", {"home": 0})
        elif opening is None or (opening.slot, opening.epoch) != (asked["slot"], asked["epoch"]):
            call.error(f"{TRADE}.NotOpen", {"phase": self.owner.phase.name.lower()})
        else:
            self.passed |= {(lease.first, lease.count) for lease in held}
            call.reply({})

    def is_done_with(self, lease: Lease) -> bool:
        """Whether the homes of a lease have handed in, or will not, in the open slot."""
        if (lease.first, lease.count) in self.passed:
            return True
        return self.owner.market.has_handed_in(lease.first, lease.count)

    def homes_done(self) -> int:
        """How many homes have handed in, or will not."""
        return sum(count for _, count in self.passed | self.owner.market.batches.keys())

    def settle(self, closed: Closed) -> None:
        """The slot is durable: every batch gets its receipt."""
        self.passed.clear()
        super().settle(closed)

    def take_back(self, slot: int) -> None:
        """The open slot is taken back: who has handed in hears that it counts for nothing."""
        pending, self.pending, self.passed = self.pending, {}, set()
        for call in pending.values():
            self._tell_taken_back(call, slot)

    def _too_late(self, call: Call, batch: Batch, slot: int, epoch: int) -> None:
        if slot == self.owner.next_slot() and epoch < self.owner.epoch:
            self._tell_taken_back(call, slot)
        else:
            super()._too_late(call, batch, slot, epoch)

    def _tell_taken_back(self, call: Call, slot: int) -> None:
        call.error(f"{TRADE}.TakenBack", {"slot": slot, "epoch": self.owner.epoch})


class LockstepControl(ControlDesk):
    """Everything behind the interface io.energymarket.Control, where slots are faster than who watches."""

    def __init__(self, owner: Owner, period: Period, ipc: Ipc, reloader: Reloader, socket: str) -> None:
        super().__init__(owner, period, ipc, reloader, socket)
        self._shown_ns = 0
        self._unshown: dict[str, Any] | None = None  # the latest settled slot, if watchers do not know it

    @property
    def due_ns(self) -> int | None:
        """When watchers are to be shown a slot that they have not been shown yet."""
        return None if self._unshown is None else self._shown_ns + SHOW_EVERY_NS

    def publish_commit(self) -> None:
        """A slot is durable."""
        now_ns = boottime_ns()
        self.note_commit(now_ns)
        self._unshown = self.shown
        self.publish_due(now_ns)

    def publish_due(self, now_ns: int, *, anyhow: bool = False) -> None:
        """Show the latest slot, if enough time has passed since the one before."""
        if self._unshown is not None and (anyhow or now_ns >= self._shown_ns + SHOW_EVERY_NS):
            snapshot, self._unshown, self._shown_ns = self._unshown, None, now_ns
            self.tell({"snapshot": snapshot})

    def publish_phase(self) -> None:
        """The phase has changed: at the end nothing is left unshown."""
        if self.owner.phase in {Phase.ENDED, Phase.STOPPED}:
            self.publish_due(boottime_ns(), anyhow=True)
        super().publish_phase()

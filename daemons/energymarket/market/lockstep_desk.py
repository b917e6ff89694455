"""The trade desk in lockstep: who is done with the slot, and who hears that it was taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energymarket.market.trade import TradeDesk
from energymarket.wire.messages import TRADE

if TYPE_CHECKING:
    from energymarket.core.market import Closed
    from energymarket.core.settlement import Batch
    from energymarket.market.leases import Lease
    from energymarket.market.owner import Owner
    from energymarket.market.transactions import TransactionPool
    from energymarket.transport.call import Call


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

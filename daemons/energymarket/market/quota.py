"""How many single orders a slot takes from one connection, and for one home."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.core.market import Order

HOME_ORDERS_MAX: Final = 1_000
"""Of one home in one slot, whoever asks: a thousand orders of a megawatt-hour each, with the greatest jump
of a register, still fit the receipt's int32."""


class OrderQuota:
    """Counts the orders of the open slot. Joining again gives no new ones, a restart does not forget."""

    def __init__(self, per_connection_max: int) -> None:
        self._per_connection_max = per_connection_max
        self._per_home_max = min(per_connection_max, HOME_ORDERS_MAX)
        self._slot = -1
        self._by_peer: Counter[int] = Counter()
        self._by_home: Counter[int] = Counter()

    def refuse(self, slot: int, peer: int, home: int, booked: Sequence[Order]) -> dict[str, Any] | None:
        """Count one more order, or say which limit is reached. `booked` are the slot's orders so far."""
        if slot != self._slot:
            self._slot = slot
            self._by_peer.clear()
            self._by_home = Counter(order.home for order in booked)
        if self._by_peer[peer] >= self._per_connection_max:
            return {"what": "orders per slot and connection", "limit": self._per_connection_max}
        if self._by_home[home] >= self._per_home_max:
            return {"what": "orders per slot and home", "limit": self._per_home_max}
        self._by_peer[peer] += 1
        self._by_home[home] += 1
        return None

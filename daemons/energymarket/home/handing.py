"""What a range of homes hands in after the exchange: what it has brought them, and the batch made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from energymarket.core.block import positive
from energymarket.wire import batch as batch_wire

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.core.block import I32
    from energymarket.core.fleet import Fleet, Net
    from energymarket.core.packed import Signed
    from energymarket.home.books import Books
    from energymarket.home.gains import Bargain
    from energymarket.wire.batch import Buffer


@dataclass(slots=True)
class Handed:
    """What is handed in after the exchange of a slot, until it has been answered."""

    slot: int
    epoch: int
    net: Net  # the fleet's own: of this slot until the next one is lived
    columns: dict[str, I32]
    bargain: Bargain
    readings: tuple[dict[str, Any], ...] = ()  # what is to be known of metered homes


@dataclass(slots=True)
class Reading:
    """Readings of a range that the market has."""

    slot: int
    registers: int  # what all four registers of all homes come to


@dataclass(slots=True)
class Came:
    """What the exchange has brought the homes of a range."""

    moved_wh: npt.NDArray[np.signedinteger[Any]]  # as `Bargain` has it
    excess_wh: I32 | None = None  # greed's
    phantom_wh: I32 | None = None  # received of nobody, on purpose

    @property
    def kind(self) -> type[np.signedinteger[Any]]:
        """Integers that hold what homes state: as narrow as what moved, unless more has come than lacked."""
        is_narrow = self.moved_wh.itemsize == np.dtype(np.int16).itemsize
        return np.int16 if is_narrow and self.excess_wh is None and self.phantom_wh is None else np.int32

    def of(self, here: slice, surplus_wh: Signed) -> tuple[Signed, Signed, Signed]:
        """Received, excess and returned of some homes; nobody gets more back than it had over."""
        moved = self.moved_wh[here].astype(surplus_wh.dtype, copy=False)
        returned_wh = np.minimum(moved, surplus_wh)
        received_wh = moved * (surplus_wh == 0)
        if self.phantom_wh is not None:
            received_wh += self.phantom_wh[here]
        excess_wh = np.zeros(1, np.int32) if self.excess_wh is None else self.excess_wh[here]
        return received_wh, excess_wh, returned_wh

    def bought_only(self, here: slice, net_wh: Signed) -> Signed | None:
        """What some homes buy, if nobody of them had anything over: then they state nothing else."""
        if self.excess_wh is not None or self.phantom_wh is not None or np.maximum.reduce(net_wh) > 0:
            return None
        bought_wh = np.negative(net_wh)
        bought_wh -= self.moved_wh[here]
        return positive(bought_wh, out=bought_wh)


def batch_of(
    handed: Handed, books: Books, fleet: Fleet, before: Reading | None
) -> tuple[list[Buffer], Reading]:
    """The batch in parts, and the reading that it leads to.

    Registers are what has flowed since `before`, the reading of the last slot; without one they are whole.
    """
    flows, since, registers = handed.net.flows(), batch_wire.WHOLE, 0
    if before is None:
        flows = {name: books.column(name) for name in flows}
        after = sum(int(flow.sum(dtype=np.int64)) for flow in flows.values())
    else:
        after = before.registers + handed.net.flowed_wh
        since, registers = before.slot, after % 2**64
    columns = {**flows, **handed.columns, "policy": np.ascontiguousarray(fleet.policy, "u1")}
    parts = batch_wire.parts(
        columns,
        handed.bargain.claims,
        slot=handed.slot,
        epoch=handed.epoch,
        first=fleet.first,
        since=since,
        registers=registers,
    )
    return parts, Reading(handed.slot, after)

"""One slot of a ledger, opened and believed: what the explanations of prices, trades and homes start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from energymarket.audit import opened
from energymarket.audit.findings import Findings
from energymarket.audit.source import LedgerDamagedError
from energymarket.exits import Exit, Failure, NoSuchObject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.audit.opened import Opened
    from energymarket.transport.store import OrderRow, SlotRow


class Ledger(Protocol):
    """A ledger that is looked into here and there: of a market that runs, or a file."""

    def row(self, slot: int) -> SlotRow | None:
        """One sealed slot; None if there is none."""

    def last_slot(self) -> int | None:
        """The last sealed slot; None for an empty ledger."""

    def orders_called(self, what: str) -> list[OrderRow]:
        """Single orders by their receipt, or by the id that their home gave them."""


def chosen(ledger: Ledger, slot: int | None) -> int:
    """The slot that is meant: the last one if none is named. Raises NoSuchObject."""
    last = ledger.last_slot()
    if last is None:
        raise NoSuchObject("the ledger is still empty", "the first slot has not ended yet")
    return last if slot is None else slot


def detail(ledger: Ledger, slot: int) -> Opened:
    """A slot with its detail. Raises NoSuchObject, LedgerDamagedError."""
    row = ledger.row(slot)
    if row is None:
        last = ledger.last_slot()
        raise NoSuchObject(f"there is no slot {slot} in the ledger", f"the last one is {last}")
    if row.seal_now() != row.seal:
        raise LedgerDamagedError(f"slot {slot}: the seal does not hold: a column of its row was changed")
    findings = Findings()
    notes = opened.notes_of(row, findings)
    if row.body is None:
        raise Failure(
            f"the detail of slot {slot} has been compacted to sums",
            "service.retention.disk_max says how much is kept; energyctl price still has the price",
            Exit.NO_SUCH_OBJECT,
        )
    found = None if notes is None else opened.opened(row, row.body, notes, findings)
    if found is None:
        raise LedgerDamagedError("; ".join(finding.line() for finding in findings.kept))
    return found


def before(ledger: Ledger, slot: int) -> dict[str, int] | None:
    """The totals of the slot before, which made the imbalance factor; None for the first slot."""
    row = ledger.row(slot - 1)
    if row is None:
        return None
    notes = opened.notes_of(row, Findings())
    return None if notes is None else notes.totals


def place(facts: Mapping[str, Any]) -> str:
    """Where facts belong: local time and slot; the slot alone where no scenario is known."""
    time, slot = facts["time"], f"slot {facts['slot']}"
    return slot if time == slot else f"{time} ({slot})"


def row_of(slot: Opened, home: int) -> dict[str, int] | None:
    """The columns of one home; None if it has no row in the slot."""
    at = int(np.searchsorted(slot.home, home))
    if at >= len(slot.home) or int(slot.home[at]) != home:
        return None
    return {name: int(column[at]) for name, column in slot.columns.items()}


def orders_of(slot: Opened, home: int) -> list[tuple[int, int, int]]:
    """The single orders of a home: (number in the slot, energy, total); above zero is a sale."""
    orders = slot.orders
    return [
        (int(at), int(orders["energy_wh"][at]), int(orders["total_ueur"][at]))
        for at in np.flatnonzero(orders["home"] == home)
    ]


def gifts_of(slot: Opened, home: int, *, role: str, other: str) -> list[tuple[int, int]]:
    """(the other home, Wh) of every gift in which a home is `role`: giver or taker."""
    gifts = slot.gifts
    return [
        (int(gifts[other][at]), int(gifts["energy_wh"][at])) for at in np.flatnonzero(gifts[role] == home)
    ]

"""A played ledger held against the one that a scene's file computes by hand."""

from __future__ import annotations

from energymarket.core.records import SLOT_COLUMNS
from tests.simulation.market_place import LedgerSlot, differing
from tests.unit.scenario.pencil_ledger import PencilSlot


def wrong(slot: LedgerSlot, wanted: PencilSlot) -> list[str]:
    """What of a slot is not as computed by hand."""
    zeros = dict.fromkeys(SLOT_COLUMNS[1:], 0)
    found = [
        f"home {home}: {differing(slot.homes.get(home, {}), zeros | row)}"
        for home, row in wanted.homes.items()
        if slot.homes.get(home) != zeros | row
    ]
    found += [f"home {home} has a row" for home in wanted.absent & set(slot.homes)]
    facts = {name: getattr(slot.head, name) for name in wanted.market}
    facts = {name: int(value) for name, value in facts.items()}
    found += [f"{name}: {it}" for name, it in differing(facts, wanted.market).items()]
    return found + [f"total {name}: {it}" for name, it in differing(slot.totals, wanted.total).items()]

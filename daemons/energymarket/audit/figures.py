"""What a ledger says of each slot, as reports and exports need it: one small record per slot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energymarket.audit.opened import Opened
    from energymarket.transport.store import SlotRow


@dataclass(frozen=True, slots=True)
class Figures:
    """A slot. Terms, events and the price before are only there while the slot has its detail."""

    slot: int
    price_ueur_per_kwh: int
    import_ueur_per_kwh: int
    export_ueur_per_kwh: int
    gap: bool
    weather_stale: bool
    totals: dict[str, int]
    meta: dict[str, Any]
    hash: str
    gift_fee_ueur_per_kwh: int | None = None
    previous_ueur_per_kwh: int | None = None
    unclipped_ueur_per_kwh: int | None = None
    terms: tuple[tuple[str, int], ...] = ()
    events: tuple[tuple[str, int], ...] = ()

    def of(self, total: str) -> int:
        """A total by its name; 0 where the row does not have it."""
        return self.totals.get(total, 0)

    @property
    def traded_wh(self) -> int:
        """Bought and sold within the neighbourhood: what sellers and buyers had in common."""
        return min(self.of("sold_wh"), self.of("bought_wh"))

    @property
    def bought_from_grid_wh(self) -> int:
        """What the operator had to buy from the grid for the homes."""
        return max(self.of("bought_wh") - self.of("sold_wh"), 0)

    @property
    def sold_to_grid_wh(self) -> int:
        """What the operator sold on to the grid."""
        return max(self.of("sold_wh") - self.of("bought_wh"), 0)


class Gathered:
    """The figures of all slots, in order; a slot that comes again starts anew."""

    def __init__(self) -> None:
        self.slots: list[Figures] = []

    def hear(self, row: SlotRow, slot: Opened | None) -> None:
        """One slot, as the checker hears it."""
        if self.slots and row.slot <= self.slots[-1].slot:
            self.slots.clear()
        self.slots.append(_figures(row, slot))


def _figures(row: SlotRow, slot: Opened | None) -> Figures:
    known: dict[str, Any] = {
        "slot": row.slot,
        "price_ueur_per_kwh": row.price_ueur_per_kwh,
        "import_ueur_per_kwh": row.import_ueur_per_kwh,
        "export_ueur_per_kwh": row.export_ueur_per_kwh,
        "gap": row.gap,
        "weather_stale": row.weather_stale,
        "totals": _object(row.totals),
        "meta": _object(row.meta),
        "hash": row.hash.hex(),
    }
    if slot is not None:
        names = (
            "gift_fee_ueur_per_kwh",
            "previous_ueur_per_kwh",
            "unclipped_ueur_per_kwh",
            "terms",
            "events",
        )
        known |= {name: getattr(slot.head, name) for name in names}
    return Figures(**known)


def _object(text: str) -> dict[str, Any]:
    """A JSON object; an empty one where there is none: the checker has said so already."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

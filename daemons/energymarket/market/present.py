"""The present, for reports and forecasts: what the next slots go on from, and where the rest lies."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from energymarket.core.weather import LIMITS
from energymarket.runtime.clock import boottime_ns

if TYPE_CHECKING:
    from energymarket.market.owner import Owner
    from energymarket.scenario.compiled import Compiled


def present_of(owner: Owner, compiled: Compiled) -> dict[str, Any]:
    """The market after its last committed slot, as its ledger keeps it, and the slot that is open, if any."""
    market, opening = owner.market, owner.market.opening
    found: dict[str, Any] = {
        "first_slot": owner.books.store.first_slot(),
        "slot": market.slot if market.slot >= 0 else None,
        "next_slot": owner.next_slot() if opening is None else opening.slot,
        "scenario_hash": compiled.hash,
        "scenario": str(compiled.directory),
        "state": str(owner.books.store.path.parent.parent),
        "market": market.state(),
        "events": json.dumps(market.book.to_dict()),
        "price": json.dumps(asdict(market.rules.price)),
        "open": None,
        "weather": _weather(owner, market.slot if opening is None else opening.slot),
    }
    if opening is not None:
        found["open"] = {
            "price_ueur_per_kwh": opening.prices.price,
            "import_ueur_per_kwh": opening.prices.import_,
            "export_ueur_per_kwh": opening.prices.export,
            "gap": opening.gap,
        }
    return found


def _weather(owner: Owner, slot: int) -> dict[str, int] | None:
    """The fields of the newest sample, in the board's own units; None while there is none."""
    reading = owner.board.sample(max(slot, 0), boottime_ns())
    if reading.sample is None:
        return None
    return {name: int(reading.sample[name]) for name in ("slot", *LIMITS)}

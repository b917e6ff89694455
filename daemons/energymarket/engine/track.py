"""Prices and events of slot after slot, ahead of settlement: all that the next price needs is what flowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from energymarket.core import events, ledger
from energymarket.core.events import Event, EventBook, Origin
from energymarket.core.market import Accounts, Market, Outside, Rules

if TYPE_CHECKING:
    from energymarket.core.market import Opening
    from energymarket.core.weather import Samples
    from energymarket.scenario.compiled import Compiled


def market_of(compiled: Compiled, *, homes: int) -> Market:
    """The market of a scenario before its first slot, with accounts for so many homes."""
    rules = Rules(
        price=compiled.price,
        tariff=compiled.tariff,
        homes=compiled.homes_count,
        tariff_at=compiled.import_export_at,
        sharing=compiled.sharing.rule,
        key_weights=compiled.key_weights(),
    )
    return Market(
        rules=rules,
        accounts=Accounts.fresh(homes),
        hash=ledger.genesis(compiled.hash),
        price_ueur_per_kwh=compiled.price.initial_ueur_per_kwh,
        book=EventBook(len(compiled.price.events)),
    )


class Track:
    """Opens slots at their prices. It knows no home and keeps no accounts: settlement comes behind."""

    def __init__(self, compiled: Compiled, market: Market) -> None:
        self.market = market
        self._compiled = compiled
        self._slots = range(0)
        self._outside: list[Outside] = []
        self._eventful: list[bool] = []

    def look(self, slots: range) -> Samples:
        """Turn to these slots; their weather."""
        rows = [self._compiled.table_row(slot) for slot in slots]
        weather: Samples = np.asarray(self._compiled.weather)[rows]
        raining = weather["rain_um_per_h"] > 0
        self._slots = slots
        self._outside = [
            Outside(temperature_mc, wet, weather_stale=False)
            for temperature_mc, wet in zip(weather["temperature_mc"].tolist(), raining.tolist(), strict=True)
        ]
        kinds = self._compiled.price.events
        self._eventful = events.eventful(self._compiled.seed, kinds, slots, raining).tolist()
        return weather

    def open(self, at: int) -> Opening:
        """Open the slot at a place of those that were looked at, with the events that begin in it."""
        slot, outside = self._slots[at], self._outside[at]
        if self._eventful[at]:
            self._begin_events(slot, raining=outside.raining)
        return self.market.open_slot(slot, outside)

    def _begin_events(self, slot: int, *, raining: bool) -> None:
        """What `external` would say of the slot."""
        kinds = self._compiled.price.events
        for new in events.arrivals(self._compiled.seed, kinds, slot, raining=raining):
            until_slot = slot + new.duration_slots
            self.market.book.begin(
                Event(Origin.EXTERNAL, new.kind, new.seq, new.intensity_permille, slot, until_slot)
            )

    def close(self, consumed_wh: int, produced_wh: int) -> None:
        """The open slot is over, and so much has flowed."""
        self.market.move_on(consumed_wh, produced_wh)

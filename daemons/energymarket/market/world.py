"""What the market hears of the world: the weather on the board, the events that `external` tells."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from energymarket.core.events import Event, EventAnswer, Origin
from energymarket.core.market import Outside
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.occasions import Occasion
from energymarket.wire.event_record import RecordType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from energymarket.core.market import Market
    from energymarket.core.weather import Sample
    from energymarket.transport.page import BoardReader
    from energymarket.wire.event_record import EventRecord

log = logging.getLogger(__name__)


def hear_events(market: Market, records: Iterable[EventRecord]) -> None:
    """Enter what `external` says into the book; a change is logged."""
    book, kinds = market.book, market.rules.price.events
    for record in records:
        kind = kinds[record.kind].name if record.kind < len(kinds) else f"kind {record.kind}"
        if record.type is RecordType.BEGIN:
            facts = (record.kind, record.seq, record.intensity_permille, record.slot, record.until_slot)
            if book.begin(Event(Origin.EXTERNAL, *facts)) is EventAnswer.CHANGED:
                last, much = record.until_slot - 1, record.intensity_permille
                fields = Occasion.EVENT_CHANGED.fields(slot=record.slot, event=kind)
                text = "event %s, intensity %d/1000, slots %d to %d"
                log.warning(text, kind, much, record.slot, last, extra=fields)
        elif record.type is RecordType.END:
            answer = book.end(Origin.EXTERNAL, record.kind, record.seq, record.slot)
            if answer is EventAnswer.CHANGED:
                fields = Occasion.EVENT_CHANGED.fields(slot=record.slot, event=kind)
                log.warning("event %s ends with slot %d", kind, record.slot - 1, extra=fields)


def look_outside(board: BoardReader, slot: int, before: Outside) -> tuple[Outside, Sample | None]:
    """The weather of a slot and its sample; without any, what was known before, stale."""
    reading = board.sample(slot, boottime_ns())
    if reading.sample is None:
        found = replace(before, weather_stale=True)
    else:
        found = Outside(
            temperature_mc=int(reading.sample["temperature_mc"]),
            raining=int(reading.sample["rain_um_per_h"]) > 0,
            weather_stale=reading.stale,
        )
    if found.weather_stale != before.weather_stale:
        occasion = Occasion.WEATHER_STALE if found.weather_stale else Occasion.WEATHER_FRESH
        how = "stale" if found.weather_stale else "fresh"
        log.warning("the weather is %s in slot %d", how, slot, extra=occasion.fields(slot=slot))
    return found, reading.sample

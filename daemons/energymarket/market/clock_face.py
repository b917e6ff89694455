"""The clock page as the market's state has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energymarket.wire.clock_page import ClockPage, Flag

if TYPE_CHECKING:
    from energymarket.market.owner import Owner


def of(owner: Owner) -> ClockPage:
    """What everybody reads about market time and prices now."""
    opening, moments, prices = owner.market.opening, owner.moments, owner.prices()
    flags = Flag(0) if owner.lockstep else Flag.LIVE
    if owner.outside.weather_stale:
        flags |= Flag.WEATHER_STALE
    if owner.books.failed is not None:
        flags |= Flag.DEGRADED
    return ClockPage(
        slot=owner.next_to_open() - 1 if opening is None else opening.slot,
        epoch=owner.epoch,
        phase=owner.phase,
        flags=int(flags),
        open_ns=moments.open_ns,
        exchange_ns=moments.exchange_ns,
        gate_ns=moments.gate_ns,
        next_open_ns=moments.next_open_ns,
        price=prices.price,
        import_=prices.import_,
        export_=prices.export,
        fee=prices.gift_fee,
        slot_s=owner.timetable.slot_s,
        slot_ns=owner.timetable.slot_ns,
        market_pid=owner.pid,
        end_slot=owner.course.end_slot,
        cookie=owner.books.store.cookie(),
        generation=owner.generation,
    )

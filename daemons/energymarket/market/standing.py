"""How the market stands: the one screen of `Status`, answered without the owner of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from energymarket.core.clock import begins_utc_s, moment
from energymarket.core.records import Phase
from energymarket.runtime.clock import boottime_ns

if TYPE_CHECKING:
    from energymarket.market.control import ControlDesk

COUNTS_SHOWN: Final = (
    "slots_done", "orders", "late_batches", "shed_offers", "void_claims", "refused_batches", "energy_wh",
    "taken_back",
)  # fmt: skip

SILENT_SLOTS: Final = 2
"""A meter that was not heard for longer is told of."""

LOCKED_UP_NS: Final = 2_000_000_000


def standing_of(desk: ControlDesk) -> dict[str, Any]:
    """The market as an operator sees it."""
    owner, now_ns = desk.owner, boottime_ns()
    late_ns = 0
    if owner.phase in {Phase.EXCHANGE, Phase.TRADE, Phase.CLEARING}:
        late_ns = now_ns - owner.moments.next_open_ns
    notes = []
    if owner.books.failed is not None:
        notes.append(f"the ledger cannot be written: {owner.books.failed}")
    if owner.outside.weather_stale:
        notes.append("the weather is stale")
    if late_ns > LOCKED_UP_NS:
        notes.append(f"the slot is {late_ns / 1e9:.1f} s late")
    period = desk.period
    opened = owner.market.slot if owner.market.opening is None else owner.market.opening.slot
    meters = owner.counts.meters.standing(begins_utc_s(opened, period.slot_s)) if opened >= 0 else []
    notes += [_silence(each) for each in meters if _is_silent(each, period.slot_s)]
    messages, size = owner.offers.depth()
    return {
        "state": _state(owner.phase, degraded=bool(notes)),
        "market": {"pid": owner.pid, "generation": owner.generation} | desk.child(),
        "snapshot": desk.shown,
        "last_slot": _last_slot(desk, now_ns),
        "late_ms": max(0, late_ns // 1_000_000),
        "weather_stale": owner.outside.weather_stale,
        "homes": owner.market.rules.homes,
        "homes_joined": owner.trade.leases.joined,
        "leases": len(owner.trade.leases.by_first),
        "queue": {"messages": messages, "bytes": size, "limit_bytes": owner.offers.limit_bytes()},
        "ledger": {"bytes": owner.books.store.bytes_on_disk()},
        "transactions": owner.trade.pool.describe(),
        "counts": {name: getattr(owner.counts, name) for name in COUNTS_SHOWN} | owner.counts.meters.counts(),
        "meters": meters,
        "notes": notes,
    }


def _is_silent(reading: dict[str, Any], slot_s: int) -> bool:
    return reading["behind_s"] is None or reading["behind_s"] > SILENT_SLOTS * slot_s


def _silence(reading: dict[str, Any]) -> str:
    heard = "has never been heard"
    if reading["heard_s"] is not None:
        heard = f"was heard last at {moment(reading['heard_s'])}: its readings are estimates"
    return f"home {reading['home']}: {reading['meter']} {heard}"


def _last_slot(desk: ControlDesk, now_ns: int) -> dict[str, int] | None:
    """The last slot that is durable, and how long ago; one of before this start has no age."""
    slot, committed_ns = desk.owner.market.slot, desk.committed_ns
    if slot < 0:
        return None
    age = {} if committed_ns is None else {"age_ms": (now_ns - committed_ns) // 1_000_000}
    return {"slot": slot} | age


def _state(phase: Phase, *, degraded: bool) -> str:
    match phase:
        case Phase.STARTING:
            return "starting"
        case Phase.ENDED:
            return "ended"
        case Phase.STOPPED:
            return "stopping"
        case _:
            return "degraded" if degraded else "running"

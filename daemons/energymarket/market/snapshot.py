"""What the market shows of a slot: totals, the notes of its row, and the snapshot that watchers get."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from energymarket.core import clock
from energymarket.market.meters import Meters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from energymarket.core.events import EventBook
    from energymarket.core.inputs import Refused
    from energymarket.core.market import Closed, Opening
    from energymarket.core.parameters import EventKind, Period, PriceModel, Rule
    from energymarket.core.settlement import VoidClaim
    from energymarket.core.weather import Sample

ENERGIES: Final = (
    "produced", "consumed", "imported", "exported", "offered", "taken", "returned", "rest_sold", "expired",
    "received", "sold", "bought", "short", "long",
)  # fmt: skip
"""The totals of a slot that are energies which only grow when they are added up."""


@dataclass(slots=True)
class Counts:
    """What happened since the last commit and since the start, beside energy and money."""

    slots_done: int = 0
    orders: int = 0
    late_batches: int = 0  # since the start
    shed_offers: int = 0
    void_claims: int = 0
    refused_batches: int = 0
    degraded_shards: int = 0
    taken_back: int = 0  # lockstep: slots that were run again
    drained: int = 0  # messages of the slot that nobody took back
    lateness_us: int = 0  # of the opening of the present slot
    energy_wh: dict[str, int] = field(default_factory=dict)  # since the start; replaced whole, never changed
    refusals: list[dict[str, Any]] = field(default_factory=list)  # since the last commit
    refused: list[Refused] = field(default_factory=list)  # the same, for the record
    slot_late: int = 0
    slot_shed: int = 0
    shed_of: dict[tuple[int, int], int] = field(default_factory=dict)  # per batch of the slot
    meters: Meters = field(default_factory=Meters)

    def open(self, lateness_us: int) -> None:
        """A slot opens."""
        self.lateness_us = lateness_us

    def commit(self, closed: Closed) -> None:
        """A slot is durable."""
        self.slots_done += 1
        self.void_claims += closed.settlement.void_claims
        totals = totals_of(closed)
        self.meters.commit()
        self.energy_wh = {name: self.energy_wh.get(name, 0) + totals[f"{name}_wh"] for name in ENERGIES}

    def start_anew(self) -> None:
        """A slot is told to everybody: what comes now, also before the next one opens, is the next one's."""
        self.refusals = []
        self.refused = []
        self.slot_late = 0
        self.slot_shed = 0
        self.shed_of = {}
        self.meters.start_anew()


def totals_of(closed: Closed) -> dict[str, int]:
    """Every total of the slot by its name."""
    return closed.settlement.totals.by_name()


def meta_of(
    opening: Opening,
    batches: Iterable[tuple[int, int, str]],
    voids: Iterable[VoidClaim],
    *,
    rule: Rule,
    contributions: Sequence[float],
    reloaded: PriceModel | None,
    counts: Counts | None = None,
) -> dict[str, Any]:
    """What the ledger's row keeps beside the hash's input: who handed in, what was refused.

    `contributions` are what the price before held of each kind of event; `reloaded` is the model, where it
    is new; without `counts` nothing was refused, late or shed.
    """
    counts = counts or Counts()
    return {
        "batches": [list(batch) for batch in batches],
        "sharing": str(rule),
        "gamma": opening.model.gamma,
        "coefficients": None if reloaded is None else asdict(reloaded),
        "contributions": list(contributions),
        "refusals": counts.refusals,
        "late_batches": counts.slot_late,
        "shed_offers": counts.slot_shed,
        **counts.meters.notes(),
        "voids": [
            {
                "giver": void.giver,
                "index": void.index,
                "taker": void.taker,
                "energy_wh": void.energy_wh,
                "reason": void.reason.value,
            }
            for void in voids
        ],
    }


def times_of(slot: int, period: Period) -> dict[str, str]:
    """When a slot begins: UTC and local, RFC 3339."""
    if slot < 0:
        return {"time": "", "local_time": ""}
    utc = clock.begins(slot, period.slot_s)
    return {
        "time": utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "local_time": clock.begins(slot, period.slot_s, period.timezone).isoformat(),
    }


def events_of(book: EventBook, kinds: tuple[EventKind, ...], slot: int) -> list[dict[str, Any]]:
    """The events that act on a slot or will act later."""
    found = []
    for event in book.listed(slot):
        ends = [end for end in (event.until_slot, event.ended_slot) if end is not None]
        found.append(
            {
                "kind": kinds[event.kind].name,
                "intensity_permille": event.intensity_permille,
                "origin": event.origin.value,
                "from_slot": event.slot,
                "until_slot": min(ends) if ends else None,
            }
        )
    return found


def acting_on(book: EventBook, kinds: tuple[EventKind, ...], slot: int) -> list[dict[str, Any]]:
    """The events that act on a slot; those that begin later are left out."""
    return [event for event in events_of(book, kinds, slot) if event["from_slot"] <= slot]


def weather_of(sample: Sample, *, stale: bool) -> dict[str, Any]:
    """A weather sample for people: °C, m/s, W/m², mm/h."""
    return {
        "slot": int(sample["slot"]),
        "temperature_c": int(sample["temperature_mc"]) / 1000,
        "trend_c_per_h": int(sample["trend_mc_per_h"]) / 1000,
        "wind_m_per_s": int(sample["wind_mm_per_s"]) / 1000,
        "ghi_w_per_m2": int(sample["ghi_dw_per_m2"]) / 10,
        "dni_w_per_m2": int(sample["dni_dw_per_m2"]) / 10,
        "dhi_w_per_m2": int(sample["dhi_dw_per_m2"]) / 10,
        "rain_mm_per_h": int(sample["rain_um_per_h"]) / 1000,
        "cloud": int(sample["cloud_permille"]) / 1000,
        "stale": stale,
    }


def terms_of(items: tuple[tuple[str, int], ...]) -> list[dict[str, Any]]:
    """The terms of a price, in order."""
    return [{"name": name, "value_ueur_per_kwh": value} for name, value in items]

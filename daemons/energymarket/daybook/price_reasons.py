"""Why a slot had its price: the terms that add up to it, and what made each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from energymarket.audit.telling import kwh
from energymarket.core.pricing import INERTIA, rests
from energymarket.core.sharing import mid_price
from energymarket.daybook import slot_detail
from energymarket.daybook.words import when

if TYPE_CHECKING:
    from energymarket.audit.opened import Opened
    from energymarket.scenario.compiled import Compiled

IMBALANCE: Final = "imbalance"
_MEANINGS: Final = {
    "base": "the constant that anchors the mean",
    "heating_degrees": "how much colder it was than the reference",
    "cooling_degrees": "how much warmer it was than the reference",
    "inverse_temperature": "the reciprocal of the temperature",
    mid_price.IMPORT: "mid-market rate: half of what the grid asks",
    mid_price.EXPORT: "mid-market rate: half of what the grid pays",
}


def reasons(ledger: slot_detail.Ledger, slot: int | None, compiled: Compiled | None) -> dict[str, Any]:
    """The facts: every term with its cause."""
    found = slot_detail.detail(ledger, slot_detail.chosen(ledger, slot))
    head, meta = found.head, found.notes.meta
    events = dict(head.events)
    totals = slot_detail.before(ledger, found.slot)
    terms = [
        {"name": name, "value_ueur_per_kwh": value} | _cause(name, found, events, totals)
        for name, value in head.terms
    ]
    return {
        "type": "explained_price",
        "slot": found.slot,
        "time": when(found.slot, compiled),
        "price_ueur_per_kwh": head.price_ueur_per_kwh,
        "unclipped_ueur_per_kwh": head.unclipped_ueur_per_kwh,
        "previous_ueur_per_kwh": head.previous_ueur_per_kwh,
        "gamma": meta.get("gamma"),
        "terms": terms,
        "inertia_of_events": _rests(found, compiled),
        "gap": head.gap,
        "weather_stale": head.weather_stale,
    }


def _cause(name: str, found: Opened, events: dict[str, int], totals: dict[str, int] | None) -> dict[str, Any]:
    if name == INERTIA:
        return {"because": f"γ times the price of slot {found.slot - 1}"}
    if name in events:
        return {"because": "an active event", "intensity_permille": events[name]}
    if name == IMBALANCE and totals is None:
        return {"because": "no slot before it: nothing had been consumed or produced"}
    if name == IMBALANCE and totals is not None:
        consumed, produced = totals["consumed_wh"], totals["produced_wh"]
        both = consumed + produced
        return {
            "because": f"(consumed − produced) / (consumed + produced) of slot {found.slot - 1}",
            "consumed_wh": consumed,
            "produced_wh": produced,
            "factor": (consumed - produced) / both if both else 0.0,
        }
    return {"because": _MEANINGS.get(name, "a factor of the price")}


def _rests(found: Opened, compiled: Compiled | None) -> list[dict[str, Any]]:
    """What of the inertia is left of past events and clipping; kinds have names where a scenario is known."""
    contributions = found.notes.meta.get("contributions") or []
    if compiled is not None and len(contributions) == len(compiled.price.events) + 1:
        parts = rests(compiled.price, contributions)
    else:
        gamma = float(found.notes.meta.get("gamma") or 0.0)
        names = [*(f"event kind {number}" for number in range(1, len(contributions))), "clipping"]
        parts = tuple(
            (name, round(gamma * part))
            for name, part in zip(names, contributions, strict=False)
            if round(gamma * part)
        )
    return [{"name": name, "value_ueur_per_kwh": value} for name, value in parts]


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts for people: a sum, line by line."""
    gamma, previous = facts["gamma"], facts["previous_ueur_per_kwh"]
    told = [f"the price of {slot_detail.place(facts)}, in €/kWh:"]
    for term in facts["terms"]:
        because = term["because"]
        if term["name"] == INERTIA and isinstance(gamma, int | float):
            because = f"{gamma:.6g} × {signless(previous)}, the price of slot {facts['slot'] - 1}"
        elif "factor" in term:
            metered = f"consumed {kwh(term['consumed_wh'])}, produced {kwh(term['produced_wh'])}"
            because = f"slot {facts['slot'] - 1} {metered}: factor {term['factor']:+.6f}"
        elif "intensity_permille" in term:
            because = f"an active event of intensity {term['intensity_permille'] / 1000:g}"
        told.append(f"  {signed(term['value_ueur_per_kwh'])}  {term['name']:<20}{because}")
        if term["name"] == INERTIA:
            told += [
                f"      of it {signed(rest['value_ueur_per_kwh'])}  left of {rest['name']}"
                for rest in facts["inertia_of_events"]
            ]
    total, price = facts["unclipped_ueur_per_kwh"], facts["price_ueur_per_kwh"]
    told.append(f"= {signed(total)}  the sum of the terms, exactly")
    if total != price:
        told.append(f"→ {signed(price)}  held by the {'cap' if total > price else 'floor'}")
    told += ["  the slot was closed late (gap): nobody traded at this price"] if facts["gap"] else []
    told += ["  the weather was stale: the last sample was used"] if facts["weather_stale"] else []
    return told


def signless(price_ueur_per_kwh: int) -> str:
    """153750 -> `0.153750`."""
    return signed(price_ueur_per_kwh).lstrip("+")


def signed(price_ueur_per_kwh: int) -> str:
    """153750 -> `+0.153750`: exact, from the integer."""
    whole, rest = divmod(abs(price_ueur_per_kwh), 1_000_000)
    return f"{'−' if price_ueur_per_kwh < 0 else '+'}{whole}.{rest:06d}"

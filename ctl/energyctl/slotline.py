"""A snapshot of the market as people read it: one line per slot, its terms as an equation, its notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from energyctl.quantities import clock, eur_per_kwh, event, intensity, kwh, price
from energyctl.render import number

_SPARKS: Final = "▁▂▃▄▅▆▇█"


def slot_line(snapshot: Mapping[str, Any]) -> str:
    """Time, price, given, traded, grid, events, notes."""
    totals = snapshot.get("totals") or {}
    grid_wh = number(totals, "imported_wh") - number(totals, "exported_wh")
    traded_wh = number(totals, "sold_wh") + number(totals, "bought_wh")
    parts = [
        f"{local_time(snapshot)}  slot {snapshot.get('slot', '?')}",
        f"{price(number(snapshot, 'price_ueur_per_kwh'))} €/kWh",
        f"given {kwh(number(totals, 'given_wh'))}",
        f"traded {kwh(traded_wh)}",
        f"grid {kwh(grid_wh, sign=True)}",
        *(
            f"{e.get('kind', '?')} ×{intensity(number(e, 'intensity_permille'))}"
            for e in snapshot.get("events") or ()
        ),
    ]
    said = notes(snapshot)
    return "  ".join(parts) + (f"  [{', '.join(said)}]" if said else "")


def local_time(snapshot: Mapping[str, Any]) -> str:
    """Market time where the neighbourhood is, else in UTC."""
    return clock(str(snapshot.get("local_time") or snapshot.get("time") or ""))


def spoken(name: str, line: str) -> str:
    """A daemon's words under the name that the run has for it; its own is left out."""
    program, colon, words = line.partition(": ")
    is_own = colon and program.startswith("energy-") and program.endswith("d")
    return f"{name}: {words if is_own else line}"


def notes(snapshot: Mapping[str, Any]) -> list[str]:
    """What was not as it should be in a slot."""
    found = ["gap"] if snapshot.get("gap") else []
    if (snapshot.get("weather") or {}).get("stale"):
        found.append("stale weather")
    counted = (("late_batches", "late"), ("shed_offers", "shed"), ("void_claims", "void"))
    found += [f"{number(snapshot, name)} {word}" for name, word in counted if number(snapshot, name)]
    homes, inside = snapshot.get("homes"), snapshot.get("homes_in")
    if isinstance(homes, int) and isinstance(inside, int) and inside < homes:
        found.append(f"{homes - inside} of {homes} homes missing")
    return found


def equation(explained: Mapping[str, Any]) -> str:
    """The terms of a price: `0.153750 = 0.143550 inertia (0.99 × 0.145000) + 0.010000 gas_shortage`."""
    previous, gamma = explained.get("previous_ueur_per_kwh"), explained.get("gamma")
    text = f"{price(number(explained, 'price_ueur_per_kwh'))} ="
    for place, term in enumerate(explained.get("terms") or ()):
        value = number(term, "value_ueur_per_kwh")
        sign = ("" if value >= 0 else "−") if place == 0 else ("+ " if value >= 0 else "− ")
        text += f" {sign}{price(abs(value))} {term.get('name', '?')}"
        if term.get("name") == "inertia" and isinstance(previous, int) and isinstance(gamma, (int, float)):
            text += f" ({gamma:.6g} × {price(previous)})"
    unclipped = explained.get("unclipped_ueur_per_kwh")
    if isinstance(unclipped, int) and unclipped != explained.get("price_ueur_per_kwh"):
        bound = "cap" if unclipped > number(explained, "price_ueur_per_kwh") else "floor"
        text += f" → {price(unclipped)}, held by the {bound}"
    return text


def explanation(explained: Mapping[str, Any]) -> list[str]:
    """The equation of a slot, then what is left of past events, then the active ones."""
    lines = [
        f"slot {explained.get('slot')} ({clock(str(explained.get('time', '')))} UTC)  {equation(explained)}"
    ]
    rests = [
        f"{price(number(term, 'value_ueur_per_kwh'))} {term.get('name', '?')}"
        for term in explained.get("inertia_of_events") or ()
    ]
    if rests:
        lines.append(f"  of the inertia, past events left: {', '.join(rests)}")
    lines += [f"  event: {event(row)}" for row in explained.get("events") or ()]
    return lines


def with_eur(data: Mapping[str, Any], kind: str | None = None) -> dict[str, Any]:
    """A reply for programs: its raw integers as they are, and the price as a decimal number beside them."""
    document: dict[str, Any] = {"type": kind, **data} if kind else dict(data)
    if isinstance(document.get("price_ueur_per_kwh"), int):
        document["price_eur_per_kwh"] = eur_per_kwh(document["price_ueur_per_kwh"])
    return document


def sparkline(values: Sequence[int], width: int) -> str:
    """The last values as a row of blocks, the lowest at the bottom."""
    shown = list(values)[-width:]
    if not shown:
        return ""
    low, span = min(shown), max(shown) - min(shown)
    return "".join(_SPARKS[(value - low) * (len(_SPARKS) - 1) // span if span else 3] for value in shown)

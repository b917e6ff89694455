"""What became of a trade: a single order by receipt or id, or a batch by its id."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from energymarket.audit.telling import eur, kwh
from energymarket.daybook import home_reasons, slot_detail
from energymarket.daybook.price_reasons import signless
from energymarket.daybook.words import when
from energymarket.exits import Failure, NoSuchObject

if TYPE_CHECKING:
    from energymarket.audit.opened import Opened
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.store import OrderRow

SLOTS_SEARCHED: Final = 96
"""A batch is looked for by its id in so many of the last slots."""
_RECEIPT: Final = re.compile(r"([0-9]{1,12})-([0-9]{6})")


def reasons(ledger: slot_detail.Ledger, what: str, compiled: Compiled | None) -> list[dict[str, Any]]:
    """The facts of every trade that the words name: ids are the homes' own, so there may be several."""
    found = [_of_order(ledger, order, compiled) for order in ledger.orders_called(what)]
    found = found or _of_receipt(ledger, what, compiled) or _of_batch(ledger, what, compiled)
    if not found:
        raise NoSuchObject(
            f"there is no trade {what!r}",
            "no receipt, no id of an order of the last 96 slots, no id of a batch of these",
        )
    return found


def _of_order(ledger: slot_detail.Ledger, order: OrderRow, compiled: Compiled | None) -> dict[str, Any]:
    facts = {
        "type": "explained_trade",
        "kind": "order",
        "receipt": order.receipt,
        "id": order.id,
        "home": order.home,
        "slot": order.slot,
        "time": when(order.slot, compiled),
        "energy_wh": order.energy_wh,
        "price_ueur_per_kwh": order.price_ueur_per_kwh,
        "total_ueur": order.total_ueur,
    }
    return facts | {"settled": _settled(ledger, order.slot, order.home, compiled)}


def _of_receipt(ledger: slot_detail.Ledger, what: str, compiled: Compiled | None) -> list[dict[str, Any]]:
    """An order whose id is forgotten: its slot still holds it, in the order of receipts."""
    match = _RECEIPT.fullmatch(what)
    if match is None or ledger.row(int(match[1])) is None:
        return []
    slot = slot_detail.detail(ledger, int(match[1]))
    at = int(match[2])
    if at >= len(slot.orders["home"]):
        return []
    home = int(slot.orders["home"][at])
    facts = {
        "type": "explained_trade",
        "kind": "order",
        "receipt": what,
        "id": None,
        "home": home,
        "slot": slot.slot,
        "time": when(slot.slot, compiled),
        "energy_wh": int(slot.orders["energy_wh"][at]),
        "price_ueur_per_kwh": slot.head.price_ueur_per_kwh,
        "total_ueur": int(slot.orders["total_ueur"][at]),
    }
    return [facts | {"settled": home_reasons.told_of(slot, home, compiled, None)}]


def _settled(
    ledger: slot_detail.Ledger, slot: int, home: int, compiled: Compiled | None
) -> dict[str, Any] | None:
    """How the slot ended for the home; None while it is open, or once its detail is gone."""
    if ledger.row(slot) is None:
        return None
    try:
        return home_reasons.told_of(slot_detail.detail(ledger, slot), home, compiled, None)
    except Failure:
        return None


def _of_batch(ledger: slot_detail.Ledger, what: str, compiled: Compiled | None) -> list[dict[str, Any]]:
    last = ledger.last_slot()
    if last is None:
        return []
    for number in range(last, max(last - SLOTS_SEARCHED, -1), -1):
        row = ledger.row(number)
        if row is None:
            return []
        if json.dumps(what) not in row.meta:
            continue
        slot = slot_detail.detail(ledger, number)
        for first, count, name in slot.notes.meta.get("batches", ()):
            if name == what:
                return [_batch(slot, what, (first, count), compiled)]
    return []


def _batch(slot: Opened, what: str, homes: tuple[int, int], compiled: Compiled | None) -> dict[str, Any]:
    first, count = homes
    inside = (slot.home >= first) & (slot.home < first + count)
    names = ("sold_wh", "bought_wh", "given_wh", "received_wh", "expired_wh", "money_ueur")
    return {
        "type": "explained_trade",
        "kind": "batch",
        "id": what,
        "slot": slot.slot,
        "time": when(slot.slot, compiled),
        "first": first,
        "count": count,
        "price_ueur_per_kwh": slot.head.price_ueur_per_kwh,
    } | {name: int(slot.columns[name][inside].sum()) for name in names}


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts for people."""
    if facts["kind"] == "batch":
        return _batch_lines(facts)
    energy, total, price = facts["energy_wh"], facts["total_ueur"], facts["price_ueur_per_kwh"]
    named = f" (id {facts['id']})" if facts["id"] else ""
    told = [
        f"receipt {facts['receipt']}{named}: a single order of home {facts['home']}, answered at once",
        f"  in {slot_detail.place(facts)}",
        f"  {'sold' if energy > 0 else 'bought'} {kwh(abs(energy))}",
        f"  {kwh(abs(energy))} × {signless(price)} €/kWh = {eur(total)}",
        f"  why this price: energyctl explain price {facts['slot']}",
    ]
    settled = facts["settled"]
    if settled is None:
        return [*told, "  its slot is not settled, or its detail is gone: energy may still become imbalance"]
    imbalance = settled["imbalance_wh"]
    how = "nothing: the meter stood as agreed" if not imbalance else f"{kwh(abs(imbalance))} "
    if imbalance:
        how += "long, paid at the export price" if imbalance > 0 else "short, billed at the import price"
    told.append(f"  what was not as agreed in the home's slot: {how}")
    return [*told, *(f"  {line}" for line in home_reasons.lines(settled))]


def _batch_lines(facts: dict[str, Any]) -> list[str]:
    first, last = facts["first"], facts["first"] + facts["count"] - 1
    price = signless(facts["price_ueur_per_kwh"])
    energy = {name: kwh(facts[f"{name}_wh"]) for name in ("sold", "bought", "given", "received", "expired")}
    return [
        f"{facts['id']}: the batch of homes {first} to {last} for {slot_detail.place(facts)}",
        f"  sold {energy['sold']}, bought {energy['bought']} at {price} €/kWh",
        f"  gave {energy['given']}, got {energy['received']}, fed in unpaid {energy['expired']}",
        f"  = money of its homes, imbalance included: {eur(facts['money_ueur'])}",
        f"  each home: energyctl explain home ID {facts['slot']}",
    ]

"""Why a home got or paid what it did in a slot: meter, gifts, sales, purchases, imbalance, with causes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from energymarket.audit import opened
from energymarket.audit.findings import Findings
from energymarket.audit.telling import eur, kwh
from energymarket.core.units import money_ueur
from energymarket.daybook import slot_detail
from energymarket.daybook.price_reasons import signless
from energymarket.daybook.words import when

if TYPE_CHECKING:
    from energymarket.audit.opened import Opened
    from energymarket.scenario.compiled import Compiled

QUEUE: Final = "queue"
SHARED: Final = {
    "pro_rata": "in proportion to what others offered and lacked",
    "need_first": "the greatest need first",
    "static_key": "by the static key",
    "dynamic_key": "by the dynamic key",
    "mid_market": "at the mid-market rate",
}
"""The rules under which the market shares, in words."""
POLICIES: Final = {1: "give", 2: "sell", 3: "give, then sell"}
PARTNERS_SHOWN_MAX: Final = 8
SLOTS_LOOKED_BACK: Final = 97  # a day of quarter-hours


def reasons(
    ledger: slot_detail.Ledger, home: int, slot: int | None, compiled: Compiled | None, policy: int | None
) -> dict[str, Any]:
    """The facts: what was metered, and every part of the home's energy and money with its cause."""
    found = slot_detail.detail(ledger, slot_detail.chosen(ledger, slot))
    facts = told_of(found, home, compiled, policy)
    if facts["handed_in"] and (missed := _missed(ledger, found.slot, home)):
        facts["notes"].append(
            f"its meter was not read in the {missed} slot(s) before: this reading holds them too"
        )
    return facts


def _missed(ledger: slot_detail.Ledger, slot: int, home: int) -> int:
    """How many slots just before this one have no batch of the home."""
    for back in range(1, SLOTS_LOOKED_BACK):
        row = ledger.row(slot - back)
        notes = None if row is None else opened.notes_of(row, Findings())
        if notes is None:
            return 0  # the ledger begins here: nothing was missed
        if any(first <= home < first + count for first, count, *_ in notes.meta.get("batches", ())):
            return back - 1
    return SLOTS_LOOKED_BACK - 1


def told_of(found: Opened, home: int, compiled: Compiled | None, policy: int | None) -> dict[str, Any]:
    """The same for a slot that is open before us."""
    facts: dict[str, Any] = {
        "type": "explained_home",
        "home": home,
        "slot": found.slot,
        "time": when(found.slot, compiled),
        "policy": policy,
        "handed_in": _handed_in(found, home),
        "notes": _notes(found, home),
    }
    row = slot_detail.row_of(found, home)
    if row is None:
        return facts | {"metered": None, "parts": [], "imbalance_wh": 0, "money_ueur": 0}
    metered = {name: row[f"{name}_wh"] for name in ("produced", "consumed", "imported", "exported")}
    net = metered["exported"] - metered["imported"]
    contract = row["given_wh"] + row["expired_wh"] - row["received_wh"] + row["sold_wh"] - row["bought_wh"]
    parts = [*_gifts(found, home, row), *_trades(found, home, row), *_imbalance(found, net - contract)]
    return facts | {
        "metered": metered,
        "net_wh": net,
        "contract_wh": contract,
        "imbalance_wh": net - contract,
        "parts": parts,
        "money_ueur": row["money_ueur"],
        "parts_ueur": sum(part["money_ueur"] for part in parts),
    }


def _handed_in(found: Opened, home: int) -> bool:
    return any(first <= home < first + count for first, count, *_ in found.notes.meta.get("batches", ()))


def _notes(found: Opened, home: int) -> list[str]:
    """Refusals of the home's batch, void claims, and what holds for the whole slot."""
    meta = found.notes.meta
    told = [
        f"a batch of {each['count']} homes with it was refused: {each['reason']} ({each['detail']})"
        for each in meta.get("refusals", ())
        if each["first"] <= home < each["first"] + each["count"]
    ]
    for void in meta.get("voids", ()):
        if void["taker"] == home:
            told.append(
                f"its claim of {kwh(void['energy_wh'])} from home {void['giver']} is void: {void['reason']};"
                " what it counted on came from the grid"
            )
        if void["giver"] == home:
            told.append(
                f"home {void['taker']} claimed {kwh(void['energy_wh'])} of it in vain: {void['reason']}"
            )
    told += [_reading(each) for each in meta.get("readings", ()) if each["home"] == home]
    if found.head.gap:
        told.append("the slot was closed late (gap): no trades, energy settled with the grid from the meters")
    elif not _handed_in(found, home):
        told.append("no batch of it made the gate: its meter is read with a later slot, and settled there")
    return told


def _reading(said: dict[str, Any]) -> str:
    """What a metered home said of its reading."""
    told = f"it lives by {said['meter']}: what was metered in the slot before is what it brings"
    if said["heard_s"] is None:
        return f"{told}; the meter had not been heard yet, and the registers stand still"
    if said["estimated_s"]:
        told += f"; {said['estimated_s']} s of that slot were not there in time and are estimated"
    if said["corrected_wh"]:
        told += f"; {kwh(said['corrected_wh'])} correct what was read or estimated before: imbalance"
    return told


def _gifts(found: Opened, home: int, row: dict[str, int]) -> list[dict[str, Any]]:
    fee = found.head.gift_fee_ueur_per_kwh
    given = slot_detail.gifts_of(found, home, role="giver", other="taker")
    received = slot_detail.gifts_of(found, home, role="taker", other="giver")
    offered = row["given_wh"] + row["returned_wh"] + row["rest_sold_wh"] + row["expired_wh"]
    parts = []
    if row["given_wh"]:
        how = SHARED.get(_rule(found))
        because = f"of {kwh(offered)} that it offered, others " + (
            f"got this, {how}" if how else "claimed this"
        )
        parts.append(_part("gave", row["given_wh"], 0, 0, because, given))
    if row["expired_wh"]:
        because = "offered as a gift; nobody took it, and a giver alone does not sell"
        parts.append(_part("fed in unpaid", row["expired_wh"], 0, 0, because))
    if row["received_wh"]:
        money = -money_ueur(row["received_wh"], fee)
        how = SHARED.get(_rule(found))
        because = (
            f"it lacked this or more; shared {how}" if how else "it lacked this when its turn came"
        ) + (f"; a gift costs the local fee of {signless(fee)} €/kWh" if fee else "")
        parts.append(_part("got as gifts", row["received_wh"], fee, money, because, received))
    return parts


def _trades(found: Opened, home: int, row: dict[str, int]) -> list[dict[str, Any]]:
    """Sales and purchases at the local price: of the batch, at the gate, and by single orders."""
    price = found.head.price_ueur_per_kwh
    orders = slot_detail.orders_of(found, home)
    sold = row["sold_wh"] - sum(energy for _, energy, _ in orders if energy > 0)
    bought = row["bought_wh"] - sum(-energy for _, energy, _ in orders if energy < 0)
    parts = []
    if sold:
        because = _why_sold(row)
        if _allocates(found):
            because = f"its part of what the community drew, {SHARED[_rule(found)]}"
        parts.append(_part("sold", sold, price, money_ueur(sold, price), because))
    if bought:
        because = "what it lacked after the exchange of gifts, ordered by its batch"
        if _allocates(found):
            because = f"its part of what the community fed in, {SHARED[_rule(found)]}"
        parts.append(_part("bought", bought, price, -money_ueur(bought, price), because))
    for number, energy, total in orders:
        because = f"a single order, receipt {found.slot}-{number:06d}"
        parts.append(_part("sold" if energy > 0 else "bought", abs(energy), price, total, because))
    return parts


def _why_sold(row: dict[str, int]) -> str:
    told = []
    if row["returned_wh"]:
        told.append(
            f"{kwh(row['returned_wh'])} of it offered as a gift first, taken back when nobody claimed it"
        )
    if row["rest_sold_wh"]:
        told.append(f"{kwh(row['rest_sold_wh'])} of it an unclaimed gift that the market sold at the gate")
    return "; ".join(told) or "its surplus, sold by its batch"


def _imbalance(found: Opened, imbalance: int) -> list[dict[str, Any]]:
    head = found.head
    if imbalance > 0:
        price, because = head.export_ueur_per_kwh, "more than agreed, paid at the export price"
        if _settles_rest(found):
            because = "what no member took, paid by the grid at the export price"
        return [_part("imbalance, long", imbalance, price, money_ueur(imbalance, price), because)]
    if imbalance < 0:
        price, because = head.import_ueur_per_kwh, "less than agreed, billed at the import price"
        if _settles_rest(found):
            because = "what it had from no member, billed by the grid at the import price"
        return [_part("imbalance, short", -imbalance, price, -money_ueur(-imbalance, price), because)]
    return []


def _rule(found: Opened) -> str:
    """The sharing rule of the slot, as its row has it; ledgers from before there were rules name none."""
    return str(found.notes.meta.get("sharing", QUEUE))


def _allocates(found: Opened) -> bool:
    """Whether the market allocates what meters say, instead of hearing orders in batches."""
    return _rule(found) in {"static_key", "dynamic_key", "mid_market"}


def _settles_rest(found: Opened) -> bool:
    """Whether an imbalance is what was left for the grid by the rule."""
    return _allocates(found) or _rule(found) == "grid_only"


def _part(
    what: str,
    energy_wh: int,
    price: int,
    money: int,
    because: str,
    partners: list[tuple[int, int]] | None = None,
) -> dict[str, Any]:
    part: dict[str, Any] = {
        "what": what,
        "energy_wh": energy_wh,
        "price_ueur_per_kwh": price,
        "money_ueur": money,
        "because": because,
    }
    if partners is not None:
        part["homes"] = [{"home": home, "energy_wh": each} for home, each in partners]
    return part


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts for people."""
    policy = POLICIES.get(facts["policy"] or 0)
    told = [f"home {facts['home']} in {slot_detail.place(facts)}" + (f", policy: {policy}" if policy else "")]
    metered = facts["metered"]
    if metered is None:
        return [*told, "  no row in the ledger: it handed in nothing and ordered nothing", *_noted(facts)]
    flows = f"produced {kwh(metered['produced'])}, consumed {kwh(metered['consumed'])}"
    told.append(f"  {flows}; over the meter in {kwh(metered['imported'])}, out {kwh(metered['exported'])}")
    battery = metered["produced"] + metered["imported"] - metered["consumed"] - metered["exported"]
    if battery:
        how = "went into its battery or was lost there" if battery > 0 else "came out of its battery"
        told.append(f"  {kwh(abs(battery))} {how}")
    for part in facts["parts"]:
        at = f" at {signless(part['price_ueur_per_kwh'])} €/kWh" if part["price_ueur_per_kwh"] else ""
        told.append(f"  {part['what']:<18}{kwh(part['energy_wh']):>12}{at}  {eur(part['money_ueur'])}")
        told.append(f"      {part['because']}{_partners(part)}")
    if not facts["parts"]:
        told.append("  it traded nothing and its meter stood as agreed")
    told.append(f"  = money  {eur(facts['money_ueur'])}")
    if facts["parts_ueur"] != facts["money_ueur"]:
        told.append(f"  the parts add up to {eur(facts['parts_ueur'])}: energyctl ledger check tells more")
    return [*told, *_noted(facts)]


def _noted(facts: dict[str, Any]) -> list[str]:
    return [f"  note: {note}" for note in facts["notes"]]


def _partners(part: dict[str, Any]) -> str:
    partners = part.get("homes") or []
    if not partners:
        return ""
    word = "to" if part["what"] == "gave" else "from"
    shown = ", ".join(
        f"home {each['home']} ({kwh(each['energy_wh'])})" for each in partners[:PARTNERS_SHOWN_MAX]
    )
    more = len(partners) - PARTNERS_SHOWN_MAX
    return f"; {word} {shown}" + (f" and {more} more" if more > 0 else "")

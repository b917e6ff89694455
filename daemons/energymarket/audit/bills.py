"""Contract, imbalance and bill of every home, gifts and offers, and the totals: recomputed from the columns.

Money is quantity times published price, leg by leg, each leg rounded half up (towards plus infinity) to a
whole µ€: sales at p, purchases at p, each single order at p, the fee of gifts received, what was long at e,
what was short at r. A leg that a home pays is the negative of the rounded amount.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from energymarket.audit.findings import Findings, Kind

if TYPE_CHECKING:
    from energymarket.audit.opened import Opened
    from energymarket.core.units import I64

_PLAIN_SUMS = (
    "produced_wh",
    "consumed_wh",
    "imported_wh",
    "exported_wh",
    "returned_wh",
    "rest_sold_wh",
    "expired_wh",
    "received_wh",
    "sold_wh",
    "bought_wh",
)


def rounded(energy_wh: I64, price_ueur_per_kwh: int) -> I64:
    """Energies in Wh times a price in µ€/kWh, in whole µ€: half up."""
    whole, rest = np.divmod(energy_wh * price_ueur_per_kwh, 1000)
    whole += rest >= 500
    return whole


def exact_sum(column: I64) -> int:
    """The sum, however large."""
    if len(column) == 0:
        return 0
    largest = max(abs(int(column.min())), abs(int(column.max())))
    return int(column.sum()) if largest * len(column) < 2**63 else sum(column.tolist())


@dataclass(frozen=True, slots=True)
class Legs:
    """A slot's energy and money by home, recomputed."""

    trade_ueur: I64  # sales, purchases, orders: with the operator
    fee_ueur: I64  # that the home pays
    imbalance_ueur: I64  # with the grid
    long_wh: I64
    short_wh: I64

    @property
    def money_ueur(self) -> I64:
        """The home's balance of the slot."""
        return self.trade_ueur - self.fee_ueur + self.imbalance_ueur


def check(slot: Opened, findings: Findings) -> None:
    """All of a slot but its price."""
    _check_gifts(slot, findings)
    legs = _legs(slot, findings)
    if legs is None:
        return
    findings.same_by_home(
        Kind.BILL_WRONG,
        "the bill is not quantity times price",
        slot.home,
        legs.money_ueur,
        slot.columns["money_ueur"],
        slot=slot.slot,
        account="money_ueur",
    )
    _check_totals(slot, legs, findings)
    check_accounts(slot.slot, slot.notes.totals, findings)


def _check_gifts(slot: Opened, findings: Findings) -> None:
    """Gifts against the columns of givers and takers, and offers that end in one state each."""
    columns = slot.columns
    for ids, name in (("giver", "given_wh"), ("taker", "received_wh")):
        summed, known = slot.sum_by_home(slot.gifts[ids], slot.gifts["energy_wh"])
        text = f"a {ids} without a row"
        findings.at_homes(Kind.GIFTS_DIFFER, text, slot.gifts[ids], ~known, slot=slot.slot)
        findings.same_by_home(
            Kind.GIFTS_DIFFER,
            "the column is not the sum of the gifts",
            slot.home,
            summed,
            columns[name],
            slot=slot.slot,
            account=name,
        )
    both = (columns["expired_wh"] > 0) & (columns["rest_sold_wh"] > 0)
    findings.at_homes(Kind.OFFER_STATES, "a rest both expired and was sold", slot.home, both, slot=slot.slot)
    if slot.head.gap and len(slot.gifts["giver"]):
        findings.add(Kind.GIFTS_DIFFER, "gifts in a slot that was closed late", slot=slot.slot)
    ended = sum(exact_sum(columns[f"{state}_wh"]) for state in ("given", "returned", "rest_sold", "expired"))
    findings.same(
        Kind.OFFER_STATES,
        "offers that ended in no state or in two",
        slot.notes.totals.get("offered_wh"),
        ended,
        slot=slot.slot,
        account="offered_wh",
    )


def _legs(slot: Opened, findings: Findings) -> Legs | None:
    columns, head, orders = slot.columns, slot.head, slot.orders
    p, energy = head.price_ueur_per_kwh, orders["energy_wh"]
    stated = np.sign(energy) * rounded(np.abs(energy), p)
    findings.same_by_home(
        Kind.ORDER_WRONG,
        "the total is not quantity times price",
        orders["home"],
        stated,
        orders["total_ueur"],
        slot=slot.slot,
        account="total_ueur",
    )
    order_ueur, known = slot.sum_by_home(orders["home"], stated)
    findings.at_homes(Kind.ORDER_LOST, "an order without a row", orders["home"], ~known, slot=slot.slot)
    order_sold, _ = slot.sum_by_home(orders["home"], np.maximum(energy, 0))
    order_bought, _ = slot.sum_by_home(orders["home"], np.maximum(-energy, 0))
    sold = columns["sold_wh"] - order_sold
    bought = columns["bought_wh"] - order_bought
    bad = (sold < columns["rest_sold_wh"]) | (bought < 0)
    text = "less sold or bought in all than by orders and at the gate"
    findings.at_homes(Kind.CONTRACT_IMPOSSIBLE, text, slot.home, bad, slot=slot.slot)
    if bad.any():
        return None
    contract = columns["given_wh"] + columns["expired_wh"] - columns["received_wh"]
    contract += columns["sold_wh"] - columns["bought_wh"]
    imbalance = columns["exported_wh"] - columns["imported_wh"] - contract
    long_wh, short_wh = np.maximum(imbalance, 0), np.maximum(-imbalance, 0)
    return Legs(
        trade_ueur=rounded(sold, p) - rounded(bought, p) + order_ueur,
        fee_ueur=rounded(columns["received_wh"], head.gift_fee_ueur_per_kwh),
        imbalance_ueur=rounded(long_wh, head.export_ueur_per_kwh)
        - rounded(short_wh, head.import_ueur_per_kwh),
        long_wh=long_wh,
        short_wh=short_wh,
    )


def _check_totals(slot: Opened, legs: Legs, findings: Findings) -> None:
    """Every total of the row against the sum that it should be."""
    stated = slot.notes.totals
    expected = _totals(slot, legs)
    for name in sorted(expected.keys() | stated.keys()):
        findings.same(
            Kind.TOTALS_WRONG,
            "the total is not the sum of the homes",
            expected.get(name),
            stated.get(name),
            slot=slot.slot,
            account=name,
        )


def _totals(slot: Opened, legs: Legs) -> dict[str, int]:
    """The double entry anew: the operator passes the homes' trade on to the grid at r or e."""
    columns, head = slot.columns, slot.head
    sums = {name: exact_sum(columns[name]) for name in _PLAIN_SUMS}
    long_wh, short_wh = exact_sum(legs.long_wh), exact_sum(legs.short_wh)
    trade_ueur, imbalance_ueur = exact_sum(legs.trade_ueur), exact_sum(legs.imbalance_ueur)
    net_wh = sums["sold_wh"] - sums["bought_wh"]
    if net_wh > 0:
        passed_on_ueur = (net_wh * head.export_ueur_per_kwh * 2 + 1000) // 2000
    else:
        passed_on_ueur = -((-net_wh * head.import_ueur_per_kwh * 2 + 1000) // 2000)
    taken_wh = exact_sum(columns["given_wh"])
    return sums | {
        "homes": len(slot.home),
        "gifts": len(slot.gifts["giver"]),
        "void_claims": head.void_claims,
        "taken_wh": taken_wh,
        "offered_wh": taken_wh + sums["returned_wh"] + sums["rest_sold_wh"] + sums["expired_wh"],
        "long_wh": long_wh,
        "short_wh": short_wh,
        "homes_energy_wh": sums["imported_wh"] - sums["exported_wh"],
        "operator_energy_wh": 0,
        "grid_energy_wh": net_wh + sums["expired_wh"] + long_wh - short_wh,
        "fees_energy_wh": 0,
        "homes_money_ueur": exact_sum(columns["money_ueur"]),
        "operator_money_ueur": passed_on_ueur - trade_ueur,
        "grid_money_ueur": -passed_on_ueur - imbalance_ueur,
        "fees_money_ueur": exact_sum(legs.fee_ueur),
    }


def check_accounts(slot: int, totals: dict[str, int], findings: Findings) -> None:
    """Energy and money over all accounts; this needs no detail."""
    for unit in ("energy_wh", "money_ueur"):
        total = sum(totals.get(f"{account}_{unit}", 0) for account in ("homes", "operator", "grid", "fees"))
        findings.same(Kind.ACCOUNTS_UNBALANCED, "all accounts together", 0, total, slot=slot, account=unit)
    findings.same(
        Kind.GIFTS_DIFFER,
        "given and received",
        totals.get("taken_wh"),
        totals.get("received_wh"),
        slot=slot,
        account="received_wh",
    )

"""The bill, gift by gift and leg by leg: what is wrong within a slot is found in its slot and at its home."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.audit import bills
from energymarket.audit.checker import Checker
from energymarket.audit.findings import Kind
from energymarket.audit.ledger_file import LedgerFile
from energymarket.audit.reading import Check
from tests.simulation.planting import Plant, opened, plant
from tests.simulation.small_market import SmallMarket

SLOT = 3  # of the run, counted from 0


@pytest.fixture
def market(tmp_path: Path) -> SmallMarket:
    """Six slots; in slot 3, home 2 buys 40 Wh by an order of its own, too."""
    made = SmallMarket(tmp_path)
    made.play(3)
    made.play(orders=((2, -40),))
    made.play(2)
    made.close()
    return made


def checked(market: SmallMarket) -> Checker:
    file = LedgerFile(market.ledger_path, market.ledger_path)
    file.open()
    try:
        return Check(file, market.homes, market.compiled).run()
    finally:
        file.close()


def planted(market: SmallMarket, change: Callable[[Plant], None]) -> Checker:
    plant(market.ledger_path, market.first_slot + SLOT, change)
    return checked(market)


@given(st.integers(0, 10**10), st.integers(-(10**8), 10**8))
def test_money_is_rounded_half_up(energy_wh: int, price: int) -> None:
    """floor(x + 1/2) of the exact product, as fractions have it."""
    exact = Fraction(energy_wh * price, 1000)
    assert bills.rounded(np.array([energy_wh]), price).tolist() == [floor(exact + Fraction(1, 2))]


def test_the_slot_is_clean_before_anything_is_planted(market: SmallMarket) -> None:
    """No finding, and the order's price as a pencil has it: 40 Wh at 0.20 €/kWh are about 0.008 €."""
    assert len(checked(market).findings) == 0


def bill_one_too_high(slot: Plant) -> None:
    slot.add(2, money_ueur=1)
    slot.add_totals(homes_money_ueur=1, grid_money_ueur=-1)


def gift_fee_forgiven(slot: Plant) -> None:
    fee = int(slot.columns["received_wh"][slot.at(2)]) * 10
    slot.add(2, money_ueur=fee)
    slot.add_totals(homes_money_ueur=fee, fees_money_ueur=-fee)


def gift_in_the_list_only(slot: Plant) -> None:
    slot.gifts["energy_wh"][0] += 5


def gift_in_the_columns_only(slot: Plant) -> None:
    slot.add(1, given_wh=5)
    slot.add(2, received_wh=5)


def gift_listed_twice(slot: Plant) -> None:
    for name, column in slot.gifts.items():
        more = column[-1] + (1 if name == "index" else 0)
        slot.gifts[name] = np.append(column, more)


def rest_in_two_states(slot: Plant) -> None:
    slot.columns["expired_wh"][slot.at(1)] = 60
    slot.columns["rest_sold_wh"][slot.at(1)] = 40
    slot.columns["sold_wh"][slot.at(1)] += 40


def offer_in_no_state(slot: Plant) -> None:
    slot.add_totals(offered_wh=10)


def total_of_the_operator(slot: Plant) -> None:
    slot.add_totals(operator_money_ueur=7, grid_money_ueur=-7)


def accounts_out_of_balance(slot: Plant) -> None:
    slot.add_totals(grid_money_ueur=1)


def order_at_another_total(slot: Plant) -> None:
    slot.orders["total_ueur"][0] -= 1000
    slot.add(2, money_ueur=-1000)
    slot.add_totals(homes_money_ueur=-1000, operator_money_ueur=1000)


def energy_below_zero(slot: Plant) -> None:
    slot.columns["consumed_wh"][slot.at(3)] = -5


def more_by_orders_than_in_all(slot: Plant) -> None:
    slot.columns["bought_wh"][slot.at(2)] = 30


@pytest.mark.parametrize(
    ("change", "kind", "home"),
    [
        (bill_one_too_high, Kind.BILL_WRONG, 2),
        (gift_fee_forgiven, Kind.BILL_WRONG, 2),
        (gift_in_the_list_only, Kind.GIFTS_DIFFER, None),
        (gift_in_the_columns_only, Kind.GIFTS_DIFFER, 1),
        (gift_listed_twice, Kind.GIFTS_DIFFER, None),
        (rest_in_two_states, Kind.OFFER_STATES, 1),
        (offer_in_no_state, Kind.OFFER_STATES, None),
        (total_of_the_operator, Kind.TOTALS_WRONG, None),
        (accounts_out_of_balance, Kind.ACCOUNTS_UNBALANCED, None),
        (order_at_another_total, Kind.ORDER_WRONG, 2),
        (energy_below_zero, Kind.ENERGY_IMPOSSIBLE, 3),
        (more_by_orders_than_in_all, Kind.CONTRACT_IMPOSSIBLE, 2),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_wrong_in_a_slot_is_found_there(
    market: SmallMarket, change: Callable[[Plant], None], kind: Kind, home: int | None
) -> None:
    """Hashes and seals were made anew: only who adds up again sees it, in the slot and at the home."""
    checker = planted(market, change)
    here = [each for each in checker.findings.kept if each.kind is kind]
    assert here, checker.findings.counts
    assert {each.slot for each in here} == {market.first_slot + SLOT}
    if home is not None:
        assert here[0].home == home


def test_a_bill_that_is_wrong_says_what_it_should_be(market: SmallMarket) -> None:
    """Expected and found differ by the one micro-euro that was planted."""
    first = planted(market, bill_one_too_high).findings.kept[0]
    assert (first.kind, first.home, first.account) == (Kind.BILL_WRONG, 2, "money_ueur")
    assert isinstance(first.expected, int)
    assert first.found == first.expected + 1


def test_an_acknowledged_order_that_is_not_in_its_slot_is_found(market: SmallMarket) -> None:
    """The home has a receipt; the slot was settled without it."""

    def lose(slot: Plant) -> None:
        total = int(slot.orders["total_ueur"][0])
        slot.orders = {name: column[:0] for name, column in slot.orders.items()}
        slot.add(2, bought_wh=-40, money_ueur=-total)

    lost = [each for each in planted(market, lose).findings.kept if each.kind is Kind.ORDER_LOST]
    assert [(each.slot, each.home) for each in lost] == [(market.first_slot + SLOT, 2)]


@pytest.mark.parametrize(
    ("name", "account"),
    [
        ("price_ueur_per_kwh", "price_ueur_per_kwh"),
        ("unclipped_ueur_per_kwh", "unclipped_ueur_per_kwh"),
        ("previous_ueur_per_kwh", "previous_ueur_per_kwh"),
    ],
)
def test_a_price_changed_afterwards_is_found(market: SmallMarket, name: str, account: str) -> None:
    """One number of the head, with hashes and seals made anew."""

    def change(slot: Plant) -> None:
        slot.head = replace(slot.head, **{name: getattr(slot.head, name) + 1})

    here = [each for each in planted(market, change).findings.kept if each.kind is Kind.PRICE_WRONG]
    assert account in {each.account for each in here if each.slot == market.first_slot + SLOT}


def test_wrong_inertia_is_found_without_the_scenario(market: SmallMarket) -> None:
    """Gamma stands in the row: 0.5 · the price before. Another term was lowered to hide it."""

    def change(slot: Plant) -> None:
        (inertia, much), (base, less), *rest = slot.head.terms
        slot.head = replace(slot.head, terms=((inertia, much + 9), (base, less - 9), *rest))

    plant(market.ledger_path, market.first_slot + SLOT, change)
    file = LedgerFile(market.ledger_path, market.ledger_path)
    file.open()
    found = Check(file, None, None).run().findings.kept
    file.close()
    assert [(each.kind, each.account) for each in found] == [(Kind.PRICE_WRONG, "inertia")]
    assert isinstance(found[0].expected, int)
    assert found[0].found == found[0].expected + 9


def test_another_tariff_is_found(market: SmallMarket) -> None:
    """The grid asks 0.30 €/kWh in the scenario; nobody may bill 0.31."""

    def change(slot: Plant) -> None:
        slot.head = replace(slot.head, gift_fee_ueur_per_kwh=11_000)

    assert Kind.TARIFF_WRONG in planted(market, change).findings.counts


def test_accounts_of_a_checkpoint_are_the_sums_of_the_slots(market: SmallMarket) -> None:
    """One byte of the checkpoint's accounts is changed, its digest with it: the sums still tell."""
    import hashlib

    with opened(market.ledger_path) as db:
        slot, body = db.execute("SELECT slot, body FROM checkpoints").fetchone()
        (its_hash,) = db.execute("SELECT hash FROM slots WHERE slot = ?", (slot,)).fetchone()
        changed = bytes((body[0] ^ 1,)) + body[1:]
        digest = hashlib.sha256(its_hash + changed).digest()
        db.execute("UPDATE checkpoints SET body = ?, digest = ?", (changed, digest))
    found = checked(market).findings.kept
    assert [(each.kind, each.slot, each.home, each.account) for each in found] == [
        (Kind.CHECKPOINT_DIFFERS, market.first_slot + 3, 1, "produced_wh")
    ]

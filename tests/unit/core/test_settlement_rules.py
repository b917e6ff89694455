"""Settlement against its rules, written down once more as plain Python."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core import exchange, ledger, settlement
from energymarket.core.parameters import Excess, Sharing, Take, Turn
from energymarket.core.records import SLOT_COLUMNS, Policy
from energymarket.core.settlement import (
    Batch,
    Prices,
    Readings,
    check,
    no_orders,
    settle,
)
from tests.unit.core.made_batches import (
    BOTH,
    GIVE,
    SELL,
    Claim,
    Home,
    P,
    batch_of,
    column,
    cut,
    orders_of,
    settle_homes,
    slots,
)


def money(energy_wh: int, price: int) -> int:
    return floor(Fraction(energy_wh * price, 1000) + Fraction(1, 2))


def settle_plainly(homes: dict[int, Home], claims: list[Claim], p: Prices) -> dict[int, dict[str, int]]:
    """Home by home and claim by claim, from registers at zero."""
    given = dict.fromkeys(homes, 0)
    received = dict.fromkeys(homes, 0)
    seen: set[tuple[int, int]] = set()
    running = dict.fromkeys(homes, 0)
    for giver, index, taker, energy in sorted(claims):
        offered = homes[giver].offered if giver in homes else 0
        if energy > offered or (giver, index) in seen:
            continue
        seen.add((giver, index))
        running[giver] += energy
        if running[giver] <= offered:
            given[giver] += energy
            received[taker] += energy
    rows = {}
    for home, says in sorted(homes.items()):
        returned = min(says.returned, says.offered - given[home])
        rest = says.offered - given[home] - returned
        expired = rest if says.policy == GIVE else 0
        sold = says.sold + rest - expired
        imbalance = says.net_wh - (given[home] + expired - received[home] + sold - says.bought)
        euros = money(sold, p.price) - money(says.bought, p.price) - money(received[home], p.gift_fee)
        euros += money(imbalance, p.export) if imbalance > 0 else -money(-imbalance, p.import_)
        rows[home] = {
            "home": home,
            "given_wh": given[home],
            "returned_wh": returned,
            "rest_sold_wh": rest - expired,
            "expired_wh": expired,
            "received_wh": received[home],
            "sold_wh": sold,
            "bought_wh": says.bought,
            "money_ueur": euros,
            "imbalance_wh": imbalance,
        }
    return rows


@given(slot=slots())
def test_settlement_equals_the_rules_written_plainly(
    slot: tuple[list[Home], list[Claim], list[int], list[bool], Prices],
) -> None:
    """Any homes, any claims, some batches missing: every column as the plain rules have it."""
    homes, claims, cuts, come, prices = slot
    batches = [batch for batch, comes in zip(cut(homes, claims, cuts), come, strict=False) if comes]
    there = {batch.first + at for batch in batches for at in range(batch.count)}
    settled = settle(Readings.zero(len(homes)), batches, no_orders(), prices, len(homes))
    plain = settle_plainly(
        {home: homes[home - 1] for home in there}, [c for c in claims if c[2] in there], prices
    )
    for name in set(SLOT_COLUMNS) - {"produced_wh", "consumed_wh", "imported_wh", "exported_wh"}:
        assert column(settled, name) == [row[name] for row in plain.values()], name
    assert settled.imbalance_wh.tolist() == [row["imbalance_wh"] for row in plain.values()]
    assert settled.void_claims + len(settled.gifts["giver"]) == sum(c[2] in there for c in claims)


@given(slot=slots(), twist=st.randoms(use_true_random=False))
def test_the_cut_into_batches_changes_no_bit(
    slot: tuple[list[Home], list[Claim], list[int], list[bool], Prices], twist: Any
) -> None:
    """One batch of all homes, or any batches in any order: the same body of the ledger."""
    homes, claims, cuts, _, prices = slot
    bodies = []
    for where in ([0, len(homes)], cuts, list(range(len(homes) + 1))):
        batches = cut(homes, claims, where)
        twist.shuffle(batches)
        settled = settle(Readings.zero(len(homes)), batches, no_orders(), prices, len(homes))
        head = ledger.SlotHead(1, prices.price, prices.import_, prices.export, 0, 0, 0)
        bodies.append(ledger.pack(head, settled.columns, settled.gifts, no_orders()))
    assert bodies[0] == bodies[1] == bodies[2]


@given(slot=slots())
def test_energy_and_money_are_conserved(
    slot: tuple[list[Home], list[Claim], list[int], list[bool], Prices],
) -> None:
    """Every offer ends in exactly one state per part, and per account the sums come from the columns."""
    homes, claims, cuts, _, prices = slot
    settled = settle(Readings.zero(len(homes)), cut(homes, claims, cuts), no_orders(), prices, len(homes))
    totals, rows = settled.totals, settled.columns
    states = rows["given_wh"] + rows["returned_wh"] + rows["rest_sold_wh"] + rows["expired_wh"]
    assert states.tolist() == [home.offered for home in homes]
    assert min(rows["given_wh"].min(), rows["returned_wh"].min(), rows["expired_wh"].min()) >= 0
    assert sum(settled.gifts["energy_wh"].tolist()) == totals.taken_wh == totals.received_wh
    assert totals.homes_money_ueur == sum(column(settled, "money_ueur"))
    assert totals.homes_energy_wh == -sum(home.net_wh for home in homes)
    totals.check()


@pytest.mark.parametrize(
    "sharing", [Sharing(take, turn, excess) for take in Take for turn in Turn for excess in Excess]
)
@given(
    homes=st.lists(st.tuples(st.integers(-60, 60), st.sampled_from(Policy)), min_size=1, max_size=9),
    seed=st.integers(0, 2**64 - 1),
    cuts=st.sets(st.integers(1, 9), max_size=3),
)
def test_who_does_as_the_exchange_agreed_has_no_imbalance(
    sharing: Sharing, homes: list[tuple[int, Policy]], seed: int, cuts: set[int]
) -> None:
    """The reference outcome, handed in as batches and settled: no void claim, no Wh short or long."""
    count = len(homes)
    net = np.array([net for net, _ in homes], np.int64)
    policies = np.array([policy for _, policy in homes], np.uint8)
    surplus, need = np.maximum(net, 0), np.maximum(-net, 0)
    result = exchange.outcome(np.arange(1, count + 1), surplus, need, policies, sharing, seed, 5)
    edges = sorted({c for c in cuts if c < count} | {0, count})
    batches = []
    for low, high in pairwise(edges):
        columns, claims = exchange.batch_columns(result, low + 1, high - low)
        meters = batch_of(low + 1, [Home(wh) for wh in net[low:high].tolist()]).columns
        batches.append(Batch("x", low + 1, high - low, {**meters, **columns}, claims))
        assert check(batches[-1], count, Readings.zero(count)) == []
    settled = settle(Readings.zero(count), batches, no_orders(), P, count)
    assert not settled.imbalance_wh.any()
    assert settled.void_claims == 0
    assert column(settled, "expired_wh") == result.expired_wh.tolist()
    assert column(settled, "given_wh") == result.given_wh.tolist()


def test_the_cut_into_blocks_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gifts, a void claim, orders, imbalances, a register that grows by 2**28 + 1 Wh: two homes at a time."""
    homes = [
        Home(100, GIVE, offered=100), Home(-100), Home(-50, bought=50), Home(90, SELL, sold=80),
        Home(70, BOTH, offered=70, returned=20), Home(-30), Home(2**28 + 1, SELL),
    ]  # fmt: skip
    claims = [(1, 0, 2, 60), (5, 0, 6, 30), (4, 0, 6, 10)]
    found = []
    for block in (100, 2):
        monkeypatch.setattr(settlement, "BLOCK_ROWS", block)
        found.append(settle_homes(homes, claims, orders=orders_of((6, -5, -1_000), (7, 40, 8_000))))
    whole, cut = found
    assert cut.totals == whole.totals
    assert whole.totals.void_claims == 1
    assert whole.totals.exported_wh == 100 + 90 + 70 + 2**28 + 1
    for name in whole.columns:
        assert column(cut, name) == column(whole, name)
    assert cut.imbalance_wh.tolist() == whole.imbalance_wh.tolist()
    assert cut.readings.export_wh.tolist() == [100, 0, 0, 90, 70, 0, 2**28 + 1]

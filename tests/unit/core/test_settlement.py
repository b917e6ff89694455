"""Settlement against a pencil, and against the rules written down as plain Python."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core import exchange, ledger, settlement
from energymarket.core.limits import ENERGY_WH_MAX, PRICE_UEUR_PER_KWH_MAX, REGISTER_JUMP_WH_MAX
from energymarket.core.parameters import Excess, Sharing, Take, Turn
from energymarket.core.records import BATCH_COLUMNS, CLAIM, ORDER_COLUMNS, SLOT_COLUMNS, Policy
from energymarket.core.refusals import Refusal
from energymarket.core.settlement import (
    Batch,
    Prices,
    Readings,
    Settlement,
    UnbalancedError,
    check,
    no_orders,
    receipt_columns,
    settle,
)

P = Prices(price=200_000, import_=300_000, export=80_000)  # 0.20, 0.30 and 0.08 €/kWh
GIVE, SELL, BOTH = Policy.GIVE, Policy.SELL, Policy.GIVE_THEN_SELL

Claim = tuple[int, int, int, int]  # giver, index, taker, energy


@dataclass(frozen=True)
class Home:
    """What one home states: its flow over the meter in the slot, and what was agreed."""

    net_wh: int = 0  # exported less imported
    policy: int = GIVE
    offered: int = 0
    returned: int = 0
    sold: int = 0
    bought: int = 0


def claim_array(claims: list[Claim]) -> npt.NDArray[np.void]:
    array = np.zeros(len(claims), CLAIM)
    for at, (giver, index, taker, energy) in enumerate(claims):
        array[at] = (giver, taker, energy, index, 0)
    return array


def batch_of(first: int, homes: list[Home], claims: list[Claim] | None = None) -> Batch:
    """A batch whose registers start at zero: production is the export, consumption the import."""
    imports = [max(-home.net_wh, 0) for home in homes]
    exports = [max(home.net_wh, 0) for home in homes]
    values: dict[str, list[int]] = {
        "production_wh": exports,
        "consumption_wh": imports,
        "import_wh": imports,
        "export_wh": exports,
        "offered_wh": [home.offered for home in homes],
        "returned_wh": [home.returned for home in homes],
        "sold_wh": [home.sold for home in homes],
        "bought_wh": [home.bought for home in homes],
        "policy": [home.policy for home in homes],
    }
    columns = {name: np.array(values[name], kind) for name, kind in BATCH_COLUMNS}
    return Batch(f"b{first}", first, len(homes), columns, claim_array(claims or []))


def orders_of(*rows: tuple[int, int, int]) -> dict[str, npt.NDArray[np.int64]]:
    table = np.array(rows, np.int64).reshape(-1, 3)
    return {name: table[:, at].copy() for at, name in enumerate(ORDER_COLUMNS)}


def settle_homes(
    homes: list[Home],
    claims: list[Claim] | None = None,
    prices: Prices = P,
    orders: dict[str, npt.NDArray[np.int64]] | None = None,
) -> Settlement:
    batch = batch_of(1, homes, claims)
    readings = Readings.zero(len(homes))
    assert check(batch, len(homes), readings) == []
    return settle(readings, [batch], orders or no_orders(), prices, len(homes))


def column(settled: Settlement, name: str) -> list[int]:
    return [int(value) for value in settled.columns[name]]


# pencil scenes, three homes


def test_a_gift_costs_nothing() -> None:
    """Home 1 gives 100 Wh, home 2 takes all of it, home 3 buys 50 Wh at 0.20 €/kWh: 0.01 €."""
    settled = settle_homes([Home(100, GIVE, offered=100), Home(-100), Home(-50, bought=50)], [(1, 0, 2, 100)])
    assert column(settled, "given_wh") == [100, 0, 0]
    assert column(settled, "received_wh") == [0, 100, 0]
    assert column(settled, "money_ueur") == [0, 0, -10_000]
    assert settled.imbalance_wh.tolist() == [0, 0, 0]
    # the operator buys the 50 Wh from the grid at 0.30 €/kWh
    totals = settled.totals
    assert (totals.operator_money_ueur, totals.grid_money_ueur) == (10_000 - 15_000, 15_000)
    assert (totals.homes_energy_wh, totals.grid_energy_wh) == (50, -50)


def test_a_gift_costs_the_taker_the_local_fee() -> None:
    """100 Wh received at a fee of 0.05 €/kWh: 0.005 €, for the account of fees."""
    prices = replace(P, gift_fee=50_000)
    settled = settle_homes([Home(100, GIVE, offered=100), Home(-100)], [(1, 0, 2, 100)], prices)
    assert column(settled, "money_ueur") == [0, -5_000]
    assert settled.totals.fees_money_ueur == 5_000


def test_an_unclaimed_rest_ends_by_the_policy_of_its_giver() -> None:
    """100 Wh offered, nobody takes: policy 1 expires unpaid; policy 3 sold by the giver or at the gate."""
    settled = settle_homes(
        [
            Home(100, GIVE, offered=100),
            Home(100, BOTH, offered=100, returned=100, sold=100),
            Home(100, BOTH, offered=100),
        ]
    )
    assert column(settled, "expired_wh") == [100, 0, 0]
    assert column(settled, "returned_wh") == [0, 100, 0]
    assert column(settled, "rest_sold_wh") == [0, 0, 100]
    assert column(settled, "sold_wh") == [0, 100, 100]
    assert column(settled, "money_ueur") == [0, 20_000, 20_000]
    assert settled.totals.grid_money_ueur == -16_000  # 200 Wh at 0.08 €/kWh
    assert settled.totals.operator_money_ueur == 16_000 - 40_000


def test_the_rest_of_a_partly_taken_offer_is_sold() -> None:
    """Policy 3 offers 100 Wh, home 2 takes 30, 70 are taken back and sold: 0.014 €."""
    settled = settle_homes([Home(100, BOTH, 100, 70, 70), Home(-30), Home()], [(1, 0, 2, 30)])
    assert column(settled, "given_wh") == [30, 0, 0]
    assert column(settled, "money_ueur") == [14_000, 0, 0]
    assert settled.imbalance_wh.tolist() == [0, 0, 0]


def test_short_is_billed_at_import_and_long_is_paid_at_export() -> None:
    """Bought 50 but drew 80: 30 short at 0.30. Sold 40 but fed 100: 60 long at 0.08. Sold 10, fed none."""
    settled = settle_homes([Home(-80, bought=50), Home(100, SELL, sold=40), Home(0, SELL, sold=10)])
    assert settled.imbalance_wh.tolist() == [-30, 60, -10]
    assert column(settled, "money_ueur") == [-10_000 - 9_000, 8_000 + 4_800, 2_000 - 3_000]
    assert (settled.totals.short_wh, settled.totals.long_wh) == (40, 60)


def test_each_leg_is_rounded_half_up_on_its_own() -> None:
    """1 Wh at 0.200500 €/kWh is 200.5 µ€: the seller gets 201, the buyer pays 201."""
    prices = Prices(200_500, 300_000, 80_000)
    settled = settle_homes([Home(1, SELL, sold=1), Home(-1, bought=1)], None, prices)
    assert column(settled, "money_ueur") == [201, -201]
    assert settled.totals.operator_money_ueur == 0


# claims


@pytest.mark.parametrize("giver", [1, 3, 9])
def test_a_claim_without_an_offer_is_void(giver: int) -> None:
    """Home 2 claims 50 Wh of a home that offers none, has no batch, or does not exist: short by 50."""
    readings = Readings.zero(3)
    batch = batch_of(1, [Home(), Home(-50)], [(giver, 0, 2, 50)])
    settled = settle(readings, [batch], no_orders(), P, 3)
    assert settled.void_claims == 1
    void = settled.voids[0]
    assert (void.giver, void.index, void.taker, void.energy_wh) == (giver, 0, 2, 50)
    assert void.reason is Refusal.OFFER_UNKNOWN
    assert column(settled, "received_wh") == [0, 0]
    assert column(settled, "money_ueur") == [0, -15_000]


def test_of_two_claims_of_one_part_the_lower_taker_has_it() -> None:
    """Homes 2 and 3 both claim part 0 of home 1: home 2 has it, whichever batch came first."""
    giver = batch_of(1, [Home(100, offered=100)])
    two = batch_of(2, [Home(-60)], [(1, 0, 2, 60)])
    three = batch_of(3, [Home(-40)], [(1, 0, 3, 40)])
    for batches in ([giver, two, three], [three, two, giver]):
        settled = settle(Readings.zero(3), batches, no_orders(), P, 3)
        assert column(settled, "received_wh") == [0, 60, 0]
        assert column(settled, "expired_wh") == [40, 0, 0]
        assert [void.reason for void in settled.voids] == [Refusal.OFFER_TAKEN]
        assert settled.imbalance_wh.tolist() == [0, 0, -40]


def test_no_more_is_taken_than_was_offered() -> None:
    """Of 100 Wh parts of 60, 30 and 20 are claimed: the last does not fit. A claim of 500 disturbs none."""
    homes = [Home(100, offered=100), Home(-60), Home(-30), Home(-20), Home()]
    claims = [(1, 0, 5, 500), (1, 1, 2, 60), (1, 2, 3, 30), (1, 3, 4, 20)]
    settled = settle_homes(homes, claims)
    assert column(settled, "received_wh") == [0, 60, 30, 0, 0]
    assert [(v.taker, v.reason) for v in settled.voids] == [
        (5, Refusal.OFFER_UNKNOWN),
        (4, Refusal.OFFER_TAKEN),
    ]


def test_claims_that_come_to_more_than_32_bits_of_an_offer_do_not_count() -> None:
    """430 homes say that each has taken all of what the first one offers: 430 * 10**7 = 2**32 + 5,032,704 Wh.

    In 32 bits that is less than the offer, and all of them would have it.
    """
    takers = range(2, 432)
    claims = [(1, taker - 2, taker, ENERGY_WH_MAX) for taker in takers]
    settled = settle_homes([Home(ENERGY_WH_MAX, offered=ENERGY_WH_MAX), *(Home() for _ in takers)], claims)
    assert settled.void_claims == 429
    assert column(settled, "received_wh")[:3] == [0, ENERGY_WH_MAX, 0]


def test_what_was_claimed_cannot_also_have_been_taken_back() -> None:
    """100 offered, all said to be returned and sold, yet 30 claimed: 70 returned, the giver is short 30."""
    settled = settle_homes([Home(100, BOTH, 100, 100, 100), Home(-30)], [(1, 0, 2, 30)])
    assert column(settled, "returned_wh") == [70, 0]
    assert settled.imbalance_wh.tolist() == [-30, 0]


# who is there


def test_a_home_that_was_away_is_settled_as_imbalance_when_it_returns() -> None:
    """Home 2 misses a slot and draws 40 Wh in it; in the next it buys 50 and draws 50: 40 short."""
    first = settle(Readings.zero(2), [batch_of(1, [Home(-10, bought=10)])], no_orders(), P, 2)
    assert column(first, "home") == [1]
    assert first.readings.import_wh.tolist() == [10, 0]
    second = settle(first.readings, [batch_of(2, [Home(-90, bought=50)])], no_orders(), P, 2)
    assert column(second, "home") == [2]
    assert second.imbalance_wh.tolist() == [-40]
    assert second.readings.import_wh.tolist() == [10, 90]


def test_single_orders_count_with_their_own_totals() -> None:
    """A home sells 30 Wh by batch and 20 by an order that was answered with 4,000 µ€."""
    settled = settle_homes(
        [Home(50, SELL, sold=30), Home(-5)], orders=orders_of((1, 20, 4_000), (2, -5, -999))
    )
    assert column(settled, "sold_wh") == [50, 0]
    assert column(settled, "bought_wh") == [0, 5]
    assert column(settled, "money_ueur") == [6_000 + 4_000, -999]


def test_an_order_without_a_batch_is_a_row_whose_registers_stand_still() -> None:
    """Home 2 bought 10 Wh for 2,000 µ€ and says nothing more: it is long by 10 until its meter speaks."""
    batches = [batch_of(1, [Home()]), batch_of(3, [Home()])]
    readings = replace(Readings.zero(3), import_wh=np.array([0, 70, 0]))
    settled = settle(readings, batches, orders_of((2, -10, -2_000)), P, 3)
    assert column(settled, "home") == [1, 2, 3]
    assert settled.imbalance_wh.tolist() == [0, 10, 0]
    assert column(settled, "money_ueur") == [0, -2_000 + 800, 0]
    assert settled.readings.import_wh.tolist() == [0, 70, 0]


def test_a_slot_without_anybody_is_empty_and_balanced() -> None:
    """No batch and no order: no row, all totals zero."""
    settled = settle(Readings.zero(2), [], no_orders(), P, 2)
    assert set(settled.totals.by_name().values()) == {0}
    assert all(len(values) == 0 for values in settled.columns.values())


def test_overlapping_batches_are_the_markets_mistake() -> None:
    """Two batches of the same home, or of a home beyond the last, are refused by an exception."""
    with pytest.raises(ValueError, match="overlaps"):
        settle(Readings.zero(2), [batch_of(1, [Home(), Home()]), batch_of(2, [Home()])], no_orders(), P, 2)
    with pytest.raises(ValueError, match="not one of"):
        settle(Readings.zero(1), [batch_of(2, [Home()])], no_orders(), P, 1)


def test_a_receipt_is_zero_for_a_home_without_a_row() -> None:
    """Receipt of homes 1 .. 3 where home 2 is away: its columns are zero."""
    batches = [batch_of(1, [Home(-80, bought=50)]), batch_of(3, [Home(100, GIVE, offered=100)])]
    receipt = receipt_columns(settle(Readings.zero(3), batches, no_orders(), P, 3), 1, 3)
    assert receipt["imbalance_wh"].tolist() == [-30, 0, 0]
    assert receipt["expired_wh"].tolist() == [0, 0, 100]
    assert receipt["money_ueur"].tolist() == [-19_000, 0, 0]


def test_a_doubled_gift_does_not_balance() -> None:
    """Totals whose received is more than their taken are a bug, and named."""
    totals = settle_homes([Home(100, offered=100), Home(-100)], [(1, 0, 2, 100)]).totals
    with pytest.raises(UnbalancedError, match="given but not received"):
        replace(totals, received_wh=200).check()
    with pytest.raises(UnbalancedError, match="money"):
        replace(totals, grid_money_ueur=1).check()


def test_the_largest_numbers_do_not_overflow() -> None:
    """Every home at every limit and the highest price: sums are exact and cancel."""
    dear = Prices(*[PRICE_UEUR_PER_KWH_MAX] * 4)
    homes = [Home(REGISTER_JUMP_WH_MAX, SELL, sold=ENERGY_WH_MAX)] * 100_000
    settled = settle_homes(homes, None, dear)
    paid_ueur = 100_000 * REGISTER_JUMP_WH_MAX * PRICE_UEUR_PER_KWH_MAX // 1000
    assert paid_ueur > 2**63
    assert settled.totals.homes_money_ueur == paid_ueur


# the guards

OK = Home(10, GIVE, offered=10)


def broken(**columns: Any) -> Batch:
    batch = batch_of(1, [OK, OK])
    kinds = dict(BATCH_COLUMNS)
    changed = {name: np.array(values, kinds[name]) for name, values in columns.items()}
    return replace(batch, columns={**batch.columns, **changed})


GUARDS = [
    (batch_of(3, [OK, OK]), Refusal.UNKNOWN_HOME),
    (batch_of(0, [OK]), Refusal.UNKNOWN_HOME),
    (batch_of(1, []), Refusal.UNKNOWN_HOME),
    (replace(batch_of(1, [OK]), count=2), Refusal.BATCH_MALFORMED),
    (replace(batch_of(1, [OK]), columns={}), Refusal.BATCH_MALFORMED),
    (broken(sold_wh=[-1, 0]), Refusal.ENERGY_NEGATIVE),
    (broken(bought_wh=[0, ENERGY_WH_MAX + 1]), Refusal.ENERGY_TOO_LARGE),
    (broken(policy=[1, 4]), Refusal.POLICY_UNKNOWN),
    (broken(policy=[0, 1]), Refusal.POLICY_UNKNOWN),
    (broken(policy=[2, 1]), Refusal.SELLER_OFFERS),
    (broken(returned_wh=[11, 0]), Refusal.RETURNED_MORE_THAN_OFFERED),
    (broken(import_wh=[-(2**63), 0]), Refusal.REGISTER_OUT_OF_RANGE),
    (broken(export_wh=[2**63 - 1, 0]), Refusal.REGISTER_OUT_OF_RANGE),
    (broken(export_wh=[4, 5]), Refusal.REGISTER_RUNS_BACKWARDS),
    (broken(production_wh=[10, REGISTER_JUMP_WH_MAX + 6]), Refusal.REGISTER_JUMPS),
    (batch_of(1, [OK, OK], [(1, n, 2, 1) for n in range(7)]), Refusal.TOO_MANY_CLAIMS),
    (batch_of(1, [OK, OK], [(1, 0, 3, 1)]), Refusal.CLAIM_BY_STRANGER),
    (batch_of(1, [OK, OK], [(1, 0, 0, 1)]), Refusal.CLAIM_BY_STRANGER),
    (batch_of(1, [OK, OK], [(1, 0, 2, 0)]), Refusal.CLAIM_EMPTY),
    (batch_of(1, [OK, OK], [(1, 0, 2, 1), (1, 0, 1, 2)]), Refusal.CLAIM_TWICE),
    (batch_of(1, [OK, OK], [(1, 0, 2, ENERGY_WH_MAX), (1, 1, 2, 1)]), Refusal.ENERGY_TOO_LARGE),
]


@pytest.mark.parametrize(("batch", "refusal"), GUARDS)
def test_a_broken_batch_is_refused_by_name(batch: Batch, refusal: Refusal) -> None:
    """Each guard names its own refusal; production and export stood at 5 Wh before."""
    zero, five = np.zeros(3, np.int64), np.full(3, 5)
    assert check(batch, 3, Readings(five, zero, zero, five)) == [refusal]
    assert refusal.text


def test_a_good_batch_enters() -> None:
    """Nothing is refused of a batch at the limits."""
    batch = batch_of(1, [Home(REGISTER_JUMP_WH_MAX, GIVE, offered=ENERGY_WH_MAX)] * 2, [(1, 0, 2, 9)])
    assert check(batch, 2, Readings.zero(2)) == []


# the rules once more, as plain Python


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


small = st.integers(0, 60)


@st.composite
def stated_homes(draw: st.DrawFn) -> Home:
    policy = draw(st.sampled_from(Policy))
    offered = 0 if policy is SELL else draw(small)
    returned = draw(st.integers(0, offered))
    return Home(draw(st.integers(-80, 80)), policy, offered, returned, draw(small), draw(small))


@st.composite
def slots(draw: st.DrawFn) -> tuple[list[Home], list[Claim], list[int], list[bool], Prices]:
    """Homes, claims of any giver, where batches are cut, which batches come, and prices."""
    homes = draw(st.lists(stated_homes(), min_size=1, max_size=9))
    ids = st.integers(1, len(homes))
    claim = st.tuples(st.integers(1, len(homes) + 1), st.integers(0, 2), ids, st.integers(1, 70))
    unique = st.lists(claim, max_size=min(12, 2 * len(homes)), unique_by=lambda c: (c[0], c[1], c[2]))
    cuts = draw(st.sets(st.integers(1, len(homes)), max_size=3))
    come = draw(st.lists(st.booleans(), min_size=5, max_size=5))
    price = st.integers(-50_000, 400_000)
    prices = Prices(draw(price), draw(price), draw(price), draw(st.integers(0, 50_000)))
    return homes, draw(unique), sorted(cuts | {0, len(homes)}), come, prices


def cut(homes: list[Home], claims: list[Claim], cuts: list[int]) -> list[Batch]:
    batches = []
    for low, high in pairwise(cuts):
        mine = [claim for claim in claims if low < claim[2] <= high]
        batches.append(batch_of(low + 1, homes[low:high], mine))
    return batches


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

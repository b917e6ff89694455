"""Settlement against a pencil: gifts, claims, imbalance, who is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from energymarket.core.admission import READING_COLUMNS
from energymarket.core.limits import ENERGY_WH_MAX, PRICE_UEUR_PER_KWH_MAX, REGISTER_JUMP_WH_MAX
from energymarket.core.records import SLOT_COLUMNS
from energymarket.core.refusals import Refusal
from energymarket.core.settlement import (
    FLOWS,
    Prices,
    Readings,
    UnbalancedError,
    no_orders,
    receipt_columns,
    settle,
)
from tests.unit.core.made_batches import BOTH, GIVE, SELL, Home, P, batch_of, column, orders_of, settle_homes

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


@pytest.mark.parametrize("giver", [1, 3, 9, 2**31 + 1, 2**32 - 1])
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


@pytest.mark.parametrize("cut", [(3,), (1, 2)], ids=["one batch", "two"])
@pytest.mark.parametrize("orders", [no_orders(), orders_of((4, 30, 6))], ids=["batches", "and an order"])
def test_what_is_stated_as_growth_settles_as_whole_registers_do(
    cut: tuple[int, ...], orders: dict[str, npt.NDArray[np.int64]]
) -> None:
    """Three homes whose registers begin at zero, in one range or two, and a fourth that sells by an order."""
    homes = [Home(net_wh=50, policy=SELL, sold=50), Home(net_wh=-70, bought=60), Home(net_wh=0)]
    starts = [sum(cut[:at]) for at in range(len(cut))]
    whole = [batch_of(1 + at, homes[at : at + count]) for at, count in zip(starts, cut, strict=True)]
    grown = []
    for batch in whole:
        narrow = {name: batch.columns[name].astype(np.int8) for name in READING_COLUMNS}
        registers = sum(int(column.sum()) for column in narrow.values())
        grown.append(replace(batch, columns={**batch.columns, **narrow}, since=0, registers=registers))
    expected, found = (settle(Readings.zero(4), stated, orders, P, 4) for stated in (whole, grown))
    for name in SLOT_COLUMNS:
        assert found.columns[name].tolist() == expected.columns[name].tolist(), name
    assert all(found.columns[name].itemsize <= 2 for name in FLOWS)  # 16 bits hold them
    assert found.columns["produced_wh"].tolist()[:3] == [50, 0, 0]
    assert found.columns["imported_wh"].tolist()[:3] == [0, 70, 0]
    assert found.imbalance_wh.tolist()[:3] == [0, -10, 0]
    assert found.totals == expected.totals
    for name in READING_COLUMNS:
        assert getattr(found.readings, name).tolist() == getattr(expected.readings, name).tolist(), name

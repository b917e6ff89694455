"""The market's slot: opened, heard, closed and committed by hand; going on after a death changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.events import Event, Origin, book_from_dict
from energymarket.core.market import NO_SLOT, ORDER_SLOTS_REMEMBERED, Accounts, Closed, Market
from energymarket.core.parameters import Tariff
from energymarket.core.refusals import Refusal
from tests.unit.core.made_market import CALM, FIRST, GENESIS, HOMES, Meters, fresh, play, rules


def reborn(market: Market, state: str) -> Market:
    """Another market that goes on from what the disk would have kept."""
    accounts = Accounts.unpack(market.accounts.pack(), HOMES)
    after = Market(rules(), accounts, GENESIS, 200_000, book_from_dict(market.book.to_dict()))
    after.resume(state, market.hash)
    return after


# open


def test_the_price_of_a_slot_follows_from_the_slot_before() -> None:
    """0.5 × 0.20 + 0.10 = 0.20; then, 300 Wh used and 100 made, 0.04 × (300 − 100) / 400 = 0.02 more."""
    market, meters = fresh(), Meters()
    assert market.open_slot(FIRST, CALM).prices.price == 200_000
    meters.run((100, -300, 0, 0))
    play(market, FIRST, meters.batch())
    opening = market.open_slot(FIRST + 1, CALM)
    assert opening.terms.items == (("inertia", 100_000), ("base", 100_000), ("imbalance", 20_000))
    assert opening.prices.price == 220_000
    assert opening.previous_ueur_per_kwh == 200_000


def test_an_event_acts_from_its_slot_on_and_its_rest_decays() -> None:
    """Beta 0.05 in the slot of the event, half of it a slot later, when it is over."""
    market = fresh()
    market.book.begin(Event(Origin.EXTERNAL, 0, 1, 1000, FIRST + 1, FIRST + 2))
    prices = [play(market, FIRST + at).head.price_ueur_per_kwh for at in range(4)]
    assert prices == [200_000, 250_000, 225_000, 212_500]


def test_where_the_tariff_follows_the_price_there_is_one_price() -> None:
    """The assignment's world: r = e = p."""
    prices = fresh(Tariff(0, 0, follows_price=True)).open_slot(FIRST, CALM).prices
    assert (prices.price, prices.import_, prices.export) == (200_000, 200_000, 200_000)


def test_the_same_slot_opened_again_has_the_same_price() -> None:
    """A market that dies before the gate opens the slot again, and nobody can tell."""
    market = fresh()
    assert market.open_slot(FIRST, CALM) == market.open_slot(FIRST, CALM)


@pytest.mark.parametrize("act", [Market.close_slot, lambda market: market.hear_order(1, 5, "x")])
def test_without_an_open_slot_there_is_nothing_to_close_or_to_trade(act: object) -> None:
    """Between two slots the owner asks for neither: it would be our mistake."""
    with pytest.raises(RuntimeError, match="no slot is open"):
        act(fresh())  # type: ignore[operator]


# hear


def test_a_batch_said_twice_is_booked_once() -> None:
    """Home 1 sells 100 Wh at 0.20 €/kWh: 0.02 € in all, however often it says so."""
    market, meters = fresh(), Meters()
    meters.run((100, 0, 0, 0))
    batch = meters.batch(sold_wh=(100, 0, 0, 0))
    closed = play(market, FIRST, batch, batch, batch)
    assert closed.settlement.columns["money_ueur"].tolist() == [20_000, 0, 0, 0]
    assert closed.settlement.columns["exported_wh"].tolist() == [100, 0, 0, 0]


def test_the_last_word_of_a_range_counts() -> None:
    """The same range again replaces what it said."""
    market, meters = fresh(), Meters()
    meters.run((100, 0, 0, 0))
    early, late = meters.batch(name="early"), meters.batch(name="late", sold_wh=(100, 0, 0, 0))
    closed = play(market, FIRST, early, late)
    assert [batch[2] for batch in closed.batches] == ["late"]
    assert closed.settlement.totals.sold_wh == 100


@pytest.mark.parametrize(("first", "count"), [(1, 3), (2, 1), (2, 3), (1, 4), (1, 1)])
def test_ranges_that_overlap_are_refused(first: int, count: int) -> None:
    """Homes 1 and 2 are in: whoever else speaks for one of them is refused, and what is in stays."""
    market, meters = fresh(), Meters()
    market.open_slot(FIRST, CALM)
    assert market.hear_batch(meters.batch(1, 2)) == []
    assert market.hear_batch(meters.batch(first, count)) == [Refusal.HOMES_TAKEN]
    assert market.hear_batch(meters.batch(3, 2)) == []
    assert sorted(market.batches) == [(1, 2), (3, 2)]


def test_registers_that_run_backwards_are_refused() -> None:
    """After 100 Wh were committed no meter shows less."""
    market, meters = fresh(), Meters()
    meters.run((100, 0, 0, 0))
    play(market, FIRST, meters.batch())
    market.open_slot(FIRST + 1, CALM)
    assert market.hear_batch(Meters().batch()) == [Refusal.REGISTER_RUNS_BACKWARDS]
    assert market.batches == {}


# orders


def test_an_order_has_its_own_price_and_receipt() -> None:
    """Selling 1.5 kWh at 0.20 €/kWh is 0.30 € for the home, buying it is 0.30 € against it."""
    market = fresh()
    market.open_slot(FIRST, CALM)
    sale, purchase = market.hear_order(1, 1_500, "a"), market.hear_order(2, -1_500, "a")
    assert (sale.total_ueur, purchase.total_ueur) == (300_000, -300_000)
    assert (sale.price_ueur_per_kwh, purchase.price_ueur_per_kwh) == (200_000, 200_000)
    assert sale.receipt != purchase.receipt


def test_an_order_said_again_has_the_same_receipt_and_counts_once() -> None:
    """Also a slot later, when its price is history."""
    market = fresh()
    market.open_slot(FIRST, CALM)
    order = market.hear_order(1, 1_000, "a")
    assert market.hear_order(1, 1_000, "a") is order
    closed = market.close_slot()
    market.commit_slot(closed)
    assert closed.orders["total_ueur"].tolist() == [200_000]
    market.open_slot(FIRST + 1, CALM)
    assert market.hear_order(1, 1_000, "a") is order
    assert market.close_slot().orders["home"].size == 0


def test_orders_that_the_disk_refused_never_were() -> None:
    """The last two are taken back; their ids are free again."""
    market = fresh()
    market.open_slot(FIRST, CALM)
    kept = market.hear_order(1, 10, "kept")
    for name in ("b", "c"):
        market.hear_order(1, 20, name)
    market.forget_orders(2)
    assert market.orders == [kept]
    assert market.hear_order(1, 30, "b").energy_wh == 30


def test_an_id_is_forgotten_after_a_day_of_quarter_hours() -> None:
    """96 slots later it is still known, 97 slots later it may be used again."""
    market = fresh()
    market.open_slot(FIRST, CALM)
    order = market.hear_order(1, 10, "a")
    market.commit_slot(market.close_slot())
    for at in range(1, ORDER_SLOTS_REMEMBERED + 1):
        play(market, FIRST + at)
    assert market.orders_known == {(1, "a"): order}
    play(market, FIRST + ORDER_SLOTS_REMEMBERED + 1)
    assert market.orders_known == {}


def test_acknowledged_orders_are_there_after_a_death_in_the_open_slot() -> None:
    """Same receipt for the same id, another receipt for the next, and both are settled."""
    market = fresh()
    state = market.state_after(play_open(market))
    market.commit_slot(market.close_slot())
    market.open_slot(FIRST + 1, CALM)
    told = market.hear_order(3, 1_000, "x")
    after = reborn(market, state)
    after.open_slot(FIRST + 1, CALM)
    after.restore_orders([told])
    assert after.hear_order(3, 1_000, "x") == told
    assert after.hear_order(3, 500, "y").receipt != told.receipt
    assert after.close_slot().orders["energy_wh"].tolist() == [1_000, 500]


def play_open(market: Market) -> Closed:
    """An empty slot up to its gate."""
    market.open_slot(FIRST, CALM)
    return market.close_slot()


# close and commit


def test_closing_changes_nothing_until_it_is_committed() -> None:
    """The disk may refuse: then the slot is closed again, and comes to the same."""
    market, meters = fresh(), Meters()
    market.open_slot(FIRST, CALM)
    meters.run((100, -50, 0, -50))
    market.hear_batch(meters.batch(sold_wh=(100, 0, 0, 0), bought_wh=(0, 50, 0, 50)))
    first, second = market.close_slot(), market.close_slot()
    assert (first.hash, first.body) == (second.hash, second.body)
    assert (market.slot, market.hash) == (NO_SLOT, GENESIS)
    assert not market.accounts.balance_ueur.any()


def test_a_commit_moves_registers_balances_and_the_time_of_the_last_reading() -> None:
    """Home 1 sells 100 Wh for 0.02 €, home 2 buys 50 Wh for 0.01 €; 3 and 4 have said nothing."""
    market, meters = fresh(), Meters()
    meters.run((100, -50, 0, 0))
    play(market, FIRST, meters.batch(1, 2, sold_wh=(100, 0), bought_wh=(0, 50)))
    accounts = market.accounts
    assert accounts.balance_ueur.tolist() == [20_000, -10_000, 0, 0]
    assert accounts.readings.export_wh.tolist() == [100, 0, 0, 0]
    assert accounts.readings.import_wh.tolist() == [0, 50, 0, 0]
    assert accounts.heard.column().tolist() == [FIRST, FIRST, NO_SLOT, NO_SLOT]


def test_a_slot_in_which_nobody_hands_in_is_a_slot() -> None:
    """A market that is stopped closes the gate at once: no rows, but a price and a hash."""
    market = fresh()
    closed = play(market, FIRST)
    assert closed.settlement.columns["home"].size == 0
    assert market.slot == FIRST
    assert market.hash != GENESIS


def test_the_hash_does_not_know_how_homes_are_cut_into_batches() -> None:
    """One batch of four, two of two in either order, four of one: one ledger."""
    hashes = set()
    for ranges in ([(1, 4)], [(1, 2), (3, 2)], [(3, 2), (1, 2)], [(4, 1), (2, 1), (3, 1), (1, 1)]):
        market, meters = fresh(), Meters()
        meters.run((100, -30, 40, -60))
        play(market, FIRST, *(meters.batch(first, count) for first, count in ranges))
        hashes.add(market.hash)
    assert len(hashes) == 1


# gaps


def test_energy_of_a_gap_is_settled_with_the_next_reading() -> None:
    """60 Wh drawn in a gap and 40 after it are billed together, at r: 0.1 kWh × 0.30 € = 0.03 €."""
    market, meters = fresh(), Meters()
    play(market, FIRST, meters.batch())
    meters.run((0, -60, 0, 0))
    market.open_slot(FIRST + 1, CALM, gap=True)
    gap = market.close_slot()
    market.commit_slot(gap)
    assert gap.head.gap
    assert gap.settlement.columns["home"].size == 0
    meters.run((0, -40, 0, 0))
    closed = play(market, FIRST + 2, meters.batch())
    assert closed.settlement.columns["consumed_wh"].tolist() == [0, 100, 0, 0]
    assert closed.settlement.columns["money_ueur"].tolist() == [0, -30_000, 0, 0]
    assert not closed.head.gap


# going on

FLOWS = st.lists(
    st.tuples(*(st.integers(-500, 500) for _ in range(HOMES)), st.booleans()), min_size=2, max_size=8
)


@given(FLOWS, st.integers(0, 7))
def test_a_market_that_goes_on_has_the_prices_and_hashes_of_one_that_never_died(
    flows: list[tuple[int, ...]], death: int
) -> None:
    """Whatever flowed, and whichever slot it died after; also with an event whose rest is in the price."""
    unbroken, other = fresh(), fresh()
    meters = Meters()
    for market in (unbroken, other):
        market.book.begin(Event(Origin.EXTERNAL, 0, 1, 700, FIRST, FIRST + 2))
    for at, (*net, heard) in enumerate(flows):
        meters.run(net)
        batches = [meters.batch()] if heard else []
        closed = play(unbroken, FIRST + at, *batches)
        other.open_slot(FIRST + at, CALM)
        for batch in batches:
            other.hear_batch(batch)
        told = other.close_slot()
        state = other.state_after(told)
        other.commit_slot(told)
        if at == death:
            other = reborn(other, state)
        assert (other.hash, other.price_ueur_per_kwh) == (closed.hash, closed.head.price_ueur_per_kwh)
        assert other.contributions == pytest.approx(unbroken.contributions)
    assert other.accounts.pack() == unbroken.accounts.pack()


def test_new_coefficients_count_from_the_next_slot_on() -> None:
    """Gamma 0.5 becomes 0.25 while a slot is open: that slot keeps its price, the next is 0.05 + 0.10."""
    market = fresh()
    opening = market.open_slot(FIRST, CALM)
    market.rules = replace(market.rules, price=replace(market.rules.price, gamma=0.25))
    closed = market.close_slot()
    market.commit_slot(closed)
    assert closed.head.price_ueur_per_kwh == opening.prices.price == 200_000
    assert market.open_slot(FIRST + 1, CALM).prices.price == 150_000


def test_whoever_is_in_another_range_of_the_slot_is_in() -> None:
    """Homes 2 and 3 have handed in: 2 alone has, 1 and 2 have only in part, 1 and 4 have not.

    All of the homes are in, some are in another range, some are in at all.
    """
    market, meters = fresh(), Meters()
    market.open_slot(FIRST, CALM)
    assert market.hear_batch(meters.batch(first=2, count=2)) == []
    told = {
        homes: (
            market.has_handed_in(*homes),
            market.has_handed_in_otherwise(*homes),
            market.has_handed_in_some(*homes),
        )
        for homes in ((2, 2), (2, 1), (3, 1), (1, 2), (1, 4), (1, 1), (4, 1))
    }
    assert told == {
        (2, 2): (True, False, True),
        (2, 1): (True, True, True),
        (3, 1): (True, True, True),
        (1, 2): (False, True, True),
        (1, 4): (False, True, True),
        (1, 1): (False, False, False),
        (4, 1): (False, False, False),
    }
    assert market.hear_batch(meters.batch(first=2, count=1)) == [Refusal.HOMES_TAKEN]


def test_accounts_are_packed_and_unpacked() -> None:
    """Six columns of eight bytes per home; any other size is no checkpoint of this market."""
    market, meters = fresh(), Meters()
    meters.run((7, -5, 0, 11))
    play(market, FIRST, meters.batch())
    body = market.accounts.pack()
    assert len(body) == 6 * 8 * HOMES
    assert Accounts.unpack(body, HOMES).pack() == body
    with pytest.raises(ValueError, match="reshape"):
        Accounts.unpack(body[:-8], HOMES)


def test_a_copy_of_accounts_stands_on_its_own() -> None:
    """What is applied to the copy is not in the original."""
    market, meters = fresh(), Meters()
    market.open_slot(FIRST, CALM)
    meters.run((7, 0, 0, 0))
    market.hear_batch(meters.batch())
    copy = market.accounts.copy()
    closed = market.close_slot()
    copy.apply(FIRST, closed.settlement.columns, closed.batches)
    assert copy.readings.export_wh.tolist() == [7, 0, 0, 0]
    assert not np.any(market.accounts.readings.export_wh)

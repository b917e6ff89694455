"""Whole small markets: clean ledgers are found clean, and each planted fault where it was planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from energymarket.audit.checker import Checker
from energymarket.audit.findings import Finding, Kind
from energymarket.audit.ledger_file import LedgerFile
from energymarket.audit.reading import Check
from energymarket.core.parameters import Factor
from energymarket.core.records import CLAIM
from energymarket.core.settlement import Batch
from tests.simulation.small_market import KEPT_SLOTS, MODEL, OUTSIDE, SmallMarket
from tests.unit.core.made_fleet import FIRST_SLOT


def check(market: SmallMarket, *, registers: bool = True, scenario: bool = True) -> Checker:
    """Check a market that has been closed."""
    file = LedgerFile(market.ledger_path, market.ledger_path)
    file.open()
    try:
        homes = market.homes if registers else None
        return Check(file, homes, market.compiled if scenario else None).run()
    finally:
        file.close()


def found(checker: Checker) -> list[Finding]:
    return checker.findings.kept


def kinds(checker: Checker) -> set[Kind]:
    return set(checker.findings.counts)


def in_batch_of(home: int, change: Callable[[Batch, int], Batch]) -> Callable[[Batch], Batch]:
    """A change of the batch that holds a home; `change` gets the home's place in it."""

    def tamper(batch: Batch) -> Batch:
        at = home - batch.first
        return change(batch, at) if 0 <= at < batch.count else batch

    return tamper


def with_column(batch: Batch, name: str, at: int, more: int) -> Batch:
    column = batch.columns[name].copy()
    column[at] += more
    return replace(batch, columns={**batch.columns, name: column})


# clean


def test_a_clean_ledger_is_found_clean_and_as_a_pencil_has_it(tmp_path: Path) -> None:
    """8 slots of 800 Wh produced, 750 consumed; given 450 while the battery lasts (5 slots), then 550."""
    market = SmallMarket(tmp_path)
    market.play(8)
    market.close()
    result = check(market).result()
    assert result.ok, result.findings
    assert (result.slots, result.homes, result.homes_compared, result.homes_uncompared) == (8, 4, 4, 0)
    assert result.totals["produced_wh"] == 6400
    assert result.totals["consumed_wh"] == 6000
    assert result.totals["taken_wh"] == 5 * 450 + 3 * 550
    # all needs were met by gifts; each received Wh costs the local fee of 0.01 €/kWh
    assert result.totals["fees_money_ueur"] == (5 * 450 + 3 * 550) * 10
    assert result.totals["short_wh"] == 0


def test_the_second_price_is_as_a_pencil_has_it(tmp_path: Path) -> None:
    """0.5 · 0.2 + 0.1 + 0.02 · (750 − 800) / 1550 = 0.199355 €/kWh, rounded to a millionth."""
    market = SmallMarket(tmp_path)
    market.play(2)
    assert market.market.price_ueur_per_kwh == 199_355
    market.close()


def test_late_batches_gaps_orders_and_events_are_no_findings(tmp_path: Path) -> None:
    """Whatever the rules allow, the checker allows: the registers carry what the gate has missed."""
    market = SmallMarket(tmp_path)
    market.raise_event(0, 2, 6)
    market.raise_event(1, 3, 5, permille=1500)
    market.play(2)
    market.play(late=(0,))
    market.play(orders=((2, -50), (4, 30), (2, 20)))
    market.play(2, gap=True)
    market.play(late=(0, 1), orders=((1, 10),))
    market.play(3)
    market.close()
    result = check(market).result()
    assert result.ok, result.findings
    assert result.homes_compared == 4


def test_a_ledger_that_the_homes_are_ahead_of_is_no_finding(tmp_path: Path) -> None:
    """The last batches were late: the older generation is compared, the newer is left for later."""
    market = SmallMarket(tmp_path)
    market.play(3)
    market.play(late=(0, 1))
    for books in market.books:
        books.close()
    market.store.close()
    result = check(market).result()
    assert result.ok, result.findings
    assert result.homes_compared == 4


def test_homes_that_died_before_the_receipt_are_no_finding(tmp_path: Path) -> None:
    """A state that was written before its slot was settled lacks the slot's gifts, and says so."""
    market = SmallMarket(tmp_path)
    market.play(3)
    for books in market.books:
        books.close()
    market.store.close()
    result = check(market).result()
    assert result.ok, result.findings
    assert result.homes_compared == 4


def test_a_compacted_ledger_is_found_clean(tmp_path: Path) -> None:
    """Detail of old slots is gone; sums per home, totals and registers still hold together."""
    market = SmallMarket(tmp_path, slots=8, first_slot=FIRST_SLOT - FIRST_SLOT % 16)
    market.play(KEPT_SLOTS + 16, late=())
    market.compact()
    market.play(16)
    market.compact()
    market.close()
    result = check(market).result()
    assert result.ok, result.findings
    assert (result.compacted, result.slots, result.homes_compared) == (32, KEPT_SLOTS + 32, 4)


def test_reloaded_coefficients_are_no_finding(tmp_path: Path) -> None:
    """A reload is written down, and the slots after it are priced by what was reloaded."""
    market = SmallMarket(tmp_path)
    market.play(3)
    fresh = replace(MODEL, gamma=0.6, factors=(Factor("base", 90_000), *MODEL.factors[1:]))
    market.market.open_slot(market.slot + 1, OUTSIDE)
    market.market.rules = replace(market.market.rules, price=fresh)
    assert market.bookkeeper.save_price(fresh)
    market.play(4)
    market.close()
    result = check(market).result()
    assert result.ok, result.findings


# planted through the core itself, so that every sum, hash and seal of the ledger agrees


def test_a_lost_reading_is_found(tmp_path: Path) -> None:
    """100 Wh that home 2 consumed and imported never reach the ledger: its registers know them."""
    market = SmallMarket(tmp_path)
    market.play(3)

    def lose(batch: Batch, at: int) -> Batch:
        return with_column(with_column(batch, "import_wh", at, -100), "consumption_wh", at, -100)

    market.play(5, tamper=in_batch_of(2, lose))
    market.close()
    first = found(check(market))[0]
    assert (first.kind, first.home, first.account) == (Kind.READING_LOST, 2, "consumption_wh")
    assert (first.expected, first.found) == (8 * 300, 8 * 300 - 100)
    assert {each.home for each in found(check(market))} == {2}


def test_a_lost_reading_is_found_in_its_slot_by_who_watches(tmp_path: Path) -> None:
    """Held together after every slot, the difference is named in the slot in which it came up."""
    market = SmallMarket(tmp_path)

    def lose(batch: Batch, at: int) -> Batch:
        return with_column(with_column(batch, "import_wh", at, -100), "consumption_wh", at, -100)

    file = LedgerFile(market.ledger_path, market.ledger_path)
    market.play(1)
    file.open()
    watch = Check(file, market.homes, market.compiled, watching=True)
    assert len(watch.run().findings) == 0
    for at in range(1, 7):
        market.play(tamper=in_batch_of(2, lose) if at >= 4 else None)
        watch.go_on()
    file.close()
    market.close()
    lost = [each for each in found(watch.checker) if each.kind is Kind.READING_LOST]
    assert {(each.slot, each.home) for each in lost} == {(market.first_slot + 4, 2)}
    assert {each.account for each in lost} == {"consumption_wh", "import_wh"}


def test_a_reading_of_one_register_is_found_in_its_slot_without_registers(tmp_path: Path) -> None:
    """A home without battery consumes what it imports; the ledger alone shows where 100 Wh are missing."""
    market = SmallMarket(tmp_path)
    market.play(3)
    market.play(tamper=in_batch_of(2, lambda batch, at: with_column(batch, "import_wh", at, -100)))
    market.close()
    first = found(check(market, registers=False))[0]
    assert (first.kind, first.slot, first.home) == (Kind.METER_UNBALANCED, market.first_slot + 3, 2)
    assert (first.expected, first.found) == (300, 200)


def test_an_invented_reading_is_found(tmp_path: Path) -> None:
    """The ledger has 70 Wh of home 4 that its registers never saw."""
    market = SmallMarket(tmp_path)
    market.play(3)
    market.play(tamper=in_batch_of(4, lambda batch, at: with_column(batch, "import_wh", at, 70)))
    market.close()
    assert [(each.kind, each.home, each.account) for each in found(check(market))] == [
        (Kind.READING_INVENTED, 4, "import_wh")
    ]


def double_gift(batch: Batch) -> Batch:
    """Each gift of home 1 once more, and an offer that is large enough for it."""
    claims = batch.claims
    again = claims[claims["giver"] == 1].copy()
    again["index"] += 100
    batch = replace(batch, claims=np.concatenate((claims, again)).astype(CLAIM))
    return with_column(batch, "offered_wh", 0, 400) if batch.first == 1 else batch


def test_a_doubled_gift_is_found(tmp_path: Path) -> None:
    """A gift booked twice, with bills, totals and hashes to match: giver and takers know that it was one."""
    market = SmallMarket(tmp_path)
    market.play(3)
    market.play(tamper=double_gift)
    market.play(2)
    market.close()
    checker = check(market)
    assert kinds(checker) == {Kind.GIFT_DOUBLED}
    giver = next(each for each in found(checker) if each.home == 1)
    assert giver.account == "given_wh"
    assert isinstance(giver.expected, int)
    assert isinstance(giver.found, int)
    assert giver.found > giver.expected


def test_a_lost_gift_is_found(tmp_path: Path) -> None:
    """Claims that the ledger left out, though the receipts had them."""
    market = SmallMarket(tmp_path)
    market.play(3)
    market.play(tamper=lambda batch: replace(batch, claims=batch.claims[:0]))
    market.close()
    assert Kind.GIFT_LOST in kinds(check(market))


@pytest.mark.parametrize(
    ("wrong", "account"),
    [
        (replace(MODEL, factors=(Factor("base", 101_000), *MODEL.factors[1:])), "base"),
        (replace(MODEL, factors=(*MODEL.factors[:2], Factor("imbalance", 21_000))), "imbalance"),
        (replace(MODEL, cap_ueur_per_kwh=199_000), "price_ueur_per_kwh"),
        (replace(MODEL, initial_ueur_per_kwh=200_000, factors=MODEL.factors[::-1]), "terms"),
    ],
)
def test_a_wrong_price_is_found_though_all_else_follows_from_it(
    tmp_path: Path, wrong: object, account: str
) -> None:
    """Bills, totals, inertia and hashes agree with the price; only who computes it anew sees it."""
    market = SmallMarket(tmp_path, model=wrong)  # type: ignore[arg-type]
    market.play(4)
    market.close()
    checker = check(market)
    assert kinds(checker) == {Kind.PRICE_WRONG}
    assert {each.account for each in found(checker)} == {account}
    assert len(check(market, scenario=False).findings) == 0  # nobody knows the coefficients then


def test_a_wrong_effect_of_an_event_is_found(tmp_path: Path) -> None:
    """A strike of 0.03 €/kWh that was priced as 0.031: found in every slot of it."""
    events = (replace(MODEL.events[0], beta_ueur_per_kwh=31_000), MODEL.events[1])
    market = SmallMarket(tmp_path, model=replace(MODEL, events=events))
    market.raise_event(0, 1, 3)
    market.play(5)
    market.close()
    first = market.first_slot
    assert [(each.slot, each.account, each.expected, each.found) for each in found(check(market))] == [
        (first + 1, "strike", 30_000, 31_000),
        (first + 2, "strike", 30_000, 31_000),
    ]

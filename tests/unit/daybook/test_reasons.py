"""Explanations from the ledger alone: every number is a pencil's, and the parts are the whole."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from energymarket import explain
from energymarket.audit.ledger_file import LedgerFile
from energymarket.audit.source import LedgerDamagedError
from energymarket.daybook import home_reasons, price_reasons, slot_detail, trade_reasons
from energymarket.exits import Exit, Failure, NoSuchObject
from tests.simulation.small_market import START, SmallMarket

LATE = 7
ORDER_WH = 40


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> SmallMarket:
    """Nine slots: a strike of intensity 2 in 3 to 5; in slot 7 a late shard and an order to buy 40 Wh."""
    made = SmallMarket(tmp_path_factory.mktemp("reasons"), slots=10)
    made.raise_event(0, 3, 6, permille=2000)
    made.play(LATE)
    made.play(late=(1,), orders=((2, -ORDER_WH),))
    made.play()
    made.close()
    return made


@pytest.fixture
def ledger(market: SmallMarket) -> Iterator[LedgerFile]:
    """Its file, as the program reads it."""
    file = LedgerFile(market.ledger_path, market.ledger_path)
    file.open()
    yield file
    file.close()


def term(facts: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in facts["terms"] if each["name"] == name)
    return found


def part(facts: dict[str, Any], what: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in facts["parts"] if each["what"] == what)
    return found


# price


def test_the_imbalance_is_told_by_the_meters_of_the_slot_before(ledger: LedgerFile) -> None:
    """750 Wh consumed, 800 produced: (750 − 800) / 1550 × 0.02 €/kWh = −645 µ€; 0.1 + 0.1 − 0.000645."""
    facts = price_reasons.reasons(ledger, START + 1, None)
    imbalance = term(facts, "imbalance")
    assert (imbalance["consumed_wh"], imbalance["produced_wh"]) == (750, 800)
    assert imbalance["factor"] == pytest.approx(-50 / 1550)
    assert imbalance["value_ueur_per_kwh"] == -645
    assert facts["price_ueur_per_kwh"] == 199_355


def test_the_first_slot_has_no_meters_before_it(ledger: LedgerFile) -> None:
    """Nothing was consumed or produced yet, and the words say so."""
    facts = price_reasons.reasons(ledger, START, None)
    assert "factor" not in term(facts, "imbalance")
    assert "no slot before it" in term(facts, "imbalance")["because"]


def test_an_event_is_a_term_and_afterwards_a_part_of_the_inertia(
    ledger: LedgerFile, market: SmallMarket
) -> None:
    """0.03 × 2 in slots 3, 4, 5: 60, 90, 105 thousandths; by γ = 0.5 slot 6 holds 0.0525 of it as inertia."""
    during = price_reasons.reasons(ledger, START + 4, market.compiled)
    assert term(during, "strike")["value_ueur_per_kwh"] == 60_000
    assert term(during, "strike")["intensity_permille"] == 2000
    after = price_reasons.reasons(ledger, START + 6, market.compiled)
    assert "strike" not in {each["name"] for each in after["terms"]}
    assert after["inertia_of_events"] == [{"name": "strike", "value_ueur_per_kwh": 52_500}]
    unnamed = price_reasons.reasons(ledger, START + 6, None)
    assert unnamed["inertia_of_events"] == [{"name": "event kind 1", "value_ueur_per_kwh": 52_500}]


def test_terms_add_up_to_every_price(ledger: LedgerFile) -> None:
    """No remainder, in any slot."""
    for slot in range(START, START + 9):
        facts = price_reasons.reasons(ledger, slot, None)
        assert sum(each["value_ueur_per_kwh"] for each in facts["terms"]) == facts["unclipped_ueur_per_kwh"]


def test_a_price_reads_as_a_sum(ledger: LedgerFile) -> None:
    """Each term on a line with its sign and what made it."""
    told = price_reasons.lines(price_reasons.reasons(ledger, START + 1, None))
    assert told[1] == f"  +0.100000  inertia             0.5 × 0.200000, the price of slot {START}"
    assert told[-2].startswith("  −0.000645  imbalance")
    assert told[-2].endswith("consumed 0.750 kWh, produced 0.800 kWh: factor -0.032258")
    assert told[-1] == "= +0.199355  the sum of the terms, exactly"


def test_a_price_that_a_bound_held_says_which() -> None:
    """0.48 is held by the cap of 0.40."""
    facts = {
        "slot": 5, "time": "slot 5", "gamma": 1.0, "previous_ueur_per_kwh": 480_000, "gap": False,
        "terms": [{"name": "inertia", "value_ueur_per_kwh": 480_000, "because": ""}], "weather_stale": True,
        "unclipped_ueur_per_kwh": 480_000, "price_ueur_per_kwh": 400_000, "inertia_of_events": [],
    }  # fmt: skip
    told = price_reasons.lines(facts)
    assert "→ +0.400000  held by the cap" in told
    assert told[-1] == "  the weather was stale: the last sample was used"


# home


def test_a_takers_gift_names_its_givers_and_its_fee(ledger: LedgerFile) -> None:
    """Home 2 lacks 300 Wh and gets them as gifts; the local fee of 0.01 €/kWh makes 3000 µ€."""
    facts = home_reasons.reasons(ledger, 2, START, None, None)
    gift = part(facts, "got as gifts")
    assert (gift["energy_wh"], gift["price_ueur_per_kwh"], gift["money_ueur"]) == (300, 10_000, -3_000)
    assert sum(each["energy_wh"] for each in gift["homes"]) == 300
    assert {each["home"] for each in gift["homes"]} <= {1, 3}
    assert facts["metered"] == {"produced": 0, "consumed": 300, "imported": 300, "exported": 0}
    assert (facts["imbalance_wh"], facts["money_ueur"]) == (0, -3_000)


def test_what_givers_gave_is_what_takers_got(ledger: LedgerFile) -> None:
    """The same pairs from both sides: 450 Wh."""
    slot = START + 2
    given, got = set(), set()
    for home in (1, 2, 3, 4):
        for each in home_reasons.reasons(ledger, home, slot, None, None)["parts"]:
            for other in each.get("homes", ()):
                if each["what"] == "gave":
                    given.add((home, other["home"], other["energy_wh"]))
                else:
                    got.add((other["home"], home, other["energy_wh"]))
    assert given == got
    assert sum(energy for _, _, energy in given) == 450


def test_what_became_of_a_rest_follows_the_policy(ledger: LedgerFile) -> None:
    """Of 600 Wh offered 450 are taken: home 1 (gives) feeds its rest in unpaid, home 3 sells its own."""
    first = home_reasons.reasons(ledger, 1, START, None, 1)
    third = home_reasons.reasons(ledger, 3, START, None, 3)
    rest = sum(p["energy_wh"] for p in first["parts"] if p["what"] == "fed in unpaid")
    sold = sum(p["energy_wh"] for p in third["parts"] if p["what"] == "sold")
    assert rest + sold == 150
    assert "sold" not in {p["what"] for p in first["parts"]}
    for each in third["parts"]:
        if each["what"] == "sold":  # 0.20 €/kWh
            assert each["money_ueur"] == each["energy_wh"] * 200
            assert "taken back" in each["because"] or "at the gate" in each["because"]


def test_the_parts_are_the_money_of_the_ledger(ledger: LedgerFile) -> None:
    """For every home in every slot, also the one with a late shard and an order: to the µ€."""
    for slot in range(START, START + 9):
        for home in (1, 2, 3, 4):
            facts = home_reasons.reasons(ledger, home, slot, None, None)
            assert facts.get("parts_ueur", 0) == facts["money_ueur"], (slot, home)


def test_a_late_batch_is_the_reason_of_an_empty_row(ledger: LedgerFile) -> None:
    """Homes 3 and 4 missed the gate of slot 7: no reading, and the words say where it goes."""
    facts = home_reasons.reasons(ledger, 4, START + LATE, None, None)
    assert not facts["handed_in"]
    told = "\n".join(home_reasons.lines(facts))
    assert "no batch of it made the gate" in told


def test_a_void_claim_is_told_to_its_taker(ledger: LedgerFile) -> None:
    """What home 2 claimed from home 3, whose batch was late, came from the grid at 0.30 €/kWh."""
    facts = home_reasons.reasons(ledger, 2, START + LATE, None, None)
    received = sum(p["energy_wh"] for p in facts["parts"] if p["what"] == "got as gifts")
    voided = [note for note in facts["notes"] if "is void: OfferUnknown" in note]
    assert len(voided) == 1
    short = part(facts, "imbalance, short")  # of 300 metered, 40 were bought
    assert short["energy_wh"] == 300 - received - ORDER_WH
    assert short["price_ueur_per_kwh"] == 300_000


def test_a_reading_that_holds_a_missed_slot_says_so(ledger: LedgerFile) -> None:
    """Home 4 used 250 Wh in slot 7, unread, and 250 in slot 8: its reading of slot 8 has 500."""
    facts = home_reasons.reasons(ledger, 4, START + LATE + 1, None, None)
    assert facts["metered"]["consumed"] == 500
    assert any("not read in the 1 slot(s) before" in note for note in facts["notes"])
    assert home_reasons.reasons(ledger, 2, START + LATE + 1, None, None)["notes"] == []


def test_a_refused_batch_and_a_gap_are_reasons(tmp_path: Path) -> None:
    """The row's notes of refusals become words for each home of the batch, and for no other."""
    made = SmallMarket(tmp_path, slots=4)
    made.counts.refusals = [{"first": 3, "count": 2, "reason": "RegisterRunsBackwards", "detail": "home 4"}]
    made.play(late=(1,))
    made.counts.refusals = []
    made.play(gap=True)
    made.close()
    file = LedgerFile(made.ledger_path, made.ledger_path)
    file.open()
    told = [home_reasons.reasons(file, home, START, None, None)["notes"] for home in (2, 4)]
    assert not any("refused" in note for note in told[0])
    assert any("RegisterRunsBackwards" in note for note in told[1])
    gap = home_reasons.reasons(file, 2, START + 1, None, None)["notes"]
    assert any("closed late (gap)" in note for note in gap)
    file.close()


# trade


@pytest.mark.parametrize("name", [f"{START + LATE}-000000", f"{START + LATE}-0"])
def test_an_order_is_found_by_receipt_and_by_id(ledger: LedgerFile, name: str) -> None:
    """40 Wh bought by home 2 at the price of slot 7: the total is the product, rounded half up."""
    (facts,) = trade_reasons.reasons(ledger, name, None)
    assert (facts["home"], facts["slot"], facts["energy_wh"]) == (2, START + LATE, -ORDER_WH)
    price = price_reasons.reasons(ledger, START + LATE, None)["price_ueur_per_kwh"]
    assert facts["price_ueur_per_kwh"] == price
    assert facts["total_ueur"] == -((ORDER_WH * price + 500) // 1000)
    assert facts["settled"]["imbalance_wh"] == home_reasons.reasons(
        ledger, 2, START + LATE, None, None
    )["imbalance_wh"]  # fmt: skip


def test_a_receipt_outlives_the_memory_of_its_id(ledger: LedgerFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 96 slots the id is forgotten; the slot still holds the order under its number."""
    monkeypatch.setattr(LedgerFile, "orders_called", lambda _self, _what: [])
    (facts,) = trade_reasons.reasons(ledger, f"{START + LATE}-000000", None)
    assert (facts["id"], facts["home"], facts["energy_wh"]) == (None, 2, -ORDER_WH)
    with pytest.raises(NoSuchObject):
        trade_reasons.reasons(ledger, f"{START + LATE}-000001", None)


def test_a_batch_is_found_by_its_id(ledger: LedgerFile) -> None:
    """`1@slot` is the batch of homes 1 and 2: together they got 300 Wh as gifts."""
    (facts,) = trade_reasons.reasons(ledger, f"1@{START + 2}", None)
    assert (facts["kind"], facts["first"], facts["count"]) == ("batch", 1, 2)
    assert facts["received_wh"] == 300
    assert facts["money_ueur"] == sum(
        home_reasons.reasons(ledger, home, START + 2, None, None)["money_ueur"] for home in (1, 2)
    )


# what cannot be told


def test_what_is_not_there_is_named(ledger: LedgerFile) -> None:
    """A slot beyond the last, a name nobody gave."""
    with pytest.raises(NoSuchObject, match="no slot 5 "):
        slot_detail.detail(ledger, 5)
    with pytest.raises(NoSuchObject, match="no trade 'nix'"):
        trade_reasons.reasons(ledger, "nix", None)


def test_a_row_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    """The seal does not hold: no explanation is made of it."""
    made = SmallMarket(tmp_path, slots=4)
    made.play(2)
    made.close()
    made.store.open(scenario_hash=made.compiled.hash, genesis=b"", homes=4)
    with made.store._transaction() as db:
        db.execute("UPDATE slots SET price_ueur_per_kwh = price_ueur_per_kwh + 1 WHERE slot = ?", (START,))
    made.store.close()
    file = LedgerFile(made.ledger_path, made.ledger_path)
    file.open()
    with pytest.raises(LedgerDamagedError, match="seal"):
        slot_detail.detail(file, START)
    file.close()


def test_the_program_answers_people_and_programs(market: SmallMarket) -> None:
    """Exit codes 0 and 4; JSON of one line with integers."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        where = ["--ledger", str(market.ledger_path), "--compiled", str(market.compiled.directory)]
        return subprocess.run(
            [sys.executable, "-m", "energymarket.explain", *words, *where],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = run("home", "3", str(START), "--json")
    assert json.loads(done.stdout)["policy"] == 3
    assert run("price").stdout.splitlines()[-1].endswith("exactly")
    missing = run("home", "5")
    assert missing.returncode == Exit.NO_SUCH_OBJECT
    assert "the homes 1 to 4" in missing.stderr


@pytest.mark.parametrize(
    "words", [["trade", "\udcff"], ["price", str(10**22)], ["home", "1", str(10**22)], ["home", str(10**22)]]
)
def test_what_can_be_no_name_is_no_such_object(market: SmallMarket, words: list[str]) -> None:
    """Bytes that are no UTF-8, numbers beyond 64 bits: exit 4, as for every other that is not there."""
    given = explain._words([*words, "--ledger", str(market.ledger_path)])
    with pytest.raises(NoSuchObject):
        explain.explain(given)


def test_a_backup_is_explained_as_the_ledger_in_it(
    market: SmallMarket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`explain --ledger FILE` takes what `ledger backup` has made; a damaged or other archive is refused."""
    backup = tmp_path / "backup.tar"
    with tarfile.open(backup, "w") as archive:
        archive.add(market.ledger_path, "market/ledger.db")
    for path in (market.ledger_path, backup):
        assert explain.explain(explain._words(["price", str(START + 1), "--ledger", str(path)])) == Exit.OK
    told = capsys.readouterr().out
    assert told[: len(told) // 2] == told[len(told) // 2 :]
    backup.write_bytes(backup.read_bytes()[:5000])
    with pytest.raises(Failure) as caught:
        explain.explain(explain._words(["price", "--ledger", str(backup)]))
    assert caught.value.code is Exit.IO_ERROR
    with tarfile.open(backup, "w") as archive:
        archive.add(market.ledger_path, "other")
    with pytest.raises(NoSuchObject):
        explain.explain(explain._words(["price", "--ledger", str(backup)]))

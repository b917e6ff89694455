"""The indicators of a ledger, with what was compacted, late, damaged or not known; and their program."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from energymarket import kpi as program
from energymarket.audit.ledger_file import LedgerFile
from energymarket.audit.source import LedgerDamagedError, LedgerMovedError
from energymarket.core.kpi.community_sums import SlotTotals
from energymarket.core.market import Closed
from energymarket.core.passage import Passage
from energymarket.daybook import kpi_words
from energymarket.daybook.indicators import Indicators, indicators_of
from energymarket.daybook.passages import Passages, StretchSums
from energymarket.exits import ConfigError, Exit, NoSuchObject
from tests.simulation.small_market import KEPT_SLOTS, SmallMarket


def read(market: SmallMarket, homes: Path | None = None) -> Indicators:
    """The indicators of its file."""
    file = LedgerFile(market.ledger_path, market.ledger_path)
    file.open()
    try:
        return indicators_of(file, homes, market.compiled)
    finally:
        file.close()


def pieces_of(market: SmallMarket) -> list[Any]:
    """What a reading of its file yields."""
    file = LedgerFile(market.ledger_path, market.ledger_path)
    file.open()
    try:
        return list(Passages(file, 4).read())
    finally:
        file.close()


@pytest.fixture
def market(tmp_path: Path) -> SmallMarket:
    """A market that has not begun."""
    return SmallMarket(tmp_path / "s", slots=10)


def test_ten_slots_add_up_as_on_paper(market: SmallMarket) -> None:
    """8 kWh produced, 7.5 consumed; home 4's battery gave 0.5 kWh that it had at the beginning.

    Homes meet 7500 - 5000 - 500 = 2000 Wh by themselves, together 7500 - 0 - 500 = 8000 - 1000 exported.
    """
    market.play(10)
    market.close()
    made = read(market, market.homes).document()
    energy, kpi = made["energy"], made["kpi"]
    assert (energy["produced_kwh"], energy["consumed_kwh"]) == (8.0, 7.5)
    assert (energy["imported_kwh"], energy["exported_kwh"]) == (5.0, 6.0)
    assert (energy["line_import_kwh"], energy["line_export_kwh"]) == (0.0, 1.0)
    assert (energy["storage_change_kwh"], energy["storage_losses_kwh"]) == (-0.5, 0.0)
    assert energy["given_kwh"] == energy["received_kwh"] == 5.0
    assert kpi["self_sufficiency"]["household"] == round(2000 / 7500, 6)
    assert kpi["self_sufficiency"]["community"] == round(7000 / 7500, 6)
    assert kpi["self_sufficiency"]["community_as_metered"] == 1.0
    assert kpi["self_consumption"]["community"] == 7000 / 8000
    assert kpi["peaks"]["line_export_kw"] == 0.6  # 150 Wh in 15 min, while the battery helps
    assert kpi["home_table"]["storage_change_kwh"] == [0.0, 0.0, 0.0, -0.5]
    assert kpi["home_table"]["fees_eur"] == [0.0, 0.03, 0.0, 0.02]  # 0.01 €/kWh of 3 and 2 kWh received
    assert kpi["notes"] == []


def test_the_bill_is_the_ledger_s_money(market: SmallMarket) -> None:
    """Per home what the slots' money adds up to, in a run with orders, a late shard and a strike."""
    market.raise_event(0, 3, 6)
    played: list[Closed] = [market.play(), market.play(late=(1,), orders=((2, -40), (3, 25))), market.play()]
    market.close()
    expected = np.zeros(4, np.int64)
    for closed in played:
        columns = closed.settlement.columns
        expected[columns["home"] - 1] -= columns["money_ueur"]
    found = read(market).document()
    assert found["kpi"]["home_table"]["bill_eur"] == (expected / 1e6).tolist()
    parts = found["money"]
    sum_of_parts = parts["purchases_eur"] - parts["sales_eur"] + parts["fees_eur"] + parts["imbalance_eur"]
    assert sum_of_parts == pytest.approx(parts["bill_eur"], abs=2e-6 * 4 * 3)


def test_registers_of_another_slot_are_not_believed(market: SmallMarket, tmp_path: Path) -> None:
    """Without files, or with those of a market that has gone on, what batteries hold is not known."""
    market.play(3)
    before = tmp_path / "before"
    before.mkdir()
    for path in market.homes.iterdir():
        (before / path.name).write_bytes(path.read_bytes())
    market.play(3)
    market.close()
    for homes in (None, tmp_path / "nowhere", before):
        made = read(market, homes).document()
        assert made["energy"]["storage_change_kwh"] is None
        assert made["kpi"]["self_sufficiency"]["community"] is None
        assert made["kpi"]["self_sufficiency"]["community_as_metered"] == 1.0
        assert "registers of 4 homes" in made["kpi"]["notes"][0]


def test_readings_that_hold_the_energy_of_slots_before_are_told(market: SmallMarket) -> None:
    """A shard of two homes is late once, and a slot is a gap for all four: 2 + 4 readings."""
    market.play(2)
    market.play(late=(1,))
    market.play(2)
    market.play(gap=True)
    market.play(2)
    market.close()
    assert read(market).carried == 6
    assert any(note.startswith("6 readings hold") for note in read(market).document()["kpi"]["notes"])


def test_a_passage_ends_at_a_hole_and_at_its_size(market: SmallMarket) -> None:
    """130 slots are passages of 64, 64 and 2; homes without a row in a slot have zeros."""
    market.play(129)
    market.play(late=(1,))
    market.close()
    pieces = pieces_of(market)
    assert all(isinstance(each, Passage) for each in pieces)
    assert [each.slots for each in pieces] == [64, 64, 2]
    assert [each.first_slot - market.first_slot for each in pieces] == [0, 64, 128]
    assert pieces[-1].columns["consumed_wh"].tolist() == [[100, 300, 100, 250], [100, 300, 0, 0]]
    assert pieces[0].import_ueur_per_kwh.tolist() == [300_000] * 64


def test_a_slot_that_is_missing_parts_two_passages(market: SmallMarket) -> None:
    """The checker calls it a finding; here what is beside it stays in the slots that it belongs to."""
    market.play(5)
    market.close()
    spoil(market, "DELETE FROM slots WHERE slot = ?", 2)
    pieces = pieces_of(market)
    assert [(each.first_slot - market.first_slot, each.slots) for each in pieces] == [(0, 2), (3, 2)]


def test_compacted_days_keep_energy_bill_line_and_price(tmp_path: Path) -> None:
    """The same run with and without its oldest days compacted: what is said of both is equal."""
    market = SmallMarket(tmp_path / "s", slots=KEPT_SLOTS + 10)
    market.play(KEPT_SLOTS)
    whole = read(market, market.homes).document()
    market.compact()
    market.close()
    kinds = [type(each) for each in pieces_of(market)]
    assert SlotTotals in kinds
    assert StretchSums in kinds
    found = read(market, market.homes)
    made, gone = found.document(), KEPT_SLOTS - found.tally.detail_slots
    assert gone > 0
    short_and_long = {"short_kwh", "long_kwh"}
    for name in set(whole["energy"]) - short_and_long:
        assert made["energy"][name] == whole["energy"][name], name
    assert made["money"]["bill_eur"] == whole["money"]["bill_eur"]
    assert made["money"]["detail_bill_eur"] != whole["money"]["detail_bill_eur"]
    for name in ("self_sufficiency", "self_consumption", "price", "slots"):
        assert made["kpi"][name] == whole["kpi"][name], name
    assert made["kpi"]["peaks"]["coincidence_factor"] is None
    assert any(f"the detail of {gone} slots" in note for note in made["kpi"]["notes"])


def spoil(market: SmallMarket, statement: str, slot: int) -> None:
    """Change the row of a slot of the run (counted from 0) behind the ledger's back."""
    database = sqlite3.connect(market.ledger_path)
    database.execute(statement, (market.first_slot + slot,))
    database.commit()
    database.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE slots SET price_ueur_per_kwh = 1 WHERE slot = ?", "the seal does not hold"),
        ("UPDATE slots SET body = NULL WHERE slot = ?", "its detail is gone"),
        ("UPDATE slots SET body = x'00' WHERE slot = ?", "not a slot|cut off"),
    ],
)
def test_a_ledger_that_cannot_be_believed_gives_no_figures(
    market: SmallMarket, statement: str, said: str
) -> None:
    """A changed price, a body that is gone without sums or is none: an error that names it."""
    market.play(3)
    market.close()
    spoil(market, statement, 1)
    with pytest.raises(LedgerDamagedError, match=said):
        read(market)


def test_a_ledger_that_is_compacted_meanwhile_is_read_again(market: SmallMarket) -> None:
    """Once moved, the reading begins anew and counts nothing twice; moving on and on ends in an error."""
    market.play(3)
    market.close()
    file = LedgerFile(market.ledger_path, market.ledger_path)
    file.open()

    class Moving:
        """The file, moved away under the reader so often."""

        def __init__(self, times: int) -> None:
            self.times = times

        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

        def rows(self, first: int) -> Iterator[Any]:
            yield from list(file.rows(first))[:2]
            if self.times:
                self.times -= 1
                raise LedgerMovedError(market.first_slot)
            yield from list(file.rows(first))[2:]

    once: Any = Moving(1)
    assert indicators_of(once, None, market.compiled).tally.community.slots == 3
    always: Any = Moving(99)
    with pytest.raises(LedgerDamagedError, match="compacts faster"):
        indicators_of(always, None, market.compiled)
    file.close()


# the program


@pytest.fixture
def ask(market: SmallMarket, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the program says of three slots."""
    market.play(3)
    market.close()
    where = ["--state", str(market.directory), "--compiled", str(market.compiled.directory)]

    def said(*words: str) -> str:
        assert program.kpi(program._words([*where, *words])) == Exit.OK
        return capsys.readouterr().out

    return said


def test_the_program_answers_as_json_and_in_words(ask: Callable[..., str]) -> None:
    """One document with the table of homes; in words without, and nothing that a person could not read."""
    made = json.loads(ask("--json"))
    assert made["type"] == "kpi"
    assert made["energy"]["consumed_kwh"] == 2.25
    assert made["kpi"]["home_table"]["home"] == [1, 2, 3, 4]
    words = ask()
    assert "3 slots of 15 min, 4 homes" in words
    assert "2.250 kWh" in words
    assert "None" not in words
    assert "nan" not in words


def test_the_program_answers_for_one_home(ask: Callable[..., str]) -> None:
    """Home 4: 0.75 kWh consumed, 0.45 imported; the battery's 0.3 were there before, so it met nothing."""
    made = json.loads(ask("--json", "--home", "4"))
    assert (made["type"], made["home"], made["imported_kwh"]) == ("kpi_home", 4, 0.45)
    assert made["self_sufficiency"] == 0.0
    words = ask("--home", "4")
    assert words.startswith("home 4, ")
    assert "0.450 kWh" in words


def test_a_home_that_is_not_there_is_named(ask: Callable[..., str]) -> None:
    """Home 5 of 4."""
    with pytest.raises(NoSuchObject, match="homes 1 to 4"):
        ask("--home", "5")


def test_without_its_scenario_a_ledger_has_no_slot_length(
    market: SmallMarket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is looked for by its hash among what was compiled here; one of another scenario is refused."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    market.play(3)
    market.close()
    given = program._words(["--state", str(market.directory)])
    with pytest.raises(ConfigError, match="--compiled DIR"):
        program.kpi(given)
    place = tmp_path / "cache/energy-market/compiled"
    place.mkdir(parents=True)
    (place / ("0" * 32)).symlink_to(market.compiled.directory)
    assert program.kpi(given) == Exit.OK
    other = SmallMarket(tmp_path / "other", slots=11)
    given = program._words(["--state", str(market.directory), "--compiled", str(other.compiled.directory)])
    with pytest.raises(ConfigError, match="another scenario"):
        program.kpi(given)
    other.close()


def test_an_empty_ledger_is_no_division_by_zero(market: SmallMarket) -> None:
    """Before the first slot: an answer with a reason."""
    market.close()
    where = ["--state", str(market.directory), "--compiled", str(market.compiled.directory)]
    with pytest.raises(NoSuchObject, match="still empty"):
        program.kpi(program._words(where))


def test_the_verb_runs_the_program(market: SmallMarket) -> None:
    """`energyctl kpi --state DIR --home ID --json` ends as the program does."""
    market.play(3)
    market.close()
    words = ["kpi", "--state", str(market.directory), "--compiled", str(market.compiled.directory)]
    done = subprocess.run(
        [sys.executable, "-c", "import energyctl.app; raise SystemExit(energyctl.app.main())", *words,
         "--home=2", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["imported_kwh"] == 0.9


def test_every_line_of_the_words_has_a_unit_or_is_a_share(market: SmallMarket) -> None:
    """No raw name of the document is left in the words."""
    market.play(3)
    market.close()
    made = read(market, market.homes)
    lines = kpi_words.lines_of(made.document(), made.compiled)
    lines += kpi_words.home_lines(made.of_home(1), made.document(), made.compiled)
    assert not [line for line in lines if "_" in line]

"""The report: a balance that is exact, a price that is the sum of its causes, and files that are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from energymarket.audit import tables
from energymarket.audit.figures import Figures, Gathered
from energymarket.audit.ledger_file import LedgerFile
from energymarket.audit.reading import Check
from energymarket.daybook import causes, words
from energymarket.daybook.balance import balance_of
from energymarket.exits import Exit
from energymarket.report import _words, report
from tests.simulation.small_market import SmallMarket


@pytest.fixture
def market(tmp_path: Path) -> SmallMarket:
    """Ten slots, a strike in three of them, a late shard, an order."""
    made = SmallMarket(tmp_path, slots=10)
    made.raise_event(0, 3, 6)
    made.play(4)
    made.play(late=(1,), orders=((2, -40),))
    made.play(5)
    made.close()
    return made


def gathered(market: SmallMarket) -> Figures:
    file = LedgerFile(market.ledger_path, market.ledger_path)
    file.open()
    found = Gathered()
    assert len(Check(file, market.homes, market.compiled, on_slot=found.hear).run().findings) == 0
    file.close()
    return found.figures()


def test_the_balance_adds_up(market: SmallMarket) -> None:
    """8000 Wh produced, 7500 consumed, 500 out of the battery; meters and contracts agree."""
    balance = balance_of(gathered(market))
    assert (balance.produced_wh, balance.consumed_wh) == (8000, 7500)
    assert balance.in_batteries_wh == -500
    assert balance.grid_difference_wh == 0
    assert sum(balance.money_ueur.values()) == 0
    assert sum(balance.energy_wh.values()) == 0


def test_the_share_of_gifts_is_of_all_energy_that_changed_hands(tmp_path: Path) -> None:
    """One slot: 600 Wh offered, 450 taken, the other 150 sold or fed in: 450 / 600 = 75 %."""
    market = SmallMarket(tmp_path)
    market.play(1)
    market.close()
    balance = balance_of(gathered(market))
    assert (balance.given_wh, balance.exchanged_wh, balance.gifts_share) == (450, 600, 0.75)


def test_the_price_is_the_sum_of_its_causes(market: SmallMarket) -> None:
    """The strike's part is 0.03 €/kWh in its first slot, 0.045 in the second, half of the last after it."""
    slots = gathered(market)
    parts = causes.causes_of(slots)
    prices = slots.price_ueur_per_kwh
    np.testing.assert_allclose(sum(parts.values()), prices, atol=1e-6)
    strike = parts[causes.EVENTS]
    assert strike[2:7].tolist() == [0, 30_000, 45_000, 52_500, 26_250]


def test_an_event_is_one_spell(market: SmallMarket) -> None:
    """Three slots in a row, from the fourth on."""
    first = market.first_slot
    assert list(words.spells_of(gathered(market))) == [("strike", first + 3, first + 5)]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("energy_wh", 1234, ("energy_kwh", "1.234")),
        ("energy_wh", -5, ("energy_kwh", "-0.005")),
        ("price_ueur_per_kwh", 153_750, ("price_eur_per_kwh", "0.153750")),
        ("money_ueur", -1, ("money_eur", "-0.000001")),
        ("gifts", 3, ("gifts", "3")),
    ],
)
def test_numbers_in_tables_are_exact(name: str, value: int, shown: tuple[str, str]) -> None:
    """Straight from the integer, with the unit in the column's name."""
    assert tables.shown(name, value) == shown


def test_the_report_is_written_and_checked(market: SmallMarket, tmp_path: Path) -> None:
    """Text, tables and one picture in two formats; exit 0 as the checker agrees."""
    out = tmp_path / "out"
    given = [
        "--state",
        str(market.directory),
        "--compiled",
        str(market.directory / "compiled"),
        "--out",
        str(out),
    ]
    assert report(_words(given)) == Exit.OK
    assert {path.name for path in out.iterdir()} == {
        "report.txt", "prices.csv", "homes.csv", "day.png", "day.svg",
    }  # fmt: skip
    text = (out / "report.txt").read_text()
    assert "produced                                               8.000 kWh" in text
    assert "event strike" in text
    assert (out / "day.png").read_bytes().startswith(b"\x89PNG")


def test_tables_only_and_json(
    market: SmallMarket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `energyctl ledger export` asks for."""
    out = tmp_path / "out"
    given = ["--ledger", str(market.ledger_path), "--out", str(out), "--csv-only", "--json"]
    assert report(_words(given)) == Exit.OK
    files = {Path(path).name for path in json.loads(capsys.readouterr().out)["files"]}
    assert files == {"prices.csv", "homes.csv", "homes_by_slot.csv", "gifts.csv"}


def test_an_empty_ledger_has_a_report_too(tmp_path: Path) -> None:
    """A market that was stopped before its first slot."""
    market = SmallMarket(tmp_path)
    market.close()
    given = ["--state", str(market.directory), "--compiled", str(market.directory / "compiled")]
    assert report(_words([*given, "--out", str(tmp_path / "out")])) == Exit.OK
    assert "no slot was settled" in (tmp_path / "out" / "report.txt").read_text()

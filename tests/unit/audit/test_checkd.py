"""energy-checkd as a program: exit codes, words and JSON, and what it refuses to read."""

from __future__ import annotations

import argparse
import fcntl
import json
import socket
from pathlib import Path

import pytest

from energymarket import checkd, ledger_tool
from energymarket.audit import opening
from energymarket.exits import (
    ConfigError,
    Exit,
    Failure,
    NoSuchObject,
    NotRunning,
    SecondInstance,
    Unreachable,
)
from energymarket.runtime.service import StopFlag
from energymarket.wire.messages import CONTROL_SOCKET
from tests.simulation.planting import Plant, opened, plant
from tests.simulation.small_market import SmallMarket


@pytest.fixture
def market(tmp_path: Path) -> SmallMarket:
    """Four slots, closed."""
    made = SmallMarket(tmp_path)
    made.play(4)
    made.close()
    return made


def run(*words: object) -> int:
    return checkd.check_once(checkd._words([str(word) for word in words]))


def state_of(market: SmallMarket) -> tuple[object, ...]:
    return ("--state", market.directory, "--compiled", market.directory / "compiled")


def test_a_clean_ledger_is_exit_0_and_says_what_was_checked(
    market: SmallMarket, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slots, energy, money, registers; 4 · 800 Wh were produced."""
    assert run(*state_of(market)) == Exit.OK
    said = capsys.readouterr().out
    assert "4 slots" in said
    assert "produced 3.200 kWh" in said
    assert "own registers of 4 homes" in said
    assert said.endswith("nothing is wrong\n")


def bill_one_too_high(slot: Plant) -> None:
    slot.add(2, money_ueur=1)


def test_a_finding_is_exit_5_and_says_where(market: SmallMarket, capsys: pytest.CaptureFixture[str]) -> None:
    """Slot, home, account, expected and found, for people and for programs."""
    plant(market.ledger_path, market.first_slot + 2, bill_one_too_high)
    assert run(*state_of(market)) == Exit.DEGRADED
    said = capsys.readouterr().out
    assert f"bill-wrong: slot {market.first_slot + 2}, home 2, money_ueur: " in said
    assert run(*state_of(market), "--json") == Exit.DEGRADED
    first = json.loads(capsys.readouterr().out)["findings"][0]
    assert (first["kind"], first["slot"], first["home"]) == ("bill-wrong", market.first_slot + 2, 2)
    assert first["found"] == first["expected"] + 1


def test_the_chain_alone_sees_no_bills_but_every_byte(market: SmallMarket) -> None:
    """--chain-only opens no body; a byte of one is found all the same."""
    plant(market.ledger_path, market.first_slot + 2, bill_one_too_high)
    words = ("--chain-only", "--ledger", market.ledger_path)
    assert run(*words) == Exit.OK
    with opened(market.ledger_path) as db:
        db.execute(
            "UPDATE slots SET body = CAST(body || x'00' AS BLOB) WHERE slot = ?", (market.first_slot + 1,)
        )
    assert run(*words) == Exit.DEGRADED
    assert ledger_tool.verify(ledger_tool._words(["verify", *map(str, words[1:])])) == Exit.DEGRADED


def test_the_ledger_tool_verifies_and_exports(market: SmallMarket, tmp_path: Path) -> None:
    """Numbers are exact: kWh with three digits, € with six."""
    where = ["--ledger", str(market.ledger_path), "--compiled", str(market.directory / "compiled")]
    assert ledger_tool.verify(ledger_tool._words(["verify", *where])) == Exit.OK
    assert (
        ledger_tool.export(ledger_tool._words(["export", *where, "--csv", str(tmp_path / "csv")])) == Exit.OK
    )
    names, first, *_ = (tmp_path / "csv" / "homes.csv").read_text().splitlines()
    line = dict(zip(names.split(","), first.split(","), strict=True))
    assert (line["policy"], line["produced_kwh"], line["consumed_kwh"]) == ("give", "2.000", "0.400")
    slots = (tmp_path / "csv" / "homes_by_slot.csv").read_text().splitlines()
    assert len(slots) == 1 + 4 * 4
    prices = (tmp_path / "csv" / "prices.csv").read_text().splitlines()
    line = dict(zip(prices[0].split(","), prices[1].split(","), strict=True))
    assert (line["price_eur_per_kwh"], line["term_inertia_eur_per_kwh"]) == ("0.200000", "0.100000")
    assert line["import_eur_per_kwh"] == "0.300000"


def test_a_ledger_that_a_market_has_open_is_refused(market: SmallMarket) -> None:
    """Its lock says so; whoever wants to look asks the market."""
    with (market.ledger_path.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SecondInstance):
            run("--ledger", market.ledger_path)
    assert run("--ledger", market.ledger_path) == Exit.OK


def test_what_is_not_there_is_named(market: SmallMarket, tmp_path: Path) -> None:
    """No ledger, no market, no compiled scenario: each with its own exit code."""
    with pytest.raises(NoSuchObject):
        run("--ledger", tmp_path / "nothing.db")
    with pytest.raises(NotRunning):
        run("--run", tmp_path)
    with pytest.raises(ConfigError):
        run("--ledger", market.ledger_path, "--compiled", tmp_path)


def test_a_file_that_is_no_database_is_a_finding(
    market: SmallMarket, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a traceback."""
    market.ledger_path.write_bytes(b"garbage" * 1000)
    assert run("--ledger", market.ledger_path, "--json") == Exit.DEGRADED
    assert json.loads(capsys.readouterr().out)["findings"][0]["kind"] == "database-damaged"


def test_watching_needs_a_market() -> None:
    """A file does not grow."""
    with pytest.raises(SystemExit) as ended:
        checkd._words(["--watch", "--ledger", "x"])
    assert ended.value.code == Exit.USAGE


@pytest.mark.parametrize(
    "went",
    [
        NotRunning("control: No such file or directory"),
        Unreachable("control: Connection reset by peer"),
        Failure("Slots: io.energymarket.Control.Stopping {}", code=Exit.TRY_AGAIN),
    ],
    ids=lambda went: went.code.name,
)
def test_a_market_that_goes_while_it_is_looked_at_is_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, went: Failure
) -> None:
    """With --stay the checker outlives a market that closes between two of its questions."""
    path, stop, tries = tmp_path / CONTROL_SOCKET, StopFlag(), []

    def gone(_stack: object, words: argparse.Namespace, _on_idle: object) -> None:
        """The socket took the first question; the second finds nobody."""
        tries.append(words.run)
        if len(tries) == 3:
            stop.stop("seen enough")
        raise went

    monkeypatch.setattr(opening, "open_ledger", gone)
    words = ["--watch", "--chain-only", "--run", str(tmp_path)]
    with socket.socket(socket.AF_UNIX) as listener, stop:
        listener.bind(str(path))
        listener.listen(8)
        with pytest.raises(type(went)):
            checkd.Watcher(checkd._words(words), stop).run()
        assert checkd.Watcher(checkd._words([*words, "--stay"]), stop).run() == Exit.OK
    assert tries == [tmp_path] * 3

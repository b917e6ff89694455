"""`energyctl wait` hears the market over a real socket; it polls nothing, and goes on after a restart."""

from __future__ import annotations

import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from energyctl.app import run as run_words
from energyctl.exits import Exit, ProblemError
from energyctl.session import Session
from energyctl.verbs import wait
from energymarket.runtime.clock import monotonic_s
from tests.unit.ctl.talker import GOES, Talker, snapshot

SLOT = {"phase": "clearing", "homes": 2, "homes_joined": 2, "end_slot": None}


def waited(run: Path, *words: str) -> int:
    return run_words(Session(as_json=False, run=str(run)), ["wait", *words])


def refused(run: Path, *words: str) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        waited(run, *words)
    return caught.value


def committed(slot: int, price_ueur_per_kwh: int = 200_000) -> dict[str, Any]:
    return snapshot(type="slot", slot=slot, price_ueur_per_kwh=price_ueur_per_kwh, **SLOT)


def test_a_slot_is_waited_for(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its commit ends the wait, not the one before; one connection, one question, for phases too."""
    with Talker(run_dir, [committed(5), 0.05, committed(6), 0.05, committed(7)]) as market:
        assert waited(run_dir, "slot", "7") == Exit.OK
    assert capsys.readouterr().out == "slot 7 is committed, 0.200000 €/kWh\n"
    assert market.connections == 1
    assert [(each["method"], each["parameters"], each["more"]) for each in market.asked] == [
        ("io.energymarket.Control.Watch", {"phases": True}, True)
    ]


def test_a_market_that_restarts_is_waited_for_again(run_dir: Path) -> None:
    """The connection ends without a word; the next one brings the slot."""
    with Talker(run_dir, [committed(5), GOES], [GOES], [committed(9)]) as market:
        assert waited(run_dir, "slot", "8", "--timeout", "10") == Exit.OK
    assert market.connections == 3


def test_a_market_that_is_not_there_yet_is_waited_for(run_dir: Path) -> None:
    """Its socket appears after 0.3 s."""
    with Talker(run_dir / "run", [committed(7)], before_s=0.3):
        assert waited(run_dir / "run", "slot", "7", "--timeout", "10") == Exit.OK


@pytest.mark.parametrize("there", [True, False])
def test_time_is_over(run_dir: Path, there: bool) -> None:
    """Exit code 6 in time, with what was seen last; the same where there is no market at all."""
    began_s = monotonic_s()
    with Talker(run_dir / "run", *([[committed(5)]] if there else []), before_s=0.0 if there else 100.0):
        problem = refused(run_dir / "run", "slot", "7", "--timeout", "0.4")
    assert 0.4 <= monotonic_s() - began_s < 3
    assert problem.exit_code is Exit.WAIT_TIMED_OUT
    assert problem.message == "slot 7 is committed: not within 0.4 s"
    assert ("the last slot is 5" if there else "the market is not running") in problem.why
    assert problem.hint


def test_a_market_that_takes_the_question_and_freezes_does_not_hold_us(run_dir: Path) -> None:
    """It listens and answers nothing: exit code 6 as well."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "control"))
        listener.listen(1)
        problem = refused(run_dir, "ready", "--timeout", "0.3")
    assert (problem.exit_code, problem.why) == (Exit.WAIT_TIMED_OUT, "the market has not answered")


def test_what_cannot_come_is_said_at_once(run_dir: Path) -> None:
    """A run that ends with slot 9 has no slot 10: exit code 4, without a time-out."""
    with Talker(run_dir, [snapshot(slot=5, phase="trade", end_slot=9)]):
        problem = refused(run_dir, "slot", "10")
    assert (problem.exit_code, problem.message) == (Exit.NO_SUCH_OBJECT, "slot 10 will not come")
    assert problem.why == "it ends with slot 9"


@pytest.mark.parametrize(
    ("members", "is_ready"),
    [
        ({"phase": "exchange", "homes": 3, "homes_joined": 3}, True),
        ({"phase": "trade", "homes": 3, "homes_joined": 2}, False),
        ({"phase": "starting", "homes": 3, "homes_joined": 3}, False),
        ({"phase": "stopped", "homes": 3, "homes_joined": 3}, False),
        ({"phase": "exchange"}, False),
    ],
)
def test_ready_is_all_homes_in_a_slot(members: dict[str, Any], is_ready: bool) -> None:
    """Neither a market without its homes nor homes without a slot."""
    assert wait._ready(members) is is_ready


@pytest.mark.parametrize(
    ("comparison", "wanted", "now", "holds"),
    [
        ("<", "0.20", 199_999, True),
        ("<", "0.20", 200_000, False),
        ("<=", "0.20", 200_000, True),
        (">", "0.20", 200_000, False),
        (">=", "0.2", 200_000, True),
        ("=", "0.153750", 153_750, True),
        ("=", "0.1537500001", 153_750, False),
        ("<", "-0.05", -50_001, True),
    ],
)
def test_prices_compare_exactly(comparison: str, wanted: str, now: int, holds: bool) -> None:
    """In µ€/kWh, without the rounding of binary fractions."""
    assert wait._price(comparison, Decimal(wanted))({"slot": 1, "price_ueur_per_kwh": now}) is holds


def test_the_price_of_the_open_slot_counts(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One can trade at it; the price of the slot before is history."""
    opened = {"slot": 5, "price_ueur_per_kwh": 100_000, "phase": "exchange"}
    script = [
        snapshot(**opened, open_slot=6, open_price_ueur_per_kwh=300_000),
        snapshot(**opened, open_slot=6, open_price_ueur_per_kwh=150_000),
    ]
    with Talker(run_dir, script):
        assert waited(run_dir, "price", "<0.2") == Exit.OK
    assert capsys.readouterr().out == "0.150000 €/kWh in slot 6\n"


@pytest.mark.parametrize(
    "words", [["price"], ["price", "0.2"], ["price", "<", "x"], ["slot"], ["slot", "-1"], ["soon"]]
)  # fmt: skip
def test_what_is_nothing_to_wait_for_is_refused(run_dir: Path, words: list[str]) -> None:
    """Exit code 2 at once, with an example."""
    assert refused(run_dir, *words).exit_code is Exit.USAGE


@pytest.mark.parametrize("words", [["price", "<0.3"], ["price", "<", "0.3"], ["price", ">", "-0.1"]])
def test_a_comparison_may_be_one_word_or_two(run_dir: Path, words: list[str]) -> None:
    """Also with a number below zero."""
    with Talker(run_dir, [committed(5)]):
        assert waited(run_dir, *words, "--timeout", "5") == Exit.OK


@pytest.mark.parametrize("seconds", ["nan", "inf"])
def test_no_endless_patience_by_number(run_dir: Path, seconds: str) -> None:
    """A time-out that can never be over is a usage error."""
    assert refused(run_dir, "ready", "--timeout", seconds).exit_code == Exit.USAGE


def test_a_reload_that_is_waited_for_in_vain_has_changed_the_coefficients(run_dir: Path) -> None:
    """Exit code 6, and the words say what is changed and from which slot on."""
    reply = {"parameters": {"changed": ["price.gamma"], "needs_restart": [], "from_slot": 9}}
    with Talker(run_dir, [reply], [committed(5)]), pytest.raises(ProblemError) as caught:
        run_words(Session(as_json=False, run=str(run_dir)), ["reload", "--wait", "--timeout", "0.3"])
    assert caught.value.exit_code == Exit.WAIT_TIMED_OUT
    assert "durable all the same (changed from slot 9 on: price.gamma)" in caught.value.why

"""The operator's verbs against the real daemons: what they say is held against the market and its ledger."""

from __future__ import annotations

import json
import os
import re
import signal
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from energymarket.runtime.clock import monotonic_s
from tests.ipc.suite_fixture import Suite, real_at
from tests.unit.ctl.test_exposition import parsed

pytestmark = pytest.mark.timeout(180)


TRADE = re.compile(r"home \d+ (buys|sells) \d+ Wh")


@contextmanager
def detached(path: Path) -> Iterator[Suite]:
    """The assignment's market, a slot in 0.3 s, all homes in it; stopped at the end."""
    suite = real_at(path)
    words = ("up", "classic", "--detach", "--speed", "3000", "--state", str(path / "state"))
    started = suite.ctl(*words, timeout_s=120)
    assert started.returncode == 0, started.stderr
    try:
        assert suite.ctl("wait", "--timeout", "60").returncode == 0
        yield suite
    finally:
        suite.ctl("stop")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A market for the tests that only look."""
    with detached(tmp_path_factory.mktemp("ops")) as suite:
        yield suite


def document(suite: Suite, *words: str) -> dict[str, Any]:
    done = suite.ctl("--json", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def last_slot(suite: Suite) -> int:
    """The last committed slot; the first one is awaited."""
    assert suite.ctl("wait", "slot", "0", "--timeout", "60").returncode == 0
    slot: int = document(suite, "status")["last_slot"]["slot"]
    return slot


def test_a_slot_that_is_waited_for_is_committed(market: Suite) -> None:
    """When `wait slot N` returns, N is in the ledger; it was not before."""
    wanted = last_slot(market) + 12
    assert market.ctl("explain", "price", str(wanted)).returncode == 4
    waited = document(market, "wait", "slot", str(wanted), "--timeout", "30")
    assert waited["snapshot"]["slot"] == wanted
    assert document(market, "explain", "price", str(wanted))["slot"] == wanted


def test_all_homes_trade_when_the_market_is_ready(market: Suite) -> None:
    """The words of `wait` are those of `status`."""
    status = document(market, "status")
    assert status["homes_joined"] == status["homes"]
    assert f"{status['homes']} of {status['homes']} homes" in market.ctl("wait").stdout


def test_metrics_are_those_of_the_market(market: Suite) -> None:
    """Read back by the strict parser; the slot lies between two answers of `status`."""
    before = last_slot(market)
    found = parsed(market.ctl("metrics").stdout)
    after = last_slot(market)
    assert found["energy_market_up", ()] == 1
    assert before <= found["energy_market_slot", ()] <= after
    assert found["energy_market_homes_joined", ()] == document(market, "status")["homes"]
    assert found["energy_market_external_up", ()] == 1
    consumed = found["energy_market_energy_joules_total", (("kind", "consumed"),)]
    assert consumed > 0
    assert consumed % 3600 == 0


def test_metrics_without_a_market_are_zero_and_no_failure(tmp_path: Path) -> None:
    """`energy_market_up 0`, exit code 0: a scrape must not fail because the market has."""
    done = real_at(tmp_path).ctl("metrics")
    assert done.returncode == 0
    assert parsed(done.stdout)["energy_market_up", ()] == 0


def test_check_is_a_plugin(market: Suite, tmp_path: Path) -> None:
    """0 for a market that is well, 1 beyond a bound, 2 without a market, 3 for wrong words."""
    assert market.ctl("check", "--late-warning", "60", "--late-critical", "60").returncode == 0
    assert market.ctl("check", "--price-warning", "100:", "--late-critical", "60").returncode == 1
    assert real_at(tmp_path).ctl("check").returncode == 2
    for words in (["--no-such-option"], ["--price-warning", "a"], ["--late-warning"]):
        assert market.ctl("check", *words).returncode == 3


def test_explain_is_the_same_live_and_from_the_file(tmp_path: Path) -> None:
    """A slot explained while the market runs, and again from the state that it leaves."""
    with detached(tmp_path) as market:
        slot = last_slot(market)
        ids = [str(row["home"]) for row in document(market, "homes", "--count", "3")["homes"]]
        live = {home: document(market, "explain", "home", home, str(slot)) for home in ids}
        price = document(market, "explain", "price", str(slot))
        assert price["terms"] == [
            {**mine, **theirs}
            for mine, theirs in zip(
                price["terms"],
                document(market, "price", "--explain", "--slot", str(slot))["terms"],
                strict=True,
            )
            if theirs.pop("value_eur_per_kwh") is not None
        ]
        compiled = json.loads((market.run / "up.json").read_text())["compiled"]
        assert market.ctl("stop").returncode == 0
        where = ["--state", str(market.path / "state"), "--compiled", compiled]
        for home in ids:
            assert document(market, "explain", "home", home, str(slot), *where) == live[home]
        assert document(market, "explain", "price", str(slot), *where) == price


def test_a_bug_report_of_a_running_market_has_its_totals_and_no_homes(tmp_path: Path) -> None:
    """Hash and totals of the last slot are in it; rows of homes are not. Frozen, it is made all the same."""
    with detached(tmp_path) as suite:
        suite.ctl("wait", "slot", str(1 + document(suite, "price")["slot"]), "--timeout", "30")
        document(suite, "bug-report", "-o", str(tmp_path / "a.tar.gz"))
        with tarfile.open(tmp_path / "a.tar.gz") as archive:
            member = archive.extractfile("a/ledger.json")
            assert member is not None
            ledger = json.loads(member.read())
            log = archive.extractfile("a/up.log")
            assert log is not None
            said = log.read().decode()
        assert TRADE.search((suite.run / "up.log").read_text())  # its six homes are processes of their own
        assert not TRADE.search(said)
        assert len(ledger["hash"]) == 64
        assert ledger["totals"]["consumed_wh"] > 0
        assert not {"homes", "gifts", "orders"} & set(ledger)
        found = document(suite, "status")
        # Who would replace it goes first: on a busy machine a report takes longer than the watchdog waits.
        pids = [*(each["pid"] for each in found["processes"] if each["name"] == "up"), found["market"]["pid"]]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            frozen = document(suite, "bug-report", "-o", str(tmp_path / "b.tar.gz"))
        finally:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)
        assert "ledger.json" in frozen["left_out"]
        assert "status.json" in frozen["parts"]


def test_a_frozen_market_is_told_without_waiting(tmp_path: Path) -> None:
    """`status`, `check` and `metrics` answer at once, and say what it is: 69, 2, and `unreachable`."""
    with detached(tmp_path) as suite:
        pid = document(suite, "status")["market"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            began_s = monotonic_s()
            status, check, metrics = (suite.ctl(verb) for verb in ("status", "check", "metrics"))
            took_s = monotonic_s() - began_s
        finally:
            os.kill(pid, signal.SIGCONT)
    assert (status.returncode, check.returncode, metrics.returncode) == (69, 2, 0)
    assert f"process {pid} is stopped" in status.stdout
    assert f"process {pid} is stopped" in check.stdout
    assert parsed(metrics.stdout)["energy_market_state", (("state", "unreachable"),)] == 1
    assert took_s < 3  # three starts of Python; each waited-for answer would be two seconds more

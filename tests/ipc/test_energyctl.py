"""The operator's verbs against a living market, and the words when there is none, or none that answers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ipc.suite_fixture import Suite, suite_at

pytestmark = pytest.mark.timeout(120)

LAST_SLOT = 4_000_000_000


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A market that runs while this module's tests ask it."""
    suite = suite_at(tmp_path_factory.mktemp("ctl"))
    with suite.running():
        yield suite


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def failure(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout == ""
    found: dict[str, Any] = json.loads(done.stderr)
    assert found["type"] == "error"
    assert found["code"] == done.returncode
    assert set(found) <= {"type", "code", "name", "message", "why", "hint"}
    return found


def test_the_price_is_explained_term_by_term(market: Suite) -> None:
    """The statement's example: 0.99 × 0.145 + 0.001/5 + 0.01 = 0.15375."""
    done = market.ctl("price", "--explain", "--slot", "1979184")
    assert done.stdout == (
        "slot 1979184 (2026-06-12 12:00 UTC)  0.153750 = 0.143550 inertia (0.99 × 0.145000)"
        " + 0.000200 inverse_temperature + 0.010000 gas_shortage\n"
    )
    found = document(market.ctl("price", "--explain", "--slot", "1979184", "--json"))
    assert found["price_eur_per_kwh"] == 0.15375
    assert (
        sum(term["value_ueur_per_kwh"] for term in found["terms"]) == found["price_ueur_per_kwh"] == 153_750
    )


def test_the_slots_before_an_old_one_are_explained(market: Suite) -> None:
    """`--last 3 --slot S` is S-2, S-1 and S, however many slots have passed since; beyond S is refused."""
    assert market.ctl("wait", "slot", "1979195").returncode == 0
    found = document(market.ctl("price", "--explain", "--last", "3", "--slot", "1979186", "--json"))
    assert [each["slot"] for each in found["explanations"]] == [1979184, 1979185, 1979186]
    done = market.ctl("price", "--explain", "--last", "3", "--slot", str(LAST_SLOT))
    assert done.returncode == 4


def test_json_before_and_behind_the_verb_is_the_same(market: Suite) -> None:
    """Raw integers with the unit in the name, and the price as a decimal number."""
    for words in (["--json", "price"], ["price", "--json"]):
        found = document(market.ctl(*words))
        assert found["type"] == "price"
        assert found["price_eur_per_kwh"] * 1_000_000 == pytest.approx(found["price_ueur_per_kwh"])


def test_the_last_prices_are_a_table(market: Suite) -> None:
    """One row per slot under one heading."""
    lines = market.ctl("price", "--last", "3").stdout.splitlines()
    assert lines[0].split() == ["slot", "time", "(UTC)", "€/kWh", "import", "export", "notes"]
    assert len(lines) == 4
    assert len(document(market.ctl("price", "--last", "3", "--json"))["prices"]) == 3


def test_a_home_that_there_is_not_bothers_no_unit(market: Suite) -> None:
    """Exit 4 with the homes that there are, though no service manager could be asked here."""
    found = failure(market.ctl("home", "start", "2000", "--json"))
    assert (found["code"], found["name"]) == (4, "unknown_home")
    assert found["message"] == "there is no home 2000"
    assert failure(market.ctl("home", "stop", "2000", "--json"))["code"] == 4


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["price"],
        ["price", "--last", "2"],
        ["price", "--explain"],
        ["homes"],
        ["homes", "2"],
        ["weather"],
        ["event", "list"],
        ["ledger", "show"],
        ["version"],
        ["call", "Price"],
        ["config", "check"],
        ["config", "show"],
        ["config", "default"],
        ["scenario", "list"],
        ["scenario", "show", "classic"],
    ],
)
def test_every_verb_answers_people_and_programs(market: Suite, words: list[str]) -> None:
    """Text on stdout without colour, JSON of one line with --json, exit code 0, nothing on stderr."""
    done = market.ctl(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    assert "\x1b" not in done.stdout
    assert document(market.ctl("--json", *words))


def test_watch_is_json_lines_and_a_closed_reader_is_no_error(market: Suite) -> None:
    """`energyctl watch --json | head -2` ends quietly."""
    process = subprocess.Popen(
        market.command("watch", "--json"),
        env=market.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    slots = [json.loads(process.stdout.readline())["slot"] for _ in range(2)]
    assert slots[1] == slots[0] + 1
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_an_event_is_raised_listed_and_cleared(market: Suite) -> None:
    """Two hours are eight slots of 15 minutes."""
    raised = document(
        market.ctl("event", "raise", "gas_shortage", "--intensity", "1.5", "--for", "2h", "--json")
    )
    assert raised["intensity_permille"] == 1500
    assert raised["until_slot"] - raised["from_slot"] == 8
    assert "gas_shortage ×1.5" in market.ctl("event", "list").stdout
    assert "gas_shortage ×1.5" in market.ctl("status").stdout
    assert document(market.ctl("event", "clear", "gas_shortage", "--json"))["cleared"] == 1
    assert "no active events" in market.ctl("event", "list").stdout


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (["event", "raise", "flood"], 4, "no_such_kind"),
        (["homes", "77"], 4, "unknown_home"),
        (["price", "--explain", "--slot", str(LAST_SLOT)], 4, "no_such_slot"),
        (["call", "Nothing"], 4, "method_not_found"),
        (["call", "Price", "{"], 2, "bad_parameters"),
        (["call", "Price", "[]"], 2, "bad_parameters"),
        (["price", "--slot", "3"], 2, "usage"),
        (["price", "--last", "0"], 2, "usage"),
        (["prise"], 2, "usage"),
        (["up", "--speed", "nan"], 2, "usage"),
        (["up", "--speed", "inf"], 2, "usage"),
        (["up", "--speed", "0"], 2, "usage"),
        (["wait", "ready", "--timeout", "nan"], 2, "usage"),
        (["event", "raise", "gas_shortage", "--intensity", "nan"], 2, "bad_intensity"),
        (["event", "raise", "gas_shortage", "--intensity", "inf"], 2, "bad_intensity"),
        (["event", "raise", "gas_shortage", "--intensity", "0"], 2, "bad_intensity"),
        (["event", "raise", "gas_shortage", "--intensity", "100.001"], 2, "bad_intensity"),
        (["event", "raise", "gas_shortage", "--for", "1e3"], 2, "not_a_duration"),
        (["price", "--explain", "--slot", str(10**22)], 4, "no_such_slot"),
        (["ledger", "show", str(10**22)], 4, "no_such_slot"),
        (["homes", str(10**22)], 4, "unknown_home"),
        (["--run", f"/tmp/{'r' * 95}", "price"], 2, "usage"),
        (["scenario", "show", "nix"], 78, "configuration"),
    ],
)
def test_every_refusal_has_a_code_and_a_name(market: Suite, words: list[str], code: int, name: str) -> None:
    """On stderr as one document with --json; three lines for people."""
    found = failure(market.ctl("--json", *words))
    assert (found["code"], found["name"]) == (code, name)
    done = market.ctl(*words)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr


def test_a_mistyped_verb_gets_a_suggestion(market: Suite) -> None:
    """`prise` was meant to be `price`."""
    assert "did you mean 'price'?" in market.ctl("prise").stderr


@pytest.mark.parametrize("words", [["price"], ["status"], ["watch"], ["stop"], ["event", "list"]])
def test_without_a_market_the_words_say_how_to_start_one(tmp_path: Path, words: list[str]) -> None:
    """Exit code 3."""
    done = suite_at(tmp_path).ctl(*words)
    assert done.returncode == 3
    assert "the market is not running" in done.stderr
    assert "energyctl up" in done.stderr


def test_a_run_directory_may_be_as_long_as_a_socket_allows(tmp_path: Path) -> None:
    """unix(7): 108 bytes with the NUL; /tmp/r…r/control of 107 bytes is asked, and nobody is there."""
    suite = suite_at(tmp_path)
    assert suite.ctl("--run", f"/tmp/{'r' * 94}", "price").returncode == 3
    assert "107" in suite.ctl("--run", f"/tmp/{'r' * 95}", "price").stderr


def test_a_socket_that_a_crash_left_is_no_market(tmp_path: Path) -> None:
    """Nobody listens behind it: exit code 3, like no socket at all."""
    suite = suite_at(tmp_path)
    suite.run.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(suite.run / "control"))
    assert suite.ctl("price").returncode == 3


def test_a_frozen_market_is_named_with_the_way_out(tmp_path: Path) -> None:
    """SIGSTOP: exit code 69, the process and `kill -CONT`; `status` too. It goes on after SIGCONT."""
    suite = suite_at(tmp_path)
    suite.environ["STANDIN_PATIENCE_US"] = "60000000"
    with suite.running():
        pid = document(suite.ctl("status", "--json"))["market"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            for verb in ("price", "status"):
                done = suite.ctl(verb)
                assert done.returncode == 69
                assert f"kill -CONT {pid}" in done.stderr
            doctor = suite.ctl("doctor", "--json")
            assert doctor.returncode == 5
            looks = {each["what"]: each for each in json.loads(doctor.stdout)["found"]}
            assert not looks["market"]["good"]
            assert f"kill -CONT {pid}" in looks["market"]["helps"]
            version = suite.ctl("version")
            assert version.returncode == 0
            assert version.stdout.endswith(", the market does not answer\n")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert suite.ctl("price").returncode == 0
        looks = json.loads(suite.ctl("doctor", "--json").stdout)["found"]
        assert next(each for each in looks if each["what"] == "market")["good"]


def test_a_killed_run_is_bad_news_and_none_at_all_is_not(tmp_path: Path) -> None:
    """`doctor` exits with 5 and the way out where `up` was killed, with 0 where nobody began."""
    suite = suite_at(tmp_path)
    none = next(
        row for row in json.loads(suite.ctl("doctor", "--json").stdout)["found"] if row["what"] == "market"
    )
    assert none["good"]
    with suite.running() as up:
        pids = suite.processes()
        up.kill()
        up.wait(30)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        suite.wait_until_alone()
        done = suite.ctl("doctor", "--json")
    assert done.returncode == 5
    killed = next(row for row in json.loads(done.stdout)["found"] if row["what"] == "market")
    assert not killed["good"]
    assert "energyctl ipc clean" in killed["helps"]


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="it is for machines without systemd")
def test_logs_without_systemd_point_to_the_log_of_up(tmp_path: Path) -> None:
    """Not journalctl's own words for a journal that has nothing of the suite."""
    suite = suite_at(tmp_path)
    suite.run.mkdir()
    (suite.run / "up.log").touch()
    found = failure(suite.ctl("logs", "--json"))
    assert (found["code"], found["name"]) == (1, "no_journal")
    assert str(suite.run / "up.log") in found["hint"]


def test_a_frozen_weather_makes_the_status_degraded(tmp_path: Path) -> None:
    """The market answers, a process of the run does not move: exit code 5."""
    suite = suite_at(tmp_path)
    suite.environ["STANDIN_PATIENCE_US"] = "60000000"
    with suite.running():
        processes = document(suite.ctl("status", "--json"))["processes"]
        pid = next(p["pid"] for p in processes if p["name"] == "weather")
        os.kill(pid, signal.SIGSTOP)
        done = suite.ctl("status")
        os.kill(pid, signal.SIGCONT)
        assert done.returncode == 5
        assert f"weather (process {pid}) is frozen" in done.stdout


def test_a_market_that_is_still_starting_says_try_again(tmp_path: Path) -> None:
    """Exit code 75 while `energyctl up` waits for its daemons."""
    suite = suite_at(tmp_path)
    suite.environ["STANDIN_MARKET"] = "mute"
    process = suite.start("--json")
    try:
        assert process.stdout is not None
        process.stdout.readline()
        done = suite.ctl("price")
        assert done.returncode == 75
        assert "still starting" in done.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.needs("root")
def test_a_stranger_is_told_whose_run_it_is(tmp_path: Path) -> None:
    """Exit code 77 and the command that helps."""
    suite = suite_at(tmp_path)
    with suite.running():
        (suite.run / "control").chmod(0o600)
        for place in (suite.run, *tmp_path.parents):
            if place.stat().st_uid == 0 and str(place).startswith("/tmp/"):
                place.chmod(place.stat().st_mode | 0o055)
        # The interpreter may lie where a stranger cannot go: it is one only once all is loaded.
        code = (
            "import os, pwd, sys, energyctl.asking, energyctl.verbs.price\n"
            "from energyctl.app import main\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            f"sys.argv = ['energyctl', '--run', {str(suite.run)!r}, 'price']\n"
            "sys.exit(main())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=suite.environ, capture_output=True, text=True, check=False
        )
    assert done.returncode == 77, done.stderr
    assert "and you are nobody" in done.stderr
    assert re.search(rf"sudo -u (root|OWNER) energyctl --run {suite.run} ", done.stderr)

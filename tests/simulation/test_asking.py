"""Reports and forecasts of the real daemons: market, homes, dispatcher and workers, asked by energyctl."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from energyctl import client
from energymarket.audit.live import LiveLedger
from energymarket.exits import Exit
from energymarket.runtime import clock
from energymarket.scenario import toml
from energymarket.wire.dispatch_text import DIRECTORY, NAME, SOCKET
from tests.simulation.market_place import Place, soon

pytestmark = pytest.mark.timeout(240)

AHEAD = 24
WORKERS = 2


def in_lockstep_without_events() -> str:
    """Forty homes of the default scenario, which wait for the weather and for nothing else."""
    text = (Path(toml.__file__).parent / "shipped" / "default.toml").read_text()
    for count, fewer in (("380", "15"), ("220", "10"), ("400", "15")):
        text = text.replace(f"count = {count}", f"count = {fewer}")
    text = re.sub(r"per_year = [0-9.]+", "per_year = 0", text)
    text = re.sub(r"archetypes = [0-9]+", "archetypes = 6", text)  # most of the compiler's time
    return text.replace("[service]", "[service]\nlockstep = true")


class Office:
    """A dispatcher and its workers over a market, each a process of the place."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start all of them, and wait until the workers are there."""
        self._start("dispatcherd", "--workers", str(WORKERS), "--port", "0")
        for number in range(1, WORKERS + 1):
            self._start("workerd", str(number))
        soon(lambda: self.states() == ["idle"] * WORKERS, 30, "idle workers", self.place.log.read_text)

    def _start(self, module: str, *words: str) -> None:
        command = [sys.executable, "-m", f"energymarket.{module}", "--run", str(self.place.run), *words]
        with self.place.log.open("ab") as log:
            self.processes.append(subprocess.Popen(command, env=self.place.environ, stdout=log, stderr=log))

    def workers(self) -> list[dict[str, Any]]:
        """The workers as the dispatcher tells them; none while it does not answer."""
        try:
            with client.Connection(self.place.run / DIRECTORY / SOCKET) as connection:
                return list(connection.call(f"{NAME}.Workers")["workers"])
        except client.FAILURES:
            return []

    def states(self) -> list[str]:
        """What they are doing."""
        return [worker["state"] for worker in self.workers()]

    def end(self) -> None:
        """In the order of the house: workers, then the dispatcher."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes:
            process.wait(20)


@pytest.fixture
def office(place: Place, tmp_path: Path) -> Iterator[Office]:
    """A market that has played some slots and waits for the weather, which is stopped."""
    scenario = tmp_path / "quiet.toml"
    scenario.write_text(in_lockstep_without_events())
    place.compile(str(scenario))
    for name in ("market", "homes", "weather"):
        place.start(name)
    made = Office(place)
    try:
        made.start()
        soon(lambda: place.committed() > 0, 60, "a first slot", place.log.read_text)
        os.kill(place.daemons["weather"].pid, signal.SIGSTOP)
        yield made
    finally:
        os.kill(place.daemons["weather"].pid, signal.SIGCONT)
        made.end()


def standing(place: Place) -> int:
    """The last slot of a market that has no weather for another one."""
    seen, since_s = -1, clock.monotonic_s()

    def at_rest() -> bool:
        nonlocal seen, since_s
        slot = int(place.control("Present")["slot"])
        if slot != seen:
            seen, since_s = slot, clock.monotonic_s()
        return clock.monotonic_s() - since_s > 1.0

    soon(at_rest, 60, "a market at rest")
    return seen


def ask(place: Place, *words: str) -> dict[str, Any]:
    """The result of a question."""
    done = place.ctl("ask", *words, "--json")
    assert done.returncode == 0, done.stderr + place.log.read_text()
    return dict(json.loads(done.stdout))


def test_a_real_market_is_reported_on_and_does_what_was_forecast(office: Office) -> None:
    """One boot: forecast, report, a worker killed over a question, another that waits; then the truth."""
    place = office.place
    last = standing(place)
    found = ask(place, "forecast", "--for", str(AHEAD), "--weather", "0", "--no-events", "--no-homes")
    assert found["first_slot"] == last + 1
    assert found["notes"] == []
    uncertain = ask(place, "forecast", "--for", str(AHEAD), "--samples", "20")
    assert uncertain["price_ueur_per_kwh"]["p10"] != uncertain["price_ueur_per_kwh"]["p90"]

    report = ask(place, "report", "--last", "10")
    assert report["period"]["last_slot"] == last
    _the_worker_dies_over_a_question(office)

    os.kill(place.daemons["weather"].pid, signal.SIGCONT)
    soon(lambda: place.committed() >= last + AHEAD, 60, "the slots that were forecast", place.log.read_text)
    ledger = LiveLedger(place.run)
    ledger.open()
    before = [json.loads(row.totals) for row in ledger.rows(last - 9, last)]
    rows = list(ledger.rows(last + 1, last + AHEAD))
    ledger.close()
    assert report["energy"]["consumed_kwh"] == sum(each["consumed_wh"] for each in before) / 1000
    assert report["energy"]["line_import_kwh"] == pytest.approx(
        sum(max(0, each["imported_wh"] - each["exported_wh"]) for each in before) / 1000
    )
    assert [row.price_ueur_per_kwh for row in rows] == found["price_ueur_per_kwh"]["p50"]
    totals = [json.loads(row.totals) for row in rows]
    assert [each["imported_wh"] - each["exported_wh"] for each in totals] == found["net_wh"]["p50"]

    place.control("Stop")
    place.daemons["market"].wait(30)
    gone = place.ctl("ask", "report")
    assert gone.returncode == Exit.FAILED
    assert "the market does not answer" in gone.stderr


def _the_worker_dies_over_a_question(office: Office) -> None:
    """SIGKILL while it plays two hundred samples: the client is answered by the other one."""
    words = ("ask", "forecast", "--for", "2d", "--samples", "200", "--json")
    asking = subprocess.Popen(
        [sys.executable, "-m", "energyctl", "--run", str(office.place.run), *words],
        env=office.place.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    busy: list[int] = []

    def is_playing() -> bool:
        busy[:] = [each["pid"] for each in office.workers() if each.get("doing", "").startswith("playing")]
        return bool(busy)

    soon(is_playing, 30, "a worker that plays", office.place.log.read_text)
    os.kill(busy[0], signal.SIGKILL)
    out, err = asking.communicate(timeout=120)
    assert asking.returncode == 0, err
    assert json.loads(out)["samples"] == 200

"""SIGKILL and SIGSTOP of the real daemons at random moments: they go on by the rules, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from energymarket.core.chance import Purpose, draw_u64
from energymarket.runtime.clock import sleep_until_boottime_ns
from energymarket.transport import resources
from energymarket.transport.page import ClockReader
from tests.conftest import sysv_objects
from tests.simulation.market_place import ROOT, Place, let_pass, soon, unbooked
from tests.simulation.town import HOMES, SCENE, TRADER, begin, goes_on

pytestmark = pytest.mark.timeout(600)

SEED = int(os.environ.get("ENERGY_SEED", "1"))
KILLS, KILLS_LONG = 7, 100
"""Once each target; of another storm the seed is ENERGY_SEED."""
CUTS, CUTS_LONG = 4, 40
CYCLES, CYCLES_LONG = 6, 50
REAL_TIME_KILLS = 2

TARGETS = ("market", "weather", "homes", "shard", "external", "home-1", "all")


class Dice:
    """Chance with a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._thrown = 0

    def below(self, span: int) -> int:
        """A number from 0 on."""
        self._thrown += 1
        return draw_u64(self._seed, Purpose.HOME, self._thrown) % span

    def seconds(self, most_s: float) -> float:
        """A span of time."""
        return most_s * self.below(1_000_000) / 1e6


def _acknowledged(place: Place) -> Path:
    return place.path / "acknowledged"


@contextmanager
def trading(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """The trader at work; at the end its last order is answered before it leaves."""
    _acknowledged(place).touch()
    words = ["tests.simulation.trader", str(place.run), str(TRADER), str(_acknowledged(place))]
    environ = {**place.environ, "PYTHONPATH": f"{place.environ['PYTHONPATH']}:{ROOT}"}
    with (
        place.log.open("ab") as log,
        subprocess.Popen([sys.executable, "-m", *words], env=environ, stdout=log, stderr=log) as trader,
    ):
        try:
            yield trader
            trader.terminate()
            assert trader.wait(20) == 0, place.log.read_text()
        finally:
            trader.kill()


def pids_of(place: Place, target: str) -> list[int]:
    """Whom to kill."""
    if target == "all":
        return place.processes("energymarket.")
    if target in place.daemons:
        return [place.daemons[target].pid]
    words = {"shard": "--shard ", "external": "energymarket.external"}[target]
    return place.processes(words)[:1]


def kill(place: Place, target: str) -> None:
    """SIGKILL, and the supervisor's part: reap, and start again."""
    before = place.committed()
    found = pids_of(place, target)
    assert found, f"no {target} to kill\n{place.log.read_text()}"
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if target in place.daemons or target == "all":
        names = list(place.daemons) if target == "all" else [target]
        for name in names:
            place.daemons[name].wait(10)
    place.revive()
    what = f"everybody back and two slots after the end of {target}"
    soon(lambda: goes_on(place, before + 1), 30, what, place.log.read_text)


@dataclass
class Verdict:
    """What the ledger says after a storm."""

    slots: int
    orders: int
    missing_rows: int
    late: int
    problems: list[str] = field(default_factory=list)


def judged(place: Place) -> Verdict:
    """Hold the ledger against what was acknowledged; the checker's word comes on top."""
    ledger = place.ledger()
    lines = [json.loads(line) for line in _acknowledged(place).read_text().splitlines()]
    found = Verdict(
        slots=len(ledger),
        orders=len(lines),
        missing_rows=sum(HOMES - len(slot.homes) for slot in ledger.values()),
        late=sum(slot.notes["late_batches"] for slot in ledger.values()),
    )
    slots = sorted(ledger)
    if slots != list(range(slots[0], slots[-1] + 1)):
        found.problems.append("the slots have holes")
    found.problems += unbooked(ledger, lines, TRADER)
    refusals = Counter(each["reason"] for slot in ledger.values() for each in slot.notes["refusals"])
    if set(refusals) - {"GateClosed"}:
        found.problems.append(f"batches were refused: {refusals}")
    prices = [slot.head.price_ueur_per_kwh for slot in ledger.values()]
    if not 50_000 <= min(prices) <= max(prices) <= 500_000:
        found.problems.append("a price beyond floor and cap")
    checked = place.check()
    if checked.returncode != 0:
        found.problems.append(checked.stdout)
    replayed = place.ctl("replay", "--state", str(place.state), "--json")
    played = json.loads(replayed.stdout)
    if not played["equal"] or played["slots"] != len(slots):
        found.problems.append(f"the replay is another run: {replayed.stdout}")
    return found


def test_killed_at_random_moments_the_market_goes_on_and_loses_nothing(town: Place, *, is_long: bool) -> None:
    """Every daemon in turn, and all at once: orders once each, slots without holes, checker content."""
    dice, kills = Dice(SEED), KILLS_LONG if is_long else KILLS
    begin(town)
    with trading(town):
        for number in range(kills):
            let_pass(dice.seconds(0.6))
            kill(town, TARGETS[number % len(TARGETS)])
    town.stop()
    verdict = judged(town)
    print(f"\n{kills} kills, seed {SEED}: {verdict}")
    assert verdict.problems == []
    assert verdict.orders > kills
    assert town.processes() == []
    assert list(town.run.iterdir()) == []


def test_in_real_time_a_missed_slot_is_closed_late_with_its_acknowledged_orders(place: Place) -> None:
    """Slots of 1 s at speed 1, the market dead for 2.5 s: gaps are flagged, acknowledged orders are there."""
    scenario = place.path / "town.toml"
    scenario.write_text(SCENE.replace("slots = 5000", 'slot = "1s"\nslots = 3600'))
    place.compile(str(scenario))
    place.speed = 1
    begin(place)
    with trading(place):
        for _ in range(REAL_TIME_KILLS):
            soon(lambda: bool(place.status()), 10, "the market answers", place.log.read_text)
            before = len(_acknowledged(place).read_text())
            bought = lambda before=before: len(_acknowledged(place).read_text()) > before  # noqa: E731
            soon(bought, 20, "an order", place.log.read_text)
            place.daemons["market"].kill()
            place.daemons["market"].wait(10)
            let_pass(2.5)
            place.revive()
    place.stop()
    verdict = judged(place)
    assert verdict.problems == []
    ledger = place.ledger()
    gaps = [slot for slot in ledger.values() if slot.head.gap]
    assert len(gaps) >= REAL_TIME_KILLS
    assert any(slot.orders for slot in gaps), "no order was acknowledged in a slot that was closed late"
    assert all(not slot.totals["taken_wh"] for slot in gaps)


# the gate


@dataclass
class Cuts:
    """Where kills of the market fell."""

    open_slot: int = 0  # the slot was open and is taken again
    after_commit: int = 0  # the clock page still said open or at its gate, but the slot was durable
    between: int = 0  # cleared, the next not yet open


def _resumed_after(place: Place) -> int:
    """The last slot that the present market found committed when it started."""
    lines = [line for line in place.log.read_text().splitlines() if "going on after slot" in line]
    return int(lines[-1].split("going on after slot ")[1].split(",")[0])


def _cut(place: Place, clock: ClockReader, dice: Dice, cuts: Cuts) -> None:
    """Kill the market within two milliseconds around a gate, and see with what it goes on."""
    page = clock.read()
    while page is None or page.phase not in {1, 2}:
        page = clock.read()
    sleep_until_boottime_ns(page.gate_ns + dice.below(3_000_000) - 500_000)
    os.kill(place.daemons["market"].pid, signal.SIGKILL)
    place.daemons["market"].wait(10)
    last = clock.read() or page
    place.revive()
    soon(lambda: goes_on(place, last.slot), 30, "a slot after the cut", place.log.read_text)
    resumed = _resumed_after(place)
    assert resumed in {last.slot, last.slot - 1}
    if resumed < last.slot:
        cuts.open_slot += 1
    elif last.phase in {1, 2}:
        cuts.after_commit += 1
    else:
        cuts.between += 1


def test_killed_around_the_gate_of_short_slots_no_slot_is_lost_or_booked_twice(
    town: Place, *, is_long: bool
) -> None:
    """Slots of 50 ms, so that kills fall before, within and after commits: every slot once, orders too."""
    town.speed, dice, cuts, count = 900 / 0.05, Dice(SEED), Cuts(), CUTS_LONG if is_long else CUTS
    begin(town, "market", "weather", "homes", "home-1", f"home-{TRADER}")
    with ClockReader(resources.ensure(town.run)) as clock:
        for _ in range(count):
            _cut(town, clock, dice, cuts)
    town.stop()
    slots = sorted(town.ledger())
    print(f"\n{count} kills around the gate, seed {SEED}: {cuts}")
    assert slots == list(range(slots[0], slots[-1] + 1))
    assert town.check().returncode == 0
    assert cuts.open_slot + cuts.after_commit + cuts.between == count


# everything under `up`


def test_runs_begun_and_stopped_leave_nothing(place: Place, *, is_long: bool) -> None:
    """`up`, stopped as soon as it is ready: no process, file, IPC object; never another exit code than 0."""
    before = sysv_objects()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(CYCLES_LONG if is_long else CYCLES):
        words = ("--json", "--run", str(place.run), "up", "pencil-gift", "--state", str(place.state))
        with (
            place.log.open("w") as log,
            subprocess.Popen(
                [sys.executable, "-m", "energyctl", *words],
                env=place.environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as running,
        ):
            assert running.stdout is not None
            documents = (json.loads(line) for line in running.stdout)
            assert any(each["type"] == "ready" for each in documents)
            running.terminate()
            rest = list(documents)
            code = running.wait(20)
        assert (code, rest[-1].get("code")) == (0, 0), f"{rest}\n{place.log.read_text()}"
        assert place.processes() == []
        assert not place.run.exists()
        assert sysv_objects() == before
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    place.compile("pencil-gift")
    assert place.check().returncode == 0

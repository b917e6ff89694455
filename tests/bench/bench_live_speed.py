"""The live path as fast as it keeps up: home-slots per CPU second of all daemons, beside other frameworks.

    python tests/bench/bench_live_speed.py [--homes 10000] [--pairs 5]
        [--mesa VENV/bin/python] [--assume VENV/bin/python] [--assume-homes 100]

The suite is run as a user runs it (`energyctl up default --fresh --speed ..`): every slot is opened by the
clock, traded through queue and sockets, settled, and committed durably before the next. The speed is
doubled until a run has late batches, void claims or slots that open late, and the last good speed is
measured in turn with the anchor. CPU is the scheduler's count of every thread of every daemon; that of
`energyctl up`, which watches, is told beside it. Lockstep (the next slot opens when all have handed in) is
not what is measured here: at speed the clock drives.

The anchor is the twin: the same home model, gifts, price and trade by hand, on the same inputs, in plain
objects, and as agents of mesa where an environment with it is named. It stores nothing. Its energies must
be those of the ledger. ASSUME, where named, clears the same homes' net loads with an agent per unit: another
question with the same energies, so the ratio is told without a claim that the work is the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from energymarket.engine import api
from tests.bench import twin_inputs
from tests.bench.bench_live import SLOT_S, look
from tests.bench.pairs import Spread, agree, head, load, met

HERE: Final = Path(__file__).resolve().parent
WARM_UP: Final = 16
"""Slots before CPU is counted: start of `external`, growing buffers."""

PHYSICAL: Final = ("production_wh", "consumption_wh", "import_wh", "export_wh")
"""What must be the twin's. Gifts pass through a bounded queue: what is shed there is traded at the price."""

SECONDS: Final = 8
SLOTS_MIN: Final = 96
RATES: Final = (4, 8, 16, 32, 48, 64, 96, 128, 192, 256)
TOTALS: Final = {
    "production_wh": "produced_wh", "consumption_wh": "consumed_wh", "import_wh": "imported_wh",
    "export_wh": "exported_wh", "given_wh": "taken_wh", "received_wh": "received_wh", "sold_wh": "sold_wh",
    "bought_wh": "bought_wh", "money_ueur": "homes_money_ueur",
}  # fmt: skip
"""The twin's names, and the ledger's."""


@dataclass(frozen=True)
class Live:
    """A run of the suite at a speed."""

    slots_per_s: float  # asked for
    slots: int  # that CPU was counted over
    cpu_s: dict[str, float]  # by process
    troubles: dict[str, int]
    lateness_us_max: int
    totals: dict[str, int]  # of the ledger, all slots

    @property
    def kept_up(self) -> bool:
        """Nobody was late, and no slot opened later than half a slot after its time."""
        return (
            not (self.troubles["late batches"] or self.troubles["void claims"])
            and self.lateness_us_max < 500_000 / self.slots_per_s
        )

    @property
    def daemons_s(self) -> float:
        """CPU of all daemons."""
        return sum(seconds for name, seconds in self.cpu_s.items() if name != "energyctl up")


def run_live(homes: int, slots: int, slots_per_s: float) -> Live:
    """Run the suite from a fresh state for so many slots."""
    where = Path(tempfile.mkdtemp(prefix="em-bench-", dir="/var/tmp"))
    words = [sys.executable, "-m", "energyctl", "--run", str(where / "run"), "--json", "up", "default"]
    words += ["--homes", str(homes), "--speed", str(SLOT_S * slots_per_s), "--for", str(slots), "--fresh"]
    words += ["--state", str(where / "state")]
    done = False
    try:
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as suite:
            try:
                found = _watch(suite, slots)
                done = True
            finally:
                if not done:
                    suite.send_signal(signal.SIGTERM)
        if suite.returncode != 0:
            sys.exit(f"energyctl up ended with {suite.returncode}")
        totals = _totals(where / "state" / "market" / "ledger.db")
        return Live(slots_per_s=slots_per_s, totals=totals, **found)
    finally:
        shutil.rmtree(where, ignore_errors=True)


def _watch(suite: subprocess.Popen[str], slots: int) -> dict[str, Any]:
    assert suite.stdout is not None
    seen, lateness = 0, 0
    troubles = {"late batches": 0, "shed offers": 0, "void claims": 0}
    before = after = None
    for line in suite.stdout:
        said = json.loads(line)
        if said["type"] == "died":
            sys.stderr.write(line)
        if said["type"] != "slot":
            continue
        seen += 1
        for name in troubles:
            troubles[name] += said[name.replace(" ", "_")]
        if seen == WARM_UP:
            before = look(suite.pid)
        if seen > WARM_UP:
            lateness = max(lateness, said["lateness_us"])
        if seen == slots - 1:
            after = look(suite.pid)
    if before is None or after is None:
        sys.exit(f"the run told of {seen} slots of {slots}")
    cpu_s = {
        sight.name: (sight.cpu_ns - before[1][pid].cpu_ns) / 1e9
        for pid, sight in after[1].items()
        if pid in before[1]
    }
    return {
        "slots": slots - 1 - WARM_UP, "cpu_s": cpu_s, "troubles": troubles, "lateness_us_max": lateness
    }  # fmt: skip


def _totals(ledger: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(ledger)) as db:
        rows = [json.loads(row[0]) for row in db.execute("SELECT totals FROM slots")]
    found = {ours: sum(row[theirs] for row in rows) for ours, theirs in TOTALS.items()}
    return found | {"slots": len(rows)}


def fastest(homes: int) -> float:
    """Slots per second that the suite keeps up with: the last of RATES without trouble."""
    kept = 0.0
    for rate in RATES:
        run = run_live(homes, max(SLOTS_MIN, SECONDS * rate), rate)
        told = ", ".join(f"{count} {name}" for name, count in run.troubles.items())
        print(f"  {rate} slots/s: {told}, opened at most {run.lateness_us_max} us late; load {load()}")
        if not run.kept_up:
            break
        kept = rate
    return kept


def twin(python: str, inputs: Path, framework: str) -> dict[str, Any]:
    """A run of the twin in that environment."""
    words = [python, str(HERE / "twin_mesa.py"), str(inputs), "--framework", framework]
    said: dict[str, Any] = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    return said


def compare(homes: int, rate: float, pairs: int, mesa: str | None) -> float:
    """The suite at a speed and the twin in turn; home-slots per CPU second of the daemons."""
    slots = max(SLOTS_MIN, int(SECONDS * rate))
    frameworks = {"plain": sys.executable} | ({"mesa": mesa} if mesa else {})
    compiled = api.compiled_of("default", homes, None)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in frameworks}
    given: list[float] = []
    worst = 0.0
    with tempfile.TemporaryDirectory(prefix="em-bench-") as place:
        inputs, day = Path(place) / "inputs.json", Path(place) / "day.json"
        twin_inputs.write(compiled, slots, inputs)
        twin_inputs.write(compiled, SLOTS_MIN, day)
        checked = twin(sys.executable, inputs, "plain")
        for _ in range(pairs):
            run = run_live(homes, slots, rate)
            if not run.kept_up or run.totals["slots"] != slots:
                slots_told, late_us = run.totals["slots"], run.lateness_us_max
                print(f"    {slots_told} slots, {run.troubles}, {late_us} us late: not counted")
                continue
            ours.append(homes * run.slots / run.daemons_s)
            worst = max(worst, agree(run.totals, checked["totals"], PHYSICAL, 1e-4))
            given.append(run.totals["given_wh"] / checked["totals"]["given_wh"])
            parts = ", ".join(f"{name} {s / run.slots * 1e3:.2f}" for name, s in run.cpu_s.items())
            print(f"    {ours[-1] / 1e6:.2f} M home-slots per CPU-s; ms CPU per slot: {parts}; load {load()}")
            for name, python in frameworks.items():
                found = twin(python, day, name)
                theirs[name].append(homes * SLOTS_MIN / found["cpu_s"])
    if not ours:
        sys.exit("no run kept up: the machine is too busy for this speed")
    mine = Spread(tuple(ours))
    print(f"  live: {mine:.3g} home-slots per CPU-s (target >= 1e7: {met(mine.median, 1e7)})")
    for name, values in theirs.items():
        each = Spread(tuple(values))
        ratios = Spread(tuple(a / b for a, b in zip(ours, values, strict=True)))
        goal = f" (target >= 5: {met(ratios.median, 5)})" if name == "mesa" else ""
        print(f"  twin, {name}: {each:.3g} home-slots per CPU-s; ratio {ratios:.1f}{goal}")
    print(f"  energies of ledger and twin over {slots} slots agree within {worst:.1e}")
    print(f"  given through the queue, of what an unbounded one would pass: {Spread(tuple(given)):.4f}")
    return mine.median


def beside_assume(ours: float, python: str, homes: int, pairs: int) -> None:
    """ASSUME with the net loads that the same model gives so many homes, for one day."""
    compiled = api.compiled_of("default", homes, None)
    with tempfile.TemporaryDirectory(prefix="em-bench-") as place:
        path = Path(place) / "net.json"
        needs = twin_inputs.write_net(compiled, SLOTS_MIN, path)
        for operators in ("each", "one"):
            speeds, version = [], ""
            for _ in range(pairs):
                words = [python, str(HERE / "anchor_assume.py"), str(path), "--operators", operators]
                said = json.loads(
                    subprocess.run(words, check=True, capture_output=True).stdout.splitlines()[-1]
                )
                off = abs(said["demand_wh"] - needs) / needs
                if off > 1e-6:
                    sys.exit(f"ASSUME met {said['demand_wh']:,} Wh of demand, the homes need {needs:,}")
                speeds.append(homes * SLOTS_MIN / said["cpu_s"])
                version = said["version"]
            each = Spread(tuple(speeds))
            ratio = ours / each.median
            print(
                f"  ASSUME {version}, operators: {operators}, {homes} homes: {each:.3g} home-slots per "
                f"CPU-s; ours is {ratio:.0f} times it (target >= 1,000: {met(ratio, 1_000)}); "
                "the demand it met is the homes' need"
            )


def main() -> None:
    """Find the speed, then compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--homes", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rate", type=float, help="slots per second, instead of looking for the most")
    parser.add_argument("--mesa", metavar="PYTHON", help="of an environment with mesa 3")
    parser.add_argument("--assume", metavar="PYTHON", help="of an environment with assume-framework")
    parser.add_argument("--assume-homes", type=int, default=100)
    words = parser.parse_args()
    print(head())
    rate = words.rate or fastest(words.homes)
    print(f"{words.homes:,} homes at {rate:g} slots/s")
    ours = compare(words.homes, rate, words.pairs, words.mesa)
    if words.assume:
        beside_assume(ours, words.assume, words.assume_homes, words.pairs)
    print(f"load: {load()}")


if __name__ == "__main__":
    main()

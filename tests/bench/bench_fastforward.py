"""Fast-forward with its ledger on: a year of 1,000 homes, a day of a million, growth and memory.

    python tests/bench/bench_fastforward.py [--only year day growth] [--pairs 5]

`year` and `day` are wall time from a compiled scenario to a finished ledger, indicators included, on all
cores. Their anchor is the same core as a live market uses it, slot after slot in one process and with
nothing stored (tests/simulation/slow_engine.py), in turn with ours: its ledger hash must be ours. `growth`
runs the engine in one process at 10,000, 100,000 and 1,000,000 homes, each run a process of its own whose
peak memory the kernel tells; and the same on all cores, where the peak of the sum of proportional set
sizes counts shared pages once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from math import log
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from energymarket.engine import api
from energymarket.runtime.clock import monotonic_s
from energymarket.scenario import toml
from energymarket.scenario.compile import compile_scenario, with_overrides
from energymarket.scenario.compiled import Compiled, load
from energymarket.transport.bodies import bytes_beside
from tests.bench.pairs import Spread, head, in_turn, met, pace
from tests.bench.pairs import load as load_of
from tests.simulation import slow_engine

ROOT: Final = Path(__file__).resolve().parents[2]
YEAR_SLOTS: Final = 35_040
DAY_SLOTS: Final = 96
GROWTH: Final = ((10_000, 960), (100_000, 96), (1_000_000, 16))
"""Homes, and slots: as many home-slots each as a run takes to be longer than its beginning."""

CHECKED_ROWS: Final = 960_000
"""So many home-slots, or four slots, are held against the core slot by slot, hash by hash."""

KIB: Final = 1024


def compiled_of(homes: int) -> Compiled:
    """The default scenario with so many homes, compiled and out of the measurement."""
    scenario, problems = toml.read("default")
    if scenario is None:
        sys.exit(toml.render_problems(problems))
    return load(compile_scenario(with_overrides(scenario, homes, None)))


def one_run(homes: int, slots: int, engine: str) -> dict[str, Any]:
    """Run in a process of its own; its document, with the memory it took at most."""
    words = [sys.executable, __file__, "--run", str(homes), str(slots), engine]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as run:
        peak = 0
        if engine == "local":
            peak = _watched(run)
        said, _ = run.communicate()
    if run.returncode != 0:
        sys.exit(f"a run of {homes} homes ended with {run.returncode}")
    document: dict[str, Any] = json.loads(said)
    if engine == "local":
        document["peak_bytes"] = peak
    return document


def _watched(run: subprocess.Popen[str]) -> int:
    """The largest sum of proportional set sizes of a run's processes, looked at ten times a second."""
    peak = 0
    while run.poll() is None:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
            pids = [run.pid, *map(int, children)]
            peak = max(peak, sum(_pss_bytes(pid) for pid in pids))
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(0.1)
    return peak


def _pss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * KIB
    return 0


def run_here(homes: int, slots: int, engine: str) -> None:
    """The process of `one_run`."""
    compiled = compiled_of(homes)
    with tempfile.TemporaryDirectory(prefix="em-bench-", dir="/var/tmp") as place:
        result = api.simulate(compiled, duration=slots, engine=engine, out=Path(place) / "out")
        ledger = Path(place) / "out" / "market" / "ledger.db"
        usage = resource.getrusage(resource.RUSAGE_SELF)
        said = {name: result.document[name] for name in ("wall_s", "cpu_s", "ledger_hash", "slots")}
        taken = ledger.stat().st_size + bytes_beside(ledger)
        said |= {"peak_bytes": usage.ru_maxrss * KIB, "ledger_bytes": taken}
        sys.stdout.write(json.dumps(said) + "\n")


def check(homes: int, slots: int) -> None:
    """The engine's hash must be that of the live core, slot after slot."""
    compiled = compiled_of(homes)
    ours = api.simulate(compiled, duration=slots, engine="local").ledger_hash
    theirs = slow_engine.played(compiled, slots).hash.hex()
    if ours != theirs:
        sys.exit(f"{homes} homes, {slots} slots: the hash is {ours}, slot by slot {theirs}")
    print(f"  check: {homes:,} homes, {slots} slots have the ledger hash {ours[:16]} both ways")


def against_slots(name: str, homes: int, slots: int, anchor_slots: int, pairs: int, target_s: float) -> None:
    """Wall time of a run against the target, and its speed against the same core slot by slot."""
    check(homes, min(anchor_slots, max(4, CHECKED_ROWS // homes)))
    compiled = compiled_of(homes)
    walls: list[float] = []
    cpus: list[float] = []

    def ours() -> float:
        document = one_run(homes, slots, "local")
        walls.append(document["wall_s"])
        cpus.append(document["cpu_s"])
        print(f"    {document['wall_s']:.1f} s wall, {document['cpu_s']:.1f} s CPU; load {load_of()}")
        return homes * slots / float(document["wall_s"])

    def anchor() -> float:
        began = monotonic_s()
        slow_engine.played(compiled, anchor_slots)
        return homes * anchor_slots / (monotonic_s() - began)

    speed, theirs, ratio = in_turn(pairs, ours, anchor)
    wall, cpu = Spread(tuple(walls)), Spread(tuple(cpus))
    print(f"  {name}: {wall:.1f} s wall, {cpu:.1f} s CPU; {speed:.3g} home-slots per s of wall time")
    print(f"  slot by slot, one process, nothing stored: {theirs:.3g} home-slots/s; ratio {ratio:.2f}")
    print(f"  target < {target_s:g} s: {met(wall.median, target_s, at_most=True)} at {wall.median:.1f} s")
    if homes >= 1_000_000:
        year_h = wall.median * YEAR_SLOTS / slots / 3600
        print(f"  extrapolated, not run: a year at this speed takes {year_h:.1f} h (target < 1 h)")


def growth(pairs: int, engine: str) -> None:
    """How time and memory grow with the homes."""
    found: dict[int, list[dict[str, Any]]] = {homes: [] for homes, _ in GROWTH}
    for _ in range(pairs):
        for homes, slots in GROWTH:
            found[homes].append(one_run(homes, slots, engine))
    points = []
    for homes, slots in GROWTH:
        cpu = Spread(tuple(run["cpu_s"] / (homes * slots) * 1e9 for run in found[homes]))
        wall = Spread(tuple(run["wall_s"] for run in found[homes]))
        peak = Spread(tuple(run["peak_bytes"] / homes for run in found[homes]))
        points.append((homes, cpu.median * homes, peak.median * homes))
        print(
            f"  {homes:>9,} homes, {slots} slots: {cpu:.0f} ns CPU per home-slot, {wall:.1f} s wall, "
            f"peak {peak:.0f} B per home"
        )
    few, many = points[0], points[-1]
    exponent = log(many[1] / few[1]) / log(many[0] / few[0])
    slope = (many[2] - few[2]) / (many[0] - few[0])
    print(f"  exponent {exponent:.3f} (target <= 1.05: {met(exponent, 1.05, at_most=True)})")
    print(f"  memory grows by {slope:.0f} B per home (target <= 160: {met(slope, 160, at_most=True)})")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=("year", "day", "growth"), default=None)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--run", nargs=3, metavar=("HOMES", "SLOTS", "ENGINE"), help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.run:
        run_here(int(words.run[0]), int(words.run[1]), words.run[2])
        return
    os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT / "daemons"), str(ROOT)))
    print(f"{head()}\n{pace()}")
    asked = words.only or ("year", "day", "growth")
    if "year" in asked:
        print("\na year of 1,000 homes")
        against_slots("a year", 1_000, YEAR_SLOTS, 960, words.pairs, 10)
    if "day" in asked:
        print("\na day of 1,000,000 homes")
        against_slots("a day", 1_000_000, DAY_SLOTS, DAY_SLOTS, words.pairs, 10)
    if "growth" in asked:
        for engine in ("embedded", "local"):
            print(f"\ngrowth of the engine `{engine}`")
            growth(words.pairs, engine)
    print(f"\nload: {load_of()}")


if __name__ == "__main__":
    main()

"""A million homes live, at one slot per second: CPU, memory per home, growth, lateness; and the idle suite.

    python tests/bench/bench_million.py [--homes 10000 100000 1000000] [--pairs 5]
        [--slots 40] [--hour 11] [--idle 10000] [--long 0] [--mesa VENV/bin/python]

Targets 2, 5, 11 and 12 of the performance page. Every pair runs the suite (`energyctl up --fresh`, the
shipped default scenario from 11 o'clock on, when most gifts flow) with each number of homes in turn, and
beside the largest a C program that sleeps to absolute deadlines: its wake-ups are the anchor of lateness.
Only homes that were heard in a slot count (a late batch is work, but no home-slot). CPU is the scheduler's
count of every thread of every daemon; memory is the sum of proportional set sizes, `energyctl up` left out
of both. `--long 192` runs the largest market once more for two whole days from
midnight, where the shipped scenario begins: the mean over all hours, checkpoints and compaction of what the
disk has no room for included, and whether memory grows. Before and after it the twin (the same homes by hand,
which stores nothing) plays a day of 10,000 homes, in plain objects and, where `--mesa` names an environment
with it, as agents of mesa: how fast the machine is just then. On a machine that other work keeps from one
slot per second, `--slots-per-s 0.25` still shows CPU and memory of the largest market, and nothing of its
pace.

The gate closes earlier than by default (exchange until 0.4, gate at 0.65 of the slot): with a million homes
settling a slot takes longer than the last fifth of a second.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from energymarket.engine import api
from energymarket.scenario import toml
from tests.bench import twin_inputs
from tests.bench.bench_live import SLOT_S, Sight, _slots_of, look
from tests.bench.bench_live_speed import twin
from tests.bench.pairs import Spread, head, load, met, pace

HERE: Final = Path(__file__).resolve().parent
WARM_UP: Final = 8
START: Final = "start = 2025-06-16\n"
GATE: Final = ("[service]\n", "[service]\nexchange_until = 0.4\ngate_at = 0.65\n")
WATCHER: Final = "energyctl up"
TWINS: Final = 10_000
TWINS_SLOTS: Final = 96


@dataclass
class Seen:
    """One run of the suite."""

    homes: int
    slots: int = 0  # that CPU was counted over
    late: int = 0  # late batches, warm-up included
    heard: int = 0  # home-slots of them
    unheard: int = 0  # slots in which not all homes were heard
    cpu_ms: dict[str, float] = field(default_factory=dict)  # by process and slot
    pss: dict[str, int] = field(default_factory=dict)  # by process, at the end
    memory_bytes: list[int] = field(default_factory=list)  # of the daemons, now and then
    lateness_us: list[int] = field(default_factory=list)
    span_s: float = 0.0

    @property
    def slot_ms(self) -> float:
        """CPU of all daemons per slot."""
        return sum(self.cpu_ms.values())

    @property
    def speed(self) -> float:
        """Home-slots per CPU second."""
        return self.heard / (self.slot_ms * self.slots) * 1e3


def scenario(place: Path, hour: int = 11) -> Path:
    """The shipped default scenario, begun at that hour of a day in June and with an earlier gate."""
    text = (Path(toml.__file__).parent / "shipped" / "default.toml").read_text()
    for old, new in ((START, f"{START.strip()}T{hour:02}:00:00\n"), GATE):
        if text.count(old) != 1:
            sys.exit(f"the default scenario has no {old.strip()!r} any more")
        text = text.replace(old, new)
    path = place / "million.toml"
    path.write_text(text)
    return path


def run(homes: int, slots: int, slots_per_s: float = 1.0, *, every: int = 10, hour: int = 11) -> Seen:
    """Run the suite from a fresh state."""
    where = Path(tempfile.mkdtemp(prefix="em-bench-", dir="/var/tmp"))
    words = [sys.executable, "-m", "energyctl", "--run", str(where / "run"), "--json", "up"]
    words += [
        str(scenario(where, hour)),
        "--homes",
        str(homes),
        "--speed",
        str(SLOT_S * slots_per_s),
        "--fresh",
    ]
    words += ["--for", str(slots), "--state", str(where / "state")]
    try:
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as suite:
            try:
                found = _measure(suite, Seen(homes), slots, every)
            except BaseException:
                suite.terminate()
                raise
        if suite.returncode != 0:
            sys.exit(f"energyctl up ended with {suite.returncode}")
        return found
    finally:
        shutil.rmtree(where, ignore_errors=True)


def _measure(suite: subprocess.Popen[str], seen: Seen, slots: int, every: int) -> Seen:
    before: tuple[int, dict[int, Sight], int] | None = None
    for number, said in enumerate(_slots_of(suite), 1):
        seen.late += said["late_batches"]
        if number > WARM_UP:
            seen.unheard += said["totals"]["homes"] < seen.homes
            seen.lateness_us.append(said["lateness_us"])
            seen.heard += said["totals"]["homes"] if number < slots else 0
        if number == WARM_UP:
            before = look(suite.pid)
        elif number > WARM_UP and (number % every == 0 or number == slots - 1):
            now = look(suite.pid)
            sights = {pid: sight for pid, sight in now[1].items() if sight.name != WATCHER}
            seen.memory_bytes.append(sum(sight.proportional_bytes for sight in sights.values()))
            if before is not None and number == slots - 1:
                _count(seen, before, now, sights, number - WARM_UP)
    return seen


def _count(seen: Seen, before: Any, now: Any, sights: dict[int, Sight], slots: int) -> None:
    seen.slots, seen.span_s = slots, (now[0] - before[0]) / 1e9
    for pid, sight in sights.items():
        first = before[1].get(pid)
        if first is None:
            sys.exit(f"{sight.name} was started in the middle: not a steady run")
        seen.cpu_ms[sight.name] = (sight.cpu_ns - first.cpu_ns) / 1e6 / slots
        seen.pss[sight.name] = sight.proportional_bytes


def anchor(place: Path) -> Path | None:
    """The C program, compiled; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = place / "absolute_sleep"
    subprocess.run([compiler, "-O2", "-o", str(program), str(HERE / "absolute_sleep.c")], check=True)
    return program


def beside(program: Path, homes: int, slots: int, slots_per_s: float, hour: int) -> tuple[Seen, list[int]]:
    """A run, and how late the C program woke meanwhile: in us, a number per slot's length."""
    words = [str(program), str(round(1e9 / slots_per_s)), str(slots)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as sleeper:
        seen = run(homes, slots, slots_per_s, hour=hour)
        sleeper.terminate()
        said = sleeper.stdout.read() if sleeper.stdout is not None else ""
    return seen, [int(line) for line in said.split()]


def p99(values: list[int]) -> int:
    """The 99th percentile, or the largest of fewer than a hundred."""
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


def slope(few: Seen, many: Seen) -> float:
    """Bytes per home that memory grows by."""
    return (max(many.memory_bytes) - max(few.memory_bytes)) / (many.homes - few.homes)


def tell(runs: dict[int, list[Seen]]) -> None:
    """What the pairs came to."""
    for homes, seen in runs.items():
        last = seen[-1]
        print(f"{homes:,} homes: {Spread(tuple(one.speed for one in seen)):.3g} home-slots per CPU-s")
        for name, ms in last.cpu_ms.items():
            print(f"    {name:24} {ms:8.2f} ms CPU per slot, {last.pss[name] / homes:8.0f} B per home")
        print(f"    slots in which some home was not heard: {[one.unheard for one in seen]} of {last.slots}")
    sizes = sorted(runs)
    many = Spread(tuple(one.speed for one in runs[sizes[-1]]))
    print(f"target 2: {many:.3g} home-slots per CPU-s (>= 5e6: {met(many.median, 5e6)})")
    if len(sizes) > 1:
        few, most = runs[sizes[0]], runs[sizes[-1]]
        ratio = math.log(sizes[-1] / sizes[0])
        grown = tuple(math.log(b.slot_ms / a.slot_ms) / ratio for a, b in zip(few, most, strict=True))
        growth = Spread(grown)
        print(f"target 5: exponent {growth:.3f} (<= 1.05: {met(growth.median, 1.05, at_most=True)})")
        slopes = Spread(tuple(slope(a, b) for a, b in zip(runs[sizes[-2]], most, strict=True)))
        print(f"target 5: {slopes:.0f} B per home (<= 160: {met(slopes.median, 160, at_most=True)})")


def twins(mesa: str | None) -> dict[str, float]:
    """Home-slots per CPU second of the twin, by what it is made of."""
    made_of = {"plain objects": (sys.executable, "plain")} | (
        {"agents of mesa": (mesa, "mesa")} if mesa else {}
    )
    with tempfile.TemporaryDirectory(prefix="em-bench-") as place:
        inputs = Path(place) / "inputs.json"
        twin_inputs.write(api.compiled_of("default", TWINS, None), TWINS_SLOTS, inputs)
        played = {name: twin(python, inputs, framework) for name, (python, framework) in made_of.items()}
    return {name: TWINS * TWINS_SLOTS / found["cpu_s"] for name, found in played.items()}


def tell_long(homes: int, slots: int, slots_per_s: float, mesa: str | None) -> None:
    """Whole days: what a slot costs on the average, and whether the suite keeps its pace and its size."""
    before = twins(mesa)
    with tempfile.TemporaryDirectory(prefix="em-bench-") as place:
        program = anchor(Path(place))
        slept_us: list[int] = []
        if program is None:
            seen = run(homes, slots, slots_per_s, hour=0)
        else:
            seen, slept_us = beside(program, homes, slots, slots_per_s, 0)
    print(f"{homes:,} homes, {seen.slots} slots from midnight: {seen.speed:.3g} home-slots per CPU-s")
    print("    " + ", ".join(f"{name} {ms:.1f}" for name, ms in seen.cpu_ms.items()) + " ms per slot")
    print(
        f"target 2: {seen.speed:.3g} (>= 5e6: {met(seen.speed, 5e6)}); {seen.unheard} slots unheard by some"
    )
    for name, after in twins(mesa).items():
        told = f"{before[name]:.3g} before, {after:.3g} after"
        print(f"    the twin as {name}: {told}; ratio {2 * seen.speed / (before[name] + after):.1f}")
    ours = p99(seen.lateness_us)
    if slept_us:
        late = ours / p99(slept_us)
        print(f"target 11: lateness p99 {ours} us, {late:.1f} times C (<= 3: {met(late, 3, at_most=True)})")
    half = len(seen.memory_bytes) // 2
    early, late_ = (statistics.median(part) for part in (seen.memory_bytes[:half], seen.memory_bytes[half:]))
    most = max(seen.memory_bytes)
    print(
        f"memory: {early / 2**20:.0f} then {late_ / 2**20:.0f} MiB, at most {most / 2**20:.0f}; load {load()}"
    )


def main() -> None:
    """Measure in turn, then tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--homes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--pairs", type=int, default=5, help="0: only what --long says")
    parser.add_argument("--slots", type=int, default=40)
    parser.add_argument("--slots-per-s", type=float, default=1.0, help="of the largest market alone")
    parser.add_argument("--hour", type=int, default=11, help="begin then: at 11 gifts flow, at 23 none do")
    parser.add_argument("--idle", type=int, default=10_000, help="homes of the idle suite; 0: not measured")
    parser.add_argument("--long", type=int, default=0, metavar="SLOTS", help="so many slots from midnight on")
    parser.add_argument("--mesa", metavar="PYTHON", help="of an environment with mesa 3, for --long")
    words = parser.parse_args()
    print(f"{head()}\n{pace()}")
    runs: dict[int, list[Seen]] = {homes: [] for homes in sorted(words.homes)}
    largest, ratios, idle = max(words.homes), [], []
    with tempfile.TemporaryDirectory(prefix="em-bench-") as place:
        program = anchor(Path(place))
        for _ in range(words.pairs):
            for homes, found in runs.items():
                if homes == largest and program is not None:
                    seen, slept_us = beside(program, homes, words.slots, words.slots_per_s, words.hour)
                    ratios.append(p99(seen.lateness_us) / p99(slept_us))
                    ours, theirs = p99(seen.lateness_us), p99(slept_us)
                    print(f"    lateness p99 {ours} us, C {theirs} us; load {load()}")
                else:
                    seen = run(homes, words.slots, hour=words.hour)
                found.append(seen)
                if homes == words.idle:
                    idle.append(seen.slot_ms * seen.slots / seen.span_s / 10)
                print(f"    {homes:,}: {seen.speed / 1e6:.2f} M home-slots per CPU-s; load {load()}")
    if words.pairs:
        tell(runs)
    if ratios:
        late = Spread(tuple(ratios))
        print(f"target 11: lateness p99 {late:.1f} times C (<= 3: {met(late.median, 3, at_most=True)})")
    if idle:
        busy = Spread(tuple(idle))
        print(f"target 12: {busy:.2f} % of a core (<= 3: {met(busy.median, 3, at_most=True)})")
    if words.long:
        tell_long(largest, words.long + WARM_UP + 1, words.slots_per_s, words.mesa)
    print(f"load: {load()}")


if __name__ == "__main__":
    main()

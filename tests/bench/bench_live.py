"""The whole suite live, as real processes: CPU, wake-ups, lateness, memory and disk at one slot per second.

    python tests/bench/bench_live.py [--homes 10000 ...] [--slots 60] [--repeat 3]

`energyctl up default --fresh` is run as a user runs it, its own process included. Between the slots
WARM_UP and the last but one, CPU time is taken from the kernel's scheduler (nanoseconds of every
thread, not clock ticks); what the kernel does in threads of its own (the file system's journal) is
not in it. With several --homes the growth of memory per home is told as well. With a --scenario whose
`retention.disk_max` is small, the largest the state directory got shows whether the limit is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from energymarket.runtime.clock import boottime_ns

ROOT: Final = Path(__file__).resolve().parents[2]
SLOT_S: Final = 900  # of the scenario `default`
WARM_UP: Final = 10
"""Slots before the measurement: first commits, growing buffers, the start of `external`."""

TARGET_PERCENT: Final = 10.0
STRETCH_PERCENT: Final = 3.0
KIB: Final = 1024


@dataclass(frozen=True)
class Sight:
    """One process at one moment."""

    name: str
    cpu_ns: int
    wakes: int
    written_bytes: int
    resident_bytes: int
    proportional_bytes: int
    peak_bytes: int


@dataclass
class Run:
    """What one run of the suite came to."""

    cpu_percent: dict[str, float] = field(default_factory=dict)
    wakes_per_s: dict[str, float] = field(default_factory=dict)
    written_per_slot: dict[str, float] = field(default_factory=dict)
    last: dict[str, Sight] = field(default_factory=dict)
    lateness_us: list[int] = field(default_factory=list)
    late: int = 0
    shed: int = 0
    void: int = 0
    slots: int = 0
    ledger_bytes_per_slot: float = 0.0
    registers_bytes: int = 0
    disk_bytes_max: int = 0  # of ledger, write-ahead log and registers together
    others_percent: float = 0.0  # of one core: what else the machine did meanwhile

    @property
    def total_percent(self) -> float:
        """CPU of the suite in percent of one core."""
        return sum(self.cpu_percent.values())

    @property
    def memory_bytes(self) -> int:
        """Memory of the suite, shared pages counted once."""
        return sum(sight.proportional_bytes for sight in self.last.values())


# ---------------------------------------------------------------- /proc


def tree(root: int) -> list[int]:
    """A process and all its descendants, parents first."""
    found = [root]
    for pid in found:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(word) for word in children.read_text().split()]
    return found


def sight(pid: int) -> Sight:
    """Look at one process; OSError when it is gone."""
    here = Path(f"/proc/{pid}")
    cpu_ns = wakes = 0
    for task in (here / "task").iterdir():
        cpu_ns += int((task / "schedstat").read_text().split()[0])
        wakes += _fields(task / "status").get("voluntary_ctxt_switches", 0)
    status = _fields(here / "status")
    rollup = _fields(here / "smaps_rollup")
    return Sight(
        name=_name(here),
        cpu_ns=cpu_ns,
        wakes=wakes,
        written_bytes=_fields(here / "io").get("write_bytes", 0),
        resident_bytes=status.get("VmRSS", 0) * KIB,
        proportional_bytes=rollup.get("Pss", 0) * KIB,
        peak_bytes=status.get("VmHWM", 0) * KIB,
    )


def _fields(path: Path) -> dict[str, int]:
    """`Name: 123 kB` lines as numbers."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        word = value.split()[:1]
        if word and word[0].isdigit():
            found[name] = int(word[0])
    return found


def _name(process: Path) -> str:
    words = process.joinpath("cmdline").read_bytes().decode().split("\0")
    module = next((word for word in words if word.startswith("energymarket.")), None)
    if "--shard" in words:
        return f"shard {words[words.index('--shard') + 1]}"
    return "energyctl up" if module is None else module.removeprefix("energymarket.")


def look(root: int) -> tuple[int, dict[int, Sight], int]:
    """Now (CLOCK_BOOTTIME), every process of the suite, and the machine's busy time in ns."""
    sights = {}
    for pid in tree(root):
        with contextlib.suppress(OSError):
            sights[pid] = sight(pid)
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    busy = sum(ticks) - ticks[3] - ticks[4]  # but idle and iowait
    return boottime_ns(), sights, busy * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------- one run


def run_suite(scenario: str, homes: int, slots: int, slots_per_s: float, where: Path) -> Run:
    """Run the suite once from a fresh state."""
    words = [sys.executable, "-m", "energyctl", "--run", str(where / "run"), "--json", "up", scenario]
    words += ["--homes", str(homes), "--speed", str(SLOT_S * slots_per_s), "--for", str(slots), "--fresh"]
    words += ["--state", str(where / "state")]
    run = None
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as suite:
        try:
            run = _measure(suite, slots, where / "state")
        finally:
            if run is None:
                suite.send_signal(signal.SIGTERM)
    if suite.returncode != 0:
        raise SystemExit(f"energyctl up ended with {suite.returncode}; see {where}/run/up.log")
    ledger = where / "state" / "market" / "ledger.db"
    run.ledger_bytes_per_slot = ledger.stat().st_size / max(run.slots, 1)
    registers = (where / "state" / "homes").iterdir()
    run.registers_bytes = sum(path.stat().st_blocks * 512 for path in registers)
    return run


def disk_bytes(state: Path) -> int:
    """What a state directory takes, in blocks of the file system."""
    total = 0
    for path in state.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * 512
    return total


def _measure(suite: subprocess.Popen[str], slots: int, state: Path) -> Run:
    run = Run()
    before: tuple[int, dict[int, Sight], int] | None = None
    for snapshot in _slots_of(suite):
        run.slots += 1
        run.late += snapshot["late_batches"]
        run.shed += snapshot["shed_offers"]
        run.void += snapshot["void_claims"]
        run.disk_bytes_max = max(run.disk_bytes_max, disk_bytes(state))
        if run.slots > WARM_UP:
            run.lateness_us.append(snapshot["lateness_us"])
        if run.slots == WARM_UP:
            before = look(suite.pid)
        if run.slots == slots - 1 and before is not None:
            _compare(run, before, look(suite.pid), run.slots - WARM_UP)
    return run


def _slots_of(suite: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert suite.stdout is not None
    for line in suite.stdout:
        said = json.loads(line)
        if said["type"] == "slot":
            yield said
        elif said["type"] in {"note", "died"}:
            sys.stderr.write(line)


def _compare(
    run: Run,
    before: tuple[int, dict[int, Sight], int],
    after: tuple[int, dict[int, Sight], int],
    slots: int,
) -> None:
    span_ns = after[0] - before[0]
    used_ns = 0
    for pid, last in after[1].items():
        first = before[1].get(pid)
        if first is None:
            raise SystemExit(f"{last.name} was started in the middle: not a steady run")
        run.last[last.name] = last
        run.cpu_percent[last.name] = 100 * (last.cpu_ns - first.cpu_ns) / span_ns
        run.wakes_per_s[last.name] = (last.wakes - first.wakes) * 1e9 / span_ns
        run.written_per_slot[last.name] = (last.written_bytes - first.written_bytes) / slots
        used_ns += last.cpu_ns - first.cpu_ns
    run.others_percent = 100 * max(0, after[2] - before[2] - used_ns) / span_ns


# ---------------------------------------------------------------- the table


def spread(values: list[float], places: int = 2) -> str:
    """`mean (least..most)`."""
    return f"{statistics.fmean(values):.{places}f} ({min(values):.{places}f}..{max(values):.{places}f})"


def show(homes: int, runs: list[Run], slots_per_s: float) -> None:
    """Print what the runs with so many homes came to."""
    what = f"{len(runs)} runs of {runs[0].slots} slots"
    print(f"\n{homes} homes, {slots_per_s:g} slots/s, {what}: mean (least..most)")
    heads = (("% of a core", 22), ("wakes/s", 9), ("RSS MiB", 9), ("PSS MiB", 9), ("peak", 7))
    print(f"{'process':22}{''.join(f'{head:>{width}}' for head, width in heads)}{'written kB/slot':>17}")
    for name in runs[0].last:
        here = [run for run in runs if name in run.last]
        last = here[-1].last[name]
        print(
            f"{name:22}{spread([run.cpu_percent[name] for run in here]):>22}"
            f"{statistics.fmean(run.wakes_per_s[name] for run in here):9.1f}"
            f"{last.resident_bytes / KIB / KIB:9.1f}{last.proportional_bytes / KIB / KIB:9.1f}"
            f"{last.peak_bytes / KIB / KIB:7.1f}"
            f"{statistics.fmean(run.written_per_slot[name] for run in here) / 1000:17.1f}"
        )
    total = [run.total_percent for run in runs]
    memory = [run.memory_bytes / KIB / KIB for run in runs]
    print(f"{'the whole suite':22}{spread(total):>22}{'':18}{memory[-1]:9.1f}")
    late = sorted(us for run in runs for us in run.lateness_us)
    print(
        f"lateness of openings: p50 {late[len(late) // 2]} us, p99 {late[len(late) * 99 // 100]} us, "
        f"most {late[-1]} us ({len(late)} slots)"
    )
    print(
        f"late batches {sum(run.late for run in runs)}, shed offers {sum(run.shed for run in runs)}, "
        f"void claims {sum(run.void for run in runs)}"
    )
    print(
        f"disk: ledger {spread([run.ledger_bytes_per_slot / 1000 for run in runs], 1)} kB per slot, "
        f"registers {runs[-1].registers_bytes / homes:.0f} B per home in all, "
        f"at most {max(run.disk_bytes_max for run in runs) / KIB / KIB:.1f} MiB at once"
    )
    print(f"others on the machine meanwhile: {spread([run.others_percent for run in runs], 0)} % of a core")
    met = "met" if max(total) < TARGET_PERCENT else "missed"
    print(f"target {TARGET_PERCENT:g} % of one core: {met}; stretch {STRETCH_PERCENT:g} %")


def machine() -> str:
    """Processor, kernel and Python."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} x {model}; Linux {platform.release()}; Python {platform.python_version()}"


def main() -> int:
    """Measure; the exit code says whether the target was met with the first number of homes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--homes", type=int, nargs="+", default=[10_000])
    parser.add_argument("--scenario", default="default", help="of slots of a quarter of an hour")
    parser.add_argument("--slots", type=int, default=60)
    parser.add_argument("--slots-per-s", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep states and logs here")
    words = parser.parse_args()
    if words.slots < WARM_UP + 3:
        parser.error(f"--slots must be {WARM_UP + 3} or more")
    found: dict[int, list[Run]] = {homes: [] for homes in words.homes}
    print(f"command: {' '.join(sys.orig_argv)}\nmachine: {machine()}\nload before: {os.getloadavg()[0]:.2f}")
    for _ in range(words.repeat):
        for homes in words.homes:
            where = words.keep or Path(tempfile.mkdtemp(prefix="em-bench-", dir="/tmp"))
            try:
                run = run_suite(words.scenario, homes, words.slots, words.slots_per_s, where)
                found[homes].append(run)
            finally:
                if words.keep is None:
                    shutil.rmtree(where, ignore_errors=True)
    for homes, runs in found.items():
        show(homes, runs, words.slots_per_s)
    if len(found) > 1:
        few, many = min(found), max(found)
        grown = statistics.median(run.memory_bytes for run in found[many])
        grown -= statistics.median(run.memory_bytes for run in found[few])
        print(f"\nmemory grows by {grown / (many - few):.0f} B per home from {few} to {many} homes")
    print(f"load after: {os.getloadavg()[0]:.2f}")
    return 0 if max(run.total_percent for run in found[words.homes[0]]) < TARGET_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main())

"""What `price` and `status` cost beside a typer application that does nothing: wall time, serving and frozen.

    python tests/bench/bench_status.py [--homes N] [--runs N] [--run DIR]

Runs are interleaved, so that whatever else the machine does is in both; medians, their difference and their
ratio are shown (target 9 of the performance page: at most 1.3). Without --run a market of its own is started,
and its process is stopped for the frozen part, which is shorter than the watchdog's patience; with it, the
market that runs there is asked as it is. Exit code 1 if a difference is 50 ms or more.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from energymarket.runtime.clock import monotonic_s

DIFFERENCE_S_MAX = 0.050
EMPTY = """
import typer
app = typer.Typer(add_completion=False)
@app.command()
def status() -> None: ...
app()
"""


def took_s(command: list[str], expected: set[int]) -> float:
    """Wall time of one run."""
    began_s = monotonic_s()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    spent_s = monotonic_s() - began_s
    if done.returncode not in expected:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr or done.stdout}")
    return spent_s


def compare(name: str, verb: str, run: Path, runs: int, expected: set[int]) -> bool:
    """One line; whether the difference is within the bound."""
    empty = [sys.executable, "-c", EMPTY]
    command = [sys.executable, "-m", "energyctl", "--run", str(run), verb]
    for each, good in ((empty, {0}), (command, expected)):
        took_s(each, good)  # files are in the cache now
    empty_s, ours_s = [], []
    for _ in range(runs):
        empty_s.append(took_s(empty, {0}))
        ours_s.append(took_s(command, expected))
    ours, theirs = statistics.median(ours_s), statistics.median(empty_s)
    print(
        f"{name:<8}  {verb:<6} {ours * 1e3:6.1f} ms   empty typer {theirs * 1e3:6.1f} ms"
        f"   difference {(ours - theirs) * 1e3:+6.1f} ms   ratio {ours / theirs:.2f}"
    )
    return ours - theirs < DIFFERENCE_S_MAX


def main() -> int:
    """Measure; the answer is an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--homes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    if given.run is not None:
        both = [compare("as it is", verb, given.run, given.runs, {0, 5, 69}) for verb in ("price", "status")]
        return 0 if all(both) else 1
    with tempfile.TemporaryDirectory(prefix="em-") as directory:
        run = Path(directory) / "run"
        ctl = [sys.executable, "-m", "energyctl", "--run", str(run)]
        up = [*ctl, "up", "default", "--detach", "--homes", str(given.homes)]
        subprocess.run([*up, "--state", f"{directory}/state"], check=True, capture_output=True)
        try:
            found = subprocess.run([*ctl, "--json", "status"], check=True, capture_output=True, text=True)
            market = json.loads(found.stdout)["market"]["pid"]
            good = compare("serving", "price", run, given.runs, {0})
            good &= compare("serving", "status", run, given.runs, {0, 5})
            os.kill(market, signal.SIGSTOP)
            try:
                good &= compare("frozen", "status", run, given.runs // 3, {69})
            finally:
                os.kill(market, signal.SIGCONT)
        finally:
            subprocess.run([*ctl, "stop"], check=False, capture_output=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

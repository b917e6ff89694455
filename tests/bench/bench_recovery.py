"""How long a unit is away: SIGKILL and SIGSTOP to serving again, under a real systemd.

    python tests/bench/bench_recovery.py [--machine here|debian13] [--times 20]

Makes a machine (tests/system/machine.py; root), starts the default scenario, and prints per unit and fault
the median, the longest and the number of tries, with the load of the machine before and after. "Serving
again" is ActiveState=active with another main process: READY is said by a unit that serves (test_ready.py).
The goals are 1 s after SIGKILL and 4 s after a freeze.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.system.bases import ThisMachine, debian13
from tests.system.machine import UNITS, Machine, pause

FAULTS: Final = ((signal.SIGKILL, 1.0), (signal.SIGSTOP, 4.0))
REST_S: Final = 3.5
"""Between two faults: the shipped start limit allows twenty starts a minute."""


def measure(machine: Machine, times: int) -> bool:
    """Print the table; whether every span was within its goal."""
    good = True
    for unit in UNITS:
        for number, goal_s in FAULTS:
            spans_s = []
            for _ in range(times):
                spans_s.append(machine.kill(unit, number))
                pause(REST_S)
            good = good and max(spans_s) <= goal_s
            sys.stdout.write(
                f"{unit:16} {number.name:8} median {statistics.median(spans_s):5.2f} s  "
                f"longest {max(spans_s):5.2f} s  of {times}, goal {goal_s:g} s\n"
            )
            sys.stdout.flush()
    return good


def main() -> int:
    """Make the machine, measure, take it away."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--machine", choices=["here", "debian13"], default="here")
    parser.add_argument("--times", type=int, default=20)
    words = parser.parse_args()
    with ExitStack() as stack:
        base = ThisMachine() if words.machine == "here" else stack.enter_context(debian13())
        machine = Machine(f"energy-bench-{os.getpid()}", base)
        machine.look_s = 0.02
        stack.callback(machine.close)
        machine.open()
        machine.start()
        version = machine.must("systemctl", "--version").splitlines()[0]
        sys.stdout.write(f"{version}, load {os.getloadavg()[0]:.1f}\n")
        good = measure(machine, words.times)
        sys.stdout.write(f"load {os.getloadavg()[0]:.1f}\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""A program: buys for one home again and again, under the same id whenever it does not know.

Words: run directory, home, file, and the pause between two orders in ms, if there is one. Every acknowledged
order is a line of the file: id, energy and receipt. SIGTERM ends it once the order in hand has been answered.
"""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from energymarket.home.trader import NotAnswered, Trader
from energymarket.runtime.clock import boottime_ns, sleep_until_boottime_ns
from energymarket.runtime.service import StopFlag, install

PATIENCE_NS = 5_000_000_000
"""How long an order is tried after SIGTERM before the program gives it up (exit 1)."""


def trade(run: Path, home: int, file: Path, pause_ms: int, stop: StopFlag) -> int:
    """Order after order until stopped; the exit code."""
    given_up_ns = 0
    with file.open("a", buffering=1) as acknowledged, Trader(run, home, patience_s=0.5) as trader:
        number = 0
        while not stop.is_set():
            number += 1
            order_id, energy_wh = f"{home}#{number}", 1 + number % 997
            receipt = None
            while receipt is None:
                try:
                    receipt = trader.buy(energy_wh, order_id)
                except NotAnswered:
                    given_up_ns = given_up_ns or (boottime_ns() + PATIENCE_NS if stop.is_set() else 0)
                    if 0 < given_up_ns < boottime_ns():
                        return 1
            line = {"id": order_id, "energy_wh": energy_wh, "receipt": receipt}
            acknowledged.write(json.dumps(line) + "\n")
            sleep_until_boottime_ns(boottime_ns() + pause_ms * 1_000_000)
    return 0


if __name__ == "__main__":
    with ExitStack() as stack:
        flag = StopFlag()
        install(stack, signal.SIGTERM, flag)
        pause = int(sys.argv[4]) if len(sys.argv) > 4 else 0
        sys.exit(trade(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), pause, flag))

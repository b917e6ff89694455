"""A program: buys for one home without a pause, and asks again under the same id whenever it does not know.

Words: run directory, home, file. Every acknowledged order is a line of the file: id, energy and receipt.
SIGTERM ends it once the order in hand has been answered.
"""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from energymarket.runtime.clock import boottime_ns, sleep_until_boottime_ns
from energymarket.runtime.service import StopFlag, install
from energymarket.transport.client import Connection, Disconnected, VarlinkError
from energymarket.wire.messages import TRADE, TRADE_SOCKET

AGAIN_NS = 10_000_000
"""Between two tries of one order."""

PATIENCE_NS = 5_000_000_000
"""How long an order is tried after SIGTERM before the program gives it up (exit 1)."""


def joined(connection: Connection) -> bool:
    """Whether the connection is open; the lease goes with it."""
    try:
        return connection.fileno() >= 0
    except Disconnected:
        return False


def answered(connection: Connection, home: int, order_id: str, energy_wh: int) -> dict[str, object] | None:
    """The receipt, or None where it is not known yet what became of the order."""
    try:
        if not joined(connection):
            connection.open()
            connection.call(f"{TRADE}.Join", {"first": home, "count": 1, "name": "trader"})
        asked = {"home": home, "energy_wh": energy_wh, "id": order_id}
        receipt: dict[str, object] = connection.call(f"{TRADE}.Buy", asked).parameters["receipt"]
    except Disconnected:
        connection.close()
        return None
    except VarlinkError as error:
        if error.name == f"{TRADE}.OrderRefused":
            raise
        return None  # not open, gate closed, stopping, too many: later
    return receipt


def trade(run: Path, home: int, file: Path, stop: StopFlag) -> int:
    """Order after order until stopped; the exit code."""
    given_up_ns = 0
    with file.open("a", buffering=1) as acknowledged:
        connection, number = Connection(run / TRADE_SOCKET, 5.0), 0
        while not stop.is_set():
            number += 1
            order_id, energy_wh = f"{home}#{number}", 1 + number % 997
            while (receipt := answered(connection, home, order_id, energy_wh)) is None:
                now_ns = boottime_ns()
                if stop.is_set():
                    given_up_ns = given_up_ns or now_ns + PATIENCE_NS
                    if now_ns > given_up_ns:
                        return 1
                sleep_until_boottime_ns(now_ns + AGAIN_NS)
            line = {"id": order_id, "energy_wh": energy_wh, "receipt": receipt}
            acknowledged.write(json.dumps(line) + "\n")
        connection.close()
    return 0


if __name__ == "__main__":
    with ExitStack() as stack:
        flag = StopFlag()
        install(stack, signal.SIGTERM, flag)
        sys.exit(trade(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), flag))

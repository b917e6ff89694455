"""The market is restarted under clients: none is refused, none sees an error, nothing is lost."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.simulation.market_place import read_ledger, unbooked
from tests.system.machine import Machine, pause

pytestmark = pytest.mark.needs("systemd-nspawn", "mmdebstrap")

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "/usr/lib/energy-market/bin/python3"
TRADERS = (3, 700)
ORDERS = 50
"""That each of them has had acknowledged, at least."""

KNOCKING = """
import signal, socket, sys, time
refused = asked = 0
done = []
signal.signal(signal.SIGTERM, lambda *_: done.append(1))
while not done:
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect("/run/energy-market/control")
        asked += 1
    except OSError:
        refused += 1
    time.sleep(0.01)
print("asked", asked, "refused", refused, flush=True)
"""


@contextmanager
def without_start_limit(machine: Machine) -> Iterator[None]:
    """So many restarts as one likes."""
    directory = "/run/systemd/system/energy-market.service.d"
    machine.must(
        "sh", "-c",
        f"mkdir -p {directory} && printf '[Unit]\\nStartLimitIntervalSec=0\\n' > {directory}/90-storm.conf",
    )  # fmt: skip
    machine.must("systemctl", "daemon-reload")
    try:
        yield
    finally:
        machine.must("rm", "-r", directory)
        machine.must("systemctl", "daemon-reload")


@contextmanager
def clients(suite: Machine) -> Iterator[None]:
    """One that only connects, and two that trade with the client library, an order every few milliseconds."""
    (suite.tree / "srv/knock.py").write_text(KNOCKING)
    (suite.tree / "srv/trader.py").write_text((ROOT / "tests/simulation/trader.py").read_text())
    suite.must("systemd-run", "--unit=knock", "/usr/bin/python3", "/srv/knock.py")
    for home in TRADERS:
        suite.must(
            "sh",
            "-c",
            f"rm -f /srv/acknowledged-{home}; install -o energy-home /dev/null /srv/acknowledged-{home}",
        )
        suite.must(
            "systemd-run", f"--unit=trader-{home}", "-p", "User=energy-home", "-p", "Group=energy",
            "-p", "RemainAfterExit=yes",
            PYTHON, "-I", "/srv/trader.py", "/run/energy-market", str(home), f"/srv/acknowledged-{home}", "4",
        )  # fmt: skip
    try:
        yield
    finally:
        for home in TRADERS:
            suite.run("systemctl", "kill", "--signal=TERM", f"trader-{home}")
            suite.wait_until(
                lambda home=home: suite.show(f"trader-{home}", "SubState") in {"exited", "failed"}
            )
        suite.run("systemctl", "stop", "knock")


@pytest.mark.timeout(1200)
def test_fifty_restarts_are_a_pause_for_clients(suite: Machine, *, is_long: bool) -> None:
    """SIGKILL and restart by turns: no connect refused, no caller sees an error, receipts are booked."""

    def orders(home: int) -> list[str]:
        return (suite.tree / f"srv/acknowledged-{home}").read_text().splitlines()

    for home in TRADERS:  # they leave the pool, and the test's clients take their place
        suite.must("energyctl", "home", "start", str(home))
        suite.must("energyctl", "home", "stop", str(home))
    with without_start_limit(suite), clients(suite):
        suite.wait_until(lambda: min(map(len, map(orders, TRADERS))) > 0)
        for number in range(50 if is_long or suite.base.name == "here" else 10):
            pause(0.02 * (number % 15))
            if number % 2:
                suite.must("systemctl", "restart", "energy-market")
            else:
                suite.kill("energy-market", signal.SIGKILL)
        # On a busy machine a market that is ready is dead again before anybody has had an answer.
        suite.wait_until(lambda: min(map(len, map(orders, TRADERS))) > ORDERS)
    said = suite.must("journalctl", "-u", "knock", "-o", "cat", "-g", "^asked ", "--lines=1").split()
    asked, refused = int(said[1]), int(said[3])
    ends = {home: suite.show(f"trader-{home}", "ExecMainStatus") for home in TRADERS}
    suite.must("systemctl", "stop", *(f"trader-{home}" for home in TRADERS))
    suite.must("energyctl", "stop")
    ledger = read_ledger(suite.tree / "var/lib/energy-market/market/ledger.db")
    for home in TRADERS:
        lines = [json.loads(line) for line in orders(home)]
        first = min(line["receipt"]["slot"] for line in lines)
        since = {slot: kept for slot, kept in ledger.items() if slot >= first}
        assert unbooked(since, lines, home) == []
    assert (refused, set(ends.values())) == (0, {"0"})
    assert asked > 200
    suite.start()

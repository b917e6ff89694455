"""Stand-ins for the daemons: real processes with real notify and control sockets, that fail on demand.

`STANDIN_<ROLE>` in the environment says how: die (before ready), refuse (with 78), mute (never ready), crash
(after ready), relapse (after ready, and then at each start), stubborn (ignores SIGTERM), leave (exit 0 in the
middle), orphan (leaves a process of another session).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from energymarket.runtime import clock

SLOT_S = 900
FIRST_SLOT = 1_979_184  # 2026-06-12 12:00 UTC
SLOT_REAL_S = 0.1


def notify(text: str) -> None:
    # A supervisor that is frozen does not read.
    with (
        contextlib.suppress(BlockingIOError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection,
    ):
        connection.sendto(text.encode(), socket.MSG_DONTWAIT, "\0" + os.environ["NOTIFY_SOCKET"][1:])


def option(name: str) -> str | None:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


def inherited(name: str) -> socket.socket:
    """The listening socket of this name that the supervisor holds (sd_listen_fds(3))."""
    assert os.environ["LISTEN_PID"] == str(os.getpid())
    return socket.socket(fileno=3 + os.environ["LISTEN_FDNAMES"].split(":").index(name))


def first_life(role: str) -> bool:
    """Whether this daemon lives for the first time in the test's place."""
    mark = Path(os.environ["STANDIN_COMPILED"]) / f"lived-{role}"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def how(role: str) -> str:
    return os.environ.get(f"STANDIN_{role.upper()}", "")


def main(role: str) -> None:
    """Live as that daemon."""
    behave = how(role)
    if behave == "die":
        sys.stderr.write("<3>the board is broken\n<3>giving up\n")
        sys.exit(7)
    if behave == "relapse" and not first_life(role):
        sys.stderr.write("<3>the board is broken again\n")
        sys.exit(7)
    if behave == "refuse":
        sys.stderr.write("<3>state of another scenario\n")
        sys.exit(78)
    stop: list[int] = []
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN if behave == "stubborn" else lambda number, _: stop.append(number)
    )
    if behave == "orphan":
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    market = Market(option("--slots")) if role == "market" and behave != "mute" else None
    if behave != "mute":
        patience = os.environ.get("STANDIN_PATIENCE_US")
        notify("READY=1\nSTATUS=slot 0, 5 °C" + (f"\nWATCHDOG_USEC={patience}" if patience else ""))
    began_s = beat_s = clock.monotonic_s()
    while not stop:
        if behave != "mute" and clock.monotonic_s() >= beat_s:
            beat_s += 0.25
            notify("WATCHDOG=1")
        if market is None:
            select.select([], [], [], 0.02)
        elif market.serve():
            return
        if behave in {"crash", "leave", "relapse"} and clock.monotonic_s() - began_s > 0.3:
            sys.stderr.write("half a line without its end")
            sys.stderr.flush()
            os._exit(0 if behave == "leave" else 9)
    notify("STOPPING=1")


class Market:
    """Serves the control socket from one thread; a slot is a tenth of a second."""

    def __init__(self, slots: str | None) -> None:
        self.slots = int(slots) if slots else None
        self.done = 0
        self.next_s = clock.monotonic_s() + SLOT_REAL_S
        self.listener = inherited("control")
        self.clients: list[socket.socket] = []
        self.watchers: list[socket.socket] = []
        self.events: list[dict[str, Any]] = []

    def serve(self) -> bool:
        """Wait a little and answer; True when the market was asked to stop, or its time is over."""
        readable, _, _ = select.select([self.listener, *self.clients], [], [], 0.02)
        for connection in readable:
            if connection is self.listener:
                self.clients.append(self.listener.accept()[0])
            elif self.answer(connection):
                return True
        if clock.monotonic_s() >= self.next_s:
            self.next_s += SLOT_REAL_S
            self.done += 1
            self.tell()
        if self.slots is not None and self.done >= self.slots:
            notify("STOPPING=1\nSTATUS=ended")
            return True
        return False

    def tell(self) -> None:
        """Send the snapshot to every watcher."""
        for connection in list(self.watchers):
            try:
                connection.sendall(frame({"snapshot": self.snapshot()}, continues=True))
            except OSError:
                self.watchers.remove(connection)

    def answer(self, connection: socket.socket) -> bool:
        """Answer what has come; True when it was Stop."""
        data: bytes = connection.recv(65536)
        if not data:
            self.clients.remove(connection)
            if connection in self.watchers:
                self.watchers.remove(connection)
            return False
        for text in data.split(b"\0")[:-1]:
            request = json.loads(text)
            method = request["method"].rpartition(".")[2]
            if method == "Watch":
                self.watchers.append(connection)
                connection.sendall(frame({"snapshot": {"type": "slot", "phase": "starting"}}, continues=True))
                continue
            try:
                connection.sendall(self.reply(method, request.get("parameters", {})))
            except OSError:
                return bool(method == "Stop")  # a client that has lost its patience
            if method == "Stop":
                notify("STOPPING=1")
                return True
        return False

    def reply(self, method: str, given: dict[str, Any]) -> bytes:  # noqa: C901, PLR0912  # a table of replies
        """The reply to one call."""
        slot = FIRST_SLOT + self.done
        match method:
            case "Stop":
                return frame({"slot": slot - 1})
            case "Status":
                status = {
                    "state": "running",
                    "market": {"pid": os.getpid(), "external_pid": None},
                    "notes": [],
                }
                return frame({"status": {**status, "snapshot": self.snapshot(), "homes_joined": 2}})
            case "Price":
                rows = [price_row(at) for at in range(slot - (given.get("last") or 0), slot)]
                return frame({"current": price_row(slot), "prices": rows})
            case "Explain":
                if (given.get("slot") or slot) > slot:
                    error = {"slot": given["slot"], "first": FIRST_SLOT, "last": slot - 1}
                    return frame(error, error="io.energymarket.Control.NoSuchSlot")
                return frame(explanation(given.get("slot") or slot))
            case "Homes":
                known = [home_row(home) for home in (1, 2) if home >= given["first"]]
                return frame({"homes": known[: given["count"]], "total": 2})
            case "Weather":
                return frame({"weather": {"temperature_c": 5.0, "wind_m_per_s": 3.2, "stale": True}})
            case "Events":
                return frame({"kinds": ["gas_shortage"], "active": self.events})
            case "Raise" if given["kind"] != "gas_shortage":
                error = {"kind": given["kind"], "kinds": ["gas_shortage"]}
                return frame(error, error="io.energymarket.Control.NoSuchKind")
            case "Raise":
                until = slot + 1 + given["slots"] if "slots" in given else None
                event = {"kind": given["kind"], "intensity_permille": given["intensity_permille"]}
                self.events.append(
                    {**event, "origin": "operator", "from_slot": slot + 1, "until_slot": until}
                )
                return frame({"event": self.events[-1]})
            case "Clear":
                count = len(self.events)
                self.events.clear()
                return frame({"cleared": count, "from_slot": slot + 1})
            case "Ledger":
                homes = [home_row(1), home_row(2)]
                return frame({"ledger": {"slot": slot - 1, "price_ueur_per_kwh": 153_750, "homes": homes}})
            case _:
                return frame({"method": method}, error="org.varlink.service.MethodNotFound")

    def snapshot(self) -> dict[str, Any]:
        """The snapshot of the last slot."""
        slot = FIRST_SLOT + self.done - 1
        return {
            **price_row(slot),
            "type": "slot",
            "phase": "exchange",
            "terms": explanation(slot)["terms"],
            "events": self.events,
            "weather": {
                "temperature_c": 5.0,
                "wind_m_per_s": 3.2,
                "ghi_w_per_m2": 410.0,
                "rain_mm_per_h": 0.0,
            },
            "totals": {
                "produced_wh": 1500,
                "consumed_wh": 900,
                "imported_wh": 100,
                "exported_wh": 700,
                "given_wh": 250,
                "sold_wh": 300,
                "bought_wh": 100,
                "homes_money_ueur": -12_345,
            },
            "homes": 2,
            "homes_in": 2,
            "speed": 9000.0,
            "slots_done": self.done,
            "slots_total": self.slots,
        }


def frame(parameters: dict[str, Any], *, continues: bool = False, error: str | None = None) -> bytes:
    reply: dict[str, Any] = {"parameters": parameters}
    if continues:
        reply["continues"] = True
    if error:
        reply["error"] = error
    return json.dumps(reply).encode() + b"\0"


def price_row(slot: int) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(slot * SLOT_S))
    return {
        "slot": slot,
        "time": at,
        "price_ueur_per_kwh": 153_750 + slot % 7 * 1000,
        "import_ueur_per_kwh": 330_000,
        "export_ueur_per_kwh": 80_000,
        "gap": False,
        "weather_stale": False,
    }


def explanation(slot: int) -> dict[str, Any]:
    """The statement's worked example."""
    terms = [("inertia", 143_550), ("inverse_temperature", 200), ("gas_shortage", 10_000)]
    return {
        "slot": slot,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(slot * SLOT_S)),
        "previous_ueur_per_kwh": 145_000,
        "gamma": 0.99,
        "terms": [{"name": name, "value_ueur_per_kwh": value} for name, value in terms],
        "unclipped_ueur_per_kwh": 153_750,
        "price_ueur_per_kwh": 153_750,
        "inertia_of_events": [],
        "events": [],
    }


def home_row(home: int) -> dict[str, Any]:
    return {
        "home": home,
        "policy": 1,
        "joined": True,
        "net_wh": 600,
        "given_wh": 250,
        "received_wh": 0,
        "sold_wh": 0,
        "bought_wh": 0,
        "imbalance_wh": 0,
        "money_ueur": 1_234,
        "balance_ueur": 56_789,
    }


def anchor() -> None:
    """Stand in for the IPC objects by a file."""
    path = Path(option("--run") or ".") / "ipc.json"
    if sys.argv[1] == "create":
        path.write_text("{}")
    else:
        path.unlink(missing_ok=True)


def compile_scenario() -> None:
    """Stand in for the compiler: a directory with the parameters, its name on stdout."""
    directory = Path(os.environ["STANDIN_COMPILED"])
    directory.mkdir(exist_ok=True)
    answer = json.dumps({"directory": str(directory)})
    data = {
        "name": sys.argv[2],
        "title": "a stand-in",
        "homes_count": 2,
        "settings": {"weather": {"source": "constant"}},
    }
    (directory / "scenario.json").write_text(json.dumps(data))
    (directory / "homes.single.npy").write_bytes(b"a header" + bytes([0, 1]))
    sys.stdout.write(f"name  {sys.argv[2]}\ndirectory  {directory}\n" if "--json" not in sys.argv else answer)

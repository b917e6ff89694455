"""A stand-in for the market behind a real server: answers at once, later, from other threads, or streams.

In a test it runs in a thread; as a program (`stand_in.py SOCKET [LIMIT=VALUE ...]`) in a process of its own,
until it gets SIGTERM. Price answers as its slot how many Buys came through.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from energymarket.transport.call import Call, Peer
from energymarket.transport.server import Server
from energymarket.transport.server_limits import TRADE_LIMITS, ServerLimits
from energymarket.wire.messages import TRADE, TRADE_INTERFACE
from energymarket.wire.varlink import Maker

MAKER = Maker("energy-market", "stand-in", "1", "https://example.org")
PRICE_UEUR_PER_KWH = 153_750


class StandIn:
    """The handler and what it has seen. Watch, and Sell with an id that begins with "hold", stay open."""

    def __init__(self, path: Path, limits: ServerLimits = TRADE_LIMITS) -> None:
        self.path = path
        self.calls: list[Call] = []
        self.watchers: list[Call] = []
        self.opened: list[Peer] = []
        self.closed: list[Peer] = []
        self.sales = 0
        self.server = Server(MAKER, limits, on_open=self.opened.append, on_close=self.closed.append).open()
        self.server.listen(path, 0o660, self.handle, [TRADE_INTERFACE])
        self._thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def handle(self, call: Call) -> None:
        """Answer in the loop's thread."""
        match call.method.rpartition(".")[2]:
            case "Price":
                call.reply(self.price())
            case "Buy":
                self.sales += 1
                call.reply({"receipt": receipt(call)})
            case "Sell":
                self.calls.append(call)
                if not call.parameters["id"].startswith("hold"):
                    call.reply({"receipt": receipt(call)})
            case "Submit":
                submit(call)
            case "Watch":
                self.watchers.append(call)
                call.reply(notice(0), continues=call.more)
            case _:
                call.error(f"{TRADE}.Stopping")

    def price(self) -> dict[str, object]:
        """All members that the interface promises."""
        return {
            "slot": self.sales,
            "epoch": 0,
            "phase": "trade",
            "price_ueur_per_kwh": PRICE_UEUR_PER_KWH,
            "import_ueur_per_kwh": 300_000,
            "export_ueur_per_kwh": 80_000,
            "gift_fee_ueur_per_kwh": 0,
            "gate_in_ms": 1_000,
            "weather_stale": False,
        }


def receipt(call: Call) -> dict[str, object]:
    """What a trade answers."""
    energy_wh = call.parameters["energy_wh"]
    return {
        "receipt": call.parameters["id"],
        "home": call.parameters["home"],
        "slot": 0,
        "energy_wh": energy_wh,
        "price_ueur_per_kwh": PRICE_UEUR_PER_KWH,
        "total_ueur": 0,
    }


def notice(slot: int, padding: int = 0) -> dict[str, object]:
    """A step of market time; `padding` makes it long (the stand-in does not care for the enum)."""
    return {
        "notice": {
            "slot": slot,
            "epoch": 0,
            "phase": "exchange" + "." * padding,
            "committed_slot": None,
            "price_ueur_per_kwh": PRICE_UEUR_PER_KWH,
            "import_ueur_per_kwh": 300_000,
            "export_ueur_per_kwh": 80_000,
        }
    }


def submit(call: Call) -> None:
    """Answer a copy of the file that was passed (id "back"), or the length of what came."""
    place = call.parameters["descriptor"]
    data = call.parameters["data"]
    if place is None:
        call.reply({"slot": len(data or ""), "receipt": None, "descriptor": None})
        return
    descriptor = call.take_descriptor(place)
    if descriptor is None:
        call.error(f"{TRADE}.BatchRefused", {"reason": "no_descriptor", "detail": f"none at {place}"})
        return
    content = os.pread(descriptor, 1 << 20, 0)
    os.close(descriptor)
    if call.parameters["id"] != "back":
        call.reply({"slot": len(content), "receipt": None, "descriptor": None})
        return
    answer = os.memfd_create("answer")
    os.write(answer, content[::-1])
    call.reply({"slot": len(content), "receipt": None, "descriptor": 0}, (answer,))


def main() -> None:
    """Serve until SIGTERM, then print how connections ended."""
    words = [word.split("=") for word in sys.argv[2:]]
    values = {name: float(value) if "." in value else int(value) for name, value in words}
    descriptors = int(values.pop("descriptors", 20_000))
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    market = StandIn(Path(sys.argv[1]), replace(TRADE_LIMITS, **values))  # type: ignore[arg-type]
    signal.signal(signal.SIGTERM, lambda *_: market.server.stop())
    print("ready", flush=True)
    market.server.run()
    print({end.name: count for end, count in market.server.ends.items()}, flush=True)


if __name__ == "__main__":
    main()

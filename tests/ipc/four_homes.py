"""Four homes for which a test speaks: the scene, a client of the trade socket, and what it hands in."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pytest

from energymarket.core.records import BATCH_COLUMNS, CLAIM, Policy
from energymarket.transport.client import Connection, VarlinkError
from energymarket.wire import batch as batch_wire
from energymarket.wire.messages import TRADE, TRADE_SOCKET
from tests.simulation.market_place import Place

HOMES: Final = 4
TRANSACTIONS: Final = 2
ORDERS: Final = 5
PRICE: Final = 200_000  # 0.5 × 0.20 + 0.10 €/kWh: the price rests

SCENE: Final = f"""\
schema = 1
title = "Four homes that the test speaks for"
seed = 2

[time]
start = 2025-06-16
timezone = "UTC"
slot = "15min"
slots = 96
speed = 900

[weather]
source = "constant"
temperature_c = 20

[place]
latitude = 49.49
longitude = 8.47

[tariff]
energy = 0.15
grid_fee = 0.1
tax = 0.05
export = 0.05

[price]
form = "raw"
initial = 0.2
gamma = 0.5

[[price.factor]]
name = "base"
alpha = 0.1

[service]
start_wait_s = 0
transactions = {TRANSACTIONS}
orders_per_slot = {ORDERS}
""" + "".join(
    f"""
[[home]]
name = "Home {number}"
policy = "sell"
production_wh = 0
""" for number in range(1, HOMES + 1)
)  # fmt: skip


class Client:
    """One connection to the trade socket, and one that hears the time."""

    def __init__(self, place: Place) -> None:
        self.trade = Connection(place.run / TRADE_SOCKET, 10).open()
        self._watch = Connection(place.run / TRADE_SOCKET, 10).open()
        self._watch.start(f"{TRADE}.Watch")
        self.notice = self._next()

    def _next(self) -> dict[str, Any]:
        answer = self._watch.receive(10)
        assert answer is not None
        found: dict[str, Any] = answer.parameters["notice"]
        return found

    def opening(self) -> int:
        """Wait for the next slot to open; which one it is."""
        self.notice = self._next()
        while self.notice["phase"] != "exchange":
            self.notice = self._next()
        return int(self.notice["slot"])

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """A call of the trade interface."""
        return dict(self.trade.call(f"{TRADE}.{method}", parameters).parameters)

    def refused(self, method: str, **parameters: object) -> tuple[str, dict[str, Any]]:
        """A call that is to be refused: the error's name and parameters."""
        with pytest.raises(VarlinkError) as caught:
            self.ask(method, **parameters)
        return caught.value.name.removeprefix(TRADE + "."), dict(caught.value.parameters)

    def close(self) -> None:
        """Hang up."""
        self.trade.close()
        self._watch.close()


def batch_of(
    slot: int, columns: Mapping[str, Sequence[Any]] | None = None, first: int = 1, count: int = 2
) -> bytearray:
    """A batch; columns that are not named are zero, every policy is to sell."""
    made = {name: np.zeros(count, kind) for name, kind in BATCH_COLUMNS}
    made["policy"][:] = Policy.SELL
    said = dict(columns or {})
    claims = np.array(list(said.pop("claims", ())), CLAIM)
    for name, values in said.items():
        made[name][:] = values
    return batch_wire.pack(made, claims, slot=slot, epoch=0, first=first)


def submission(batch: bytes | bytearray, slot: int, **other: object) -> dict[str, object]:
    return {"id": "b", "slot": slot, "epoch": 0, "data": base64.b64encode(batch).decode()} | other


TRADED: Final = {
    "production_wh": (400, 0),
    "export_wh": (400, 0),
    "sold_wh": (400, 0),
    "consumption_wh": (0, 700),
    "import_wh": (0, 700),
    "bought_wh": (0, 700),
}


def snapshot_of(connection: Connection) -> dict[str, Any]:
    answer = connection.receive(10)
    assert answer is not None
    found: dict[str, Any] = answer.parameters["snapshot"]
    return found

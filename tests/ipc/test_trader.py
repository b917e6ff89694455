"""The client library: a market that dies or is not open is a pause; lasting refusals are errors."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from energymarket.home.trader import NotAnswered, OrderRefused, Trader
from energymarket.wire.messages import TRADE, TRADE_SOCKET

DROP = "the connection breaks before the answer"
RECEIPT = {"receipt": 7, "home": 3, "slot": 1, "energy_wh": 250, "price_ueur_per_kwh": 2, "total_ueur": 500}


class Scripted:
    """A market that joins whoever asks, and answers each order by the next line of its script."""

    def __init__(self, path: Path, script: list[str]) -> None:
        self.heard: list[dict[str, Any]] = []
        self.script = script
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                self._talk(connection, stream)

    def _talk(self, connection: socket.socket, stream: Any) -> None:
        rest = b""
        while data := stream.read1():
            *frames, rest = (rest + data).split(b"\0")
            for frame in frames:
                call = json.loads(frame)
                self.heard.append(call)
                answer = self._answer(call["method"].removeprefix(TRADE + "."))
                if answer is None:
                    return
                connection.sendall(json.dumps(answer).encode() + b"\0")

    def _answer(self, method: str) -> dict[str, Any] | None:
        if method == "Join":
            line = self.script.pop(0).removeprefix("join: ") if self.script[0].startswith("join: ") else "ok"
        else:
            line = self.script.pop(0)
        if line == DROP:
            return None
        if line not in {"ok", "receipt"}:
            return {"error": f"{TRADE}.{line}", "parameters": {}}
        return {"parameters": {"receipt": RECEIPT} if line == "receipt" else {"lease": "3-3", "homes": 9}}

    @contextmanager
    def serving(self) -> Iterator[Scripted]:
        """The market, until the test is done with it."""
        self._thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._thread.join(5)


@pytest.mark.parametrize(
    "script",
    [
        ["receipt"],
        [DROP, "receipt"],
        [DROP, DROP, "receipt"],
        ["NotOpen", "GateClosed", "Stopping", DROP, "StoreFailed", "receipt"],
        ["join: HomesTaken", "receipt"],
        [DROP, "join: HomesTaken", "join: HomesTaken", "receipt"],
    ],
)
def test_what_time_cures_is_a_pause(run_dir: Path, script: list[str]) -> None:
    """The caller gets the receipt; every try of the order carried the same id, home and energy."""
    with Scripted(run_dir / TRADE_SOCKET, list(script)).serving() as market:
        with Trader(run_dir, 3) as trader:
            assert trader.buy(250, "breakfast") == RECEIPT
        orders = [call["parameters"] for call in market.heard if call["method"] == f"{TRADE}.Buy"]
        tries = [line for line in script if not line.startswith("join: ")]
        assert orders == [{"home": 3, "energy_wh": 250, "id": "breakfast"}] * len(tries)
        assert market.script == []


def test_it_joins_once_per_connection(run_dir: Path) -> None:
    """Two orders over one connection need one Join; after a break there is a second one."""
    with Scripted(run_dir / TRADE_SOCKET, ["receipt", "receipt", DROP, "receipt"]).serving() as market:
        with Trader(run_dir, 3) as trader:
            for name in ("a", "b"):
                trader.sell(250, name)
            assert [call["method"] for call in market.heard].count(f"{TRADE}.Join") == 1
            trader.sell(250, "c")
        assert [call["method"] for call in market.heard].count(f"{TRADE}.Join") == 2


@pytest.mark.parametrize(
    ("script", "name"), [(["OrderRefused"], "OrderRefused"), (["join: UnknownHome"], "UnknownHome")]
)
def test_what_time_does_not_cure_is_an_error_with_its_name(
    run_dir: Path, script: list[str], name: str
) -> None:
    """A refused order or home is told at once, and not tried again."""
    with Scripted(run_dir / TRADE_SOCKET, list(script)).serving(), Trader(run_dir, 3) as trader:
        with pytest.raises(OrderRefused) as refused:
            trader.buy(250, "x")
        assert refused.value.name == name


def test_patience_has_an_end_and_says_what_it_waited_for(run_dir: Path) -> None:
    """Where nobody serves, the order stays unanswered: the caller may ask again under the same id."""
    with Trader(run_dir, 3, patience_s=0.2) as trader, pytest.raises(NotAnswered, match="No such file"):
        trader.buy(250, "x")

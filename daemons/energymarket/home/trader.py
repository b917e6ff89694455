"""The client library for a home of your own: a market that restarts is a pause, not an error.

    with Trader("/run/energy-market", home=7) as trader:
        receipt = trader.buy(250, "breakfast")     # Wh, and a name of your choice

Every order carries an id. While it is not known what became of an order (the market died, the answer is
late, the gate is closed), it is sent again under the same id, and the market books it once. So a receipt
means: durable, exactly once.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from energymarket.exits import Exit, Failure
from energymarket.runtime.clock import boottime_ns, sleep_until_boottime_ns
from energymarket.transport.client import Connection, Disconnected, VarlinkError
from energymarket.wire.messages import TRADE, TRADE_SOCKET

AGAIN_NS: Final = 20_000_000
"""Between two tries: a restarted market serves again within half a second."""

ANSWER_S: Final = 5.0
"""Of one call; an answer that takes longer is asked for again, on a new connection."""

LATER: Final = frozenset({"NotOpen", "GateClosed", "Stopping", "StoreFailed", "QuotaExceeded"})
"""Refusals that time cures: the same order may be taken when the next slot is open."""

TAKEN: Final = "HomesTaken"
"""Of a lease: that of our own last connection may not have ended yet."""


class OrderRefused(Failure):
    """The market refuses the order (or the home) for a reason that waiting does not cure."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        super().__init__(f"{name}: {parameters}")
        self.name = name
        self.parameters = parameters


class NotAnswered(Failure):
    """What became of the order is not known yet: ask again under the same id."""

    code = Exit.TRY_AGAIN


class Trader:
    """One home at the market's door. Not for several threads at once."""

    def __init__(self, run_dir: Path | str, home: int, *, patience_s: float = 60.0, name: str = "") -> None:
        self.home = home
        self._patience_ns = round(patience_s * 1e9)
        self._name = name or f"trader of home {home}"
        self._connection = Connection(Path(run_dir) / TRADE_SOCKET, ANSWER_S)

    def buy(self, energy_wh: int, order_id: str) -> dict[str, Any]:
        """Buy so many Wh at the price of the slot. Raises OrderRefused, NotAnswered."""
        return self._order("Buy", energy_wh, order_id)

    def sell(self, energy_wh: int, order_id: str) -> dict[str, Any]:
        """Sell so many Wh at the price of the slot. Raises OrderRefused, NotAnswered."""
        return self._order("Sell", energy_wh, order_id)

    def close(self) -> None:
        """Hang up; the lease of the home ends."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _order(self, method: str, energy_wh: int, order_id: str) -> dict[str, Any]:
        asked = {"home": self.home, "energy_wh": energy_wh, "id": order_id}
        until_ns = boottime_ns() + self._patience_ns
        why = ""
        while boottime_ns() < until_ns:
            try:
                self._join()
                receipt: dict[str, Any] = self._connection.call(f"{TRADE}.{method}", asked).parameters[
                    "receipt"
                ]
            except Disconnected as error:
                self.close()
                why = str(error)
            except VarlinkError as error:
                why = self._cured_by_time(error)
            else:
                return receipt
            sleep_until_boottime_ns(boottime_ns() + AGAIN_NS)
        raise NotAnswered(
            f"order {order_id} of home {self.home} is not answered: {why}", "ask again under its id"
        )

    def _join(self) -> None:
        """Connect and lease the home, unless that is done. Raises Disconnected, VarlinkError."""
        if self._connection.is_open:
            return
        self._connection.open()
        try:
            self._connection.call(f"{TRADE}.Join", {"first": self.home, "count": 1, "name": self._name})
        except VarlinkError:
            self.close()
            raise

    @staticmethod
    def _cured_by_time(error: VarlinkError) -> str:
        """The refusal's name if the same order may be taken later. Raises OrderRefused."""
        name = error.name.removeprefix(TRADE + ".")
        if name in LATER or name == TAKEN:
            return name
        raise OrderRefused(name, dict(error.parameters)) from error

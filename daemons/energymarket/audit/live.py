"""The ledger of a market that runs: asked for over its control socket, bodies through sealed memory files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from energymarket.audit.source import Facts, LedgerDamagedError, LedgerMovedError, Stretch
from energymarket.exits import Exit, Failure, NotRunning, Unreachable
from energymarket.transport import memory_fd
from energymarket.transport.client import Connection, Disconnected, VarlinkError
from energymarket.transport.store import OrderRow, SlotRow
from energymarket.wire.messages import CONTROL, CONTROL_SOCKET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PAGE_BYTES_MAX: Final = 1 << 30
"""Of the bodies that come at once: a slot of the largest market, and room."""

ANSWER_S_MAX: Final = 60.0
"""The market answers between its other work; a large page is read from a disk."""


class LiveLedger:
    """The ledger behind a control socket."""

    def __init__(
        self, run_dir: Path, answer_s_max: float = ANSWER_S_MAX, on_idle: Callable[[], None] | None = None
    ) -> None:
        """`on_idle` is called several times a second while the market is waited for."""
        self._connection = Connection(run_dir / CONTROL_SOCKET, answer_s_max, on_idle)
        self._covered: list[range] = []  # slots of the stretches that were asked for

    def open(self) -> None:
        """Connect. Raises NotRunning."""
        try:
            self._connection.open()
        except Disconnected as error:
            raise NotRunning(str(error), "without a market, name the file: --ledger FILE") from error

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def facts(self) -> Facts:
        """The number of homes; of the scenario, a market tells nothing."""
        status = self.ask("Status")["status"]
        return Facts(homes=int(status["homes"]))

    def stretches(self) -> list[Stretch]:
        """Compacted stretches in order."""
        parameters, bodies = self._ask_with_bodies("Compacted")
        found = [
            Stretch(
                each["first_slot"],
                each["last_slot"],
                _part(bodies, each) or b"",
                bytes.fromhex(each["digest"]),
            )
            for each in parameters["stretches"]
        ]
        self._covered = [range(each.first, each.last + 1) for each in found]
        return found

    def rows(self, first: int, last: int | None = None) -> Iterator[SlotRow]:
        """Sealed slots from `first` on (up to `last`, both included), in order, page by page.

        Raises LedgerMovedError at a slot that has been compacted since the stretches were asked for.
        """
        at: int | None = first
        while at is not None:
            parameters, bodies = self._ask_with_bodies("Slots", {"first": at, "last": last})
            for each in parameters["slots"]:
                row = _row(each, bodies)
                if row.body is None and not any(row.slot in stretch for stretch in self._covered):
                    raise LedgerMovedError(row.slot)
                yield row
            at = parameters.get("next")

    def row(self, slot: int) -> SlotRow | None:
        """One sealed slot; None if there is none."""
        parameters, bodies = self._ask_with_bodies("Slots", {"first": slot, "last": slot})
        return next((_row(each, bodies) for each in parameters["slots"]), None)

    def last_slot(self) -> int | None:
        """The last sealed slot; None for an empty ledger."""
        last = self.ask("Status")["status"].get("last_slot")
        return None if last is None else int(last["slot"])

    def orders_called(self, what: str) -> list[OrderRow]:
        """Single orders by their receipt, or by the id that their home gave them."""
        return [OrderRow(**each) for each in self.ask("Orders", {"what": what})["orders"]]

    def policy_of(self, home: int) -> int | None:
        """The policy of a home."""
        rows = self.ask("Homes", {"first": home, "count": 1})["homes"]
        return int(rows[0]["policy"]) if rows else None

    def beside(self) -> None:
        """A market shows nothing beside its slots."""

    def ask(
        self, method: str, parameters: dict[str, Any] | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Ask the control desk. Raises Failure."""
        found, descriptors = self._call(method, parameters, timeout_s)
        for descriptor in descriptors:
            os.close(descriptor)
        return found

    def _ask_with_bodies(
        self, method: str, parameters: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], memoryview]:
        found, descriptors = self._call(method, parameters, None)
        try:
            return found, memory_fd.map_sealed(descriptors[found["descriptor"]], PAGE_BYTES_MAX)
        except (IndexError, memory_fd.MemoryFdError) as error:
            raise LedgerDamagedError(f"{method}: the answer came without its memory file: {error}") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _call(
        self, method: str, parameters: dict[str, Any] | None, timeout_s: float | None
    ) -> tuple[dict[str, Any], tuple[int, ...]]:
        try:
            answer = self._connection.call(f"{CONTROL}.{method}", parameters or {}, timeout_s=timeout_s)
        except Disconnected as error:
            raise Unreachable(str(error), "has the market just stopped?") from error
        except VarlinkError as error:
            raise Failure(f"{method}: {error.name} {dict(error.parameters)}", code=Exit.TRY_AGAIN) from error
        return dict(answer.parameters), answer.descriptors


def _part(bodies: memoryview, each: dict[str, Any]) -> bytes | None:
    if each["body_bytes"] is None:
        return None
    return bytes(bodies[each["body_at"] : each["body_at"] + each["body_bytes"]])


def _row(each: dict[str, Any], bodies: memoryview) -> SlotRow:
    return SlotRow(
        slot=each["slot"],
        price_ueur_per_kwh=each["price_ueur_per_kwh"],
        import_ueur_per_kwh=each["import_ueur_per_kwh"],
        export_ueur_per_kwh=each["export_ueur_per_kwh"],
        gap=each["gap"],
        weather_stale=each["weather_stale"],
        totals=each["totals"],
        meta=each["meta"],
        body=_part(bodies, each),
        hash=bytes.fromhex(each["hash"]),
        seal=bytes.fromhex(each["seal"]),
    )

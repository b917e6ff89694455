"""Settings of the daemons in a scenario file."""

# ruff: noqa: RUF009 - fields are declared by functions that answer a dataclass field

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from energymarket.scenario import kinds
from energymarket.scenario.kinds import key, section


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """[service.retention]: what is kept."""

    disk_max_bytes: int = key(
        kinds.size(8 << 20), "most that ledger and registers take on disk", 2 << 30, name="disk_max"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """[service]: settings of the daemons. They change no result in lockstep."""

    transactions_max: int = key(
        kinds.whole(1, 1_024), "simultaneous transactions; the next client waits", 16, name="transactions"
    )
    shards: int = key(
        kinds.whole(0, 1_024),
        "processes of the home pool; 0: as few as keep up with the speed, one per core at most",
        0,
    )
    exchange_until: float = key(kinds.real(0.05, 0.95), "the exchange ends at this part of the slot", 0.5)
    gate_at: float = key(kinds.real(0.1, 0.98), "the gate closes at this part of the slot", 0.8)
    start_wait_s: float = key(
        kinds.real(0, 3_600, "s"), "the first slot waits this long for homes and weather", 10.0
    )
    queue_bytes_max: int = key(
        kinds.whole(4_128, 16 << 20, "bytes"),
        "size of the message queue of offers",
        16_384,
        name="queue_bytes",
    )
    connections_max: int = key(
        kinds.whole(8, 100_000), "open connections per socket", 4_096, name="connections"
    )
    requests_per_s_max: int = key(
        kinds.whole(1, 1_000_000), "requests per second and connection", 2_000, name="requests_per_s"
    )
    orders_per_slot_max: int = key(
        kinds.whole(1, 1_000_000), "single orders per slot and connection", 1_000, name="orders_per_slot"
    )
    request_bytes_max: int = key(
        kinds.size(1 << 12),
        "longest request: an inline batch has 55 bytes per home, larger ones come as memory files",
        1 << 20,
        name="request_bytes",
    )
    record: bool = key(
        kinds.flag(), "what comes to each slot from outside is kept for `energyctl replay`", True
    )
    lockstep: bool = key(
        kinds.flag(), "without a clock: every slot waits for all, and the ledger is that of simulate", False
    )
    retention: Retention = section(Retention, "what is kept on disk")


class DispatchMode(StrEnum):
    """[dispatch] mode."""

    REDIRECT = "redirect"
    RELAY = "relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """[dispatch]: the dispatcher and its workers. They change no result, and no ledger is begun anew."""

    workers: int = key(kinds.whole(0, 64), "workers for reports and forecasts; 0: no dispatcher either", 0)
    address: str = key(kinds.text(64), "address that clients connect to, and workers listen at", "127.0.0.1")
    port: int = key(kinds.whole(1, 65_535), "TCP port of the dispatcher", 2_222)
    queue_max: int = key(
        kinds.whole(0, 1_000), "requests that wait while all workers are at work", 16, name="queue"
    )
    ticket_s: float = key(kinds.real(0.1, 600, "s"), "a ticket that nobody comes with is valid so long", 10.0)
    deadline_s: float = key(kinds.real(1, 86_400, "s"), "an exchange takes at most so long", 300.0)
    mode: DispatchMode = key(
        kinds.choice(DispatchMode),
        "clients go to a worker (redirect), or get the result from the dispatcher (relay)",
        DispatchMode.REDIRECT,
    )
    exchanges_max: int = key(
        kinds.whole(0, 1_000_000_000),
        "after so many exchanges workers and dispatcher stop; 0: never",
        0,
        name="exchanges",
    )

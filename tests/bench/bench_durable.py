"""Durable transfers: a slot's batch as the market commits it, against a raw log and against rows.

    python tests/bench/bench_durable.py [--pairs 15] [--place DIR]

A batch is the body of a slot (packed columns and gifts) of which every transfer counts. Ours is
`LedgerStore.commit_slot`: one transaction of SQLite, write-ahead log, synchronous=FULL, the hash and the
seal made on the way. The raw log writes the same body into a preallocated file and calls fdatasync. Rows
are the same gifts, one row each, in one transaction per slot of the same SQLite settings: read back, their
energy must be that of the bodies. A single order is `append_orders` of one, against a write of as many
bytes and fdatasync.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from energymarket.core import ledger
from energymarket.core.units import I64
from energymarket.engine import api
from energymarket.runtime.clock import monotonic_s
from energymarket.scenario.compiled import Compiled
from energymarket.transport.store import WAL_BYTES_MAX, LedgerStore, OrderRow, SlotRow
from tests.bench.pairs import head, in_turn, load, met

SIZES: Final = (1_000, 10_000)
"""Homes: an afternoon's slot has about as many gifts as half of them."""

NOON_SLOT: Final = 70  # of the first day, in UTC quarter-hours: many give, many need
ROUNDS: Final = 40
ORDERS: Final = 100


@dataclass(frozen=True)
class Slot:
    """A settled slot, as it is committed."""

    body: bytes
    totals: str
    meta: str
    gifts: dict[str, I64]

    @property
    def transfers(self) -> int:
        """How many gifts it has."""
        return len(self.gifts["giver"])


def settled(compiled: Compiled) -> Slot:
    """The slot with the most gifts of the scenario's first day."""
    result = api.simulate(compiled, duration=96, engine="embedded")
    with sqlite3.connect(result.folder / "market" / "ledger.db") as db:
        rows = db.execute("SELECT body, totals, meta FROM slots WHERE body IS NOT NULL").fetchall()
    opened = [(ledger.unpack(bytes(body))[2], body, totals, meta) for body, totals, meta in rows]
    gifts, body, totals, meta = max(opened, key=lambda each: len(each[0]["giver"]))
    return Slot(bytes(body), totals, meta, gifts)


class Ours:
    """A ledger that has been in use: its log has been full once, and is written again."""

    def __init__(self, place: Path) -> None:
        self.store = LedgerStore(place / "ours.db")
        self.number = 0
        self.chain = bytes(32)

    def open(self) -> None:
        """Open it and fill the log once."""
        self.store.open(scenario_hash="bench", genesis=bytes(32), homes=10)
        self.store.put_state({"fill": "x" * (WAL_BYTES_MAX + 1)})
        self.store.fold_wal()
        self.store.put_state({"fill": ""})

    def committed(self, slot: Slot, rounds: int) -> float:
        """Transfers per second of wall time, as the market commits them."""
        state = {"state": "x" * 400, "events": "[]"}
        first = self.number
        began = monotonic_s()
        for _ in range(rounds):
            self.chain = ledger.chain(self.chain, slot.body)
            row = SlotRow(
                slot=self.number,
                price_ueur_per_kwh=190_000,
                import_ueur_per_kwh=330_000,
                export_ueur_per_kwh=80_000,
                gap=False,
                weather_stale=False,
                totals=slot.totals,
                meta=slot.meta,
                body=slot.body,
                hash=self.chain,
                seal=b"",
            )
            self.store.commit_slot(replace(row, seal=row.seal_now()), state)
            self.store.fold_wal()
            self.number += 1
        seconds = monotonic_s() - began
        stored = self.store.slot(first)
        if stored is None or stored.body != slot.body:
            sys.exit("what was stored is not what was committed")
        return slot.transfers * rounds / seconds

    def ordered(self) -> float:
        """Single orders per second, each durable before the next."""
        began = monotonic_s()
        for _ in range(ORDERS):
            self.number += 1
            self.store.append_orders((_order(self.number),), {"state": "x" * 400})
        return ORDERS / (monotonic_s() - began)

    def close(self) -> None:
        """Close and remove it."""
        self.store.close()
        self.store.path.unlink()


def raw(slot: Slot, place: Path, rounds: int) -> float:
    """Transfers per second of the same bytes in a preallocated file, fdatasync after each slot."""
    return slot.transfers / _raw_s(slot.body, place, rounds)


def _raw_s(data: bytes, place: Path, rounds: int) -> float:
    """Seconds per durable write of so many bytes at the next place of a preallocated file."""
    path = place / "raw.log"
    log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    zeros, left = bytes(1 << 20), len(data) * rounds
    while left > 0:  # written, not only reserved: else every write changes the file's map of blocks
        left -= os.write(log, zeros[: min(left, len(zeros))])
    os.fsync(log)
    os.lseek(log, 0, os.SEEK_SET)
    began = monotonic_s()
    for _ in range(rounds):
        os.write(log, data)
        os.fdatasync(log)
    seconds = monotonic_s() - began
    os.close(log)
    path.unlink()
    return seconds / rounds


def by_row(slot: Slot, place: Path, rounds: int) -> float:
    """Transfers per second as a row each, one transaction per slot."""
    path = place / "rows.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(
        "CREATE TABLE trades (slot INTEGER, giver INTEGER, number INTEGER, taker INTEGER, energy_wh INTEGER)"
    )
    columns = [slot.gifts[name].tolist() for name in ("giver", "index", "taker", "energy_wh")]
    began = monotonic_s()
    for number in range(rounds):
        db.execute("BEGIN IMMEDIATE")
        rows = ((number, *each) for each in zip(*columns, strict=True))
        db.executemany("INSERT INTO trades VALUES (?,?,?,?,?)", rows)
        db.execute("COMMIT")
    seconds = monotonic_s() - began
    stored = db.execute("SELECT sum(energy_wh) FROM trades").fetchone()[0]
    if stored != rounds * int(slot.gifts["energy_wh"].sum()):
        sys.exit("the rows do not add up to the gifts")
    db.close()
    for file in place.glob("rows.db*"):
        file.unlink()
    return slot.transfers * rounds / seconds


def _order(number: int) -> OrderRow:
    return OrderRow(number, f"order-{number}", 7, -500, 190_000, -95_000, json.dumps({"number": number}))


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument(
        "--place", type=Path, default=Path("/var/tmp"), help="a directory on the disk in question"
    )
    words = parser.parse_args()
    print(head())
    with tempfile.TemporaryDirectory(prefix="em-bench-", dir=words.place) as made:
        place = Path(made)
        for homes in SIZES:
            slot = settled(api.compiled_of("default", homes, None))
            size = len(slot.body)
            kept = Ours(place)
            kept.open()
            print(f"\n{homes:,} homes: a slot of {slot.transfers:,} gifts, {size:,} bytes; x {ROUNDS}")
            ours, log, ratio = in_turn(
                words.pairs,
                lambda slot=slot, kept=kept: kept.committed(slot, ROUNDS),  # type: ignore[misc]
                lambda slot=slot: raw(slot, place, ROUNDS),  # type: ignore[misc]
            )
            print(f"  committed {ours:.3g} transfers/s, raw log {log:.3g}")
            print(f"  ratio to the raw log {ratio:.2f} (target >= 0.5: {met(ratio.median, 0.5)})")
            ours, rows, ratio = in_turn(
                words.pairs,
                lambda slot=slot, kept=kept: kept.committed(slot, ROUNDS),  # type: ignore[misc]
                lambda slot=slot: by_row(slot, place, ROUNDS // 2),  # type: ignore[misc]
            )
            print(f"  committed {ours:.3g} transfers/s, a row per gift {rows:.3g}")
            print(f"  ratio to rows {ratio:.2f} (target >= 2: {met(ratio.median, 2)})")
            kept.close()
        order_bytes = len(repr(_order(1)).encode()) + 400
        print(f"\nsingle orders x {ORDERS}; fdatasync of {order_bytes} bytes each")
        kept = Ours(place)
        kept.open()
        ours, log, ratio = in_turn(
            words.pairs, kept.ordered, lambda: 1 / _raw_s(bytes(order_bytes), place, ORDERS)
        )
        print(f"  {ours:.0f} orders/s, {log:.0f} raw writes/s")
        kept.close()
        print(f"  ratio {ratio:.2f} (target >= 0.7: {met(ratio.median, 0.7)})")
    print(f"load: {load()}")


if __name__ == "__main__":
    main()

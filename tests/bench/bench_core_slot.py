"""How fast the pure core settles, packs and chains a slot: home-slots per CPU second.

Run it as a program. A slot is a noon of a neighbourhood in which half the homes have a surplus and half
a need, in four batches; every tenth home is out of its contract. The best of many rounds is printed:
the machine is shared.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from typing import Any, Final

import numpy as np

from energymarket.core import exchange, ledger
from energymarket.core.chance import Purpose, draw_u32
from energymarket.core.parameters import Sharing
from energymarket.core.records import BATCH_COLUMNS
from energymarket.core.settlement import Batch, Prices, Readings, check, no_orders, settle

SIZES: Final = (10_000, 100_000)
BATCHES: Final = 4
PRICES: Final = Prices(200_000, 300_000, 80_000)
HEAD: Final = ledger.SlotHead(
    1_900_000, 200_000, 300_000, 80_000, 0, 199_000, 200_000, (("inertia", 198_000), ("base", 2_000))
)


def neighbourhood(homes: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Net load of each home in Wh and its policy: half up, half down, all policies alike."""
    drawn = draw_u32(1, Purpose.HOME, 1, np.arange(homes, dtype=np.uint32))
    return drawn % 1_400 - np.int64(700), (drawn >> 16) % 3 + np.uint8(1)


def batches_of(homes: int) -> list[Batch]:
    """The slot as the shards hand it in."""
    net, policies = neighbourhood(homes)
    surplus, need = np.maximum(net, 0), np.maximum(-net, 0)
    ids = np.arange(1, homes + 1, dtype=np.uint32)
    result = exchange.outcome(ids, surplus, need, policies, Sharing(), 1, 1)
    net[::10] += 25
    meters = {
        "production_wh": np.maximum(net, 0) + 100,
        "consumption_wh": np.maximum(-net, 0) + 100,
        "import_wh": np.maximum(-net, 0),
        "export_wh": np.maximum(net, 0),
    }
    batches = []
    for part in np.array_split(np.arange(homes), BATCHES):
        first, count = int(part[0]) + 1, len(part)
        columns, claims = exchange.batch_columns(result, first, count)
        values = {**columns, **{name: column[part] for name, column in meters.items()}}
        packed = {name: np.ascontiguousarray(values[name], kind) for name, kind in BATCH_COLUMNS}
        batches.append(Batch("bench", first, count, packed, claims))
    return batches


def best_ns(work: Any, rounds: int) -> int:
    """CPU nanoseconds of the fastest round."""
    fastest = 2**62
    for _ in range(rounds):
        start = time.process_time_ns()
        work()
        fastest = min(fastest, time.process_time_ns() - start)
    return fastest


def measure(homes: int) -> None:
    """Print the cost per home-slot of each step, and the speed of settle, pack and chain together."""
    batches, readings, orders = batches_of(homes), Readings.zero(homes), no_orders()
    settled = settle(readings, batches, orders, PRICES, homes)
    body = ledger.pack(HEAD, settled.columns, settled.gifts, orders)
    net, policies = neighbourhood(homes)
    surplus, need, ids = np.maximum(net, 0), np.maximum(-net, 0), np.arange(1, homes + 1, dtype=np.uint32)
    steps = {
        "exchange": lambda: exchange.outcome(ids, surplus, need, policies, Sharing(), 1, 1),
        "check": lambda: [check(batch, homes, readings) for batch in batches],
        "settle": lambda: settle(readings, batches, orders, PRICES, homes),
        "pack": lambda: ledger.pack(HEAD, settled.columns, settled.gifts, orders),
        "chain": lambda: ledger.chain(bytes(32), body),
        "unpack": lambda: ledger.unpack(body),
    }
    rounds = max(20, 2_000_000 // homes)
    cost = {name: best_ns(work, rounds) / homes for name, work in steps.items()}
    market = cost["settle"] + cost["pack"] + cost["chain"]
    detail = ", ".join(f"{name} {ns:.1f}" for name, ns in cost.items())
    print(f"{homes:>7} homes, {len(settled.gifts['giver'])} gifts, {len(body) / homes:.1f} bytes per home")
    print(f"        ns per home-slot: {detail}")
    print(f"        settle + pack + chain {market:.1f} ns = {1e3 / market:.1f} M home-slots per CPU-s")


def keep_freed_memory() -> None:
    """Let malloc keep what a slot frees: else the next slot pays as much again for page faults."""
    libc = ctypes.CDLL(None)
    libc.mallopt(-3, 256 << 20)  # M_MMAP_THRESHOLD
    libc.mallopt(-1, 512 << 20)  # M_TRIM_THRESHOLD


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    keep_freed_memory()
    for size in SIZES:
        measure(size)

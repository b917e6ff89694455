"""Homes, claims, orders and batches, made by hand or drawn, and what settlement makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from energymarket.core.records import BATCH_COLUMNS, CLAIM, ORDER_COLUMNS, Policy
from energymarket.core.settlement import (
    Batch,
    Prices,
    Readings,
    Settlement,
    check,
    no_orders,
    settle,
)

P = Prices(price=200_000, import_=300_000, export=80_000)  # 0.20, 0.30 and 0.08 €/kWh
GIVE, SELL, BOTH = Policy.GIVE, Policy.SELL, Policy.GIVE_THEN_SELL

Claim = tuple[int, int, int, int]  # giver, index, taker, energy


@dataclass(frozen=True)
class Home:
    """What one home states: its flow over the meter in the slot, and what was agreed."""

    net_wh: int = 0  # exported less imported
    policy: int = GIVE
    offered: int = 0
    returned: int = 0
    sold: int = 0
    bought: int = 0


def claim_array(claims: list[Claim]) -> npt.NDArray[np.void]:
    array = np.zeros(len(claims), CLAIM)
    for at, (giver, index, taker, energy) in enumerate(claims):
        array[at] = (giver, taker, energy, index, 0)
    return array


def batch_of(first: int, homes: list[Home], claims: list[Claim] | None = None) -> Batch:
    """A batch whose registers start at zero: production is the export, consumption the import."""
    imports = [max(-home.net_wh, 0) for home in homes]
    exports = [max(home.net_wh, 0) for home in homes]
    values: dict[str, list[int]] = {
        "production_wh": exports,
        "consumption_wh": imports,
        "import_wh": imports,
        "export_wh": exports,
        "offered_wh": [home.offered for home in homes],
        "returned_wh": [home.returned for home in homes],
        "sold_wh": [home.sold for home in homes],
        "bought_wh": [home.bought for home in homes],
        "policy": [home.policy for home in homes],
    }
    columns = {name: np.array(values[name], kind) for name, kind in BATCH_COLUMNS}
    return Batch(f"b{first}", first, len(homes), columns, claim_array(claims or []))


def orders_of(*rows: tuple[int, int, int]) -> dict[str, npt.NDArray[np.int64]]:
    table = np.array(rows, np.int64).reshape(-1, 3)
    return {name: table[:, at].copy() for at, name in enumerate(ORDER_COLUMNS)}


def settle_homes(
    homes: list[Home],
    claims: list[Claim] | None = None,
    prices: Prices = P,
    orders: dict[str, npt.NDArray[np.int64]] | None = None,
) -> Settlement:
    batch = batch_of(1, homes, claims)
    readings = Readings.zero(len(homes))
    assert check(batch, len(homes), readings) == []
    return settle(readings, [batch], orders or no_orders(), prices, len(homes))


def column(settled: Settlement, name: str) -> list[int]:
    return [int(value) for value in settled.columns[name]]


small = st.integers(0, 60)


@st.composite
def stated_homes(draw: st.DrawFn) -> Home:
    policy = draw(st.sampled_from(Policy))
    offered = 0 if policy is SELL else draw(small)
    returned = draw(st.integers(0, offered))
    return Home(draw(st.integers(-80, 80)), policy, offered, returned, draw(small), draw(small))


@st.composite
def slots(draw: st.DrawFn) -> tuple[list[Home], list[Claim], list[int], list[bool], Prices]:
    """Homes, claims of any giver, where batches are cut, which batches come, and prices."""
    homes = draw(st.lists(stated_homes(), min_size=1, max_size=9))
    ids = st.integers(1, len(homes))
    claim = st.tuples(st.integers(1, len(homes) + 1), st.integers(0, 2), ids, st.integers(1, 70))
    unique = st.lists(claim, max_size=min(12, 2 * len(homes)), unique_by=lambda c: (c[0], c[1], c[2]))
    cuts = draw(st.sets(st.integers(1, len(homes)), max_size=3))
    come = draw(st.lists(st.booleans(), min_size=5, max_size=5))
    price = st.integers(-50_000, 400_000)
    prices = Prices(draw(price), draw(price), draw(price), draw(st.integers(0, 50_000)))
    return homes, draw(unique), sorted(cuts | {0, len(homes)}), come, prices


def cut(homes: list[Home], claims: list[Claim], cuts: list[int]) -> list[Batch]:
    batches = []
    for low, high in pairwise(cuts):
        mine = [claim for claim in claims if low < claim[2] <= high]
        batches.append(batch_of(low + 1, homes[low:high], mine))
    return batches

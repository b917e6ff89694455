"""What homes hand in: growth where the market has the last reading, whole registers where it may not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from energymarket.core.block import Widening
from energymarket.core.fleet import Fleet
from energymarket.core.records import RECEIPT_COLUMNS
from energymarket.home.books import Books
from energymarket.home.gains import Bargain
from energymarket.home.handing import Came, Handed
from energymarket.home.keeper import Keeper
from energymarket.home.session import Refused
from energymarket.wire import batch as batch_wire
from tests.unit.core.made_fleet import FIRST_SLOT, Recipe, weather

HOMES = 3
MADE = Recipe(
    homes={"series": [0, 1, 2], "policy": 2},
    tables={
        "series_production_wh": np.array([[700, 0, 90_000], [0, 300, 1], [5, 5, 5], [0, 0, 0]]),
        "series_consumption_wh": np.array([[100, 250, 40_000], [1, 2, 3], [5, 7, 2], [9, 0, 0]]),
    },
).made()
METER = ("production_wh", "consumption_wh", "import_wh", "export_wh")
NOTHING = {name: np.zeros(HOMES, np.int64) for name, _ in RECEIPT_COLUMNS}


class Market:
    """Notes every batch; refuses what grows while it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[batch_wire.Head, dict[str, list[int]]]] = []
        self.forgets = False

    def submit(self, data: list[Any], *_: object, **__: object) -> dict[str, Any] | Refused:
        """As a session does it."""
        head, columns, _claims = batch_wire.unpack(b"".join(bytes(part) for part in data))
        self.heard.append((head, {name: columns[name].tolist() for name in METER}))
        if self.forgets and head.since != batch_wire.WHOLE:
            return Refused("BatchRefused", {"reason": "RegistersUnknown", "detail": "another reading"})
        return NOTHING


class Pool:
    """A keeper of three homes whose market is a stand-in."""

    def __init__(self, directory: Path) -> None:
        self.market = Market()
        fleet = Fleet(MADE, 1, HOMES)
        self.books = Books(directory / "shard.state", fleet, bytes(32))
        self.books.fresh(FIRST_SLOT - 1)
        told = SimpleNamespace(beat=lambda: None, progress=lambda _text: None)
        compiled = SimpleNamespace(settings={}, period=MADE.period, sharing=None)
        stubs: tuple[Any, ...] = (self.market, None, None, None, told, None)
        self.keeper = Keeper(cast("Any", compiled), fleet, self.books, *stubs, single=False)

    def live(self, slot: int) -> dict[str, list[int]]:
        """A slot, handed in; what the registers say after it."""
        net = self.books.step(slot, weather(slot), 200_000)
        nothing = {name: np.zeros(HOMES, np.int32) for name in ("offered_wh", "returned_wh")}
        nothing |= {name: np.zeros(HOMES, np.int32) for name in ("sold_wh", "bought_wh")}
        bargain = Bargain(moved_wh=np.zeros(HOMES, np.int16))
        page = SimpleNamespace(next_open_ns=0)
        self.keeper._hand_in(Handed(slot, 0, net, nothing, bargain), cast("Any", page))
        return {name: self.books.column(name).tolist() for name in METER}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


def test_a_batch_after_a_receipt_says_what_flowed(pool: Pool) -> None:
    """Its columns are the differences of the registers, its checksum what they come to."""
    first, second = pool.live(FIRST_SLOT), pool.live(FIRST_SLOT + 1)
    (head, whole), (grown_head, grown) = pool.market.heard
    assert (head.since, whole) == (batch_wire.WHOLE, first)
    assert grown_head.since == FIRST_SLOT
    assert grown_head.registers == sum(sum(column) for column in second.values())
    for name in METER:
        assert grown[name] == [b - a for a, b in zip(first[name], second[name], strict=True)]


def test_after_a_slot_that_the_market_did_not_hear_registers_are_whole(pool: Pool) -> None:
    """Two slots have flowed since its reading: one slot's flow would lose the other."""
    pool.live(FIRST_SLOT)
    pool.books.live_until(FIRST_SLOT + 1, weather)
    after = pool.live(FIRST_SLOT + 2)
    head, said = pool.market.heard[-1]
    assert (head.since, said) == (batch_wire.WHOLE, after)


def test_a_market_that_knows_another_reading_is_told_the_whole(pool: Pool) -> None:
    """It was put back from a backup: the same batch goes out again with whole registers, at once."""
    pool.live(FIRST_SLOT)
    pool.market.forgets = True
    after = pool.live(FIRST_SLOT + 1)
    assert [head.since for head, _ in pool.market.heard] == [-1, FIRST_SLOT, -1]
    assert pool.market.heard[-1][1] == after
    pool.market.forgets = False
    pool.live(FIRST_SLOT + 2)
    assert pool.market.heard[-1][0].since == FIRST_SLOT + 1


def test_nobody_gets_back_more_than_it_had_over_and_phantoms_are_received() -> None:
    """Homes that give, lack, and claim from nobody; by hand."""
    came = Came(np.array((50, 30, 0), np.int16), phantom_wh=np.array((7, 0, 9), np.int32))
    surplus_wh = np.array((40, 0, 0), np.int32)
    received, excess, returned = came.of(slice(0, 3), surplus_wh)
    assert (received.tolist(), excess.tolist(), returned.tolist()) == ([7, 30, 9], [0], [40, 0, 0])


def test_a_column_gets_wider_for_the_first_value_that_wants_it() -> None:
    """Blocks that were filled before keep their values; -32,768 is left out with 32,768."""
    column = Widening(4)
    column.put(0, np.array((32_767, -32_767), np.int32))
    assert column.values.itemsize == 2
    column.put(2, np.array((-32_768, 90_000), np.int32))
    assert column.values.tolist() == [32_767, -32_767, -32_768, 90_000]

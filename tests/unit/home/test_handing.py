"""What homes hand in: growth where the market has the last reading, whole registers where it may not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from energymarket.core.block import Widening
from energymarket.core.exchange import trade_columns
from energymarket.core.fleet import Fleet, Net
from energymarket.core.records import RECEIPT_COLUMNS
from energymarket.home.books import Books
from energymarket.home.gains import Bargain
from energymarket.home.handing import Came, Handed
from energymarket.home.keeper import Keeper
from energymarket.home.session import Refused
from energymarket.runtime import memory
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


def test_room_for_whole_registers_of_many_homes_is_given_back_once(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch has whole registers, the second what flowed: malloc keeps the room of that alone."""
    gone = []
    monkeypatch.setattr(memory, "WHOLE_HOMES_MAX", HOMES - 1)
    monkeypatch.setattr(memory, "give_back", lambda: gone.append(len(pool.market.heard)))
    pool.live(FIRST_SLOT)
    pool.live(FIRST_SLOT + 1)
    assert gone == [1]


def test_nobody_gets_back_more_than_it_had_over_and_phantoms_are_received() -> None:
    """Homes that give, lack, and claim from nobody; by hand."""
    came = Came(np.array((50, 30, 0), np.int16), phantom_wh=np.array((7, 0, 9), np.int32))
    surplus_wh = np.array((40, 0, 0), np.int32)
    received, excess, returned = came.of(slice(0, 3), surplus_wh)
    assert (received.tolist(), excess.tolist(), returned.tolist()) == ([7, 30, 9], [0], [40, 0, 0])


def test_homes_without_anything_over_state_what_they_buy_and_nothing_else() -> None:
    """It is what the general way says; who has something over, or got what it did not lack, goes that way."""
    policy, net_wh = np.array((0, 1, 2)), np.array((-50, -30, 0), np.int16)
    came = Came(np.array((20, 30, 0), np.int16))
    bought_wh = came.bought_only(slice(0, 3), net_wh)
    assert bought_wh is not None
    assert bought_wh.tolist() == [30, 0, 0]
    flows = (np.zeros(3, np.int16), -net_wh, *came.of(slice(0, 3), np.zeros(3, np.int16)))
    stated = trade_columns(policy, *flows)
    assert {name: column.tolist() for name, column in stated.items()} == {
        "offered_wh": [0, 0, 0],
        "returned_wh": [0, 0, 0],
        "sold_wh": [0, 0, 0],
        "bought_wh": [30, 0, 0],
    }
    assert came.bought_only(slice(0, 3), np.array((-50, -30, 1), np.int16)) is None
    for more in ("excess_wh", "phantom_wh"):
        other = Came(came.moved_wh, **{more: np.array((0, 0, 1), np.int32)})
        assert other.bought_only(slice(0, 3), net_wh) is None


def test_a_column_gets_wider_for_the_first_value_that_wants_it() -> None:
    """Blocks that were filled before keep their values; -32,768 is left out with 32,768."""
    column = Widening(4)
    column.put(0, np.array((32_767, -32_767), np.int32))
    assert column.values.itemsize == 2
    column.put(2, np.array((-32_768, 90_000), np.int32))
    assert column.values.tolist() == [32_767, -32_767, -32_768, 90_000]


def test_a_column_believes_who_knows_how_large_its_largest_value_is() -> None:
    """It gets wider for that, and not for anything else."""
    column = Widening(2)
    assert column.put(0, np.array((-32_767,), np.int32), 32_767)
    assert column.values.itemsize == 2
    assert not column.put(1, np.array((-32_768,), np.int32), 32_768)
    assert column.values.tolist() == [-32_767, -32_768]


def test_what_flows_is_told_of_every_block() -> None:
    """Sums of all that flowed, wide where it is large, also below zero; and whether anything was produced."""
    net = Net(4)
    for large in (5, 40_000, 2**31 - 1):
        lacking, nothing, used = (np.array(flows, np.int32) for flows in ((-3, -large), (0, 0), (3, large)))
        assert not net.put(0, lacking, nothing, used, np.empty(2, np.int32))
        assert net.flowed_wh == 2 * (3 + large)
        over, made = np.array((1, large), np.int32), np.array((2, large), np.int32)
        assert net.put(2, over, made, np.array((1, 0), np.int32), np.empty(2, np.int32))
        assert net.flowed_wh == 2 * (3 + large) + 2 * large + 4
        flows = {name: column.tolist() for name, column in net.flows().items()}
        assert flows == {
            "production_wh": [0, 0, 2, large],
            "consumption_wh": [3, large, 1, 0],
            "import_wh": [3, large, 0, 0],
            "export_wh": [0, 0, 1, large],
        }
    over = np.array((1, 0), np.int32)
    net.put(2, over, np.array((-70_000, 0), np.int32), over, np.empty(2, np.int32))
    assert net.flows()["production_wh"].tolist() == [0, 0, -70_000, 0]

"""A sparse state says of every home what a whole one says, in as many bytes as its homes have things."""

from __future__ import annotations

import numpy as np
import pytest

from energymarket.core.fleet import Fleet, apply_receipt, initial_block, initial_state
from energymarket.core.owned import Owned
from energymarket.core.sparse import (
    block_bytes,
    pack,
    part_of_payload,
    payload_bytes,
    spans,
    state_in,
    unpack,
)
from energymarket.core.state import STATE_COLUMNS, Layout, State, Work
from energymarket.wire.state_file import SPARSE_BLOCK_HOMES, VERSION_SPARSE
from tests.unit.core.made_fleet import FIRST_SLOT, Recipe, day_weather, mixed

HOMES = 1_000


def sparse(fleet: Fleet) -> tuple[bytearray, State]:
    """The initial state of a block in the bytes that it takes."""
    memory = bytearray(block_bytes(fleet.owned))
    memory[: fleet.owned.packed_bytes] = fleet.owned.packed()
    state = State(memory, fleet.count, Layout.NARROW, fleet.owned)
    initial_block(fleet, fleet.blocks[0], state)
    return memory, state


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("in_place", [True, False])
def test_homes_live_the_same_life_in_it(share: float, in_place: bool) -> None:
    """A day and a half with gifts: every column of every home, bit by bit, as in a whole state."""
    made = mixed(HOMES, 11, share)
    fleet = Fleet(made, 1, HOMES)
    whole = State(bytearray(State.size_bytes(HOMES)), HOMES)
    initial_state(fleet, whole)
    _, now = sparse(fleet)
    _, spare = sparse(fleet)
    for name, _ in STATE_COLUMNS:
        getattr(spare, name).fill(77)  # whatever was there before
    gives = made.homes["pv_kwp"] > 0
    gifts = {"given_wh": np.where(gives, 7, 0), "received_wh": np.where(gives, 0, 7)}
    for slot in range(FIRST_SLOT, FIRST_SLOT + 144):
        price = 400_000 if slot % 3 else 120_000
        net = fleet.step(whole, whole, slot, day_weather(slot), price).net_wh.copy()
        after = now if in_place else spare
        works = iter([Work(now, after, fleet.scratch)])
        assert (fleet.live(works, slot, day_weather(slot), price).net_wh == net).all()
        now, spare = after, now
        assert apply_receipt(whole, gifts)
        assert apply_receipt(now, gifts)
    for name, dtype in STATE_COLUMNS:
        assert now.column(name).astype(dtype).tobytes() == whole.column(name).tobytes(), name


def test_its_bytes_are_those_of_what_homes_have() -> None:
    """16 a home, 16 more who produces, 4 for a turbine, 20 a battery, 8 an answer to prices; and 4 bits."""
    homes = {
        "pv_kwp": [1.0] * 8 + [0.0] * 56,
        "wind_kw": [0.0] * 7 + [1.0] * 2 + [0.0] * 55,
        "battery_capacity_wh": [5_000] + [0] * 63,
        "elasticity_class": [1] * 3 + [0] * 61,
    }
    owned = Fleet(Recipe(homes).made(), 1, 64).owned
    assert 64 * 16 + 9 * 16 + 2 * 4 + 1 * 20 + 3 * 8 + 4 * 8 == 1_252
    assert block_bytes(owned) == 4_096
    many = Owned.joined([owned] * 64)
    assert block_bytes(many) == -(-64 * 1_252 // 4_096) * 4_096


def test_a_gift_of_who_produces_nothing_has_no_room() -> None:
    """It is told, never dropped, and nothing of that receipt is booked."""
    fleet = Fleet(Recipe({"pv_kwp": [1.0, 0.0]}).made(), 1, 2)
    _, state = sparse(fleet)
    assert not apply_receipt(state, {"given_wh": np.array([3, 1]), "received_wh": np.array([0, 5])})
    assert (state.column("given_wh").tolist(), state.column("received_wh").tolist()) == ([0, 0], [0, 0])


def test_a_part_of_it_is_the_state_of_these_homes() -> None:
    """Homes 4 to 33,000 of 40,000 cut out, in blocks that begin elsewhere: each has what it had."""
    homes, block = 40_000, 16_384
    fleet = Fleet(mixed(homes, 5, 0.4), 1, homes)
    state = State(bytearray(Layout.NARROW.size_bytes(homes)), homes, Layout.NARROW)
    initial_state(fleet, state)
    for slot in range(FIRST_SLOT + 46, FIRST_SLOT + 50):
        fleet.step(state, state, slot, day_weather(slot), 400_000)
    whole = pack(state, fleet.owned, block)
    assert len(whole) == payload_bytes(fleet.owned, block)
    part = state_in(part_of_payload(memoryview(whole), homes, 3, 33_000, block), 32_997, block)
    for name, _ in STATE_COLUMNS:
        assert part.column(name).tobytes() == state.column(name)[3:33_000].tobytes(), name
    assert unpack(whole, homes, block)[1] == fleet.owned


def test_the_blocks_of_a_new_file_are_those_of_a_fleet() -> None:
    """Where a block of a state begins, there begins one that is lived: 65,536 homes later."""
    fleet = Fleet(mixed(70_000, 5, 0.4), 1, 70_000)
    found = [(block.start, block.stop) for block in fleet.blocks]
    assert found == [(0, 65_536), (65_536, 70_000)]
    assert found == list(spans(70_000, SPARSE_BLOCK_HOMES[VERSION_SPARSE]))


@pytest.mark.parametrize("damage", ["everybody produces", "a page less", "nothing at all"])
def test_bytes_that_are_no_sparse_state_are_refused(damage: str) -> None:
    """Bits that do not agree with the length: a ValueError, and no columns over what is not there."""
    memory, _ = sparse(Fleet(mixed(1_000, 5, 0.4), 1, 1_000))
    if damage == "everybody produces":
        memory[:125] = bytes(b"\xff" * 125)
    data = memoryview(memory)[: {"a page less": -4_096, "nothing at all": 0}.get(damage)]
    with pytest.raises(ValueError, match=r"state|buffer"):
        state_in(data, 1_000, 65_536)

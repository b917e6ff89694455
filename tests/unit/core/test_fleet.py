"""The fleet's slot: conservation, any cut into shards, fractions, generations."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energymarket.core.block import BLOCK_HOMES
from energymarket.core.fleet import Fleet, Net, State, apply_receipt, catch_up, initial_state, step
from energymarket.core.records import RECEIPT_COLUMNS, REGISTERS
from energymarket.core.state import STATE_COLUMNS
from tests.unit.core.made_fleet import (
    FIRST_SLOT,
    Column,
    Made,
    Recipe,
    day_price_ueur_per_kwh,
    day_weather,
    mixed,
    states,
    weather,
)


def bytes_of(state: State) -> dict[str, bytes]:
    """Every column's bytes."""
    return {name: state.column(name).tobytes() for name, _ in STATE_COLUMNS}


def ran(
    made: Made, first: int, count: int, slots: int = 40, block_homes: int = BLOCK_HOMES
) -> tuple[State, Column]:
    """The state after some slots, and the needs minus surpluses of the last."""
    fleet = Fleet(made, first, count, block_homes)
    before, after = states(fleet)
    net: Column = np.zeros(count, np.int64)
    for slot in range(FIRST_SLOT + 24, FIRST_SLOT + 24 + slots):
        answer = step(fleet, before, after, slot, day_weather(slot), day_price_ueur_per_kwh(slot))
        net = answer.need_wh - answer.surplus_wh
        before, after = after, before
    return before, net


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1_000), count=st.integers(1, 60), share=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_every_slot_conserves_energy_per_home(seed: int, count: int, share: float) -> None:
    """Production + out + import = consumption + in + export; content moves by in - out - losses."""
    fleet = Fleet(mixed(count, seed, share), 1, count)
    before, after = states(fleet)
    for slot in range(FIRST_SLOT, FIRST_SLOT + 96, 3):
        kept = bytes_of(before)
        net = step(fleet, before, after, slot, day_weather(slot), day_price_ueur_per_kwh(slot))
        assert bytes_of(before) == kept
        d = {name: after.column(name) - before.column(name) for name in (*REGISTERS, "battery_wh")}
        assert all((d[name] >= 0).all() for name in REGISTERS)
        came = d["production_wh"] + d["battery_out_wh"] + d["import_wh"]
        assert (came == d["consumption_wh"] + d["battery_in_wh"] + d["export_wh"]).all()
        assert (d["battery_wh"] == d["battery_in_wh"] - d["battery_out_wh"] - d["losses_wh"]).all()
        assert (net.need_wh == d["import_wh"]).all()
        assert (net.surplus_wh == d["export_wh"]).all()
        assert ((net.need_wh == 0) | (net.surplus_wh == 0)).all()
        assert (after.deferred_wh >= 0).all()
        before, after = after, before


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_the_largest_blocks_give_the_bits_of_small_ones(share: float) -> None:
    """65,539 homes: a full block and three homes, against blocks of 4,096; a few owners, and many."""
    homes = BLOCK_HOMES + 3
    made = mixed(homes, 5, share)
    large, large_net = ran(made, 1, homes, 6)
    small, small_net = ran(made, 1, homes, 6, 4_096)
    assert bytes_of(large) == bytes_of(small)
    assert large_net.tolist() == small_net.tolist()


def test_a_full_block_of_all_that_16_bits_hold_is_added_up_in_full() -> None:
    """65,536 homes that consume 32,767 Wh each: 2,147,418,112 of each of two registers, below 2**31."""
    net, room = Net(BLOCK_HOMES), np.empty(BLOCK_HOMES, np.int32)
    most = np.full(BLOCK_HOMES, 32_767, np.int32)
    net.put(0, -most, np.zeros(BLOCK_HOMES, np.int32), most, room)
    assert net.flowed_wh == 2 * 65_536 * 32_767


@pytest.mark.parametrize("block_homes", [0, 65_537])
def test_blocks_have_a_largest_size(block_homes: int) -> None:
    """Of more homes neither places nor sums would fit."""
    with pytest.raises(ValueError, match="65536"):
        Fleet(mixed(5, 1, 1.0), 1, 5, block_homes)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 1_000),
    share=st.sampled_from([0.05, 0.3, 1.0]),
    cuts=st.lists(st.integers(1, 79), max_size=6),
)
def test_any_cut_into_shards_gives_the_same_bits(seed: int, share: float, cuts: list[int]) -> None:
    """Homes alone, in shards or in one fleet have the same state, fractions included, and the same net."""
    made = mixed(80, seed, share)
    whole, net = ran(made, 1, 80)
    for start, stop in pairwise(sorted({0, 80, *cuts})):
        part, part_net = ran(made, start + 1, stop - start)
        assert bytes_of(part) == bytes_of(whole.part(start, stop))
        assert (part_net == net[start:stop]).all()


def test_one_home_is_a_fleet_of_one() -> None:
    """Each of thirty homes run alone lives exactly as it does among the others."""
    made = mixed(30, 5, 0.5)
    whole, _ = ran(made, 1, 30)
    for home in range(1, 31):
        assert bytes_of(ran(made, home, 1)[0]) == bytes_of(whole.part(home - 1, home))


def test_blocks_do_not_show() -> None:
    """40,000 homes cross two borders between blocks; cut elsewhere, they have the same state."""
    made = mixed(40_000, 3, 0.3)
    whole, _ = ran(made, 1, 40_000, slots=3)
    for start, stop in ((0, 9_999), (9_999, 40_000)):
        part, _ = ran(made, start + 1, stop - start, slots=3)
        assert bytes_of(part) == bytes_of(whole.part(start, stop))


def test_every_column_is_written() -> None:
    """Whatever rubbish the next generation held before, the step leaves nothing of it."""
    for share in (0.0, 0.1, 1.0):
        fleet = Fleet(mixed(50, 4, share), 1, 50)
        before, one = states(fleet)
        other = State(bytearray(b"\xa5" * State.size_bytes(50)), 50)
        for hour in (0, 12, 17):
            slot = FIRST_SLOT + 4 * hour
            for after in (one, other):
                step(fleet, before, after, slot, day_weather(slot), 400_000)
            assert bytes_of(one) == bytes_of(other)


@given(
    numerators=st.tuples(*[st.integers(0, 3_000_000)] * 3),
    scale=st.sampled_from([0.5, 1.0, 2.0]),
)
@settings(deadline=None, max_examples=15)
def test_fractions_are_carried_not_lost(numerators: tuple[int, int, int], scale: float) -> None:
    """Over 1,000 slots whole Wh and what is still carried are the exact rational sum of the energies.

    Exact from 1 Wh a slot on; below, each slot may round by 2**-24 Wh. (The scales are powers of two,
    so that the energy of a slot itself is exact.)
    """
    load, series, wind = (np.float32(numerator / 7_000) for numerator in numerators)
    tables = {
        "load_wh": [[load]],
        "series_production_wh": [[series]],
        "series_consumption_wh": [[0]],
        "wind_curve_w": [[wind, wind]],
    }
    homes = {"load_scale": [scale, 0, 0], "series": [65_535, 0, 65_535], "wind_kw": [0, 0, scale]}
    fleet = Fleet(Recipe(homes, tables, slots=1).made(), 1, 3)
    before, after = states(fleet)
    for slot in range(FIRST_SLOT, FIRST_SLOT + 1_000):
        step(fleet, before, after, slot, weather(), None)
        before, after = after, before
    energies = (Fraction(float(load) * scale), Fraction(float(series)), Fraction(float(wind) * scale / 4))
    counted = (before.consumption_wh[0], before.production_wh[1], before.production_wh[2])
    carried = (before.load_carry_wh[0], before.pv_carry_wh[1], before.wind_carry_wh[2])
    for energy, whole, carry in zip(energies, counted, carried, strict=True):
        assert 0 <= carry < 1
        lost = abs(int(whole) + Fraction(float(carry)) - 1_000 * energy)
        assert lost <= (0 if energy >= 1 else 1_000 * Fraction(1, 2**24))


def test_series_of_whole_wh_come_out_as_written() -> None:
    """Homes written by hand are exact: 250 and 0 Wh in turn, imported and exported to the Wh."""
    tables = {"series_production_wh": [[0], [700]], "series_consumption_wh": [[250], [0]]}
    fleet = Fleet(Recipe({"series": 0}, tables, slots=2).made(), 1, 1)
    before, after = states(fleet)
    seen = []
    for slot in range(FIRST_SLOT, FIRST_SLOT + 4):
        net = step(fleet, before, after, slot, weather(), 123_456)
        seen.append((int(net.need_wh[0]), int(net.surplus_wh[0])))
        before, after = after, before
    assert seen == [(250, 0), (0, 700), (250, 0), (0, 700)]
    assert (before.import_wh[0], before.export_wh[0]) == (500, 1_400)


def test_receipts_raise_the_registers_of_gifts() -> None:
    """What a receipt says was given and received is added, and the next step keeps it."""
    fleet = Fleet(Recipe({"policy": [1, 2]}).made(), 1, 2)
    before, after = states(fleet)
    receipt = {name: np.zeros(2, dtype) for name, dtype in RECEIPT_COLUMNS}
    receipt["given_wh"][:] = (70, 0)
    receipt["received_wh"][:] = (0, 30)
    apply_receipt(before, receipt)
    step(fleet, before, after, FIRST_SLOT, weather(), None)
    assert (after.given_wh.tolist(), after.received_wh.tolist()) == ([70, 0], [0, 30])


def test_slots_without_a_market_are_steps_at_the_reference_price() -> None:
    """Catching up over a gap ends in the state that single steps without a price reach."""
    fleet = Fleet(mixed(20, 6, 1.0), 1, 20)
    pair = states(fleet)
    slots = range(FIRST_SLOT, FIRST_SLOT + 5)
    caught, spare = catch_up(fleet, pair, slots, day_weather)
    assert {id(caught), id(spare)} == {id(pair[0]), id(pair[1])}
    before, after = states(fleet)
    for slot in slots:
        step(fleet, before, after, slot, day_weather(slot), None)
        before, after = after, before
    assert bytes_of(caught) == bytes_of(before)


def test_a_state_begins_with_the_batteries_of_the_scenario() -> None:
    """Registers begin at zero, contents as the scenario says, whatever the memory held."""
    homes = {"battery_capacity_wh": [5_000, 0], "battery_initial_wh": [2_500, 0]}
    fleet = Fleet(Recipe(homes).made(), 1, 2)
    state = State(bytearray(b"\xff" * State.size_bytes(2)), 2)
    initial_state(fleet, state)
    assert state.battery_wh.tolist() == [2_500, 0]
    assert all((state.column(name) == 0).all() for name, _ in STATE_COLUMNS if name != "battery_wh")


def test_one_memory_is_no_two_generations() -> None:
    """Stepping a state onto itself, or onto one of another size, is refused before anything is written."""
    fleet = Fleet(Recipe({"policy": [1, 2]}).made(), 1, 2)
    state, _ = states(fleet)
    small = State(bytearray(State.size_bytes(1)), 1)
    with pytest.raises(ValueError, match="two generations"):
        step(fleet, state, state, FIRST_SLOT, weather(), None)
    with pytest.raises(ValueError, match="a fleet of 2"):
        step(fleet, state, small, FIRST_SLOT, weather(), None)


@pytest.mark.parametrize(("first", "count"), [(0, 1), (1, 0), (1, 4), (4, 1)])
def test_ranges_outside_the_scenario_are_refused(first: int, count: int) -> None:
    """A fleet of homes that the scenario does not have is refused."""
    with pytest.raises(ValueError, match="the scenario has"):
        Fleet(Recipe({"policy": [1, 2, 3]}).made(), first, count)

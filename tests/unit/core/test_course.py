"""A fleet that lives several slots at a look is the fleet that steps through them one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energymarket.core.chance import Purpose, draw_u32, draw_u32_of_slots, draw_u64, draw_u64_of_slots
from energymarket.core.course import Course, Lived
from energymarket.core.fleet import Fleet, State, initial_state, step
from energymarket.core.state import STATE_COLUMNS
from energymarket.core.weather import WEATHER
from tests.unit.core.made_fleet import FIRST_SLOT, day_price_ueur_per_kwh, day_weather, mixed

HOMES = 300
SLOTS = 60


def fresh(fleet: Fleet) -> State:
    """The state at the beginning."""
    state = State(bytearray(State.size_bytes(fleet.count)), fleet.count)
    initial_state(fleet, state)
    return state


def stepped(fleet: Fleet) -> tuple[State, list[tuple[list[int], list[int]]]]:
    """The state after all slots, and what was needed and left over in each."""
    before, after = fresh(fleet), fresh(fleet)
    nets = []
    for slot in range(FIRST_SLOT, FIRST_SLOT + SLOTS):
        net = step(fleet, before, after, slot, day_weather(slot), day_price_ueur_per_kwh(slot))
        nets.append((net.need_wh.tolist(), net.surplus_wh.tolist()))
        before, after = after, before
    return before, nets


def travelled(fleet: Fleet, looks: list[int]) -> tuple[State, list[tuple[list[int], list[int]]]]:
    """The same by a course that looks at so many slots at a time."""
    state = fresh(fleet)
    course, nets, slot = Course(fleet, state, max(looks)), [], FIRST_SLOT
    for slots in looks:
        ahead = range(slot, slot + slots)
        weather = np.array([day_weather(each) for each in ahead], WEATHER)
        lived = Lived.room(slots, fleet.count)
        course.turn_to(ahead, weather)
        flowed = [course.live(at, day_price_ueur_per_kwh(each), lived) for at, each in enumerate(ahead)]
        course.book(lived)
        columns = (lived.consumption_wh, lived.production_wh)
        assert flowed == list(zip(*(each.sum(axis=1).tolist() for each in columns), strict=True))
        nets += [(np.maximum(-net, 0).tolist(), np.maximum(net, 0).tolist()) for net in lived.net_wh]
        slot += slots
    return state, nets


@pytest.mark.parametrize(("block_homes", "seed", "times"), [(64, 3, 1), (16_384, 4, 1), (16_384, 3, 1_000)])
@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, 25), min_size=1, max_size=8))
def test_a_course_is_as_many_steps(block_homes: int, seed: int, times: int, cut: list[int]) -> None:
    """However many slots are looked at together, by night and day, in one block of homes or in five.

    Seed 3 has batteries of several kinds with standby; `times` makes them megawatts, which want 64 bits.
    """
    looks, left = [], SLOTS
    for each in [*cut, SLOTS]:
        if left:
            looks.append(min(each, left))
            left -= looks[-1]
    made = mixed(HOMES, seed, 0.5)
    names = ("battery_capacity_wh", "battery_charge_w", "battery_discharge_w")
    large = {name: made.homes[name] * np.int32(times) for name in names}
    made = replace(made, homes={**made.homes, **large})
    expected, nets = stepped(Fleet(made, 1, HOMES, 3 * block_homes))
    state, travelled_nets = travelled(Fleet(made, 1, HOMES, block_homes), looks)
    assert travelled_nets == nets
    for name, _ in STATE_COLUMNS:
        assert state.column(name).tobytes() == expected.column(name).tobytes(), name


def test_a_course_of_single_slots_is_as_many_steps() -> None:
    """Of very many homes slots are looked at one by one, and nothing is made ahead."""
    made = mixed(HOMES, 3, 0.5)
    expected, nets = stepped(Fleet(made, 1, HOMES))
    state, travelled_nets = travelled(Fleet(made, 1, HOMES), [1] * SLOTS)
    assert travelled_nets == nets
    assert state.packed() == expected.packed()


@pytest.mark.parametrize("more", [[], [7, 2**32, 2**63 - 1, 2**64 - 2]])
def test_draws_of_many_slots_are_those_of_each(more: list[int]) -> None:
    """Vectors over slots draw what the scalar counter draws, also where 64 bits wrap round; few and many."""
    slots = [0, 1, FIRST_SLOT, 2**63, 2**64 - 1, *more]
    items = np.array([1, 7, 2**32 - 1], np.uint32)
    drawn = draw_u32_of_slots(42, Purpose.LOAD_NOISE, slots, items)
    numbers = draw_u64_of_slots(42, Purpose.RING, np.array(slots, np.uint64), 3)
    for row, slot in enumerate(slots):
        assert drawn[row].tolist() == draw_u32(42, Purpose.LOAD_NOISE, slot, items).tolist()
        assert int(numbers[row]) == draw_u64(42, Purpose.RING, slot, 3)

"""Gifts of several slots at once are those of each slot by itself, claim by claim."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from energymarket.core import exchange
from energymarket.core.agreement import agree
from energymarket.core.chance import Purpose, draw_u32
from energymarket.core.parameters import Excess, Sharing, Take, Turn
from energymarket.core.records import GIFT_COLUMNS

SEED = 7
FAIR = Sharing(Take.EXACT, Turn.FAIR, Excess.NEUTRAL)
SELFISH = Sharing(Take.EXACT, Turn.SELFISH, Excess.NEUTRAL)


def drawn_up_to(most: int, seed: int, row: int, homes: int) -> np.ndarray:
    """A number 0 .. most for each home."""
    ids = np.arange(homes, dtype=np.uint32)
    return (draw_u32(seed, Purpose.SAMPLE, row, ids) % np.uint32(most + 1)).astype(np.int64)


@st.composite
def neighbourhoods(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, range]:
    """Meters (slots, homes) and policies: from few large offers for many to crumbs for a few, and nothing."""
    slots, homes, seed = draw(st.integers(2, 6)), draw(st.integers(2, 400)), draw(st.integers(0, 2**32))
    net = np.zeros((slots, homes), np.int32)
    for at, row in enumerate(net):
        surplus, need = (10 ** draw(st.integers(0, 5)) for _ in range(2))
        givers = drawn_up_to(99, seed, 3 * at, homes) < draw(st.sampled_from((0, 5, 50, 90, 100)))
        over, lack = drawn_up_to(surplus, seed, 3 * at + 1, homes), drawn_up_to(need, seed, 3 * at + 2, homes)
        row[:] = np.where(givers, over, -lack)
    first = draw(st.integers(0, 2**40))
    policy = 1 + drawn_up_to(2, seed, 3 * slots, homes)
    return net, policy.astype(np.uint8), range(first, first + slots)


@given(neighbourhoods())
@settings(max_examples=80)
def test_the_gifts_of_several_slots_are_those_of_each_slot(
    drawn: tuple[np.ndarray, np.ndarray, range],
) -> None:
    """`exchange.outcome` is the reference of a slot: who gives how much to whom, in which parts."""
    net, policy, slots = drawn
    hold_against_the_reference(net, policy, FAIR, slots)


@given(neighbourhoods(), st.sampled_from((FAIR, SELFISH)))
@settings(max_examples=40)
def test_the_gifts_of_a_slot_alone_are_the_same(
    drawn: tuple[np.ndarray, np.ndarray, range], sharing: Sharing
) -> None:
    """Of many homes slots are agreed upon one at a time."""
    net, policy, slots = drawn
    hold_against_the_reference(net[:1], policy, sharing, slots[:1])


def test_an_offer_has_no_more_parts_than_there_are_names_for() -> None:
    """One giver of 70,000 Wh, 69,999 takers of one: the last name ends the offer, and the rest goes back."""
    net = np.full((1, 70_000), -1, np.int32)
    net[0, 123] = 70_000
    policy = np.ones(70_000, np.uint8)
    hold_against_the_reference(net, policy, FAIR, range(5, 6))
    moved = np.zeros_like(net), np.zeros_like(net)
    assert agree(net, policy, FAIR, SEED, range(5, 6), moved).gift_counts == [65_536]


def hold_against_the_reference(net: np.ndarray, policy: np.ndarray, sharing: Sharing, slots: range) -> None:
    """Who gives how much to whom, in which parts, and what it comes to."""
    moved = np.full_like(net, -1), np.full_like(net, -1)
    found = agree(net, policy, sharing, SEED, slots, moved)
    ids, at = np.arange(1, net.shape[1] + 1), 0
    for row, slot in enumerate(slots):
        surplus, need = np.maximum(net[row], 0), np.maximum(-net[row], 0)
        wanted = exchange.outcome(ids, surplus, need, policy, sharing, SEED, slot)
        claims = np.sort(wanted.claims, order=("giver", "index"))
        here = slice(at, at + found.gift_counts[row])
        for name in GIFT_COLUMNS:
            assert found.gifts[name][here].tolist() == claims[name].tolist(), (name, slot)
        assert moved[0][row].tolist() == wanted.given_wh.tolist()
        assert moved[1][row].tolist() == wanted.received_wh.tolist()
        at = here.stop
    assert at == len(found.gifts["giver"])

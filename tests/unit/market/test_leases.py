"""Leases: a range of homes belongs to one connection at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.market.leases import Lease, Leases

ALICE, BOB = 1, 2
HOMES = 12


def lease(first: int, count: int, peer: int = ALICE) -> Lease:
    return Lease(first, count, peer, uid=1000, name="pool")


@pytest.fixture
def leases() -> Leases:
    """Alice holds homes 1 to 4 and 7 to 8."""
    made = Leases(HOMES)
    made.grant(lease(1, 4))
    made.grant(lease(7, 2))
    return made


@pytest.mark.parametrize(
    ("first", "count", "taken"), [(1, 4, 1), (4, 1, 1), (5, 2, None), (6, 2, 7), (8, 4, 7), (9, 4, None)]
)
def test_homes_of_another_connection_are_taken(
    leases: Leases, first: int, count: int, taken: int | None
) -> None:
    """Homes 5, 6 and 9 to 12 are free for Bob, the others are not."""
    found = leases.conflict(first, count, BOB)
    assert (found.first if found else None) == taken


def test_a_connection_may_lease_its_own_homes_anew(leases: Leases) -> None:
    """Alice asks for 3 to 7: both of her leases give way, and 1, 2 and 8 are free."""
    assert leases.conflict(3, 5, ALICE) is None
    leases.grant(lease(3, 5))
    assert [each.text for each in leases] == ["3-7"]
    assert leases.joined == 5
    assert leases.conflict(1, 2, BOB) is None
    assert leases.conflict(8, 1, BOB) is None


def test_a_lease_ends_with_its_connection(leases: Leases) -> None:
    """What Alice held is free, what Bob holds stays."""
    leases.grant(lease(10, 3, BOB))
    assert [each.text for each in leases.release(ALICE)] == ["1-4", "7-8"]
    assert leases.release(ALICE) == []
    assert [each.text for each in leases] == ["10-12"]
    assert leases.joined == 3


@pytest.mark.parametrize(
    ("home", "peer", "held"), [(1, ALICE, True), (4, ALICE, True), (5, ALICE, False), (4, BOB, False)]
)
def test_a_home_is_traded_for_by_its_holder_only(leases: Leases, home: int, peer: int, *, held: bool) -> None:
    """The range goes from its first home to its last, and to nobody else."""
    assert (leases.of_home(home, peer) is not None) == held


@pytest.mark.parametrize(
    ("first", "count", "peer", "held"),
    [
        (1, 4, ALICE, True),
        (1, 3, ALICE, False),
        (2, 3, ALICE, False),
        (1, 4, BOB, False),
        (5, 1, ALICE, False),
    ],
)
def test_a_batch_is_of_exactly_the_range_that_is_held(
    leases: Leases, first: int, count: int, peer: int, *, held: bool
) -> None:
    """A part of a lease hands in nothing: else the rest would be silent without saying so."""
    assert leases.holds(first, count, peer) == held


@given(
    st.lists(
        st.tuples(st.integers(1, HOMES), st.integers(1, HOMES), st.sampled_from((ALICE, BOB)), st.booleans())
    )
)
def test_no_home_is_ever_leased_twice(asked: list[tuple[int, int, int, bool]]) -> None:
    """Whoever asks for what, and leaves when: ranges never overlap, and the count of homes is theirs."""
    leases = Leases(HOMES)
    for first, count, peer, leaves in asked:
        if leaves:
            leases.release(peer)
        elif leases.conflict(first, count, peer) is None:
            leases.grant(lease(first, count, peer))
        homes = [home for each in leases for home in range(each.first, each.first + each.count)]
        assert len(homes) == len(set(homes)) == leases.joined

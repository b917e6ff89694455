"""A barrier, round after round: nobody leaves early, nobody is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from event_bus.protocol.barrier import Barrier


def test_it_opens_for_all_the_living_when_the_last_has_come_and_begins_anew() -> None:
    """Each is told the number of its own arrival; the next round needs all again."""
    barrier = Barrier(keep_all=False)
    barrier.arrive(1, 10)
    assert barrier.open([1, 2], 2) == {}
    barrier.arrive(2, 20)
    assert barrier.open([1, 2], 2) == {1: 10, 2: 20}
    assert barrier.open([1, 2], 2) == {}
    assert barrier.arrived == 0


def test_one_who_is_lost_is_waited_for_no_longer() -> None:
    """Whether it had come or not."""
    barrier = Barrier(keep_all=False)
    barrier.arrive(1, 1)
    barrier.arrive(2, 1)
    barrier.lose(2)
    barrier.lose(3)
    assert barrier.open([1], 3) == {1: 1}


def test_one_that_keeps_all_opens_for_all_or_nobody() -> None:
    """A loss voids every arrival; an empty seat keeps it shut."""
    barrier = Barrier(keep_all=True)
    barrier.arrive(1, 1)
    barrier.arrive(2, 1)
    barrier.lose(3)
    assert barrier.open([1, 2], 3) == {}
    barrier.arrive(1, 2)
    barrier.arrive(2, 2)
    assert barrier.open([1, 2], 3) == {}
    barrier.arrive(4, 1)
    assert barrier.open([1, 2, 4], 3) == {1: 2, 2: 2, 4: 1}


def test_a_withdrawal_is_in_time_or_told_not_to_be() -> None:
    """One that crosses the opening, or is of an arrival before, changes nothing."""
    barrier = Barrier(keep_all=False)
    barrier.arrive(1, 1)
    assert barrier.withdraw(1, 1)
    barrier.arrive(1, 2)
    assert not barrier.withdraw(1, 1)
    assert not barrier.withdraw(2, 1)
    assert barrier.open([1], 1) == {1: 2}
    assert not barrier.withdraw(1, 2)


def test_nobody_is_nobody_to_open_for() -> None:
    """With the last process gone there is no round."""
    assert Barrier(keep_all=False).open([], 0) == {}


@given(
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from(("arrive", "withdraw", "lose", "join")), st.integers(0, 3)), max_size=60
    ),
)
def test_it_opens_exactly_when_all_wait(keep_all: bool, happenings: list[tuple[str, int]]) -> None:
    """Against a plain account: who lives, who waits, how many seats are empty."""
    barrier, living, waits, seats, arrival = Barrier(keep_all=keep_all), {0, 1}, set[int](), 2, 0
    for what, life in happenings:
        if what == "arrive" and life in living:
            arrival += 1
            barrier.arrive(life, arrival)
            waits.add(life)
        elif what == "withdraw" and life in waits:
            arrival += 1
            barrier.arrive(life, arrival)
            assert barrier.withdraw(life, arrival)
            waits.discard(life)
        elif what == "lose" and life in living:
            barrier.lose(life)
            living.discard(life)
            waits = set() if keep_all else waits - {life}
        elif what == "join" and life not in living:
            living.add(life)
            seats = max(seats, len(living))
        opens = bool(living) and waits == living and not (keep_all and len(living) < seats)
        assert set(barrier.open(sorted(living), seats)) == (living if opens else set())
        waits = set() if opens else waits
        assert barrier.arrived == len(waits)

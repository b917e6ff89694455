"""Leases and quotas: who speaks for which home, and how many orders a slot takes, whatever is tried."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.market import Order
from energymarket.market.leases import Lease, Leases
from energymarket.market.quota import HOME_ORDERS_MAX, OrderQuota

HOMES = 30


def order(home: int) -> Order:
    return Order(home, "x", 7, -1, 200_000, -200, "7-000000")


def test_joining_again_gives_no_new_orders() -> None:
    """The third order of a slot is refused when two are allowed, for any home; the next slot has two."""
    quota = OrderQuota(2)
    assert [quota.refuse(7, 1, home, ()) for home in (1, 2)] == [None, None]
    assert quota.refuse(7, 1, 3, ()) == {"what": "orders per slot and connection", "limit": 2}
    assert quota.refuse(8, 1, 3, ()) is None


def test_a_home_has_its_limit_whoever_asks() -> None:
    """Two connections in turn, and orders from before a restart, share the home's two orders."""
    quota = OrderQuota(2)
    assert quota.refuse(7, 1, 5, [order(5)]) is None
    assert quota.refuse(7, 2, 5, [order(5)]) == {"what": "orders per slot and home", "limit": 2}
    assert quota.refuse(7, 2, 6, [order(5)]) is None


def test_no_setting_lifts_the_limit_of_a_home() -> None:
    """The receipt's int32 holds a thousand orders of a megawatt-hour each, not more."""
    quota = OrderQuota(1_000_000)
    said = [quota.refuse(7, peer, 5, ()) for peer in range(HOME_ORDERS_MAX + 1)]
    assert said[:-1] == [None] * HOME_ORDERS_MAX
    assert said[-1] is not None


Ranges = st.tuples(st.integers(1, 4), st.integers(1, HOMES), st.integers(1, HOMES))


@given(st.lists(st.one_of(Ranges, st.integers(1, 4)), max_size=40))
def test_leases_are_those_of_a_plain_table(steps: list[tuple[int, int, int] | int]) -> None:
    """Against one entry per home: who holds it, who is in the way, how many are leased, who leaves."""
    leases, holder = Leases(HOMES), dict[int, tuple[int, int, int]]()
    for step in steps:
        if isinstance(step, int):
            gone = {(each.first, each.count) for each in leases.release(step)}
            assert gone == {each[:2] for each in holder.values() if each[2] == step}
            holder = {home: each for home, each in holder.items() if each[2] != step}
            continue
        peer, first, last = step
        if last < first:
            continue
        homes = range(first, last + 1)
        in_the_way = {holder[home] for home in homes if home in holder}
        other = leases.conflict(first, len(homes), peer)
        assert (other is not None) == any(each[2] != peer for each in in_the_way)
        if other is not None:
            continue
        leases.grant(Lease(first, len(homes), peer, 0, "x"))
        holder = {home: each for home, each in holder.items() if each not in in_the_way}
        holder |= dict.fromkeys(homes, (first, len(homes), peer))
        assert leases.holds(first, len(homes), peer)
        assert leases.joined == len(holder)
        for home in range(1, HOMES + 1):
            found = [leases.of_home(home, each) for each in range(1, 5)]
            assert [(each.first, each.count, each.peer) for each in found if each] == (
                [holder[home]] if home in holder else []
            )

"""Homes in an exchange: gone through in the order of the ring, and nobody gets back what it never gave."""

from __future__ import annotations

import numpy as np
import pytest

from energymarket.core import parties
from energymarket.core.exchange import offers_of
from energymarket.core.parties import Parties, Stock
from energymarket.core.records import Policy

GIVE, SELL = int(Policy.GIVE), int(Policy.SELL)


def six(*, start: int = 0) -> Parties:
    """Homes 11 to 16 of a market of 20: three have something over, of whom 13 sells; two lack something."""
    net_wh = np.array((50, -20, 70, 0, 90, -40), np.int16)
    policies = np.array((GIVE, GIVE, SELL, GIVE, GIVE, SELL), np.uint8)
    return Parties(net_wh, policies, 11, (start, 20))


@pytest.mark.parametrize(
    ("start", "givers", "positions", "takers"),
    [
        (0, [11, 15], [10, 14], [12, 16]),
        (12, [15, 11], [2, 18], [16, 12]),  # it begins at home 13
        (19, [11, 15], [11, 15], [12, 16]),
    ],
)
def test_homes_come_in_the_order_of_the_ring(
    start: int, givers: list[int], positions: list[int], takers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the ring begins among them, and whatever a block is."""
    for block in (1, 4, 100):
        monkeypatch.setattr(parties, "BLOCK_HOMES", block)
        here = six(start=start)
        assert here.counts() == (2, 2)
        assert [int(each) for at, _ in here.lacking() for each in here.ids(at)] == takers
        stock = Stock(here, 2)
        offers = stock.first(9)
        assert (offers["giver"].tolist(), offers["position"].tolist()) == (givers, positions)
        assert [home for home in range(1, 21) if here.has_over(home)] == [11, 15]
        assert np.argsort(here.order(offers["giver"])).tolist() == [0, 1]


def test_what_comes_back_is_at_most_what_was_given() -> None:
    """Twice 30 of 50 come back as 50; a seller, who lacks something, and strangers get nothing back."""
    here = six()
    stock = Stock(here, 2)
    stock.first(2)
    stock.drop(2)
    assert here.open_wh.tolist() == [0, -20, 0, 0, 0, -40]
    here.take_back(offers_of(np.array((11, 13, 12, 15, 11, 7, 17)), np.full(7, 30), np.zeros(7)))
    assert here.open_wh.tolist() == [50, -20, 0, 0, 30, -40]
    here.lack(np.array((1,)), np.array((5,)))
    assert here.moved_wh().tolist() == [50, 15, 0, 0, 30, 0]


def test_offers_are_made_as_they_are_wanted_and_what_nobody_has_is_its_givers() -> None:
    """As many as have so much energy; the first one split; the rest back."""
    here = six()
    stock = Stock(here, 2)
    assert stock.worth(50)["giver"].tolist() == [11]
    assert stock.worth(51)["giver"].tolist() == [11, 15]
    stock.drop(1)
    rest = stock.first(1).copy()
    rest["energy_wh"] = 8
    stock.split(rest)
    assert (stock.left, stock.worth(1_000)["energy_wh"].tolist()) == (1, [8])
    stock.close()
    assert here.open_wh.tolist() == [0, -20, 0, 0, 8, -40]

"""A range with very many offers serves its own takers block by block: as the whole ring would at once."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import numpy as np
import pytest

from energymarket.core import exchange, parties
from energymarket.core.parameters import Excess, Sharing, Take, Turn
from energymarket.core.parties import Parties
from energymarket.core.records import CLAIM, Policy
from energymarket.home import bargain
from energymarket.home.bargain import Exchange

HOMES = 120
MODELS = [Sharing(*model) for model in product(Take, Turn, Excess)]


def lone(
    net_wh: np.ndarray[Any, Any], policies: np.ndarray[Any, Any], sharing: Sharing, start: int
) -> Exchange:
    """All homes of the market in one range, and nobody in the queue."""
    nobody = cast("Any", None)
    everybody = Parties(net_wh, policies, 1, (start, HOMES))
    return Exchange(nobody, sharing, 7, 0, 0, 0, HOMES, everybody, nobody, lambda: None)


@pytest.mark.parametrize("sharing", MODELS, ids=str)
@pytest.mark.parametrize("plenty", [40, 1_500, 30_000])
def test_served_block_by_block_as_all_at_once(
    sharing: Sharing, plenty: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little, enough and too much on offer: the claims are those of the reference of a whole slot."""
    monkeypatch.setattr(bargain, "AT_HOME_OFFERS", 2)
    monkeypatch.setattr(parties, "BLOCK_HOMES", 17)
    ids = np.arange(1, HOMES + 1)
    for seed in range(8):
        dice = np.random.default_rng(seed)  # noqa: TID251 - a test's own numbers
        net_wh = np.where(
            dice.random(HOMES) < 0.4, dice.integers(0, plenty, HOMES), -dice.integers(0, 200, HOMES)
        )
        policies = dice.choice([int(policy) for policy in Policy], HOMES).astype(np.uint8)
        sides = np.maximum(net_wh, 0), np.maximum(-net_wh, 0)
        whole = exchange.outcome(ids, *sides, policies, sharing, seed, 7)
        start = exchange.ring_start(seed, 7, HOMES)
        one = lone(net_wh.astype(np.int16), policies, sharing, start)
        one._serve_at_home()
        one.stock.close()
        claims = np.concatenate([np.zeros(0, CLAIM), *one.result.claims])
        assert claims.tolist() == whole.claims.tolist()
        left_wh = np.where(policies == Policy.SELL, 0, sides[0]) - whole.given_wh
        got_wh = np.minimum(whole.received_wh, sides[1])
        assert one.parties.moved_wh().tolist() == np.where(net_wh < 0, got_wh, left_wh).tolist()
        excess_wh = np.zeros(HOMES, np.int32) if one.result.excess_wh is None else one.result.excess_wh
        assert excess_wh.tolist() == whole.excess_wh.tolist()

"""Each guard of a batch refuses by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from energymarket.core.limits import ENERGY_WH_MAX, REGISTER_JUMP_WH_MAX
from energymarket.core.matching import match
from energymarket.core.records import BATCH_COLUMNS
from energymarket.core.refusals import Refusal
from energymarket.core.settlement import (
    Batch,
    Readings,
    check,
)
from tests.unit.core.made_batches import GIVE, Home, batch_of

OK = Home(10, GIVE, offered=10)


def broken(**columns: Any) -> Batch:
    batch = batch_of(1, [OK, OK])
    kinds = dict(BATCH_COLUMNS)
    changed = {name: np.array(values, kinds[name]) for name, values in columns.items()}
    return replace(batch, columns={**batch.columns, **changed})


GUARDS = [
    (batch_of(3, [OK, OK]), Refusal.UNKNOWN_HOME),
    (batch_of(0, [OK]), Refusal.UNKNOWN_HOME),
    (batch_of(1, []), Refusal.UNKNOWN_HOME),
    (replace(batch_of(1, [OK]), count=2), Refusal.BATCH_MALFORMED),
    (replace(batch_of(1, [OK]), columns={}), Refusal.BATCH_MALFORMED),
    (broken(sold_wh=[-1, 0]), Refusal.ENERGY_NEGATIVE),
    (broken(bought_wh=[0, ENERGY_WH_MAX + 1]), Refusal.ENERGY_TOO_LARGE),
    (broken(policy=[1, 4]), Refusal.POLICY_UNKNOWN),
    (broken(policy=[0, 1]), Refusal.POLICY_UNKNOWN),
    (broken(policy=[2, 1]), Refusal.SELLER_OFFERS),
    (broken(returned_wh=[11, 0]), Refusal.RETURNED_MORE_THAN_OFFERED),
    (broken(import_wh=[-(2**63), 0]), Refusal.REGISTER_OUT_OF_RANGE),
    (broken(export_wh=[2**63 - 1, 0]), Refusal.REGISTER_OUT_OF_RANGE),
    (broken(export_wh=[4, 5]), Refusal.REGISTER_RUNS_BACKWARDS),
    (broken(production_wh=[10, REGISTER_JUMP_WH_MAX + 6]), Refusal.REGISTER_JUMPS),
    (batch_of(1, [OK, OK], [(1, n, 2, 1) for n in range(7)]), Refusal.TOO_MANY_CLAIMS),
    (batch_of(1, [OK, OK], [(1, 0, 3, 1)]), Refusal.CLAIM_BY_STRANGER),
    (batch_of(1, [OK, OK], [(1, 0, 0, 1)]), Refusal.CLAIM_BY_STRANGER),
    (batch_of(1, [OK, OK], [(1, 0, 2, 0)]), Refusal.CLAIM_EMPTY),
    (batch_of(1, [OK, OK], [(1, 0, 2, 1), (1, 0, 1, 2)]), Refusal.CLAIM_TWICE),
    (batch_of(1, [OK, OK], [(1, 0, 2, ENERGY_WH_MAX), (1, 1, 2, 1)]), Refusal.ENERGY_TOO_LARGE),
]


@pytest.mark.parametrize(("batch", "refusal"), GUARDS)
def test_a_broken_batch_is_refused_by_name(batch: Batch, refusal: Refusal) -> None:
    """Each guard names its own refusal; production and export stood at 5 Wh before."""
    zero, five = np.zeros(3, np.int64), np.full(3, 5)
    assert check(batch, 3, Readings(five, zero, zero, five)) == [refusal]
    assert refusal.text


def test_a_good_batch_enters() -> None:
    """Nothing is refused of a batch at the limits."""
    batch = batch_of(1, [Home(REGISTER_JUMP_WH_MAX, GIVE, offered=ENERGY_WH_MAX)] * 2, [(1, 0, 2, 9)])
    assert check(batch, 2, Readings.zero(2)) == []


@pytest.mark.parametrize("energy_wh", [1, 32_767, 32_768, 65_536, 65_537, 131_072, ENERGY_WH_MAX - 5])
def test_what_a_home_takes_is_the_same_whether_its_batch_was_checked(energy_wh: int) -> None:
    """Checking adds it up already; in more than 16 bits where a home takes more than they hold."""
    giver = Home(REGISTER_JUMP_WH_MAX, GIVE, offered=ENERGY_WH_MAX)
    claims = [(1, 0, 4, energy_wh), (1, 1, 3, 2), (2, 0, 4, 5)]

    def batches() -> list[Batch]:
        return [batch_of(1, [giver, giver]), batch_of(3, [OK, OK], claims), batch_of(5, [OK], [(3, 0, 5, 7)])]

    home, checked, fresh = np.arange(1, 6), batches(), batches()
    assert [check(batch, 5, Readings.zero(5)) for batch in checked] == [[], [], []]
    for made in (checked, fresh):
        found = match(home, [batch.columns["offered_wh"] for batch in made], made)
        assert found.received_wh.tolist() == [0, 0, 2, energy_wh + 5, 7]
        assert found.void_claims == 0

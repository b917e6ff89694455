"""Accounts in 32 bits: the same numbers as in 64, and wider before one would not fit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.accounts import Accounts

EDGE = 2**31
STEPS = st.one_of(st.integers(0, 2_000), st.integers(EDGE - 2_001, EDGE - 1), st.just(10**9))


@given(st.lists(st.tuples(st.sampled_from([(1, 2, 3), (1, 3), (2, 3)]), STEPS, STEPS), max_size=6))
def test_narrow_accounts_add_up_like_wide_ones(slots: list[tuple[tuple[int, ...], int, int]]) -> None:
    """Registers and balances up to and beyond the edge of 32 bits, both ways, with and without holes."""
    wide = Accounts.fresh(3)
    narrow = wide.narrowed()
    assert {column.itemsize for column in narrow.columns()[:5]} == {4}
    for slot, (homes, energy, money) in enumerate(slots):
        home = np.array(homes, np.int64)
        flows = ("produced_wh", "consumed_wh", "imported_wh", "exported_wh")
        columns = {name: np.full(len(home), energy >> nth, np.int64) for nth, name in enumerate(flows)}
        columns |= {"home": home, "money_ueur": np.where(home == 3, money, -money - 1)}
        batches = [(homes[0], 1, "a")]
        wide.apply(slot, columns, batches)
        narrow.apply(slot, columns, batches)
    for one, other in zip(wide.columns(), narrow.columns(), strict=True):
        assert one.tolist() == other.tolist()
    assert wide.pack() == narrow.pack()
    again = Accounts.unpack(narrow.pack(), 3).narrowed()
    for column in again.columns()[:5]:
        fits = -EDGE <= int(column.min()) <= int(column.max()) < EDGE
        assert column.itemsize == (4 if fits else 8)

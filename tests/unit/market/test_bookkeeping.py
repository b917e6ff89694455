"""What the keeper of the books does between two slots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from energymarket.core.admission import READING_COLUMNS
from energymarket.market import bookkeeping
from energymarket.runtime import memory
from tests.unit.core.made_market import CALM, FIRST
from tests.unit.market.made_ledger import MadeLedger


@pytest.mark.parametrize(("many", "times"), [(3, 1), (4, 0)])
def test_the_room_of_whole_registers_is_given_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int, times: int
) -> None:
    """Four homes, more than `many` or not: their first batch is whole, the next two say what has flowed."""
    first = FIRST + -FIRST % 64 + 1  # no checkpoint, which gives back as well, is due before the 64th slot
    made = MadeLedger(tmp_path / "ledger.db", first)
    given_back: list[int] = []
    monkeypatch.setattr(bookkeeping, "BLOCK_HOMES", many)
    monkeypatch.setattr(memory, "give_back", lambda: given_back.append(made.next_slot))
    made.play(1)
    for slot in (first + 1, first + 2):
        before = {name: getattr(made.meters, name).copy() for name in READING_COLUMNS}
        made.meters.run((5, -6, 7, 0))
        flowed = {name: getattr(made.meters, name) - before[name] for name in READING_COLUMNS}
        registers = sum(int(getattr(made.meters, name).sum()) for name in READING_COLUMNS)
        whole = made.meters.batch(sold_wh=np.array([5, 0, 7, 0]).tolist())
        batch = replace(whole, columns={**whole.columns, **flowed}, since=slot - 1, registers=registers)
        made.market.open_slot(slot, CALM)
        assert made.market.hear_batch(batch) == []
        closed = made.market.close_slot()
        assert made.books.commit(closed, made.counts)
        made.market.commit_slot(closed)
        made.tidy()
    assert given_back == [first + 1] * times
    made.die()

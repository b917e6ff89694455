"""What the keeper of the books does between two slots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from energymarket.core.admission import READING_COLUMNS
from energymarket.runtime import memory
from tests.unit.core.made_market import CALM, FIRST
from tests.unit.market.made_ledger import MadeLedger


@pytest.mark.parametrize(("many", "ranges", "times"), [(3, 1, 1), (4, 1, 0), (3, 2, 1), (4, 2, 0)])
def test_the_room_of_whole_registers_is_given_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int, ranges: int, times: int
) -> None:
    """Four homes, more than `many` or not, in one range or two: first whole, then what has flowed twice."""
    first = FIRST + -FIRST % 64 + 1  # no checkpoint, which gives back as well, is due before the 64th slot
    made = MadeLedger(tmp_path / "ledger.db", first)
    given_back: list[int] = []
    monkeypatch.setattr(memory, "WHOLE_HOMES_MAX", many)
    monkeypatch.setattr(memory, "give_back", lambda: given_back.append(made.next_slot))
    made.market.open_slot(first, CALM)
    for start in range(1, 5, 4 // ranges):
        assert made.market.hear_batch(made.meters.batch(start, 4 // ranges)) == []
    settle(made)
    for slot in (first + 1, first + 2):
        before = {name: getattr(made.meters, name).copy() for name in READING_COLUMNS}
        made.meters.run((5, -6, 7, 0))
        flowed = {name: getattr(made.meters, name) - before[name] for name in READING_COLUMNS}
        registers = sum(int(getattr(made.meters, name).sum()) for name in READING_COLUMNS)
        whole = made.meters.batch(sold_wh=np.array([5, 0, 7, 0]).tolist())
        batch = replace(whole, columns={**whole.columns, **flowed}, since=slot - 1, registers=registers)
        made.market.open_slot(slot, CALM)
        assert made.market.hear_batch(batch) == []
        settle(made)
    assert given_back == [first + 1] * times
    made.die()


def settle(made: MadeLedger) -> None:
    """The open slot, and what is done after it."""
    closed = made.market.close_slot()
    made.next_slot = closed.slot + 1
    assert made.books.commit(closed, made.counts)
    made.market.commit_slot(closed)
    made.tidy()

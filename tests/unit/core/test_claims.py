"""Claims of many batches are woven into one order: that of a sort, or none where a sort has to decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core import claims
from energymarket.core.claims import Seen, seen, woven
from energymarket.core.records import CLAIM

Part = tuple[int, int]  # giver, index
Drawn = list[list[Part]]

PARTS = st.tuples(st.sampled_from([1, 2, 3, 2**32 - 1]), st.sampled_from([0, 1, 65_535]))


def made(parts: list[Part]) -> npt.NDArray[np.void]:
    """Claims of these parts; the taker tells them apart."""
    found = np.zeros(len(parts), CLAIM)
    for at, (giver, index) in enumerate(parts):
        found[at] = (giver, at + 1, 10, index, 0)
    return found


def parts_of(pieces: list[npt.NDArray[np.void]]) -> list[Any]:
    """The parts that are claimed, piece after piece."""
    return [(int(claim["giver"]), int(claim["index"])) for piece in pieces for claim in piece]


@pytest.fixture(autouse=True, params=[1, 2, 100])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few claims fit the cache, nothing else is found."""
    monkeypatch.setattr(claims, "BLOCK_CLAIMS", request.param)


@given(st.lists(st.lists(PARTS, max_size=5), max_size=4))
def test_what_is_woven_ascends_and_none_is_lost(batches: Drawn) -> None:
    """In any order, within a batch and over all: as sorted; None exactly where a part stands twice."""
    found = woven([seen(made(parts)) for parts in batches])
    every = sorted(part for parts in batches for part in parts)
    if len(set(every)) < len(every):
        assert found is None
    else:
        assert found is not None
        assert parts_of(found) == every


def test_a_ring_that_begins_within_a_batch_is_two_pieces() -> None:
    """And two batches whose takers took whole messages in turn are as many pieces as there were turns."""
    ring = [(giver, 0) for giver in (5, 6, 7, 1, 2, 3)]
    assert len(woven([seen(made(ring))]) or ()) == 2
    one, other = [(1, 0), (2, 0), (5, 0)], [(3, 0), (3, 1), (9, 0)]
    found = woven([seen(made(one)), seen(made(other))])
    assert [len(piece) for piece in found or ()] == [2, 2, 1, 1]


def test_who_mixes_all_up_is_left_to_the_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a batch that falls with every claim nor many that interlace take more than a bounded time."""
    monkeypatch.setattr(claims, "PIECES_MAX", 3)
    falling = [(giver, 0) for giver in (4, 3, 2, 1)]
    assert seen(made(falling)).runs() is None
    assert woven([seen(made(falling))]) is None
    assert woven([seen(made([(giver, 0)])) for giver in (1, 2, 3)]) is not None
    assert woven([seen(made([(giver, 0)])) for giver in (1, 2, 3, 4)]) is None
    assert woven([seen(made([(1, 0), (3, 0), (5, 0)])), seen(made([(2, 0), (4, 0), (6, 0)]))]) is None


def test_a_flag_is_seen_wherever_it_stands() -> None:
    """The last claim of the last block as well as the first."""
    for at in (0, 4):
        flagged = made([(giver, 0) for giver in range(1, 6)])
        flagged["flags"][at] = 1
        assert seen(flagged).flagged
    assert not Seen(made([(1, 0)])).flagged

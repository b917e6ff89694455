"""What is claimed already is not claimed again, whoever offers it, in whatever order givers come."""

from __future__ import annotations

import numpy as np

from energymarket.core.records import CLAIM, OFFER
from energymarket.home.claimed import ClaimedParts


def test_only_parts_that_nobody_has_claimed_are_open() -> None:
    """Against a dictionary: lots round a ring of 40 givers, some met again with a later part."""
    dice = np.random.default_rng(5)  # noqa: TID251 - a test's own numbers
    claimed, parts = ClaimedParts(), dict.fromkeys(range(1, 41), 0)
    for _ in range(60):
        start, count = int(dice.integers(40)), int(dice.integers(1, 12))
        givers = [(start + at) % 40 + 1 for at in range(count)]
        rows = [
            (giver, 99, 5, index)
            for giver in givers
            for index in range(parts[giver], parts[giver] + int(dice.integers(1, 4)))
        ]
        for giver, _, _, index in rows:
            parts[giver] = index + 1
        claimed.add(np.array([(*row, 0) for row in rows], CLAIM))
        offers = np.zeros(40, OFFER)
        offers["giver"] = dice.permutation(40) + 1
        offers["index"] = dice.integers(0, max(parts.values()) + 2, 40)
        expected = [int(offer["index"]) >= parts[int(offer["giver"])] for offer in offers]
        assert claimed.open(offers).tolist() == expected
    claimed.claim(np.array([7], np.uint32), np.array([60_000]))
    claimed.add(np.array([(8, 99, 5, 300, 0), (9, 99, 5, 100, 0), (8, 99, 5, 100, 0)], CLAIM))
    twice = np.array([(8, 1, 101, 0, 0), (8, 1, 300, 0, 0), (8, 1, 301, 0, 0)], OFFER)
    assert claimed.open(twice).tolist() == [False, False, True]
    late = np.array([(7, 1, 59_999, 0, 0), (7, 1, 60_000, 0, 0)], OFFER)
    assert claimed.open(late).tolist() == [False, True]
    assert claimed.open(late[:0]).tolist() == []

"""Quantiles of samples, by hand."""

from __future__ import annotations

import numpy as np

from energymarket.foresight.bands import band


def test_the_band_is_of_order_statistics() -> None:
    """Of nine samples the lowest is P10, the highest P90: p (n + 1) is 1, 5 and 9."""
    samples = np.array([[30, 1], [10, 1], [20, 1], [90, 1], [50, 1], [70, 1], [40, 1], [60, 1], [80, 1]])
    assert band(samples) == {"p10": [10, 1], "p50": [50, 1], "p90": [90, 1]}


def test_between_two_samples_the_band_is_straight() -> None:
    """Of nineteen, 2, 10 and 18; of fourteen, 1.5: half-way between the first two."""
    assert band(np.arange(1, 20)[:, None]) == {"p10": [2], "p50": [10], "p90": [18]}
    assert band(100 * np.arange(1, 15)[:, None])["p10"] == [150]


def test_a_single_sample_is_its_own_band() -> None:
    """Where nothing is unknown all three are what comes."""
    assert band(np.array([[7, -8]])) == {"p10": [7, -8], "p50": [7, -8], "p90": [7, -8]}

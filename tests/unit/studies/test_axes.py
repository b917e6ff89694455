"""Axes and cases: a grid is complete, a sample covers what it says, and both are the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.studies.axes import Axis, Choice, cases_of, grid_size, shown_of
from energymarket.studies.document import Method, Sampling


def words(name: str, *values: str) -> Axis:
    return Axis(name, name, name, "", tuple(Choice(value, ((name, value),)) for value in values))


def span(name: str, low: float, high: float, *, is_whole: bool = False) -> Axis:
    return Axis(name, name, name, "", span=(low, high), is_whole=is_whole)


def test_a_grid_is_every_value_with_every_other() -> None:
    """Two axes of 2 and 3 values: six cases, the last axis fastest, each pair once."""
    axes = [words("a", "x", "y"), words("b", "1", "2", "3")]
    cases = cases_of(axes, Sampling())
    assert [case.shown for case in cases] == [
        ("x", "1"), ("x", "2"), ("x", "3"), ("y", "1"), ("y", "2"), ("y", "3")
    ]  # fmt: skip
    assert [case.number for case in cases] == [1, 2, 3, 4, 5, 6]
    assert cases[3].settings == (("a", "y"), ("b", "1"))
    assert grid_size(axes) == 6


def test_without_axes_there_is_the_scenario_as_it_is() -> None:
    """A study that varies nothing has one case."""
    assert [case.shown for case in cases_of([], Sampling())] == [()]


def test_steps_reach_both_ends() -> None:
    """Five steps from 0.1 to 0.3 are 0.1, 0.15, 0.2, 0.25, 0.3, without a trace of binary fractions."""
    assert [each.shown for each in span("p", 0.1, 0.3).spread(5)] == [0.1, 0.15, 0.2, 0.25, 0.3]
    assert [each.shown for each in span("n", 10, 13, is_whole=True).spread(6)] == [10, 11, 12, 13]


@given(samples=st.integers(2, 60), seed=st.integers(0, 2**40))
def test_a_latin_hypercube_draws_once_from_each_part(samples: int, seed: int) -> None:
    """Each axis by itself: sample k of the sorted values lies in part k of as many equal parts."""
    axes = [span("a", 0.0, 1.0), span("b", -5.0, 5.0)]
    cases = cases_of(axes, Sampling(method=Method.LATIN_HYPERCUBE, samples=samples, seed=seed))
    values = np.sort(np.array([case.shown for case in cases], float), axis=0)
    shares = (values - [0.0, -5.0]) / [1.0, 10.0] * samples
    assert len(cases) == samples
    # six significant digits may put a value on the edge of its part
    assert (np.abs(shares - (np.arange(samples) + 0.5)[:, None]) <= 0.5 + 1e-3).all()


def test_a_latin_hypercube_pairs_its_parts_by_chance() -> None:
    """Two axes in step would be a diagonal: the ranks of 200 samples correlate by less than 0.2."""
    axes = [span("a", 0.0, 1.0), span("b", 0.0, 1.0)]
    cases = cases_of(axes, Sampling(method=Method.LATIN_HYPERCUBE, samples=200, seed=3))
    a, b = np.array([case.shown for case in cases], float).T
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.2


def test_random_draws_are_uniform() -> None:
    """2,000 draws: mean and variance of the uniform distribution, ends and all choices reached."""
    axes = [span("a", 0.0, 1.0), span("n", 1, 6, is_whole=True), words("w", "x", "y")]
    cases = cases_of(axes, Sampling(method=Method.RANDOM, samples=2_000, seed=1))
    a = np.array([case.shown[0] for case in cases], float)
    assert a.mean() == pytest.approx(0.5, abs=0.03)
    assert a.var() == pytest.approx(1 / 12, abs=0.01)
    counts = np.unique([case.shown[1] for case in cases], return_counts=True)
    assert counts[0].tolist() == [1, 2, 3, 4, 5, 6]
    assert counts[1].min() > 260  # of 333 expected: more than four standard deviations away is a bug
    assert {case.shown[2] for case in cases} == {"x", "y"}


@pytest.mark.parametrize("method", [Method.RANDOM, Method.LATIN_HYPERCUBE])
def test_a_sample_is_a_function_of_its_seed(method: Method) -> None:
    """The same seed draws the same, another one something else; more samples are no more of the same."""
    axes = [span("a", 0.0, 1.0), words("w", "x", "y")]

    def drawn(seed: int) -> list[tuple[object, ...]]:
        return [case.shown for case in cases_of(axes, Sampling(method=method, samples=20, seed=seed))]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.5, 0.5),
        (3, 3),
        ("queue", "queue"),
        (True, "true"),
        ([5, 10], "5 to 10"),
        ({"give": 0.5, "sell": 0.5}, "give 0.5, sell 0.5"),
    ],
)
def test_values_are_shown_as_people_read_them(value: object, shown: object) -> None:
    """Numbers stay numbers, so that their column is one; the rest are words."""
    assert shown_of(value) == shown

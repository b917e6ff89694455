"""The page about the way of one kWh: its blocks of Python run, in order, with the results that it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "packaging/doc/kwh.md"
BLOCKS = [
    (match[1], PAGE.read_text()[: match.start(1)].count("\n"))
    for match in re.finditer(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
]


def run(blocks: list[tuple[str, int]]) -> dict[str, Any]:
    """Run blocks one after the other in one namespace; a failure names the line of the page."""
    names: dict[str, Any] = {"__name__": "kwh"}
    for text, line in blocks:
        # Line ends before the block put its own lines where the page has them.
        exec(compile("\n" * line + text, str(PAGE), "exec"), names)  # noqa: S102 - a page of our own
    return names


def test_one_kwh_ends_in_the_ledger_as_the_page_says() -> None:
    """Every block runs and every result that the page asserts holds."""
    names = run(BLOCKS)
    assert names["market"].slot == names["SLOT"]


def test_every_step_is_shown_by_running_it() -> None:
    """Each numbered step of the page has a block, and each block asserts something."""
    steps = re.split(r"^## \d+\. ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    assert len(steps) >= 7
    assert [step.splitlines()[0] for step in steps if "\nassert " not in step] == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("np.arange(251) / 120", "np.arange(251) / 150"),
        ("np.full((1, 1), 500", "np.full((1, 1), 400"),
        ("gamma=0.99", "gamma=0.9"),
    ],
)
def test_the_numbers_of_the_page_follow_from_what_goes_in(right: str, wrong: str) -> None:
    """With another turbine, load or gamma the page's results do not hold: they are computed, not quoted."""
    assert any(right in text for text, _ in BLOCKS)
    with pytest.raises(AssertionError):
        run([(text.replace(right, wrong), line) for text, line in BLOCKS])

"""The protocol of the event bus under thousands of schedules, and under bugs that it must not have."""

from __future__ import annotations

import re

import pytest

from event_bus import limits
from tests.simulation.bus.planted import BUGS, Bug
from tests.simulation.bus.world import World, finding, play

SEEDS = 10_000
SEEDS_LONG = 100_000
CHUNKS = 20


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few messages fill what may be on its way, and a few frames are acknowledged together."""
    monkeypatch.setattr(limits, "UNTAKEN_BYTES_MAX", 32)
    monkeypatch.setattr(limits, "ACK_EVERY_FRAMES", 3)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_seen_that_must_not_be(chunk: int, is_long: bool) -> None:
    """10,000 seeds: token, barriers, order, clock, numbers, credit hold at each step, and all get done."""
    seeds = (SEEDS_LONG if is_long else SEEDS) // CHUNKS
    for seed in range(chunk * seeds, (chunk + 1) * seeds):
        play(seed)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of bug is found within the seeds that are played each time."""
    bug.patch(monkeypatch)
    worlds = (World(seed, keeper=bug.keeper, member=bug.member) for seed in range(SEEDS))
    assert any(re.search(bug.seen, finding(world)) for world in worlds)

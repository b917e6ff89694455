"""The protocol of the event bus under thousands of schedules, and under bugs that it must not have."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import pytest

from event_bus import limits
from tests.simulation.bus.planted import BUGS, Bug
from tests.simulation.bus.world import World, finding, play

SEEDS: Final = 10_000
SEEDS_LONG: Final = 100_000
CHUNKS: Final = 20

MET: Final = {
    "entered": 500,
    "token passed": 500,
    "token lost": 5,
    "renewed around one inside": 5,
    "killed inside": 3,
    "barrier '' opened": 50,
    "barrier 'lockstep' opened": 200,
    "losses told": 50,
    "replaced": 50,
    "condemned": 50,
    "waited for room": 20,
    "broken with something on its way": 20,
    "came again": 20,
    "came before its view": 20,
    "left in order": 20,
    "gave up the ": 20,
    "gave up barr": 50,
    "gave up answ": 20,
    "gave up room": 5,
    "taken back": 20,
}
"""How often 400 seeds meet, at least, what a schedule is for: well below what they do."""


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few messages fill what may be on its way, and a few frames are acknowledged together."""
    monkeypatch.setattr(limits, "UNTAKEN_BYTES_MAX", 32)
    monkeypatch.setattr(limits, "ACK_EVERY_FRAMES", 3)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_seen_that_must_not_be(chunk: int, is_long: bool) -> None:
    """10,000 seeds: token, barriers, order, clock, numbers, credit hold at each step, and all get done."""
    seeds = (SEEDS_LONG if is_long else SEEDS) // CHUNKS
    for seed in range(chunk * seeds, (chunk + 1) * seeds):
        play(seed)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch, is_long: bool) -> None:
    """Each kind of bug is found within the seeds that are played each time."""
    bug.patch(monkeypatch)
    seeds = range(0 if is_long else bug.near, SEEDS)
    worlds = (World(seed, keeper=bug.keeper, member=bug.member) for seed in seeds)
    assert any(re.search(bug.seen, finding(world)) for world in worlds)


def test_the_schedules_meet_what_they_are_for() -> None:
    """A simulator whose schedules are too kind finds nothing: holders die, tokens get lost, room runs out."""
    met = Counter[str]()
    for seed in range(400):
        met += play(seed).truth.counts
    assert not {what: met[what] for what, least in MET.items() if met[what] < least}


def test_a_seed_replays_step_by_step() -> None:
    """What a failure prints is what happened."""
    for seed in range(10):
        one, other = World(seed, traced=True), World(seed, traced=True)
        one.play()
        other.play()
        assert one.trace
        assert one.trace == other.trace

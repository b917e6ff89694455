"""The dispatcher's book in a world of faults: nobody hangs, no ticket is shared, no worker is lost."""

from __future__ import annotations

import pytest

from tests.simulation.dispatch_world import World

SEEDS = range(400)
SEEDS_LONG = range(20_000)
CLIENTS = 40


def test_whatever_dies_every_client_has_one_answer_and_every_worker_comes_back(is_long: bool) -> None:
    """Deaths, freezes, lost tokens, dispatchers that die: one answer each, a ticket once, all back."""
    told = served = 0
    for seed in SEEDS_LONG if is_long else SEEDS:
        world = World(seed)
        try:
            world.run(CLIENTS)
            world.settle()
        except AssertionError as wrong:
            pytest.fail(f"seed {seed}: {wrong!r}")
        told += len(world.told)
        served += sum(client.served or client.answer == "relayed" for client in world.clients.values())
    assert told > 5 * len(SEEDS)  # the world is none in which everybody is refused
    assert served > 5 * len(SEEDS)

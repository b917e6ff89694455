"""SIGSTOP of weather, of a holder of the queue, of a shard: the others go on by the rules and say so."""

from __future__ import annotations

import os
import signal
from itertools import pairwise

import pytest

from energymarket.transport import resources
from energymarket.transport.queue import OfferQueue
from tests.simulation.market_place import Place, soon
from tests.simulation.town import HOMES, TRADER, begin, goes_on

pytestmark = pytest.mark.timeout(600)


def _stale_after(town: Place, number: signal.Signals) -> float:
    """Plant the fault; how long it took until the market said so, and it has gone on since."""
    town.daemons["weather"].send_signal(number)
    told = f"stale weather after {number.name}"
    taken_s = soon(lambda: bool(town.status().get("weather_stale")), 10, told, town.log.read_text)
    beyond = town.committed() + 2
    soon(lambda: town.committed() > beyond, 20, "slots in stale weather", town.log.read_text)
    return taken_s


def test_weather_that_stops_or_dies_is_called_stale_within_two_seconds(town: Place) -> None:
    """SIGSTOP, then SIGKILL of weatherd: the market says stale, goes on, and says fresh when it is back."""
    begin(town, "market", "weather", "homes", "home-1", f"home-{TRADER}")
    fresh = lambda: not town.status().get("weather_stale", True)  # noqa: E731 asked again and again
    soon(fresh, 10, "fresh weather", town.log.read_text)
    # A heartbeat may be young by half a second less; a slot of 0.2 s has to open before the market looks.
    assert _stale_after(town, signal.SIGSTOP) < 2.5
    town.daemons["weather"].send_signal(signal.SIGCONT)
    soon(fresh, 10, "fresh again", town.log.read_text)
    assert _stale_after(town, signal.SIGKILL) < 2.5
    town.daemons["weather"].wait(10)
    town.start("weather")
    soon(fresh, 10, "fresh again", town.log.read_text)
    town.stop()
    ledger = town.ledger()
    assert {slot.head.weather_stale for slot in ledger.values()} == {False, True}
    assert all(50_000 <= slot.head.price_ueur_per_kwh <= 500_000 for slot in ledger.values())
    checked = town.check()
    assert checked.returncode == 0, checked.stdout


def test_a_frozen_holder_of_the_queue_costs_gifts_and_nothing_else(town: Place) -> None:
    """Somebody stops with the semaphore in hand: every home trades on without gifts, and is told so."""
    town.speed = 900 / 0.5  # every row counts, also on a busy machine
    begin(town, "market", "weather", "homes", "home-1", f"home-{TRADER}")
    queue = OfferQueue(resources.ensure(town.run))
    with queue.locked(5.0):
        first = town.committed() + 2
        soon(lambda: goes_on(town, first + 4), 30, "five slots while frozen", town.log.read_text)
    free = town.committed() + 2
    soon(lambda: goes_on(town, free + 3), 30, "slots after it", town.log.read_text)
    town.stop()
    assert "the offer queue is frozen: no gifts" in town.log.read_text()
    assert "the offer queue is free again" in town.log.read_text()
    ledger = town.ledger()
    frozen = [ledger[slot] for slot in range(first, first + 4)]
    assert [slot.totals["taken_wh"] for slot in frozen] == [0, 0, 0, 0]
    assert [len(slot.homes) for slot in frozen] == [HOMES] * 4
    assert all(slot.totals["bought_wh"] > 0 for slot in frozen)
    assert all(ledger[slot].totals["taken_wh"] > 0 for slot in range(free, free + 3))
    assert town.check().returncode == 0


def test_a_shard_frozen_in_the_exchange_is_not_waited_for(town: Place) -> None:
    """SIGSTOP of a shard for some slots: the others' rows are there; its next batch carries the gap."""
    begin(town, "market", "weather", "homes", "home-1", f"home-{TRADER}")
    (shard, _) = town.processes("--shard ")
    os.kill(shard, signal.SIGSTOP)
    first = town.committed() + 2
    soon(lambda: goes_on(town, first + 3), 20, "slots without the shard", town.log.read_text)
    os.kill(shard, signal.SIGCONT)
    back = town.committed() + 3
    soon(lambda: goes_on(town, back + 5), 20, "slots with the shard", town.log.read_text)
    town.stop()
    ledger = town.ledger()
    # On a busy machine somebody else may miss one gate of 0.2 s, or two.
    without = set[int]().union(*(ledger[slot].homes for slot in range(first, first + 3)))
    assert len(without) == HOMES - 30
    rows = [len(ledger[slot].homes) for slot in range(back, back + 5)]
    assert (HOMES, HOMES) in pairwise(rows), rows
    checked = town.check()
    assert checked.returncode == 0, checked.stdout

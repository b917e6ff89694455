"""A home that dies with an open slot: what it has said of the slot stands, and nothing is said twice.

The slots are those of pencil-gift, computed by hand in the file's own comment: in slot 1 the taker lacks
700 Wh, is given 500 Wh at a fee of 0.02 €/kWh and buys 200 Wh at 0.20 €/kWh, 0.05 € in all.
"""

from __future__ import annotations

import os
import signal

import pytest

from energymarket.core.records import SLOT_COLUMNS
from energymarket.scenario import toml
from energymarket.transport.client import Connection
from energymarket.wire.messages import TRADE, TRADE_SOCKET
from tests.simulation.market_place import Place, let_pass, soon
from tests.unit.scenario import pencil_ledger

pytestmark = pytest.mark.timeout(120)

TAKER = 2
ROW = dict.fromkeys(SLOT_COLUMNS[1:], 0) | {
    "consumed_wh": 700,
    "imported_wh": 700,
    "received_wh": 500,
    "bought_wh": 200,
    "money_ueur": -50_000,
}

BATCH_S = 5.4
"""From the opening of a slot of 10 s until orders and batches are in: the exchange ends after 5 s."""


@pytest.fixture
def scene(place: Place) -> Place:
    """The scene, compiled, with slots of 10 s: a home that is killed lives again before the gate."""
    place.speed, place.slots = 90, 2
    place.compile("pencil-gift")
    return place


def _scene() -> toml.Scenario:
    scenario, _ = toml.read("pencil-gift")
    assert scenario is not None
    return scenario


def _wait_for(scene: Place, slot: int) -> None:
    """Until this slot has opened."""
    with Connection(scene.run / TRADE_SOCKET, 10) as asking:

        def opened() -> bool:
            price = asking.call(f"{TRADE}.Price", {}).parameters
            return (price["slot"], price["phase"]) == (slot, "exchange")

        soon(opened, 30, f"the opening of slot {slot}", scene.log.read_text)


def _finish(scene: Place) -> None:
    """Let the slots pass; the checker finds ledger, registers and money in agreement."""
    soon(scene.ended, 60, "the end of the scene", scene.log.read_text)
    scene.stop()
    checked = scene.check()
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("pool", [False, True], ids=["a home alone", "a shard of the pool"])
def test_a_taker_that_dies_when_its_batch_is_in_keeps_its_gifts_and_buys_once(
    scene: Place, *, pool: bool
) -> None:
    """Killed in slot 1 with purchase and claims handed in: both slots are those of the undisturbed scene."""
    first = _scene().market.period.first_slot
    names = ("market", "weather", "homes") if pool else ("market", "weather", "home-1", f"home-{TAKER}")
    scene.shards = 2 if pool else None  # one home each
    for name in names:
        scene.start(name)
    soon(lambda: bool(scene.status()), 30, "the market", scene.log.read_text)
    _wait_for(scene, first + 1)
    let_pass(BATCH_S)
    (victim,) = scene.processes(f"--shard {TAKER}:1" if pool else f"--home {TAKER}")
    os.kill(victim, signal.SIGKILL)
    soon(lambda: scene.status()["homes_joined"] == 1, 2, "its death", scene.log.read_text)
    if not pool:  # nobody else does
        scene.daemons[f"home-{TAKER}"].wait()
        scene.start(f"home-{TAKER}")
    # On a very busy machine it comes back after the commit, and the outcome is the same.
    soon(lambda: scene.status()["homes_joined"] == 2, 10, "another life", scene.log.read_text)
    _finish(scene)
    wanted = pencil_ledger.read(_scene().text)
    found = {slot - first: entry.homes for slot, entry in scene.ledger().items()}
    zeros = dict.fromkeys(SLOT_COLUMNS[1:], 0)
    assert found == {
        number: {home: zeros | row for home, row in slot.homes.items()}
        for number, slot in wanted.items()
        if number < 2
    }


@pytest.mark.parametrize(
    ("ordered_wh", "traded"),
    [(200, {}), (150, {}), (350, {"bought_wh": 350, "sold_wh": 150})],
    ids=["as much", "less", "more"],
)
def test_an_order_of_an_earlier_life_stands_and_the_batch_states_the_difference(
    scene: Place, ordered_wh: int, traded: dict[str, int]
) -> None:
    """Dead between order and batch: 200 Wh are bought in sum at one price, and nothing is imbalance."""
    slot = _scene().market.period.first_slot + 1
    for name in ("market", "weather", "home-1"):
        scene.start(name)
    soon(lambda: bool(scene.status()), 30, "the market", scene.log.read_text)
    with Connection(scene.run / TRADE_SOCKET, 10) as earlier:
        earlier.call(f"{TRADE}.Join", {"first": TAKER, "count": 1, "name": "an earlier life"})
        _wait_for(scene, slot)
        earlier.call(f"{TRADE}.Buy", {"home": TAKER, "energy_wh": ordered_wh, "id": f"{TAKER}-{slot}"})
    scene.start(f"home-{TAKER}")
    _finish(scene)
    assert scene.ledger()[slot].homes[TAKER] == ROW | traded
    assert scene.ledger()[slot].orders == [(TAKER, -ordered_wh, -ordered_wh * 200)]

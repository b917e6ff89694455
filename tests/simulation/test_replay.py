"""Live runs of real daemons are replayed: killed, disturbed, reloaded, late, they have the live hash."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from energymarket.core.inputs import Before, pack
from energymarket.core.replay import Player, digest, unpack_start
from energymarket.scenario import toml
from tests.simulation.market_place import Place, let_pass, soon
from tests.simulation.town import HOMES, SCENE

pytestmark = pytest.mark.timeout(180)

SLOT_S = 0.3


def replay(place: Place, *words: str, code: int = 0) -> dict[str, Any]:
    """What `energyctl replay` says of the state, or of what the words name."""
    done = place.ctl("replay", *(words or ("--state", str(place.state))), "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def hashes(place: Place) -> list[tuple[int, str]]:
    """Every slot of the ledger with its hash, as the live run left it."""
    with closing(sqlite3.connect(place.state / "market" / "ledger.db")) as db:
        rows = db.execute("SELECT slot, hash FROM slots ORDER BY slot").fetchall()
    return [(slot, bytes(its).hex()) for slot, its in rows]


def test_a_late_batch_and_a_claim_without_an_offer_are_told(place: Place) -> None:
    """Two pencil scenes in a row: each replay has the live hash and says what its scene is about."""
    for name, late, voids in (("pencil-late", 1, 0), ("pencil-phantom-claim", 0, 1)):
        scenario, _ = toml.read(name)
        assert scenario is not None
        period = scenario.market.period
        assert place.up(name, period.slots, period.slot_s / 0.45).returncode == 0
        found, ledger = replay(place), hashes(place)
        assert found["equal"]
        assert (found["slots"], found["ledger_hash"]) == (len(ledger), ledger[-1][1])
        assert found["void_claims"] == voids
        if late:
            planned = [(home, slot) for home, each in enumerate(scenario.homes, 1)
                       for slot in each.scene.late_slots]  # fmt: skip
            ((home, slot),) = planned
            told = {"slot": period.first_slot + slot, "first": home, "count": 1}
            assert told in found["late"]
        assert found["late_batches"] == len(found["late"]) >= late


def test_an_assignment_run_lives_its_homes_again_to_the_watt_hour(place: Place) -> None:
    """The six homes of `classic` in processes of their own, with orders: ledger and registers come out."""
    assert place.up("classic", 6, 3_000).returncode == 0
    found, ledger = replay(place), hashes(place)
    assert found["ledger_hash"] == ledger[-1][1]
    assert found["orders"] > 0
    assert found["homes"]["unknown"] is None
    if not found["late_batches"] and not found["stale"]["slots"]:
        assert (found["homes"]["heard"], found["homes"]["differing_count"]) == (6, 0)


@pytest.fixture
def town(place: Place) -> Place:
    """Two shards and two single homes, their market and weather, a few slots old."""
    scenario = place.path / "town.toml"
    scenario.write_text(SCENE)
    place.compile(str(scenario))
    place.speed = 900 / SLOT_S
    for name in ("market", "weather", "homes", "home-1", "home-2"):
        place.start(name)
    soon(lambda: place.committed() > 0, 30, "the first slot", place.log.read_text)
    return place


def _pass(town: Place, slots: int) -> None:
    until = town.committed() + slots
    soon(lambda: town.committed() >= until, 20, f"slot {until}", town.log.read_text)


def _disturb(town: Place) -> None:
    """An event raised and cleared, a reload, a shard and the market killed."""
    assert town.ctl("event", "raise", "strike", "--for", "3").returncode == 0
    _pass(town, 2)
    (victim, *_) = town.processes("--shard")
    os.kill(victim, signal.SIGKILL)
    other = SCENE.replace("gamma = 0.5", "gamma = 0.4")
    assert town.control("Reload", text=other)["changed"] == ["price.gamma"]
    _pass(town, 2)
    assert town.ctl("event", "clear", "strike").returncode == 0
    town.daemons["market"].kill()
    town.daemons["market"].wait()
    town.revive()
    soon(lambda: town.committed() > 0, 20, "another life", town.log.read_text)
    _pass(town, 3)


def test_killed_disturbed_and_reloaded_a_run_is_equal_to_its_replay(town: Place) -> None:
    """Also while it runs, from a copy of one moment; afterwards a changed record is named by its slot."""
    _disturb(town)
    ledger = str(town.state / "market" / "ledger.db")
    meanwhile = replay(town, "--ledger", ledger, "--compiled", str(town.compiled))
    assert meanwhile["equal"]
    assert meanwhile["slots"] >= 7
    town.stop()
    found, sealed = replay(town), hashes(town)
    assert found["equal"]
    assert (found["slots"], found["ledger_hash"]) == (len(sealed), sealed[-1][1])
    assert (meanwhile["played"]["spans"][0][0], meanwhile["ledger_hash"]) in [
        (sealed[0][0], its_hash) for _, its_hash in sealed
    ]
    assert found["reloaded"]["slots"] == 1
    assert found["begun"] == 1
    _change_a_batch(town.state / "market" / "ledger.db", sealed[5][0])
    wrong = replay(town, code=5)
    assert wrong["finding"]["slot"] == sealed[5][0]
    assert wrong["finding"]["text"].startswith("bought_wh in the row of home ")
    assert wrong["slots"] == 5


def _change_a_batch(path: Path, slot: int) -> None:
    """Somebody lets a home buy 1 kWh more in the record, and makes the digest fit."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        (start,) = db.execute("SELECT body FROM starts ORDER BY slot LIMIT 1").fetchone()
        player = Player.begin(unpack_start(start))
        for (body,) in db.execute("SELECT body FROM inputs WHERE slot < ? ORDER BY slot", (slot,)).fetchall():
            player.play(player.read(body))
        (body,) = db.execute("SELECT body FROM inputs WHERE slot = ?", (slot,)).fetchone()
        (its_hash,) = db.execute("SELECT hash FROM slots WHERE slot = ?", (slot,)).fetchone()
        inputs = player.read(body)
        batch = next(batch for batch in inputs.batches if 2 < batch.first <= HOMES)
        batch.columns["bought_wh"][0] += 1_000
        changed = pack(inputs, Before(player.market.accounts.readings, player.policy))
        row = (changed, digest(its_hash, changed), slot)
        db.execute("UPDATE inputs SET body = ?, digest = ? WHERE slot = ?", row)


def test_slots_that_nobody_was_there_for_are_replayed_as_gaps(place: Place) -> None:
    """At speed 1 the market is dead for three slots of 1 s: their hashes come out, and they are told."""
    scenario = place.path / "second.toml"
    scenario.write_text(SCENE.replace("slots = 5000", 'slot = "1s"\nslots = 3600'))
    place.compile(str(scenario))
    place.speed = 1
    for name in ("market", "weather", "homes", "home-1"):
        place.start(name)
    soon(lambda: place.committed() > 0, 30, "the first slot", place.log.read_text)
    _pass(place, 1)
    place.daemons["market"].kill()
    place.daemons["market"].wait()
    before = hashes(place)[-1][0]
    let_pass(3.5)
    place.revive()
    soon(lambda: place.committed() > before + 3, 20, "another life", place.log.read_text)
    place.stop()
    found, sealed = replay(place), hashes(place)
    assert (found["slots"], found["ledger_hash"]) == (len(sealed), sealed[-1][1])
    with closing(sqlite3.connect(place.state / "market" / "ledger.db")) as db:
        gaps = [slot for (slot,) in db.execute("SELECT slot FROM slots WHERE gap ORDER BY slot")]
    assert len(gaps) >= 2
    assert found["gaps"] == {"slots": len(gaps), "spans": [[gaps[0], gaps[-1]]]}

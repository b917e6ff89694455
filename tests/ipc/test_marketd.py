"""The market alone, as a process, with clients of the test's own: every answer of its Trade interface."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from energymarket.core.records import BATCH_COLUMNS, CLAIM
from energymarket.exits import Exit
from energymarket.transport import memory_fd
from energymarket.transport.client import Connection, VarlinkError
from energymarket.wire import batch as batch_wire
from energymarket.wire.messages import CONTROL, TRADE
from tests.ipc.four_homes import (
    PRICE,
    SCENE,
    TRADED,
    Client,
    batch_of,
    snapshot_of,
    submission,
)
from tests.simulation.market_place import Place, soon

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene is compiled once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path: Path, run_dir: Path, cache: Path, no_ipc_left: None) -> Iterator[Place]:
    """The scene, compiled; nothing runs yet. Slots of 1.5 s: exchange until 0.75 s, gate at 1.2 s."""
    del no_ipc_left
    made = Place(tmp_path, run_dir / "run", cache, speed=600)
    file = cache / "scene.toml"
    file.write_text(SCENE)
    made.compile(str(file))
    yield made
    made.end()


@pytest.fixture
def market(place: Place) -> Iterator[Place]:
    """The market runs; at the end it is stopped in order."""
    place.start("market")
    soon(lambda: place.committed() >= 0, 20, "a first slot", place.log.read_text)
    yield place
    if place.daemons["market"].poll() is None:
        place.stop()
    else:
        place.program("energymarket.anchor", "remove", "--run", str(place.run))


@pytest.fixture
def client(market: Place) -> Iterator[Client]:
    """A client that has joined for the first two homes."""
    made = Client(market)
    made.ask("Join", first=1, count=2, name="test")
    yield made
    made.close()


# batches


def test_a_batch_is_answered_with_its_receipt_when_the_slot_is_durable(client: Client, market: Place) -> None:
    """0.4 kWh sold and 0.7 kWh bought at 0.20 €/kWh: 0.08 € and −0.14 €, no imbalance."""
    slot = client.opening()
    answer = client.ask("Submit", **submission(batch_of(slot, TRADED), slot))
    head, columns = batch_wire.unpack_receipt(base64.b64decode(answer["receipt"]))
    assert (head.slot, head.first, head.count) == (slot, 1, 2)
    assert columns["money_ueur"].tolist() == [80_000, -140_000]
    assert columns["imbalance_wh"].tolist() == [0, 0]
    assert market.control("Ledger", slot=slot)["ledger"]["totals"]["sold_wh"] == 400


def test_a_batch_may_come_in_a_memory_file(client: Client) -> None:
    """Passed as a sealed descriptor it is booked as well as inline."""
    slot = client.opening()
    descriptor = memory_fd.seal(batch_of(slot, TRADED), "batch")
    asked = {"id": "b", "slot": slot, "epoch": 0, "descriptor": 0}
    try:
        answer = client.trade.call(f"{TRADE}.Submit", asked, (descriptor,)).parameters
    finally:
        os.close(descriptor)
    assert answer["slot"] == slot


def test_registers_that_grow_from_the_last_reading_are_booked_and_from_another_refused(
    client: Client, market: Place
) -> None:
    """Whole, then growth of 100 Wh; growth since a slot before that one is refused by its name."""
    slot = client.opening()
    client.ask("Submit", **submission(batch_of(slot, TRADED), slot))
    slot, since = client.opening(), slot
    flowed = {name: np.zeros(2, np.int32) for name, _ in BATCH_COLUMNS} | {"policy": np.full(2, 2, np.uint8)}
    for name in ("consumption_wh", "import_wh", "bought_wh"):
        flowed[name][0] = 100
    words = {"epoch": 0, "first": 1, "registers": 2 * (400 + 700 + 100)}
    stale = batch_wire.pack(flowed, np.zeros(0, CLAIM), slot=slot, since=since - 1, **words)
    name, told = client.refused("Submit", **submission(stale, slot))
    assert (name, told["reason"]) == ("BatchRefused", "RegistersUnknown")
    batch = batch_wire.pack(flowed, np.zeros(0, CLAIM), slot=slot, since=since, **words)
    assert client.ask("Submit", **submission(batch, slot))["slot"] == slot
    assert market.control("Ledger", slot=slot)["ledger"]["totals"]["imported_wh"] == 100


def test_a_batch_sent_again_has_the_same_receipt_and_is_booked_once(client: Client, market: Place) -> None:
    """After its slot is history, and after the home has joined anew."""
    slot = client.opening()
    asked = submission(batch_of(slot, TRADED), slot)
    first = client.ask("Submit", **asked)
    client.opening()
    assert client.ask("Submit", **asked) == first
    client.close()
    again = Client(market)
    joined = again.ask("Join", first=1, count=2, name="again")
    assert (joined["batch_slot"], joined["receipt"]) == (slot, first["receipt"])
    assert again.ask("Submit", **asked) == first
    again.close()
    assert market.control("Homes", first=1, count=1)["homes"][0]["balance_ueur"] == 80_000


def test_what_is_said_last_counts_and_what_was_said_before_is_answered(client: Client) -> None:
    """The first Submit of a range is told that another took its place."""
    slot = client.opening()
    client.trade.start(f"{TRADE}.Submit", submission(batch_of(slot), slot, id="early"), more=False)
    client.trade.start(f"{TRADE}.Submit", submission(batch_of(slot, TRADED), slot, id="late"), more=False)
    with pytest.raises(VarlinkError) as caught:
        client.trade.receive(10)
    assert caught.value.parameters["reason"] == "Superseded"
    answer = client.trade.receive(10)
    assert answer is not None
    _, columns = batch_wire.unpack_receipt(base64.b64decode(answer.parameters["receipt"]))
    assert columns["money_ueur"].tolist() == [80_000, -140_000]


def test_after_the_gate_a_batch_is_refused(client: Client, market: Place) -> None:
    """It is counted as late, and the ledger has no row of these homes."""
    slot = client.opening()
    while client.notice["phase"] != "clearing":
        client.notice = client._next()
    name, told = client.refused("Submit", **submission(batch_of(slot, TRADED), slot))
    assert (name, told["slot"]) == ("GateClosed", slot)
    assert market.control("Ledger", slot=slot)["ledger"]["homes"] == []
    assert market.control("Status")["status"]["counts"]["late_batches"] == 1


def test_who_handed_in_together_with_others_joins_and_waits_for_the_slot(
    client: Client, market: Place
) -> None:
    """Homes 1 and 2 are in; home 2 alone is told so, refused in that slot, and has its receipt after it."""
    slot = client.opening()
    client.trade.start(f"{TRADE}.Submit", submission(batch_of(slot, TRADED), slot), more=False)
    client.close()
    alone = Client(market)
    soon(lambda: market.status()["homes_joined"] == 0, 1, "the lease of both has ended")
    joined = alone.ask("Join", first=2, count=1, name="alone")
    assert joined["handed_slot"] == slot
    assert joined["batch_slot"] is None
    name, told = alone.refused("Submit", **submission(batch_of(slot, first=2, count=1), slot, id="c"))
    assert (name, told["reason"]) == ("BatchRefused", "HomesTaken")
    while alone.notice["committed_slot"] != slot:
        alone.notice = alone._next()
    joined = alone.ask("Join", first=2, count=1, name="alone")
    assert (joined["handed_slot"], joined["batch_slot"]) == (None, slot)
    _, columns = batch_wire.unpack_receipt(base64.b64decode(joined["receipt"]))
    assert columns["money_ueur"].tolist() == [-140_000]
    alone.close()


def test_who_handed_in_and_died_is_told_so_and_finds_the_receipt_after_the_slot(
    client: Client, market: Place
) -> None:
    """The range's own batch is in: Join names the open slot until it is committed, then its receipt."""
    slot = client.opening()
    assert client.ask("Join", first=1, count=2, name="test")["handed_slot"] is None
    client.trade.start(f"{TRADE}.Submit", submission(batch_of(slot, TRADED), slot), more=False)
    client.close()
    soon(lambda: market.status()["homes_joined"] == 0, 1, "the lease has ended")
    again = Client(market)
    joined = again.ask("Join", first=1, count=2, name="again")
    assert (joined["handed_slot"], joined["batch_slot"]) == (slot, None)
    while again.notice["committed_slot"] != slot:
        again.notice = again._next()
    joined = again.ask("Join", first=1, count=2, name="again")
    assert (joined["handed_slot"], joined["batch_slot"]) == (None, slot)
    _, columns = batch_wire.unpack_receipt(base64.b64decode(joined["receipt"]))
    assert columns["money_ueur"].tolist() == [80_000, -140_000]
    again.close()


REFUSED: Final[list[tuple[str, dict[str, tuple[Any, ...]]]]] = [
    ("EnergyNegative", {"sold_wh": (-1, 0)}),
    ("EnergyTooLarge", {"bought_wh": (2**31 - 1, 0)}),
    ("PolicyUnknown", {"policy": (9, 2)}),
    ("SellerOffers", {"offered_wh": (5, 0)}),
    ("ReturnedMoreThanOffered", {"returned_wh": (5, 0)}),
    ("RegisterOutOfRange", {"import_wh": (-1, 0)}),
    ("RegisterJumps", {"import_wh": (10**10, 0)}),
    ("ClaimByStranger", {"claims": ((4, 3, 5, 0, 0),)}),
    ("ClaimEmpty", {"claims": ((4, 1, 0, 0, 0),)}),
    ("ClaimTwice", {"claims": ((4, 1, 5, 0, 0), (4, 2, 5, 0, 0))}),
]


def test_a_batch_that_cannot_be_is_refused_whole_with_its_reason(client: Client, market: Place) -> None:
    """One after the other in one slot, the slot's row tells of each; then the right one is booked."""
    slot = client.opening()
    for reason, columns in REFUSED:
        name, told = client.refused("Submit", **submission(batch_of(slot, columns), slot))
        assert (name, told["reason"]) == ("BatchRefused", reason)
        assert told["detail"]
    assert client.ask("Submit", **submission(batch_of(slot, TRADED), slot))["slot"] == slot
    found = market.control("Ledger", slot=slot)["ledger"]
    assert [each["reason"] for each in found["meta"]["refusals"]] == [reason for reason, _ in REFUSED]
    assert found["totals"]["sold_wh"] == 400


def test_registers_that_run_backwards_are_refused(client: Client) -> None:
    """400 Wh were read; 399 cannot come after."""
    slot = client.opening()
    client.ask("Submit", **submission(batch_of(slot, TRADED), slot))
    slot = client.opening()
    less = TRADED | {"production_wh": (399, 0)}
    name, told = client.refused("Submit", **submission(batch_of(slot, less), slot, id="c"))
    assert (name, told["reason"]) == ("BatchRefused", "RegisterRunsBackwards")


# death and restart


def test_what_was_acknowledged_survives_sigkill(client: Client, market: Place) -> None:
    """An order, then SIGKILL, then the same id: the same receipt, at the same price, booked once."""
    client.opening()
    told = client.ask("Sell", home=1, energy_wh=1_000, id="a")["receipt"]
    market.daemons["market"].send_signal(signal.SIGKILL)
    market.daemons["market"].wait()
    client.close()
    market.start("market")
    soon(lambda: market.committed() >= told["slot"], 20, "the slot is committed", market.log.read_text)
    again = Client(market)
    again.ask("Join", first=1, count=1)
    assert again.ask("Sell", home=1, energy_wh=1_000, id="a")["receipt"] == told
    orders = market.control("Ledger", slot=told["slot"])["ledger"]["orders"]
    assert [order["total_ueur"] for order in orders] == [200_000]
    again.close()


def test_a_stop_is_answered_with_the_last_slot(market: Place) -> None:
    """The gate closes, the slot is settled, the process ends with 0."""
    slot = market.control("Stop")["slot"]
    assert market.daemons["market"].wait(10) == Exit.OK
    assert max(market.ledger()) == slot


# configuration


def test_a_bad_scenario_is_refused_in_the_words_of_config_check(place: Place) -> None:
    """An explosive price and an unknown key: exit 78, file, line and reason, word for word."""
    file = place.path / "bad.toml"
    file.write_text(SCENE.replace("gamma = 0.5", "gamma = 1.5").replace("seed = 2", "seed = 2\nsed = 3"))
    checked = place.ctl("config", "check", str(file))
    assert checked.returncode == Exit.CONFIGURATION
    problems = [
        line for line in checked.stderr.splitlines() + checked.stdout.splitlines() if "bad.toml:" in line
    ]
    assert len(problems) == 2
    where = ["--run", str(place.run), "--state", str(place.state / "market")]
    market = place.program("energymarket.marketd", "--scenario", str(file), *where)
    assert market.returncode == Exit.CONFIGURATION
    for problem in problems:
        assert problem.removeprefix("error: ").strip() in market.stderr


def test_new_coefficients_count_from_the_next_slot(market: Place) -> None:
    """Base 0.15 instead of 0.10: the price goes from 0.20 towards 0.30 by halves: 0.25, then 0.275."""
    answer = market.control("Reload", text=SCENE.replace("alpha = 0.1", "alpha = 0.15"))
    from_slot = answer.pop("from_slot")
    assert answer == {"changed": ["price.factors"], "needs_restart": []}
    after = market.committed()
    soon(lambda: market.committed() > after + 3, 20, "three slots later")
    rows = market.control("Price", last=10)["prices"]
    risen = [(row["slot"], row["price_ueur_per_kwh"]) for row in rows if row["price_ueur_per_kwh"] != PRICE]
    assert risen[:2] == [(from_slot, 250_000), (from_slot + 1, 275_000)]


def test_a_reload_that_is_waited_for_is_in_force(market: Place) -> None:
    """`reload --wait` returns in the first slot at the new price; mistakes read as in `config check`."""
    file = market.compiled / "scenario.toml"
    before = file.read_text()
    try:
        file.write_text(SCENE.replace("alpha = 0.1", "alpha = 0.15"))
        done = market.ctl("--json", "reload", "--wait", "--timeout", "20")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert (said["in_force"], said["open_price_ueur_per_kwh"]) == (True, 250_000)
        now = market.control("Price")["current"]
        assert now["slot"] >= said["from_slot"]
        file.write_text(SCENE.replace("seed = 2", "sead = 2").replace("alpha = 0.1", "alphabet = 0.1"))
        refused, checked = market.ctl("reload", "--wait"), market.ctl("config", "check", str(file))
        assert refused.returncode == checked.returncode == Exit.CONFIGURATION
        assert refused.stderr == checked.stdout
        assert "sead" in refused.stderr
        assert "alphabet" in refused.stderr
    finally:
        file.write_text(before)


# what operators see


def test_the_status_counts_energy_and_knows_the_age_of_the_last_slot(client: Client, market: Place) -> None:
    """400 Wh out, 700 Wh in, in one slot; the last slot is younger than two slots of 1.5 s."""
    slot = client.opening()
    client.ask("Submit", **submission(batch_of(slot, TRADED), slot))
    status = market.control("Status")["status"]
    energy = status["counts"]["energy_wh"]
    assert {name: energy[name] for name in ("produced", "consumed", "exported", "imported")} == {
        "produced": 400, "consumed": 700, "exported": 400, "imported": 700,
    }  # fmt: skip
    assert (energy["sold"], energy["bought"], energy["taken"]) == (400, 700, 0)
    assert status["last_slot"]["slot"] >= slot
    assert 0 <= status["last_slot"]["age_ms"] < 3_000
    assert status["queue"]["limit_bytes"] == 16_384
    ledger = market.state / "market" / "ledger.db"
    assert 0 < status["ledger"]["bytes"] <= ledger.stat().st_size + Path(f"{ledger}-wal").stat().st_size


def test_the_snapshot_of_a_slot_counts_what_came_to_it(client: Client, market: Place) -> None:
    """One batch, two orders of which one was sent twice, a batch that was refused; of the next slot: none."""
    with Connection(market.run / "control", 10) as watching:
        watching.start(f"{CONTROL}.Watch")
        snapshot_of(watching)
        slot = client.opening()
        for name in ("a", "b", "b"):
            client.ask("Sell", home=1, energy_wh=10, id=name)
        reason, columns = REFUSED[0]
        told = client.refused("Submit", **submission(batch_of(slot, columns), slot))
        assert told[1]["reason"] == reason
        client.ask("Submit", **submission(batch_of(slot, TRADED), slot))
        found = snapshot_of(watching)
        while found["slot"] < slot:
            found = snapshot_of(watching)
        assert (found["batches"], found["orders"], found["refusals"]) == (1, 2, 1)
        found = snapshot_of(watching)
        assert (found["batches"], found["orders"], found["refusals"]) == (0, 0, 0)

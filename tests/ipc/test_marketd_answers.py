"""What a market that runs on answers to whoever asks it: refusals by name, orders, leases, watchers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pytest

from energymarket.core.records import BATCH_COLUMNS, CLAIM
from energymarket.exits import Exit
from energymarket.runtime import clock
from energymarket.transport.client import Connection, VarlinkError
from energymarket.wire import batch as batch_wire
from energymarket.wire.messages import CONTROL, CONTROL_INTERFACE, TRADE, TRADE_INTERFACE, TRADE_SOCKET
from tests.conftest import no_ipc_left_by
from tests.ipc.four_homes import (
    HOMES,
    ORDERS,
    PRICE,
    SCENE,
    TRANSACTIONS,
    Client,
    batch_of,
    snapshot_of,
    submission,
)
from tests.simulation.market_place import Place, soon

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Place]:
    """The market of all tests here: none of them hands in readings, and each waits for a slot of its own."""
    path = tmp_path_factory.mktemp("market")
    with no_ipc_left_by(pytestconfig), TemporaryDirectory(prefix="em-", dir="/tmp") as run:
        made = Place(path, Path(run) / "run", path / "cache", speed=600)
        scene = path / "scene.toml"
        scene.write_text(SCENE)
        made.compile(str(scene))
        try:
            made.start("market")
            soon(lambda: made.committed() >= 0, 20, "a first slot", made.log.read_text)
            yield made
            made.stop()
        finally:
            made.end()


@pytest.fixture(autouse=True)
def _nobody_has_joined(market: Place) -> None:
    """The leases of the test before have ended."""
    soon(lambda: market.status()["homes_joined"] == 0, 5, "all leases have ended")


@pytest.fixture
def client(market: Place) -> Iterator[Client]:
    """A client that has joined for the first two homes."""
    made = Client(market)
    made.ask("Join", first=1, count=2, name="test")
    yield made
    made.close()


def test_a_batch_of_another_slot_or_epoch_finds_the_gate_closed(client: Client) -> None:
    """The slot before, the slot after, another life of this slot."""
    slot = client.opening()
    for wrong in (slot - 1, slot + 1):
        name, told = client.refused("Submit", **submission(batch_of(wrong), wrong))
        assert (name, told) == ("GateClosed", {"slot": wrong, "open_slot": slot})
    columns = {name: np.zeros(2, kind) for name, kind in BATCH_COLUMNS}
    other_life = batch_wire.pack(columns, np.zeros(0, CLAIM), slot=slot, epoch=3, first=1)
    name, told = client.refused("Submit", **submission(other_life, slot, epoch=3))
    assert name == "GateClosed"


MALFORMED: Final[list[Callable[[int], dict[str, object]]]] = [
    lambda slot: submission(b"", slot),
    lambda slot: submission(batch_of(slot)[:-1], slot),
    lambda slot: submission(batch_of(slot) + b"\0", slot),
    lambda slot: submission(b"EMBT" + os.urandom(200), slot),
    lambda slot: submission(batch_of(slot + 1), slot),
    lambda slot: submission(batch_of(slot), slot, id=""),
    lambda slot: submission(batch_of(slot), slot, id="x" * 129),
    lambda slot: submission(batch_of(slot), slot, data="not base64!"),
    lambda slot: {"id": "b", "slot": slot, "epoch": 0},
    lambda slot: {"id": "b", "slot": slot, "epoch": 0, "descriptor": 0},
    lambda slot: submission(batch_of(slot), slot, descriptor=0),
]


def test_bytes_that_are_no_batch_are_refused_by_name(client: Client) -> None:
    """Cut, too long, garbage, of another slot, without an id, without bytes: BatchMalformed each time."""
    slot = client.opening()
    for make in MALFORMED:
        name, told = client.refused("Submit", **make(slot))
        assert (name, told["reason"]) == ("BatchRefused", "BatchMalformed"), told
    assert client.ask("Submit", **submission(batch_of(slot), slot))["slot"] == slot


def test_homes_belong_to_one_connection(client: Client, market: Place) -> None:
    """Taken while the first holds them, free when it has hung up."""
    other = Client(market)
    for first, count in ((1, 2), (2, 1), (1, 4), (2, 3)):
        told = other.refused("Join", first=first, count=count)
        assert told == ("HomesTaken", {"first": 1, "count": 2})
    assert other.ask("Join", first=3, count=2)["lease"] == "3-4"
    client.close()
    soon(lambda: market.control("Status")["status"]["homes_joined"] == 2, 5, "the lease has ended")
    assert other.ask("Join", first=1, count=4)["lease"] == "1-4"
    other.close()


def test_who_has_not_joined_trades_nothing(client: Client, market: Place) -> None:
    """Neither a batch of another range than the lease's, nor an order of a home beyond it."""
    slot = client.opening()
    for first, count in ((3, 2), (1, 1), (2, 1), (1, 4)):
        told = client.refused("Submit", **submission(batch_of(slot, None, first, count), slot))
        assert told == ("NotJoined", {"home": first})
    assert client.refused("Buy", home=3, energy_wh=5, id="x") == ("NotJoined", {"home": 3})
    stranger = Client(market)
    assert stranger.refused("Sell", home=1, energy_wh=5, id="x") == ("NotJoined", {"home": 1})
    stranger.close()


@pytest.mark.parametrize(("first", "count"), [(0, 1), (-1, 2), (1, 0), (5, 1), (4, 2), (1, 2**62)])
def test_homes_that_do_not_exist_cannot_join(client: Client, first: int, count: int) -> None:
    """The market has homes 1 to 4."""
    name, told = client.refused("Join", first=first, count=count)
    assert (name, told["homes"]) == ("UnknownHome", HOMES)


def test_an_order_is_answered_at_once_and_durable(client: Client, market: Place) -> None:
    """1.5 kWh at 0.20 €/kWh are 0.30 €; the same id again is the same receipt, also a slot later."""
    slot = client.opening()
    sale = client.ask("Sell", home=1, energy_wh=1_500, id="a")["receipt"]
    assert sale["total_ueur"] == 300_000
    assert (sale["home"], sale["slot"], sale["energy_wh"]) == (1, slot, 1_500)
    assert sale["price_ueur_per_kwh"] == PRICE
    purchase = client.ask("Buy", home=2, energy_wh=500, id="a")["receipt"]
    assert purchase["total_ueur"] == 100_000
    assert purchase["receipt"] != sale["receipt"]
    assert client.ask("Sell", home=1, energy_wh=1_500, id="a")["receipt"] == sale
    client.opening()
    assert client.ask("Sell", home=1, energy_wh=1_500, id="a")["receipt"] == sale
    found = market.control("Ledger", slot=slot)["ledger"]["orders"]
    assert [(order["home"], order["energy_wh"], order["total_ueur"]) for order in found] == [
        (1, 1_500, 300_000), (2, -500, -100_000)
    ]  # fmt: skip


def test_an_order_that_cannot_be_is_refused_by_name(client: Client) -> None:
    """No energy, too much of it, no id, an id too long, an id of another order."""
    slot = client.opening()
    for energy_wh in (0, -5, 1_000_001, 2**62):
        name, told = client.refused("Buy", home=1, energy_wh=energy_wh, id="x")
        assert (name, told["reason"]) == ("OrderRefused", "EnergyTooLarge")
    for order_id in ("", "x" * 129):
        name, told = client.refused("Buy", home=1, energy_wh=5, id=order_id)
        assert (name, told["reason"]) == ("OrderRefused", "IdMalformed")
    client.ask("Buy", home=1, energy_wh=5, id="x")
    for method, energy_wh in (("Buy", 6), ("Sell", 5)):
        name, told = client.refused(method, home=1, energy_wh=energy_wh, id="x")
        assert (name, told["reason"]) == ("OrderRefused", "IdTwice")
        assert (told["slot"], told["energy_wh"]) == (slot, -5)  # what stands, and in which slot


def test_orders_beyond_the_quota_are_refused_until_the_next_slot(client: Client) -> None:
    """Five a slot; an order that was booked is answered again without counting."""
    client.opening()
    for number in range(ORDERS):
        client.ask("Buy", home=1, energy_wh=1, id=str(number))
    name, told = client.refused("Buy", home=1, energy_wh=1, id="one more")
    assert (name, told["limit"]) == ("QuotaExceeded", ORDERS)
    client.ask("Buy", home=1, energy_wh=1, id="0")
    client.opening()
    client.ask("Buy", home=1, energy_wh=1, id="one more")


def test_after_the_gate_there_are_no_orders(client: Client) -> None:
    """Between gate and opening the market says that no slot is open."""
    client.opening()
    while client.notice["phase"] != "clearing":
        client.notice = client._next()
    name, _ = client.refused("Buy", home=1, energy_wh=5, id="late")
    assert name in {"NotOpen", "GateClosed"}


def test_no_more_transactions_at_once_than_permits(market: Place) -> None:
    """Fifty clients order at the same moment: all are answered, never more than two are busy."""
    clients = [Connection(market.run / TRADE_SOCKET, 30).open() for _ in range(50)]
    for connection in clients[:HOMES]:
        home = clients.index(connection) + 1
        connection.call(f"{TRADE}.Join", {"first": home, "count": 1})
    answers: list[str] = []
    together = threading.Barrier(len(clients))

    def order(at: int) -> None:
        together.wait()
        for number in range(20):
            asked = {"home": at % HOMES + 1, "energy_wh": 1, "id": f"{at}-{number}"}
            try:
                clients[at].call(f"{TRADE}.Buy", asked)
                answers.append("booked")
            except VarlinkError as error:
                answers.append(error.name.removeprefix(TRADE + "."))

    threads = [threading.Thread(target=order, args=(at,)) for at in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = market.control("Status")["status"]["transactions"]
    assert len(answers) == 50 * 20
    assert set(answers) <= {"booked", "NotJoined", "QuotaExceeded", "NotOpen", "GateClosed"}
    assert answers.count("NotJoined") == 46 * 20
    assert (told["permits"], told["busy"], told["waiting"]) == (TRANSACTIONS, 0, 0)
    assert 1 <= told["busy_max"] <= TRANSACTIONS
    for connection in clients:
        connection.close()


def test_a_second_market_ends_at_once(market: Place) -> None:
    """On the same ledger, and on the same run directory: exit 73, and the first goes on."""
    words = ["energymarket.marketd", "--compiled", str(market.compiled), "--run"]
    state = str(market.state / "market")
    same_ledger = market.program(*words, str(market.path / "other-run"), "--state", state)
    assert same_ledger.returncode == Exit.SECOND_INSTANCE
    assert "another market has this ledger open" in same_ledger.stderr
    same_run = market.program(*words, str(market.run), "--state", str(market.path / "other-state"))
    assert same_run.returncode == Exit.SECOND_INSTANCE, same_run.stderr
    before = market.committed()
    soon(lambda: market.committed() > before, 10, "the first market goes on")


def test_watchers_of_phases_hear_opening_and_joining(market: Place) -> None:
    """Who asks for phases hears a join at once, and a price when its slot opens; others hear commits only."""
    with (
        Connection(market.run / "control", 10) as all_phases,
        Connection(market.run / "control", 10) as slots_only,
    ):
        all_phases.start(f"{CONTROL}.Watch", {"phases": True})
        slots_only.start(f"{CONTROL}.Watch")
        first = snapshot_of(all_phases)
        assert (first["homes"], first["homes_joined"]) == (HOMES, 0)
        joining = Client(market)
        joining.ask("Join", first=1, count=3, name="test")
        heard = [snapshot_of(all_phases)]
        while heard[-1]["homes_joined"] != 3:
            heard.append(snapshot_of(all_phases))
        assert heard[-1]["type"] == "phase"
        joining.close()
        while heard[-1]["homes_joined"] != 0:
            heard.append(snapshot_of(all_phases))
        while heard[-1]["type"] == "slot" or heard[-1].get("open_slot", -1) <= heard[-1]["slot"]:
            heard.append(snapshot_of(all_phases))
        assert heard[-1]["open_price_ueur_per_kwh"] == PRICE
        snapshot_of(slots_only)  # how it was at the beginning
        assert {snapshot_of(slots_only)["type"] for _ in range(2)} == {"slot"}


def test_an_order_is_found_by_receipt_and_by_its_homes_id(client: Client, market: Place) -> None:
    """Ids are the homes' own: two homes may use the same. `explain trade` tells each of them."""
    slot = client.opening()
    sale = client.ask("Sell", home=1, energy_wh=1_500, id="abc")["receipt"]
    client.ask("Buy", home=2, energy_wh=500, id="abc")
    by_id = market.control("Orders", what="abc")["orders"]
    assert [(each["home"], each["energy_wh"], each["total_ueur"]) for each in by_id] == [
        (1, 1_500, 300_000), (2, -500, -100_000)
    ]  # fmt: skip
    (by_receipt,) = market.control("Orders", what=sale["receipt"])["orders"]
    assert (by_receipt["home"], by_receipt["slot"]) == (1, slot)
    assert market.control("Orders", what="nobody's")["orders"] == []
    open_yet = market.ctl("explain", "trade", sale["receipt"])
    assert "1.500 kWh × 0.200000 €/kWh = 0.300000 €" in open_yet.stdout
    client.opening()
    # nobody read the meter: 1.5 kWh were sold and none came, so they are short at 0.30 €/kWh
    settled = json.loads(market.ctl("explain", "trade", sale["receipt"], "--json").stdout)
    assert settled["settled"]["imbalance_wh"] == -1_500
    assert settled["settled"]["money_ueur"] == 300_000 - 450_000


def test_a_bad_reload_is_refused_and_changes_nothing(market: Place) -> None:
    """The problems come with their lines; the price rests."""
    with pytest.raises(VarlinkError) as caught:
        market.control("Reload", text=SCENE.replace("gamma = 0.5", "gamma = 1.5"))
    assert caught.value.name.endswith(".ReloadRefused")
    line = SCENE.splitlines().index("gamma = 0.5") + 1
    assert any(f":{line}:" in problem for problem in caught.value.parameters["problems"])
    after = market.committed()
    soon(lambda: market.committed() > after + 1, 20, "two slots later")
    assert {row["price_ueur_per_kwh"] for row in market.control("Price", last=10)["prices"]} == {PRICE}


def reference(*words: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "varlink.cli", *words]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    ("socket", "interface", "text"),
    [
        ("trade", "io.energymarket.Trade", TRADE_INTERFACE),
        ("control", "io.energymarket.Control", CONTROL_INTERFACE),
    ],
)
def test_the_reference_client_introspects_and_calls(
    market: Place, socket: str, interface: str, text: str
) -> None:
    """`varlink info`, `help` and `call` on both sockets of the real market."""
    address = f"unix:{market.run / socket}"
    assert interface in reference("info", address)
    assert reference("help", f"{address}/{interface}").strip() == text.strip()
    assert str(PRICE) in reference("call", f"{address}/{interface}.Price")


def test_time_passes_while_nobody_asks(market: Place) -> None:
    """One slot every 1.5 s, homes or not."""
    before, began_s = market.committed(), clock.monotonic_s()
    soon(lambda: market.committed() >= before + 2, 10, "two more slots")
    assert clock.monotonic_s() - began_s < 5

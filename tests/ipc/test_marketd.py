"""The market alone, as a process, with clients of the test's own: every answer of its Trade interface."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from energymarket.core.records import BATCH_COLUMNS, CLAIM, Policy
from energymarket.exits import Exit
from energymarket.runtime import clock
from energymarket.transport import memory_fd
from energymarket.transport.client import Connection, VarlinkError
from energymarket.wire import batch as batch_wire
from energymarket.wire.messages import CONTROL, CONTROL_INTERFACE, TRADE, TRADE_INTERFACE, TRADE_SOCKET
from tests.simulation.market_place import Place, soon

pytestmark = pytest.mark.timeout(120)

HOMES: Final = 4
TRANSACTIONS: Final = 2
ORDERS: Final = 5
PRICE: Final = 200_000  # 0.5 × 0.20 + 0.10 €/kWh: the price rests

SCENE: Final = f"""\
schema = 1
title = "Four homes that the test speaks for"
seed = 2

[time]
start = 2025-06-16
timezone = "UTC"
slot = "15min"
slots = 96
speed = 900

[weather]
source = "constant"
temperature_c = 20

[place]
latitude = 49.49
longitude = 8.47

[tariff]
energy = 0.15
grid_fee = 0.1
tax = 0.05
export = 0.05

[price]
form = "raw"
initial = 0.2
gamma = 0.5

[[price.factor]]
name = "base"
alpha = 0.1

[service]
start_wait_s = 0
transactions = {TRANSACTIONS}
orders_per_slot = {ORDERS}
""" + "".join(
    f"""
[[home]]
name = "Home {number}"
policy = "sell"
production_wh = 0
""" for number in range(1, HOMES + 1)
)  # fmt: skip


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


class Client:
    """One connection to the trade socket, and one that hears the time."""

    def __init__(self, place: Place) -> None:
        self.trade = Connection(place.run / TRADE_SOCKET, 10).open()
        self._watch = Connection(place.run / TRADE_SOCKET, 10).open()
        self._watch.start(f"{TRADE}.Watch")
        self.notice = self._next()

    def _next(self) -> dict[str, Any]:
        answer = self._watch.receive(10)
        assert answer is not None
        found: dict[str, Any] = answer.parameters["notice"]
        return found

    def opening(self) -> int:
        """Wait for the next slot to open; which one it is."""
        self.notice = self._next()
        while self.notice["phase"] != "exchange":
            self.notice = self._next()
        return int(self.notice["slot"])

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """A call of the trade interface."""
        return dict(self.trade.call(f"{TRADE}.{method}", parameters).parameters)

    def refused(self, method: str, **parameters: object) -> tuple[str, dict[str, Any]]:
        """A call that is to be refused: the error's name and parameters."""
        with pytest.raises(VarlinkError) as caught:
            self.ask(method, **parameters)
        return caught.value.name.removeprefix(TRADE + "."), dict(caught.value.parameters)

    def close(self) -> None:
        """Hang up."""
        self.trade.close()
        self._watch.close()


@pytest.fixture
def client(market: Place) -> Iterator[Client]:
    """A client that has joined for the first two homes."""
    made = Client(market)
    made.ask("Join", first=1, count=2, name="test")
    yield made
    made.close()


def batch_of(
    slot: int, columns: Mapping[str, Sequence[Any]] | None = None, first: int = 1, count: int = 2
) -> bytearray:
    """A batch; columns that are not named are zero, every policy is to sell."""
    made = {name: np.zeros(count, kind) for name, kind in BATCH_COLUMNS}
    made["policy"][:] = Policy.SELL
    said = dict(columns or {})
    claims = np.array(list(said.pop("claims", ())), CLAIM)
    for name, values in said.items():
        made[name][:] = values
    return batch_wire.pack(made, claims, slot=slot, epoch=0, first=first)


def submission(batch: bytes | bytearray, slot: int, **other: object) -> dict[str, object]:
    return {"id": "b", "slot": slot, "epoch": 0, "data": base64.b64encode(batch).decode()} | other


TRADED: Final = {
    "production_wh": (400, 0),
    "export_wh": (400, 0),
    "sold_wh": (400, 0),
    "consumption_wh": (0, 700),
    "import_wh": (0, 700),
    "bought_wh": (0, 700),
}


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


# leases


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


# single orders


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


def snapshot_of(connection: Connection) -> dict[str, Any]:
    answer = connection.receive(10)
    assert answer is not None
    found: dict[str, Any] = answer.parameters["snapshot"]
    return found


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


# the reference client


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

"""Random and mutated calls from a seed: against the core with extreme numbers, and against a real market.

Another seed, or more: ENERGY_SEED=7 ENERGY_ATTACKS=100000 pytest tests/fuzz/test_attack_market.py.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from energymarket.core import ledger
from energymarket.core.events import EventBook
from energymarket.core.limits import (
    CLAIMS_PER_HOME_MAX,
    ENERGY_WH_MAX,
    PRICE_UEUR_PER_KWH_MAX,
    REGISTER_JUMP_WH_MAX,
)
from energymarket.core.market import Accounts, Closed, Market, Outside, Rules
from energymarket.core.parameters import Factor, PriceModel, Tariff
from energymarket.core.records import BATCH_COLUMNS, CLAIM, Policy
from energymarket.core.settlement import Batch, receipt_columns
from energymarket.market.quota import HOME_ORDERS_MAX
from energymarket.market.transactions import ORDER_WH_MAX
from energymarket.transport import memory_fd
from energymarket.transport.client import Connection, Disconnected, VarlinkError
from energymarket.wire import batch as batch_wire
from tests.ipc.siege import CONTROL, STRANGERS, TRADE, Dice, Siege, besieged, exchange, is_sound
from tests.simulation.market_place import Place

SEED = int(os.environ.get("ENERGY_SEED", "1"))
ATTACKS = int(os.environ.get("ENERGY_ATTACKS", "3000"))

Columns = dict[str, npt.NDArray[Any]]


# the core

HOMES = 12
EDGES = (0, 1, 2, 999, ENERGY_WH_MAX - 1, ENERGY_WH_MAX)
CALM = Outside(20_000, raining=False, weather_stale=False)


def _market(price: int) -> Market:
    model = PriceModel(
        price, 1.0, (Factor("base", 0.0),), (), -PRICE_UEUR_PER_KWH_MAX, PRICE_UEUR_PER_KWH_MAX
    )
    tariff = Tariff(PRICE_UEUR_PER_KWH_MAX, -PRICE_UEUR_PER_KWH_MAX, PRICE_UEUR_PER_KWH_MAX)
    tariff_at = (PRICE_UEUR_PER_KWH_MAX, -PRICE_UEUR_PER_KWH_MAX)
    rules = Rules(model, tariff, HOMES, lambda _slot: tariff_at)
    return Market(rules, Accounts.fresh(HOMES), bytes(32), price, EventBook(0))


def _columns(market: Market, first: int, count: int, dice: Dice) -> Columns:
    """A batch at the edges of what may enter, mostly."""
    made: Columns = {}
    before = market.accounts.columns()[:4]
    for (name, kind), register in zip(BATCH_COLUMNS, before, strict=False):
        jumps = [dice.one_of(0, 1, 700, REGISTER_JUMP_WH_MAX) for _ in range(count)]
        made[name] = (register[first - 1 : first - 1 + count] + jumps).astype(kind)
    for name, kind in BATCH_COLUMNS[4:8]:
        made[name] = np.array([dice.one_of(*EDGES) for _ in range(count)], kind)
    made["policy"] = np.array([1 + dice.below(3) for _ in range(count)], "u1")
    made["offered_wh"][made["policy"] == Policy.SELL] = 0
    made["returned_wh"] = np.minimum(made["returned_wh"], made["offered_wh"])
    if dice.below(8) == 0:
        name, kind = dice.one_of(*BATCH_COLUMNS)
        made[name][dice.below(count)] = dice.one_of(0, 1, np.iinfo(kind).max, np.iinfo(kind).min)
    return made


def _claims(first: int, count: int, dice: Dice) -> npt.NDArray[np.void]:
    made = np.zeros(dice.below(2 * HOMES * CLAIMS_PER_HOME_MAX), CLAIM)
    for at in range(len(made)):
        taker = first + dice.below(count)
        energy = dice.one_of(1, 1, 5, 500, ENERGY_WH_MAX, (1 << 32) - 1 if dice.below(9) == 0 else 3)
        made[at] = (dice.below(HOMES + 2), taker, energy, dice.one_of(0, 1, 2, 65_535), dice.below(1 << 16))
    return made


def _check(closed: Closed) -> None:
    """Totals by exact integers of our own, receipts without a wrap, and the body read back."""
    settled, home = closed.settlement, closed.settlement.columns["home"].tolist()
    columns = {name: column.tolist() for name, column in settled.columns.items()}
    totals = settled.totals.by_name()
    for what in ("energy_wh", "money_ueur"):
        assert sum(totals[f"{who}_{what}"] for who in ("homes", "operator", "grid", "fees")) == 0
    assert totals["homes_money_ueur"] == sum(columns["money_ueur"])
    assert sum(columns["given_wh"]) == sum(columns["received_wh"]) == sum(settled.gifts["energy_wh"].tolist())
    receipt = receipt_columns(settled, 1, HOMES)
    for row, name in enumerate(home):
        contract = (
            columns["given_wh"][row]
            + columns["expired_wh"][row]
            - columns["received_wh"][row]
            + columns["sold_wh"][row]
            - columns["bought_wh"][row]
        )
        imbalance = columns["exported_wh"][row] - columns["imported_wh"][row] - contract
        assert int(receipt["imbalance_wh"][name - 1]) == imbalance
        assert int(receipt["money_ueur"][name - 1]) == columns["money_ueur"][row]
    _, read, gifts, _ = ledger.unpack(closed.body)
    assert {name: column.tolist() for name, column in read.items()} == columns
    assert gifts["energy_wh"].tolist() == settled.gifts["energy_wh"].tolist()


@pytest.mark.parametrize("price", [0, 200_000, PRICE_UEUR_PER_KWH_MAX, -PRICE_UEUR_PER_KWH_MAX])
def test_whatever_is_accepted_settles_without_loss_or_overflow(price: int) -> None:
    """Batches, claims and orders at every limit, at the dearest prices: no exception, exact sums."""
    market, dice = _market(price), Dice(SEED + price)
    accepted = 0
    for slot in range(1, 1 + ATTACKS // 20):
        market.open_slot(slot, CALM)
        for first, count in ((1, 5), (6, 1), (7, 4), (6, 2), (11, 2)):
            columns = _columns(market, first, count, dice)
            batch = Batch(f"{slot}/{first}", first, count, columns, _claims(first, count, dice))
            accepted += not market.hear_batch(batch)
        for number in range(dice.one_of(0, 3, HOME_ORDERS_MAX if slot % 50 == 0 else 1)):
            energy_wh = dice.one_of(1, -1, 1, -1) * dice.one_of(1, ORDER_WH_MAX)
            market.hear_order(12, energy_wh, f"{slot}.{number}")
        closed = market.close_slot()
        _check(closed)
        market.commit_slot(closed)
    assert accepted > ATTACKS // 100


def test_a_home_with_an_order_alone_was_not_heard() -> None:
    """Its row stands in the slot, yet no slot has a batch of it: nobody read its meter."""
    market, dice = _market(200_000), Dice(SEED)
    market.open_slot(1, CALM)
    columns = _columns(market, 1, 1, Dice(2)) | {
        "policy": np.array([2], "u1"),
        "offered_wh": np.zeros(1, "i4"),
    }
    columns |= {name: np.zeros(1, "i4") for name in ("returned_wh", "sold_wh", "bought_wh")}
    assert market.hear_batch(Batch("a", 1, 1, columns, _claims(1, 1, dice)[:0])) == []
    market.hear_order(2, -5, "lamp")
    closed = market.close_slot()
    market.commit_slot(closed)
    assert closed.settlement.columns["home"].tolist() == [1, 2]
    assert market.accounts.heard.column().tolist()[:3] == [1, -1, -1]


# a real market


@pytest.fixture(scope="session")
def siege_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The neighbourhood is compiled once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path: Path, run_dir: Path, siege_cache: Path, no_ipc_left: None) -> Iterator[Place]:
    """Directories of their own, no IPC object left behind, no process left running."""
    del no_ipc_left
    made = Place(tmp_path, run_dir / "run", siege_cache)
    yield made
    made.end()


WORDS = ("", "x", "\0", "\x1b[2J", "é" * 64, "a" * 129, "a" * 60_000, "strike", "war", "../../etc/passwd",
         "' OR 1=1 --", "%s%n", "shard 11+95", "\ud83d\ude00", "NaN", "0")  # fmt: skip
NUMBERS = (0, 1, -1, 2, 3, 7, 10, 11, 200, 201, 999, 1_000, 1_001, 2**31 - 1, 2**31, -(2**31), 2**32, 2**62,
           2**63 - 1, -(2**63), 2**63, 2**64, -(2**70), 10**30)  # fmt: skip
ODD: tuple[Any, ...] = (None, True, False, [], {}, [1], {"a": 1}, 1.0, -0.0, 1e308, 0.1)


def _value(dice: Dice) -> Any:
    return dice.one_of(dice.one_of(*NUMBERS), dice.one_of(*NUMBERS), dice.one_of(*WORDS), dice.one_of(*ODD))


METHODS: dict[str, dict[str, Any]] = {
    f"{TRADE}.Join": {"first": 3, "count": 2, "name": "stranger"},
    f"{TRADE}.Buy": {"home": 3, "energy_wh": 5, "id": "a"},
    f"{TRADE}.Sell": {"home": 4, "energy_wh": 5, "id": "b"},
    f"{TRADE}.Submit": {"id": "c", "slot": 0, "epoch": 0, "data": "", "descriptor": None, "shed": 0},
    f"{TRADE}.Price": {},
    f"{TRADE}.Watch": {},
    f"{CONTROL}.Price": {"last": 5},
    f"{CONTROL}.Explain": {"slot": None},
    f"{CONTROL}.Homes": {"first": 1, "count": 5},
    f"{CONTROL}.Weather": {},
    f"{CONTROL}.Events": {},
    f"{CONTROL}.Raise": {"kind": "strike", "intensity_permille": 1, "slots": 1},
    f"{CONTROL}.Clear": {"kind": "strike"},
    f"{CONTROL}.Ledger": {"slot": None, "first": 1, "count": 5},
    f"{CONTROL}.Orders": {"what": "1-000000"},
    f"{CONTROL}.Slots": {"first": None, "last": None},
    f"{CONTROL}.Compacted": {},
    f"{CONTROL}.Verify": {"first": None, "last": None},
    f"{CONTROL}.Resources": {},
    f"{CONTROL}.Status": {},
    f"{CONTROL}.Reload": {"text": "schema = 1"},
    f"{CONTROL}.Watch": {"phases": True},
    "org.varlink.service.GetInfo": {},
    "org.varlink.service.GetInterfaceDescription": {"interface": TRADE},
}


def _call(dice: Dice) -> tuple[str, bytes]:
    """A call with some of its words exchanged, and the socket it is meant for."""
    method = dice.one_of(*METHODS)
    parameters = dict(METHODS[method])
    for name in list(parameters):
        if dice.below(3) == 0:
            parameters[name] = _value(dice)
        if dice.below(20) == 0:
            del parameters[name]
    if dice.below(20) == 0:
        parameters[dice.one_of(*WORDS)] = _value(dice)
    call: dict[str, Any] = {"method": method, "parameters": parameters}
    for flag in ("more", "oneway", "upgrade"):
        if dice.below(6) == 0:
            call[flag] = dice.one_of(True, True, False, None, 1)
    frame = json.dumps(call).encode() + b"\0"
    if dice.below(4) == 0:
        frame = _mutated(bytearray(frame), dice)
    return ("control" if method.startswith(CONTROL) else "trade"), frame


def _mutated(frame: bytearray, dice: Dice) -> bytes:
    for _ in range(1 + dice.below(4)):
        at = dice.below(len(frame))
        match dice.below(4):
            case 0:
                frame[at] ^= 1 << dice.below(8)
            case 1:
                del frame[at : at + 1 + dice.below(9)]
                frame += b"\0"
            case 2:
                frame[at:at] = dice.bytes(1 + dice.below(9))
            case _:
                frame[at:at] = frame[: dice.below(len(frame))]
    return bytes(frame)


@pytest.mark.alone
@pytest.mark.timeout(180)
def test_mutated_calls_get_an_answer_or_the_door(place: Place) -> None:
    """Thousands of calls with wrong numbers, words, members and bytes: replies and named errors, no crash."""
    with besieged(place) as siege:
        dice = Dice(SEED)
        for _ in range(ATTACKS // 10):
            socket_name, frames = _call(dice)
            for _ in range(9):
                other, frame = _call(dice)
                if other == socket_name:
                    frames += frame
            assert is_sound(exchange(siege, socket_name, frames, 0.3))
        for kind in ("strike", "war"):
            siege.place.control("Clear", kind=kind)


def _batch(dice: Dice, slot: int, epoch: int) -> bytes:
    """A batch of the strangers' homes, or of others; its numbers are any; sometimes its bytes are."""
    first, count = dice.one_of((3, 7), (3, 7), (3, 7), (3, 1), (11, 95), (1, 200), (200, 1))
    columns: Columns = {}
    for name, kind in BATCH_COLUMNS:
        top = int(np.iinfo(kind).max)
        edge = dice.one_of(0, 1, 1, 100, 10**9, top, -1 if np.issubdtype(kind, np.signedinteger) else top)
        columns[name] = np.full(count, min(edge, top), kind)
    if dice.below(2):
        columns["policy"][:] = 2
        for name in ("offered_wh", "returned_wh"):
            columns[name][:] = 0
    claims = np.zeros(dice.one_of(0, 0, 1, 40, 5_000), CLAIM)
    claims["giver"] = 11 + dice.below(150)
    claims["taker"] = first
    claims["energy_wh"] = dice.one_of(0, 1, 1 << 31)
    claims["index"] = np.arange(len(claims)) % (1 << 16)
    data = batch_wire.pack(columns, claims, slot=slot, epoch=epoch, first=first)
    if dice.below(4) == 0:
        return _mutated(data, dice)
    return bytes(data)


@pytest.mark.alone
@pytest.mark.timeout(180)
def test_random_batches_are_booked_or_refused_by_name(place: Place) -> None:
    """Batches with any numbers, for open, past and far slots, inline and as memory files."""
    seen: set[str] = set()
    with besieged(place) as siege:
        siege.liars = STRANGERS
        dice, connection = Dice(SEED), Connection(siege.run / "trade", 10.0)
        asked = {"first": STRANGERS[1], "count": 7, "name": "stranger"}
        for number in range(ATTACKS // 10):
            try:
                connection.fileno()
            except Disconnected:
                connection.open()
                with suppress(VarlinkError):
                    connection.call(f"{TRADE}.Join", asked)
            now = connection.call(f"{TRADE}.Price").parameters
            slot = dice.one_of(now["slot"], now["slot"], now["slot"] + 1, now["slot"] - 3, 0, 2**62)
            epoch = dice.one_of(now["epoch"], now["epoch"], now["epoch"], 1, 2**32 - 1)
            seen.add(_submit(connection, _batch(dice, slot, epoch), slot, epoch, number, dice))
        connection.close()
        _book_a_plain_one(siege, dice)
    assert {"GateClosed", "BatchMalformed", "NotJoined"} < seen


def _book_a_plain_one(siege: Siege, dice: Dice) -> None:
    """A stranger that says the truth, that nothing flowed, is booked like anybody."""
    columns: Columns = {name: np.zeros(1, kind) for name, kind in BATCH_COLUMNS}
    columns["policy"][:] = Policy.SELL
    with Connection(siege.run / "trade", 10.0) as connection:
        connection.call(f"{TRADE}.Join", {"first": STRANGERS[-1], "count": 1})
        for number in range(100):
            now = connection.call(f"{TRADE}.Price").parameters
            slot, epoch = now["slot"], now["epoch"]
            data = batch_wire.pack(columns, np.zeros(0, CLAIM), slot=slot, epoch=epoch, first=STRANGERS[-1])
            said = _submit(connection, bytes(data), slot, epoch, -number, dice)
            if said == "booked":
                return
            assert said == "GateClosed"
    raise AssertionError("the gate was closed a hundred times")


def _submit(connection: Connection, data: bytes, slot: int, epoch: int, number: int, dice: Dice) -> str:
    """Hand a batch in; what became of it."""
    asked: dict[str, Any] = {"id": f"batch {number}", "slot": slot, "epoch": epoch}
    asked["shed"] = dice.one_of(None, 0, -1, 2**63 - 1, 5)
    fds: tuple[int, ...] = ()
    if dice.below(2):
        fds = (memory_fd.seal(data, "attack"),)
        asked["descriptor"] = 0
    else:
        asked["data"] = base64.b64encode(data).decode()
    try:
        answer = connection.call(f"{TRADE}.Submit", asked, fds, timeout_s=10)
    except VarlinkError as error:
        return str(error.parameters.get("reason") or error.name.removeprefix(f"{TRADE}."))
    finally:
        for fd in fds:
            os.close(fd)
    for fd in answer.descriptors:
        os.close(fd)
    return "booked"

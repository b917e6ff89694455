"""The protocol page: it is what the code says now, names every record, and suffices to read them."""

from __future__ import annotations

import importlib
import pkgutil
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from energymarket import core, wire
from energymarket.core import ledger, records
from energymarket.core.records import CLAIM, OFFER, Phase
from energymarket.core.state import STATE_COLUMNS
from energymarket.wire import batch, clock_page, event_record, offer_message, state_file
from energymarket.wire.clock_page import ClockPage
from energymarket.wire.event_record import EventRecord, RecordType
from energymarket.wire.messages import CONTROL_INTERFACE, SUPERVISOR_INTERFACE, TRADE_INTERFACE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "packaging/doc/protocol.md").read_text()


def modules() -> Iterator[ModuleType]:
    for package in (core, wire):
        for found in pkgutil.iter_modules(package.__path__):
            yield importlib.import_module(f"{package.__name__}.{found.name}")


def table(name: str, path: str) -> dict[str, tuple[int, str]]:
    """Field -> (offset, type) of the table on the page that stands under a layout's name."""
    _, _, rest = PAGE.partition(f"`{name}` of `{path}`")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| `?(\w*)`? \|", rest.split("\n\n")[1], re.MULTILINE)
    return {field: (int(at), kind) for at, kind, field in rows if field}


def read(raw: bytes | bytearray, layout: dict[str, tuple[int, str]]) -> dict[str, int]:
    """What a reader makes of bytes who knows nothing but the page."""
    values = {}
    for name, (at, kind) in layout.items():
        if match := re.fullmatch(r"([iu])(\d)", kind):
            part = raw[at : at + int(match[2])]
            values[name] = int.from_bytes(part, "little", signed=match[1] == "i")
    return values


def test_the_page_is_current() -> None:
    """What is committed, parts of other pages included, is what the generator writes now."""
    answer = subprocess.run(
        [sys.executable, "packaging/doc/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_record_is_on_the_page() -> None:
    """Every structured type stands there with all its fields, every layout with its format."""
    missing = []
    for module in modules():
        path = module.__name__.removeprefix("energymarket.").replace(".", "/") + ".py"
        for name, value in vars(module).items():
            if isinstance(value, np.dtype) and value.names and f"`{name}` of `" in PAGE:
                missing += [field for field in value.names if f"| `{field}` |" not in PAGE]
            elif isinstance(value, np.dtype) and value.names:
                missing.append(name)
            elif isinstance(value, struct.Struct) and not name.startswith("_"):
                shown = f"`{value.format}`" in PAGE and f"`{name}` of `{path}`" in PAGE
                missing += [] if shown or name == "SEQUENCE" else [f"{path} {name}"]
    assert missing == []


@pytest.mark.parametrize("name", [name for name in vars(records) if name.endswith("_COLUMNS")])
def test_every_column_is_on_the_page_in_its_order(name: str) -> None:
    """Columns of batch, receipt, slot, gifts and orders stand there in the order in which they are packed."""
    _, _, rest = PAGE.partition(f"`{name}` of `core/records.py`")
    shown = re.findall(r"^\| `(\w+)` \|", rest.split("\n\n")[1], re.MULTILINE)
    assert shown == [each if isinstance(each, str) else each[0] for each in getattr(records, name)]


def test_the_state_of_a_home_adds_up() -> None:
    """The widths of the state's columns on the page add up to the bytes a home that the page states."""
    _, _, rest = PAGE.partition("`STATE_COLUMNS` of `core/state.py`")
    widths = re.findall(r"^\| `\w+` \| [if](\d) \|", rest.split("\n\n")[1], re.MULTILINE)
    assert len(widths) == len(STATE_COLUMNS)
    assert f"{sum(map(int, widths))} bytes a home" in PAGE


def test_a_clock_page_is_read_by_the_page_alone() -> None:
    """Each field of a packed clock page is found at the offset and in the type that the page states."""
    fields: dict[str, Any] = {name: 1_000 + at for at, name in enumerate(ClockPage.__slots__)}
    fields |= {"phase": Phase.TRADE, "flags": 5, "price": -7}
    found = read(clock_page.pack(ClockPage(**fields)), table("LAYOUT", "wire/clock_page.py"))
    assert found == {name: int(value) for name, value in fields.items()}


def test_an_event_record_is_read_by_the_page_alone() -> None:
    """A beginning in a slot beyond 32 bits is read by the page's offsets, its parts of the slot joined."""
    record = EventRecord(RecordType.BEGIN, (3 << 32) + 9, 2, (5 << 40) + 1, 1_500, (3 << 32) + 13)
    found = read(record.pack(), table("LAYOUT", "wire/event_record.py"))
    assert found["slot_high"] << 32 | found["slot_low"] == record.slot
    assert (found["type"], found["kind"], found["seq"]) == (1, 2, record.seq)
    assert (found["intensity_permille"], found["duration"]) == (1_500, 4)
    assert found["version"] == event_record.VERSION


def test_an_offer_message_is_read_by_the_page_alone() -> None:
    """Header and second offer of a message are found where the page says."""
    offers = np.array([(7, 500, 0, 0, 1), (9, 356, 1, 0, 2)], OFFER)
    raw = offer_message.pack(offers, slot=(2 << 32) + 5, epoch=3)
    head = table("HEADER", "wire/offer_message.py")
    found = read(raw, head)
    assert (found["slot_high"], found["slot_low"], found["epoch"], found["number"]) == (2, 5, 3, 2)
    second = read(raw[offer_message.HEADER.size + 16 :], table("OFFER", "core/records.py"))
    assert second == {"giver": 9, "energy_wh": 356, "index": 1, "flags": 0, "position": 2}
    line = np.array([(7, 500, 1, 0, 1), (9, 356, 0, 0, 3)], OFFER)
    raw = offer_message.pack(line, slot=5, epoch=3)
    assert read(raw, head)["kind"] == offer_message.KIND_LINE
    first = read(raw[offer_message.HEADER.size :], table("LINE", "wire/offer_message.py"))
    assert first == {"giver": 7, "position": 1, "index": 1, "step_bytes": 1, "energy_bytes": 2}
    assert raw[32:] == bytes([2]) + (500).to_bytes(2, "little") + (356).to_bytes(2, "little")


def test_a_batch_is_read_by_the_page_alone() -> None:
    """Header and claim of a batch of one home are found where the page says."""
    columns = {name: np.ones(1, kind) for name, kind in records.BATCH_COLUMNS}
    claims = np.array([(4, 6, 250, 3, 0)], CLAIM)
    raw = batch.pack(columns, claims, slot=1_930_412, epoch=2, first=6)
    found = read(raw, table("HEADER", "wire/batch.py"))
    assert found == {
        "version": 2, "kind": 1, "first": 6, "count": 1, "claims": 1, "epoch": 2, "slot": 1_930_412,
        "since": -1, "registers": 0,
    }  # fmt: skip
    claim = read(raw[-16:], table("CLAIM", "core/records.py"))
    assert claim == {"giver": 4, "taker": 6, "energy_wh": 250, "index": 3, "flags": 0}


def test_a_state_header_is_read_by_the_page_alone() -> None:
    """The header of a generation is found where the page says."""
    shape = state_file.Shape(first=11, count=12, payload_bytes=1_200, identity=bytes(32))
    raw = state_file.Header(shape, generation=1, slot=13, checksum=14, edition=1).pack()
    found = read(raw, table("LAYOUT", "wire/state_file.py"))
    assert found == {
        "version": 1, "generation": 1, "first": 11, "count": 12, "payload_bytes": 1_200, "slot": 13,
        "checksum": 14, "edition": 1,
    }  # fmt: skip


def test_a_ledger_body_s_head_is_read_by_the_page_alone() -> None:
    """Prices, flags and counts at the head of a slot's body are found where the page says."""
    head = ledger.SlotHead(
        slot=21, price_ueur_per_kwh=22, import_ueur_per_kwh=23, export_ueur_per_kwh=24,
        gift_fee_ueur_per_kwh=25, previous_ueur_per_kwh=26, unclipped_ueur_per_kwh=-27,
        terms=(("base", 1),), weather_stale=True, void_claims=2,
    )  # fmt: skip
    rows = {name: np.ones(1, np.int64) for name in records.SLOT_COLUMNS}
    none = {name: np.zeros(0, np.int64) for name in (*records.GIFT_COLUMNS, *records.ORDER_COLUMNS)}
    gifts = {name: none[name] for name in records.GIFT_COLUMNS}
    orders = {name: none[name] for name in records.ORDER_COLUMNS}
    found = read(ledger.pack(head, rows, gifts, orders), table("_HEAD", "core/ledger.py"))
    numbers = [
        found[name] for name in ("slot", "price_ueur_per_kwh", "import_ueur_per_kwh", "export_ueur_per_kwh")
    ]
    assert numbers == [21, 22, 23, 24]
    assert (found["gift_fee_ueur_per_kwh"], found["previous_ueur_per_kwh"]) == (25, 26)
    assert (found["unclipped_ueur_per_kwh"], found["void_claims"], found["flags"]) == (-27, 2, 2)
    assert [found[name] for name in ("terms", "events", "slot_rows", "gift_rows", "order_rows")] == [
        1,
        0,
        1,
        0,
        0,
    ]


@pytest.mark.parametrize("text", [TRADE_INTERFACE, CONTROL_INTERFACE, SUPERVISOR_INTERFACE])
def test_the_interfaces_stand_there_word_for_word(text: str) -> None:
    """What introspection answers is what the page shows."""
    assert text.strip() in PAGE

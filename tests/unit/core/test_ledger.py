"""The slot's body: one way to write it, no other way to read it, and a chain over it."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core import ledger
from energymarket.core.ledger import LedgerCorrupt, SlotHead
from energymarket.core.records import GIFT_COLUMNS, ORDER_COLUMNS, SLOT_COLUMNS

Columns = dict[str, npt.NDArray[np.int64]]

HEAD = SlotHead(
    slot=1_964_000,
    price_ueur_per_kwh=153_750,
    import_ueur_per_kwh=300_000,
    export_ueur_per_kwh=80_000,
    gift_fee_ueur_per_kwh=0,
    previous_ueur_per_kwh=145_000,
    unclipped_ueur_per_kwh=153_750,
    terms=(("inertia", 143_550), ("inverse_temperature", 200), ("gas shortage", 10_000)),
    events=(("gas shortage", 1000),),
    weather_stale=True,
)
WIDTHS_AT = 4 + 4 + 7 * 8 + 4 * 4  # behind a head without names


def table(names: tuple[str, ...], rows: int = 0, **columns: list[int]) -> Columns:
    return {name: np.array(columns.get(name, [0] * rows), np.int64) for name in names}


def body_of(
    slot: Columns | None = None, gifts: Columns | None = None, orders: Columns | None = None
) -> bytes:
    return ledger.pack(
        SlotHead(1, 2, 3, 4, 5, 6, 7),
        slot or table(SLOT_COLUMNS),
        gifts or table(GIFT_COLUMNS),
        orders or table(ORDER_COLUMNS),
    )


# bytes by hand


def test_the_head_is_laid_out_as_the_protocol_says() -> None:
    """Magic, version, flags, counts, slot and prices, void claims, rows of the three tables; then widths."""
    body = body_of()
    numbers = (1, 2, 3, 4, 5, 6, 7)
    assert body == b"EMSL\x01\x00\x00\x00" + struct.pack("<7q4I", *numbers, 0, 0, 0, 0) + bytes(20)


def test_a_market_without_holes_says_its_homes_in_no_byte() -> None:
    """Homes 1 .. 5000 and nothing else: as long as an empty slot."""
    homes = list(range(1, 5001))
    assert len(body_of(table(SLOT_COLUMNS, 5000, home=homes))) == len(body_of())


@pytest.mark.parametrize(
    ("values", "width"),
    [
        ([0, 0], 0),
        ([127, -128], 1),
        ([128, 0], 2),
        ([-129, 0], 2),
        ([32767, -32768], 2),
        ([32768, 0], 4),
        ([2**31 - 1, -(2**31)], 4),
        ([2**31, 0], 8),
        ([2**63 - 1, -(2**63)], 8),
    ],
)
def test_a_column_has_the_narrowest_width_that_holds_it(values: list[int], width: int) -> None:
    """The bounds of signed integers of 1, 2, 4 and 8 bytes; zeros take none."""
    body = body_of(table(SLOT_COLUMNS, 2, home=[1, 2], money_ueur=values))
    assert body[WIDTHS_AT + len(SLOT_COLUMNS) - 1] == width
    assert len(body) == len(body_of()) + 2 * width
    packed = b"".join(value.to_bytes(width, "little", signed=True) for value in values if width)
    assert body.endswith(packed)


def test_homes_and_givers_are_packed_as_steps() -> None:
    """Homes 1, 2, 5: steps over 0, 0 and 2 homes. Givers 7, 7, 9: 7, 0, 2."""
    slot = table(SLOT_COLUMNS, 3, home=[1, 2, 5])
    gifts = table(GIFT_COLUMNS, giver=[7, 7, 9], index=[0, 1, 0], taker=[1, 1, 1], energy_wh=[5, 6, 7])
    assert body_of(slot, gifts)[-15:] == bytes((0, 0, 2, 7, 0, 2, 0, 1, 0, 1, 1, 1, 5, 6, 7))


def test_the_chain_is_sha256_of_the_hash_before_and_the_body() -> None:
    """As the rules define it, from a beginning that depends on the scenario."""
    assert ledger.chain(b"\x07" * 32, b"slot") == hashlib.sha256(b"\x07" * 32 + b"slot").digest()
    assert ledger.genesis("a") != ledger.genesis("b")
    assert len(ledger.genesis("a")) == 32


# there and back

number = st.integers(-(2**63), 2**63 - 1)
name = st.text(min_size=1, max_size=15)
pairs = st.lists(st.tuples(name, st.integers(-(2**31), 2**31 - 1)), max_size=4).map(tuple)


@st.composite
def columns(draw: st.DrawFn, names: tuple[str, ...], rows: int) -> Columns:
    wide = st.sampled_from((0, 1, 100, 10_000, 10**6, 2**62))
    made = {}
    for each in names:
        most = draw(wide)
        made[each] = np.array(
            draw(st.lists(st.integers(-most, most), min_size=rows, max_size=rows)), np.int64
        )
    return made


@st.composite
def slots(draw: st.DrawFn) -> tuple[SlotHead, Columns, Columns, Columns]:
    homes = sorted(draw(st.sets(st.integers(1, 2**32 - 1), max_size=6)))
    parts = sorted(draw(st.sets(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 65535)), max_size=6)))
    u4 = st.integers(0, 2**32 - 1)
    slot = draw(columns(SLOT_COLUMNS, len(homes))) | table(("home",), home=homes)
    gifts = {
        "giver": np.array([giver for giver, _ in parts], np.int64),
        "index": np.array([index for _, index in parts], np.int64),
        "taker": np.array(draw(st.lists(u4, min_size=len(parts), max_size=len(parts))), np.int64),
        "energy_wh": np.array(draw(st.lists(u4, min_size=len(parts), max_size=len(parts))), np.int64),
    }
    orders = draw(columns(ORDER_COLUMNS, draw(st.integers(0, 4))))
    head = draw(
        st.builds(
            SlotHead,
            *[number] * 7,
            terms=pairs,
            events=pairs,
            gap=st.booleans(),
            weather_stale=st.booleans(),
            void_claims=u4,
        )
    )
    return head, slot, gifts, orders


@given(slot=slots())
def test_what_is_unpacked_is_what_was_packed(slot: tuple[SlotHead, Columns, Columns, Columns]) -> None:
    """Head and every column come back, in int64, and pack to the same bytes."""
    body = ledger.pack(*slot)
    head, *tables = ledger.unpack(body)
    assert head == slot[0]
    for got, put in zip(tables, slot[1:], strict=True):
        assert {n: c.tolist() for n, c in got.items()} == {n: c.tolist() for n, c in put.items()}
        assert all(column.dtype == np.int64 for column in got.values())
    assert ledger.pack(head, *tables) == body


def filled() -> bytes:
    slot = table(SLOT_COLUMNS, 3, home=[1, 2, 5], money_ueur=[-1, 300, 0], given_wh=[200, 0, 0])
    gifts = table(GIFT_COLUMNS, giver=[1, 1], index=[0, 1], taker=[2, 5], energy_wh=[150, 50])
    orders = table(ORDER_COLUMNS, home=[2], energy_wh=[-7], total_ueur=[-1400])
    return ledger.pack(HEAD, slot, gifts, orders)


def test_every_shorter_and_longer_body_is_corrupt() -> None:
    """Cut anywhere, or with a byte more: LedgerCorrupt, which says where."""
    body = filled()
    for end in range(len(body)):
        with pytest.raises(LedgerCorrupt) as caught:
            ledger.unpack(body[:end])
        assert 0 <= caught.value.where <= end
    with pytest.raises(LedgerCorrupt, match="beyond the end"):
        ledger.unpack(body + b"\0")


def test_a_flipped_byte_is_corrupt_or_another_slot() -> None:
    """Any bit changed: either no body at all, or the one body of another slot with another hash."""
    body = filled()
    for at in range(len(body)):
        for bit in range(8):
            other = bytearray(body)
            other[at] ^= 1 << bit
            try:
                again = ledger.pack(*ledger.unpack(bytes(other)))
            except LedgerCorrupt:
                continue
            assert again == bytes(other)
            assert ledger.chain(bytes(32), again) != ledger.chain(bytes(32), body)


@given(data=st.binary(max_size=300), keep=st.integers(0, 200))
def test_garbage_is_corrupt_and_nothing_worse(data: bytes, keep: int) -> None:
    """Random bytes behind a good beginning raise LedgerCorrupt, or are what pack would make."""
    garbage = filled()[:keep] + data
    try:
        slot = ledger.unpack(garbage)
    except LedgerCorrupt:
        return
    assert ledger.pack(*slot) == garbage


@pytest.mark.parametrize(
    ("at", "byte", "what"),
    [
        (0, b"X", "not a slot"),
        (4, b"\x02", "version 2"),
        (5, b"\x04", "unknown flags"),
        (WIDTHS_AT - 9, b"\xff", "rows are more than"),
        (WIDTHS_AT, b"\x03", "no width"),
        (WIDTHS_AT, b"\x01", "cut off"),
    ],
)
def test_what_is_wrong_is_said(at: int, byte: bytes, what: str) -> None:
    """Each kind of damage has its own words."""
    body = bytearray(body_of(table(SLOT_COLUMNS, 1, home=[1])))
    body[at : at + 1] = byte
    with pytest.raises(LedgerCorrupt, match=what):
        ledger.unpack(bytes(body))


def test_a_column_wider_than_needed_is_corrupt() -> None:
    """One body per slot: a 5 in two bytes is refused where one byte would do."""
    body = bytearray(body_of(table(SLOT_COLUMNS, 1, home=[1], money_ueur=[300])))
    body[-2:] = b"\x05\x00"
    with pytest.raises(LedgerCorrupt, match="narrowly"):
        ledger.unpack(bytes(body))


def test_rows_out_of_order_are_not_packed_nor_unpacked() -> None:
    """Homes ascend; gifts ascend by giver and index."""
    with pytest.raises(ValueError, match="not in order"):
        body_of(table(SLOT_COLUMNS, 2, home=[2, 1]))
    with pytest.raises(ValueError, match="not in order"):
        body_of(table(SLOT_COLUMNS, 1, home=[0]))
    body = bytearray(body_of(table(SLOT_COLUMNS, 2, home=[1, 3])))
    body[-1] = 0xFF  # a step back
    with pytest.raises(LedgerCorrupt, match="out of bounds"):
        ledger.unpack(bytes(body))
    gifts = table(GIFT_COLUMNS, giver=[7, 7], index=[1, 2], taker=[1, 1], energy_wh=[1, 1])
    body = bytearray(body_of(None, gifts))
    body[-6:-4] = b"\x02\x01"
    with pytest.raises(LedgerCorrupt, match="not in order"):
        ledger.unpack(bytes(body))


@pytest.mark.parametrize("bad", ["", "x" * 64])
def test_a_name_has_a_length_within_its_limit(bad: str) -> None:
    """No empty name and none beyond 63 bytes."""
    head = SlotHead(1, 2, 3, 4, 5, 6, 7, terms=((bad, 1),))
    with pytest.raises(ValueError, match="1 to 63 bytes"):
        ledger.pack(head, table(SLOT_COLUMNS), table(GIFT_COLUMNS), table(ORDER_COLUMNS))


def test_the_statements_example_rests_in_the_ledger() -> None:
    """0.15375 €/kWh with its three terms and the event that is part of it."""
    head, *_ = ledger.unpack(filled())
    assert head == HEAD
    assert sum(value for _, value in head.terms) == 153_750

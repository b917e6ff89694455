"""Batches and receipts as bytes: views without a copy, every length checked."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.limits import HOMES_MAX
from energymarket.core.records import BATCH_COLUMNS, CLAIM, RECEIPT_COLUMNS
from energymarket.wire import batch
from energymarket.wire.fault import WireError, WireFault


def columns(schema: tuple[tuple[str, np.dtype[Any]], ...], count: int) -> dict[str, npt.NDArray[Any]]:
    return {
        name: (np.arange(count) * (nth + 1) % 120).astype(dtype) for nth, (name, dtype) in enumerate(schema)
    }


def claims(number: int) -> npt.NDArray[np.void]:
    made = np.zeros(number, CLAIM)
    made["giver"] = np.arange(number) + 1
    made["taker"] = 3
    made["energy_wh"] = 10
    return made


def fault_of(data: bytes) -> WireFault:
    with pytest.raises(WireError) as refused:
        batch.unpack(data)
    return refused.value.fault


@given(st.integers(1, 50), st.integers(0, 20), st.integers(0, 2**40), st.integers(0, 2**32 - 1))
def test_a_batch_comes_back(count: int, number: int, slot: int, epoch: int) -> None:
    """Header, columns and claims; small values take a byte each, filled up to eight, a claim 16."""
    made = batch.pack(columns(BATCH_COLUMNS, count), claims(number), slot=slot, epoch=epoch, first=11)
    kept = [
        name for name, column in columns(BATCH_COLUMNS, count).items() if column.any() or name == "policy"
    ]
    assert len(made) == 64 + len(kept) * (-(-count // 8) * 8) + 16 * number
    head, found, taken = batch.unpack(made)
    assert (head.slot, head.epoch, head.first, head.count, head.claims) == (slot, epoch, 11, count, number)
    assert (head.since, head.registers) == (-1, 0)
    assert list(found) == [name for name, _ in BATCH_COLUMNS]
    for name, column in columns(BATCH_COLUMNS, count).items():
        assert np.array_equal(found[name], column)
        assert found[name].dtype == np.dtype(f"{column.dtype.kind}1")
    assert np.array_equal(taken, claims(number))


@pytest.mark.parametrize(
    ("value", "width"),
    [(0, 0), (127, 1), (128, 2), (-128, 1), (-129, 2), (2**15, 4), (2**31, 8), (-(2**63), 8)],
)
def test_a_column_takes_the_bytes_that_its_values_need(value: int, width: int) -> None:
    """Each width by its first value and the last before it; the others stand where they belong."""
    values = columns(BATCH_COLUMNS, 3)
    values["import_wh"][:] = (0, value, 0)
    made = batch.pack(values, claims(1), slot=9, epoch=0, first=1)
    assert made[48 + 2] == width
    _, found, taken = batch.unpack(made)
    assert found["import_wh"].tolist() == [0, value, 0]
    assert found["import_wh"].itemsize == max(width, 1)
    assert found["export_wh"].tolist() == values["export_wh"].tolist()
    assert taken["energy_wh"].tolist() == [10]


def test_growth_says_since_when_and_what_it_comes_to() -> None:
    """The slot of the reading before, and the sum of all registers, which may be any number of 64 bits."""
    made = batch.pack(
        columns(BATCH_COLUMNS, 2), claims(0), slot=9, epoch=0, first=1, since=7, registers=2**64 - 1
    )
    head, _, _ = batch.unpack(made)
    assert (head.since, head.registers) == (7, 2**64 - 1)
    for since in (9, 10, -2):  # a reading of this slot or of later, and of none at all
        bad = made[:32] + struct.pack("<q", since) + made[40:]
        assert fault_of(bytes(bad)) is WireFault.RANGE


def test_nothing_is_copied() -> None:
    """The columns look at the buffer itself, and cannot change one that is read-only."""
    made = batch.pack(columns(BATCH_COLUMNS, 4), claims(2), slot=1, epoch=0, first=1)
    _, found, taken = batch.unpack(made)
    buffer = np.frombuffer(made, np.uint8)
    assert all(np.shares_memory(column, buffer) for column in (*found.values(), taken))
    _, frozen, _ = batch.unpack(bytes(made))
    assert not any(column.flags.writeable for column in frozen.values())


def test_the_first_register_stands_behind_the_header() -> None:
    """Little-endian, a column behind the other: two productions of 2 bytes at byte 64, consumption at 72."""
    values = columns(BATCH_COLUMNS, 2)
    values["production_wh"][:] = (1_000, -2)
    values["consumption_wh"][:] = (1, 100_000)
    made = batch.pack(values, claims(0), slot=9, epoch=8, first=7)
    widths = bytes((2, 4, 1, 1, 1, 1, 1, 1, 1))
    assert made[:64] == struct.pack("<4sHHIIIIqqQ16s", b"EMBT", 2, 1, 7, 2, 0, 8, 9, -1, 0, widths)
    assert struct.unpack_from("<hhi", made, 64) == (1_000, -2, 0)
    assert struct.unpack_from("<ii", made, 72) == (1, 100_000)


def test_every_wrong_length_and_header_is_named() -> None:
    """Each guard refuses by its own name; a batch is no receipt."""
    made = bytes(batch.pack(columns(BATCH_COLUMNS, 3), claims(1), slot=1, epoch=0, first=1))
    assert fault_of(b"") is WireFault.TRUNCATED
    assert fault_of(made[:63]) is WireFault.TRUNCATED
    assert fault_of(made[:-1]) is WireFault.TRUNCATED
    assert fault_of(made + b"\0") is WireFault.TRAILING
    assert fault_of(b"X" + made[1:]) is WireFault.MAGIC
    assert fault_of(made[:4] + b"\x01" + made[5:]) is WireFault.VERSION

    def with_head(first: int, count: int, number: int = 0, slot: int = 1) -> bytes:
        head = struct.pack("<4sHHIIIIqqQ", b"EMBT", 2, 1, first, count, number, 0, slot, -1, 0)
        return head + made[48:]

    assert fault_of(with_head(0, 3)) is WireFault.RANGE
    assert fault_of(with_head(1, 0)) is WireFault.RANGE
    assert fault_of(with_head(1, 2**32 - 1)) is WireFault.RANGE
    assert fault_of(with_head(HOMES_MAX, 2)) is WireFault.RANGE
    assert fault_of(with_head(1, 3, 2**32 - 1)) is WireFault.RANGE
    assert fault_of(with_head(1, 3, slot=-1)) is WireFault.RANGE
    for at, width in ((0, 3), (0, 16), (4, 8), (8, 2)):  # no width; one that its column cannot have
        assert fault_of(made[: 48 + at] + bytes((width,)) + made[49 + at :]) is WireFault.RANGE
    receipt = bytes(batch.pack_receipt(columns(RECEIPT_COLUMNS, 3), slot=1, epoch=0, first=1))
    assert fault_of(receipt) is WireFault.KIND


@given(st.binary(max_size=300))
def test_noise_is_refused_and_crashes_nothing(noise: bytes) -> None:
    """Any bytes are a batch or a WireError."""
    header = struct.pack("<4sHH", b"EMBT", 2, 1)
    for data in (noise, header + noise):
        with pytest.raises(WireError):
            batch.unpack(data)


def test_a_receipt_comes_back() -> None:
    """Six energies of a byte here, and the money, which may be below zero."""
    values = columns(RECEIPT_COLUMNS, 5)
    values["money_ueur"][:] = (-(2**62), -1, 0, 1, 2**62)
    made = batch.pack_receipt(values, slot=3, epoch=2, first=6)
    assert len(made) == 64 + 6 * 8 + 5 * 8
    head, found = batch.unpack_receipt(made)
    assert (head.slot, head.epoch, head.first, head.count) == (3, 2, 6, 5)
    assert found["money_ueur"].tolist() == [-(2**62), -1, 0, 1, 2**62]


def test_what_does_not_fit_is_our_bug() -> None:
    """A value beyond its column, a column of another length, no homes: ValueError; nothing is cut."""
    wide = {name: column.astype(np.int64) for name, column in columns(BATCH_COLUMNS, 2).items()}
    batch.pack(wide | {"policy": wide["policy"].astype(np.uint8)}, claims(0), slot=1, epoch=0, first=1)
    wide["policy"] = wide["policy"].astype(np.uint8)
    wide["sold_wh"][1] = 2**31
    with pytest.raises(ValueError, match="sold_wh"):
        batch.pack(wide, claims(0), slot=1, epoch=0, first=1)
    short = columns(BATCH_COLUMNS, 2)
    short["policy"] = short["policy"][:1]
    with pytest.raises(ValueError, match="policy"):
        batch.pack(short, claims(0), slot=1, epoch=0, first=1)
    with pytest.raises(ValueError, match="0 homes"):
        batch.pack(columns(BATCH_COLUMNS, 0), claims(0), slot=1, epoch=0, first=1)

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
    """Header, columns and claims; 49 bytes a home, 16 a claim, 32 of header."""
    made = batch.pack(columns(BATCH_COLUMNS, count), claims(number), slot=slot, epoch=epoch, first=11)
    assert len(made) == 32 + 49 * count + 16 * number == batch.batch_bytes(count, number)
    head, found, taken = batch.unpack(made)
    assert (head.slot, head.epoch, head.first, head.count, head.claims) == (slot, epoch, 11, count, number)
    assert list(found) == [name for name, _ in BATCH_COLUMNS]
    for name, column in columns(BATCH_COLUMNS, count).items():
        assert np.array_equal(found[name], column)
        assert found[name].dtype == column.dtype
    assert np.array_equal(taken, claims(number))


def test_nothing_is_copied() -> None:
    """The columns look at the buffer itself, and cannot change one that is read-only."""
    made = batch.pack(columns(BATCH_COLUMNS, 4), claims(2), slot=1, epoch=0, first=1)
    _, found, taken = batch.unpack(made)
    buffer = np.frombuffer(made, np.uint8)
    assert all(np.shares_memory(column, buffer) for column in (*found.values(), taken))
    _, frozen, _ = batch.unpack(bytes(made))
    assert not any(column.flags.writeable for column in frozen.values())


def test_the_first_register_stands_behind_the_header() -> None:
    """Little-endian, columns back to back: production of the first home at byte 32, of the second at 40."""
    values = columns(BATCH_COLUMNS, 2)
    values["production_wh"][:] = (1_000, -2)
    made = batch.pack(values, claims(0), slot=9, epoch=8, first=7)
    assert made[:32] == struct.pack("<4sHHIIIIq", b"EMBT", 1, 1, 7, 2, 0, 8, 9)
    assert struct.unpack_from("<qq", made, 32) == (1_000, -2)


def test_every_wrong_length_and_header_is_named() -> None:
    """Each guard refuses by its own name; a batch is no receipt."""
    made = bytes(batch.pack(columns(BATCH_COLUMNS, 3), claims(1), slot=1, epoch=0, first=1))
    assert fault_of(b"") is WireFault.TRUNCATED
    assert fault_of(made[:31]) is WireFault.TRUNCATED
    assert fault_of(made[:-1]) is WireFault.TRUNCATED
    assert fault_of(made + b"\0") is WireFault.TRAILING
    assert fault_of(b"X" + made[1:]) is WireFault.MAGIC
    assert fault_of(made[:4] + b"\x02" + made[5:]) is WireFault.VERSION

    def with_head(first: int, count: int, number: int = 0, slot: int = 1) -> bytes:
        return struct.pack("<4sHHIIIIq", b"EMBT", 1, 1, first, count, number, 0, slot) + made[32:]

    assert fault_of(with_head(0, 3)) is WireFault.RANGE
    assert fault_of(with_head(1, 0)) is WireFault.RANGE
    assert fault_of(with_head(1, 2**32 - 1)) is WireFault.RANGE
    assert fault_of(with_head(HOMES_MAX, 2)) is WireFault.RANGE
    assert fault_of(with_head(1, 3, 2**32 - 1)) is WireFault.RANGE
    assert fault_of(with_head(1, 3, slot=-1)) is WireFault.RANGE
    receipt = bytes(batch.pack_receipt(columns(RECEIPT_COLUMNS, 3), slot=1, epoch=0, first=1))
    assert fault_of(receipt) is WireFault.KIND


@given(st.binary(max_size=300))
def test_noise_is_refused_and_crashes_nothing(noise: bytes) -> None:
    """Any bytes are a batch or a WireError."""
    header = struct.pack("<4sHH", b"EMBT", 1, 1)
    for data in (noise, header + noise):
        with pytest.raises(WireError):
            batch.unpack(data)


def test_a_receipt_comes_back() -> None:
    """32 bytes a home: six energies and the money, which may be below zero."""
    values = columns(RECEIPT_COLUMNS, 5)
    values["money_ueur"][:] = (-(2**62), -1, 0, 1, 2**62)
    made = batch.pack_receipt(values, slot=3, epoch=2, first=6)
    assert len(made) == 32 + 5 * 32
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

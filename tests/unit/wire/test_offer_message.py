"""Offers in a message: 16 bytes of header, 16 bytes an offer, and a name for whatever is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.records import OFFER
from energymarket.wire import offer_message
from energymarket.wire.fault import WireError, WireFault


def offers(number: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    made = np.zeros(number, OFFER)
    made["giver"] = np.arange(1, number + 1)
    made["energy_wh"] = 250
    made["position"] = np.arange(number)
    return made


def fault_of(data: bytes) -> WireFault:
    with pytest.raises(WireError) as refused:
        offer_message.unpack(data)
    return refused.value.fault


@given(st.integers(1, 255), st.integers(0, 2**48 - 1), st.integers(0, 2**32 - 1))
def test_offers_come_back(number: int, slot: int, epoch: int) -> None:
    """With their slot and epoch; a message is as long as its offers and 16 bytes."""
    data = offer_message.pack(offers(number), slot=slot, epoch=epoch)
    assert len(data) == 16 + 16 * number <= 4_096
    head, found = offer_message.unpack(data)
    assert (head.slot, head.epoch, head.count) == (slot, epoch, number)
    assert np.array_equal(found, offers(number))
    assert offer_message.count(data) == number


def test_255_offers_are_the_most() -> None:
    """16 + 255 x 16 = 4,096 bytes: four such messages fill the queue of 16 KiB."""
    assert offer_message.OFFERS_MAX == 255
    for number in (0, 256):
        with pytest.raises(ValueError, match="1 to 255"):
            offer_message.pack(offers(number), slot=1, epoch=0)
    for slot, epoch in ((-1, 0), (2**48, 0), (0, 2**32)):
        with pytest.raises(ValueError, match="fit"):
            offer_message.pack(offers(1), slot=slot, epoch=epoch)


def test_everything_wrong_has_a_name() -> None:
    """Each guard refuses by its own name."""
    data = offer_message.pack(offers(3), slot=7, epoch=1)
    assert fault_of(b"") is WireFault.TRUNCATED
    assert fault_of(data[:15]) is WireFault.TRUNCATED
    assert fault_of(data[:-1]) is WireFault.TRUNCATED
    assert fault_of(data + b"\0") is WireFault.TRAILING
    assert fault_of(b"XX" + data[2:]) is WireFault.MAGIC
    assert fault_of(data[:2] + b"\x02" + data[3:]) is WireFault.VERSION
    assert fault_of(data[:3] + b"\x09" + data[4:]) is WireFault.KIND
    assert fault_of(data[:4] + b"\0\0" + data[6:16]) is WireFault.RANGE
    nobody, nothing = offers(2), offers(2)
    nobody["giver"][1] = 0
    nothing["energy_wh"][0] = 0
    assert fault_of(offer_message.pack(nobody, slot=7, epoch=1)) is WireFault.RANGE
    assert fault_of(offer_message.pack(nothing, slot=7, epoch=1)) is WireFault.RANGE


@given(st.binary(max_size=200))
def test_noise_is_refused_and_crashes_nothing(noise: bytes) -> None:
    """Any bytes are a message or a WireError."""
    try:
        head, found = offer_message.unpack(noise)
    except WireError:
        return
    assert len(found) == head.count


@given(st.integers(0, 63), st.integers(0, 255))
def test_a_changed_byte_gives_whole_offers_or_a_refusal(at: int, value: int) -> None:
    """Whatever a stranger changes, what comes out has the length it says."""
    data = bytearray(offer_message.pack(offers(3), slot=7, epoch=1))
    data[at] = value
    try:
        head, found = offer_message.unpack(bytes(data))
    except WireError:
        return
    assert len(found) == head.count == 3

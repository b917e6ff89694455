"""Offers in a message: 16 bytes of header, then records or a line, and a name for whatever is wrong."""

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


@st.composite
def runs(draw: st.DrawFn) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Offers of givers round a ring of 2**20 homes, some split, some far from the one before."""
    number = draw(st.integers(1, 700))
    dice = np.random.default_rng(draw(st.integers(0, 2**32)))  # noqa: TID251 - a test's own numbers
    far, large = draw(st.sampled_from((2, 300, 70_000))), draw(st.sampled_from((200, 60_000, 2**31)))
    made = offers(number)
    steps = dice.integers(1, far, number)
    made["position"] = np.cumsum(steps) % 2**20
    made["giver"] = (made["position"] + draw(st.integers(0, 2**20))) % 2**20 + 1
    made["energy_wh"] = dice.integers(1, large, number)
    made["index"] = dice.integers(0, 3, number) * (
        dice.random(number) < draw(st.sampled_from((0, 0.01, 0.5)))
    )
    return made


@given(runs(), st.integers(0, 2**48 - 1), st.integers(0, 2**32 - 1))
def test_offers_come_back(made: np.ndarray, slot: int, epoch: int) -> None:
    """With their slot and epoch, message by message; nobody is left out, and no message is too long."""
    at = 0
    while at < len(made):
        data, number = offer_message.pack_first(made[at:], slot=slot, epoch=epoch)
        head, found = offer_message.unpack(data)
        assert (head.slot, head.epoch, head.count) == (slot, epoch, number)
        assert np.array_equal(found, made[at : at + number])
        assert len(data) <= 4_096
        assert number >= min(len(made) - at, 255)  # never fewer than records would be
        at += number


@given(runs(), st.integers(0, 700), st.integers(1, 2**31))
def test_a_rest_is_no_longer_than_the_message_was(made: np.ndarray, taken: int, left_wh: int) -> None:
    """Some offers are taken whole, the next one in part: its message goes back to where it was."""
    data, number = offer_message.pack_first(made, slot=1, epoch=0)
    rest = made[min(taken, number - 1) : number].copy()
    rest["energy_wh"][0] = min(left_wh, int(rest["energy_wh"][0]))
    rest["index"][0] += 1
    assert len(offer_message.pack(rest, slot=1, epoch=0)) <= len(data)


def test_a_line_takes_two_bytes_an_offer_and_a_record_sixteen() -> None:
    """By hand: of neighbours with at most 255 Wh, 16 + 16 + 9 + 10 bytes; a lone offer is a record."""
    line, lone = (
        offer_message.pack(offers(10), slot=1, epoch=0),
        offer_message.pack(offers(1), slot=1, epoch=0),
    )
    assert (len(line), line[3]) == (51, offer_message.KIND_LINE)
    assert (len(lone), lone[3]) == (32, offer_message.KIND_OFFERS)
    records = offer_message.pack(offers(10), slot=1, epoch=0, in_line=False)
    assert (len(records), records[3]) == (176, offer_message.KIND_OFFERS)
    assert np.array_equal(offer_message.unpack(line)[1], offer_message.unpack(records)[1])


def test_a_line_ends_where_the_ring_begins() -> None:
    """Ids ascend across the place where positions begin anew, and the other way round: two messages each."""
    begins, ends = offers(40), offers(40)
    begins["position"] = (np.arange(40) + 30) % 40
    ends["giver"] = (np.arange(40) + 15) % 40 + 1
    for made, first in ((begins, 10), (ends, 25)):
        data, number = offer_message.pack_first(made, slot=1, epoch=0)
        assert number == 40  # as records: they are more than the line would have
        assert data[3] == offer_message.KIND_OFFERS
        data, number = offer_message.pack_first(made, slot=1, epoch=0, room_bytes=16 + 16 * (first - 1))
        assert (number, data[3]) == (first, offer_message.KIND_LINE)
        assert np.array_equal(offer_message.unpack(data)[1], made[:first])


def test_a_message_is_full_at_4096_bytes() -> None:
    """255 records, or 2,032 neighbours in a line; four such messages fill the queue of 16 KiB."""
    split = offers(2_100)
    split["index"] = 1
    assert offer_message.pack_first(split, slot=1, epoch=0)[1] == 255
    assert offer_message.pack_first(offers(2_100), slot=1, epoch=0)[1] == 2_032
    assert offer_message.pack_first(offers(2_100), slot=1, epoch=0, room_bytes=31) == (b"", 0)
    for number in (0, 2_100):
        with pytest.raises(ValueError, match="carries the first"):
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
    for made in (nobody, nothing):
        assert fault_of(offer_message.pack(made, slot=7, epoch=1, in_line=False)) is WireFault.RANGE
    assert fault_of(offer_message.pack(nothing, slot=7, epoch=1)) is WireFault.RANGE


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (16, b"\0\0\0\0"),  # nobody gives
        (16, b"\xff\xff\xff\xff"),  # the second giver is beyond 32 bits
        (20, b"\xff\xff\xff\xff"),  # so is its position
        (24, b"\0\0\1\0"),  # a part of no name
        (28, b"\3\0"),  # three bytes a value
        (32, b"\0"),  # the same giver twice
        (34, b"\0"),  # an offer of nothing
    ],
)
def test_a_line_is_not_believed(at: int, value: bytes) -> None:
    """Whatever no giver can have said is out of range."""
    data = offer_message.pack(offers(3), slot=7, epoch=1)
    assert fault_of(data[:at] + value + data[at + len(value) :]) is WireFault.RANGE
    assert fault_of(data[:24]) is WireFault.TRUNCATED


@given(st.binary(max_size=200))
def test_noise_is_refused_and_crashes_nothing(noise: bytes) -> None:
    """Any bytes are a message or a WireError."""
    try:
        head, found = offer_message.unpack(noise)
    except WireError:
        return
    assert len(found) == head.count


@given(st.integers(0, 63), st.integers(0, 255), st.booleans())
def test_a_changed_byte_gives_whole_offers_or_a_refusal(at: int, value: int, in_line: bool) -> None:
    """Whatever a stranger changes, what comes out has the length it says."""
    data = bytearray(offer_message.pack(offers(3), slot=7, epoch=1, in_line=in_line))
    data[at % len(data)] = value
    try:
        head, found = offer_message.unpack(bytes(data))
    except WireError:
        return
    assert len(found) == head.count == 3

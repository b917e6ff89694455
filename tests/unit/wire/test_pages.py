"""Clock page and weather board as bytes: fixed places, whole ranges."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core import weather
from energymarket.core.records import Phase
from energymarket.wire import board, clock_page
from energymarket.wire.clock_page import ClockPage, Flag
from energymarket.wire.fault import WireError, WireFault

i64 = st.integers(-(2**63), 2**63 - 1)
u32 = st.integers(0, 2**32 - 1)

pages = st.builds(
    ClockPage,
    slot=i64,
    epoch=u32,
    phase=st.sampled_from(Phase),
    flags=st.integers(0, 2**16 - 1),
    open_ns=i64,
    exchange_ns=i64,
    gate_ns=i64,
    next_open_ns=i64,
    price=i64,
    import_=i64,
    export_=i64,
    fee=i64,
    slot_s=u32,
    slot_ns=i64,
    market_pid=u32,
    end_slot=i64,
    cookie=st.integers(0, 2**64 - 1),
    generation=u32,
)


@given(pages)
def test_every_page_comes_back(page: ClockPage) -> None:
    """Packing and unpacking changes nothing; all pages have the same length."""
    raw = clock_page.pack(page)
    assert len(raw) == clock_page.LAYOUT.size == 12 * 8 + 4 * 4 + 2 * 2
    assert clock_page.unpack(raw) == page


def test_the_slot_stands_first_and_the_price_sixth() -> None:
    """Little-endian 64-bit fields from the start, as the protocol page says: 0.15375 €/kWh is 153,750."""
    page = ClockPage(7, 0, Phase.TRADE, 0, 1, 2, 3, 4, 153_750, 300_000, 80_000, 0, 900, 5, 6)
    raw = clock_page.pack(page)
    assert raw[:8] == bytes([7, 0, 0, 0, 0, 0, 0, 0])
    assert struct.unpack_from("<q", raw, 5 * 8) == (153_750,)


def test_an_unknown_phase_and_a_wrong_length_are_refused() -> None:
    """A page of a later layout is an error with a name, not a wrong price."""
    raw = bytearray(clock_page.pack(ClockPage(1, 0, Phase.TRADE, 0, *[0] * 11)))
    raw[-4:-2] = (77).to_bytes(2, "little")
    for broken, fault in ((bytes(raw), WireFault.KIND), (bytes(raw[:-1]), WireFault.TRUNCATED)):
        with pytest.raises(WireError) as refused:
            clock_page.unpack(broken)
        assert refused.value.fault is fault


def test_flags_say_stale_and_live() -> None:
    """Each flag is its own bit."""
    page = ClockPage(1, 0, Phase.TRADE, int(Flag.WEATHER_STALE), *[0] * 11)
    assert (page.weather_stale, page.live) == (True, False)
    page = ClockPage(1, 0, Phase.TRADE, int(Flag.LIVE | Flag.DEGRADED), *[0] * 11)
    assert (page.weather_stale, page.live) == (False, True)


def test_a_sample_has_40_bytes_and_comes_back() -> None:
    """Temperatures below zero included."""
    sample = np.zeros(1, weather.WEATHER)
    sample["slot"], sample["temperature_mc"], sample["ghi_dw_per_m2"] = 2_000_000, -12_345, 9_001
    raw = board.pack(sample[0])
    assert len(raw) == 40
    assert board.unpack(raw) == sample[0]
    with pytest.raises(WireError):
        board.unpack(raw[:-1])


def test_entries_do_not_overlap_and_stay_in_the_page() -> None:
    """128 entries of 64 bytes from byte 128; each holds a seal of 16 bytes and a sample of 40."""
    places = [board.entry_at(slot) for slot in range(1_000, 1_128)]
    assert sorted(places) == list(range(128, 128 + 128 * 64, 64))
    assert board.entry_at(5) == board.entry_at(5 + 128)
    assert 16 + board.ENTRY_PAYLOAD_BYTES <= board.ENTRY_BYTES
    assert board.STATUS_AT + 16 + board.STATUS.size <= board.ENTRIES_AT
    assert max(places) + board.ENTRY_BYTES == board.BOARD_BYTES


def test_a_status_comes_back() -> None:
    """Heartbeat, last slot and the writer's pid."""
    status = board.Status(heartbeat_ns=2**60, last_slot=-1, writer_pid=4_194_304)
    assert board.Status.unpack(status.pack()) == status
    with pytest.raises(WireError):
        board.Status.unpack(b"short")

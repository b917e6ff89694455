"""Records of the pipe: 32 bytes each, found again in any rubbish."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.events import DURATION_SLOTS_MAX, INTENSITY_PERMILLE_MAX
from energymarket.wire import event_record
from energymarket.wire.event_record import EventRecord, RecordType, split
from energymarket.wire.fault import WireError, WireFault

records = st.builds(
    lambda type_, slot, kind, seq, intensity, duration: EventRecord(
        type_, slot, kind, seq, intensity, slot + duration
    ),
    st.sampled_from(RecordType),
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, INTENSITY_PERMILLE_MAX),
    st.integers(0, DURATION_SLOTS_MAX),
)


@given(records)
def test_a_record_has_32_bytes_and_comes_back(record: EventRecord) -> None:
    """Whatever the core may say fits; 32 divides PIPE_BUF (4,096), so a write is whole or not at all."""
    raw = record.pack()
    assert len(raw) == 32
    assert event_record.unpack(raw) == record


@given(records, st.integers(0, 31), st.integers(1, 255))
def test_a_changed_byte_is_found(record: EventRecord, at: int, change: int) -> None:
    """A torn or forged record is refused."""
    raw = bytearray(record.pack())
    raw[at] ^= change
    with pytest.raises(WireError):
        event_record.unpack(bytes(raw))


@given(st.lists(records, max_size=20), st.integers(1, 100))
def test_pieces_of_any_size_make_the_same_records(said: list[EventRecord], size: int) -> None:
    """However the reads cut the pipe, each record is heard once, and nothing is left."""
    stream = b"".join(record.pack() for record in said)
    heard: list[EventRecord] = []
    rest = b""
    for at in range(0, len(stream), size):
        found, invalid, rest = split(rest + stream[at : at + size])
        assert invalid == 0
        heard += found
    assert heard == said
    assert rest == b""


@given(records, st.binary(max_size=100), records, st.binary(max_size=100))
def test_rubbish_hides_no_record(
    first: EventRecord, rubbish: bytes, second: EventRecord, tail: bytes
) -> None:
    """Rubbish before and between records is passed over; what follows it is heard."""
    found = split(rubbish + first.pack() + rubbish + second.pack() + tail)
    assert [record for record in found.records if record in {first, second}][:1] == [first]
    assert second in found.records
    assert len(found.rest) < 32


def test_each_wrong_thing_has_its_name() -> None:
    """Length, magic, checksum, version, type."""
    raw = EventRecord(RecordType.BEGIN, 5).pack()

    def fault_of(data: bytes) -> WireFault:
        with pytest.raises(WireError) as refused:
            event_record.unpack(data)
        return refused.value.fault

    assert fault_of(raw[:-1]) is WireFault.TRUNCATED
    assert fault_of(b"XX" + raw[2:]) is WireFault.MAGIC
    assert fault_of(raw[:-1] + b"\x01") is WireFault.CHECKSUM
    for at, fault in ((2, WireFault.VERSION), (3, WireFault.KIND)):
        changed = bytearray(raw)
        changed[at] = 99
        changed[4:8] = event_record._checksum(bytes(changed)).to_bytes(4, "little")
        assert fault_of(bytes(changed)) is fault


def test_a_slot_beyond_the_record_is_our_bug() -> None:
    """48 bits of slot: seconds for nine million years."""
    with pytest.raises(ValueError, match="fit"):
        EventRecord(RecordType.REPORTED, 2**48).pack()

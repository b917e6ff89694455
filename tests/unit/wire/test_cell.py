"""Sealed cells: what is read is what was written, or nothing."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.wire import cell
from energymarket.wire.fault import WireError, WireFault

payloads = st.binary(min_size=1, max_size=200)
even = st.integers(1, 2**62).map(lambda number: number * 2)


def sealed(sequence: int, payload: bytes) -> bytes:
    return sequence.to_bytes(8, "little") + cell.seal(sequence, payload)


def test_layout_is_sequence_checksum_payload() -> None:
    """8 bytes of sequence, CRC-32 (zlib's) over sequence and payload, 4 zero bytes, then the payload."""
    crc = zlib.crc32(b"\x02" + bytes(7) + b"weather")
    assert sealed(2, b"weather") == struct.pack("<QII", 2, crc, 0) + b"weather"


@given(even, payloads)
def test_whole_cells_are_read(sequence: int, payload: bytes) -> None:
    """An even sequence with its checksum gives the payload back."""
    assert cell.unseal(sealed(sequence, payload)) == payload


@given(even, payloads, st.data())
def test_a_flipped_bit_is_found(sequence: int, payload: bytes, data: st.DataObject) -> None:
    """One bit changed anywhere, but in the four bytes that nobody reads: nothing is read."""
    raw = bytearray(sealed(sequence, payload))
    at = data.draw(st.integers(0, len(raw) - 1).filter(lambda at: not 12 <= at < 16))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    assert cell.unseal(bytes(raw)) is None


@given(even, payloads, payloads, st.data())
def test_a_mixture_of_two_writings_is_found(
    sequence: int, old: bytes, new: bytes, data: st.DataObject
) -> None:
    """The beginning of a newer payload and the end of an older one, at any border: nothing is read."""
    size = min(len(old), len(new))
    before, after = sealed(sequence, old[:size]), sealed(sequence + 2, new[:size])
    border = data.draw(st.integers(1, len(before) - 1))
    mixed = after[:border] + before[border:]
    if mixed not in {before, after}:
        whole = mixed[:12] + bytes(4) + mixed[16:] in {before, after}
        assert cell.unseal(mixed) is None or whole


def test_odd_and_never_written_are_nothing() -> None:
    """While it is being written, and before it ever was, a cell holds nothing."""
    assert cell.unseal(sealed(3, b"x")) is None
    assert cell.unseal(bytes(30)) is None
    assert cell.unseal(sealed(0, b"x")) is None


def test_a_header_comes_back_and_a_short_one_is_refused() -> None:
    """Magic, version and cookie; 24 bytes."""
    header = cell.Header(b"EMCLOCK\n", 1, 2**63 + 5)
    assert len(header.pack()) == 24
    assert cell.Header.unpack(header.pack()) == header
    with pytest.raises(WireError) as refused:
        cell.Header.unpack(header.pack()[:-1])
    assert refused.value.fault is WireFault.TRUNCATED

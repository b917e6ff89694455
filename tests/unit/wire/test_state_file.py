"""The header of a generation file, and the checksum of its areas."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.wire.fault import WireError, WireFault
from energymarket.wire.state_file import HEADER_BYTES, HEADER_STEP, Header, Shape, checksum

SHAPE = Shape(first=11, count=100, payload_bytes=10_000, identity=bytes(range(32)))


@given(st.integers(0, 1), st.integers(-1, 2**62), st.integers(0, 2**32 - 1), st.integers(0, 1))
def test_a_header_comes_back(generation: int, slot: int, checked: int, edition: int) -> None:
    """Generation, slot, checksum, edition and the shape; both fit into the header page."""
    header = Header(SHAPE, generation, slot, checked, edition)
    raw = header.pack()
    assert len(raw) == HEADER_BYTES <= HEADER_STEP
    assert Header.unpack(raw) == header


@given(st.integers(0, HEADER_BYTES - 1), st.integers(1, 255))
def test_a_changed_byte_is_found(at: int, change: int) -> None:
    """A torn header is refused."""
    raw = bytearray(Header(SHAPE, 0, 5, 6).pack())
    raw[at] ^= change
    with pytest.raises(WireError):
        Header.unpack(bytes(raw))


def test_each_wrong_thing_has_its_name() -> None:
    """Length, magic, checksum."""
    raw = Header(SHAPE, 1, 5, 6).pack()
    for broken, fault in (
        (raw[:-1], WireFault.TRUNCATED),
        (b"X" + raw[1:], WireFault.MAGIC),
        (raw[:20] + b"\xff" + raw[21:], WireFault.CHECKSUM),
    ):
        with pytest.raises(WireError) as refused:
            Header.unpack(broken)
        assert refused.value.fault is fault


def test_areas_are_whole_pages_behind_the_header_page() -> None:
    """10,000 bytes take three pages of 4,096: areas at 4,096 and 16,384, the file has 28,672 bytes."""
    assert (SHAPE.area_at(0), SHAPE.area_at(1), SHAPE.file_bytes) == (4_096, 16_384, 28_672)
    assert Shape(1, 1, 4_096, bytes(32)).area_bytes == 4_096


def test_the_checksum_is_crc32_over_sums_and_xors_of_pages() -> None:
    """Two pages, by hand: the first sums to 5 and xors to 1 (2 and 3), the second to 2**64 - 1 both."""
    area = np.zeros(1_024, np.uint64)
    area[:2] = (2, 3)
    area[700] = 2**64 - 1
    sums = (5).to_bytes(8, "little") + b"\xff" * 8
    xors = (1).to_bytes(8, "little") + b"\xff" * 8
    assert checksum(memoryview(area.tobytes())) == zlib.crc32(sums + xors)


@given(st.binary(min_size=8, max_size=8), st.integers(0, 4_095), st.integers(1, 255))
def test_any_changed_byte_changes_the_checksum(word: bytes, at: int, change: int) -> None:
    """A flipped byte shows in the sum and in the exclusive-or."""
    page = word * 512
    changed = bytearray(page)
    changed[at] ^= change
    assert checksum(memoryview(bytes(changed))) != checksum(memoryview(page))

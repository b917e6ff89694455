"""Frames as bytes: what is packed comes back, however the bytes are torn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_bus.errors import ProtocolError
from event_bus.limits import TYPES_KNOWN_MAX
from event_bus.protocol.frames import HEADER, Frame, Kind, Reassembly, only, pack, unpack

WHOLE = st.integers(0, (1 << 64) - 1)
FRAMES = st.builds(
    Frame,
    kind=st.sampled_from([int(kind) for kind in Kind]),
    number=WHOLE,
    stamp=WHOLE,
    call=WHOLE,
    type=st.text(max_size=12),
    payload=st.binary(max_size=60),
    sender=st.integers(0, (1 << 16) - 1),
)


def packed(frame: Frame) -> bytes:
    return pack(*frame)


def test_a_frame_is_the_bytes_that_its_table_says() -> None:
    """By hand: length of what follows, kind, bytes of the type, sender; three numbers of eight bytes."""
    data = pack(Kind.MESSAGE, 2, 3, 4, "tö", b"abc", 5)
    head = bytes([6, 0, 0, 0, 1, 3, 5, 0])  # "tö" is three bytes of UTF-8
    assert data == head + b"".join(n.to_bytes(8, "little") for n in (2, 3, 4)) + b"t\xc3\xb6abc"
    assert HEADER.size == 32


@given(st.lists(FRAMES, max_size=6), st.data())
def test_frames_come_back_however_they_are_torn(frames: list[Frame], data: st.DataObject) -> None:
    """Cut anywhere, in pieces of any size: the same frames in the same order, each as soon as it is whole."""
    stream = b"".join(map(packed, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    ends = [sum(len(packed(each)) for each in frames[: n + 1]) for n in range(len(frames))]
    reassembly, found = Reassembly(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reassembly.add(stream[start:end])
        whole = sum(at <= end for at in ends)
        assert found == frames[:whole]
        assert reassembly.torn_bytes == end - (ends[whole - 1] if whole else 0)


@given(st.lists(FRAMES, max_size=3))
def test_frames_come_back_byte_by_byte(frames: list[Frame]) -> None:
    """Torn at every byte at once."""
    reassembly, found = Reassembly(), []
    for byte in b"".join(map(packed, frames)):
        found += reassembly.add(bytes([byte]))
    assert found == frames
    assert reassembly.torn_bytes == 0


def test_more_types_than_are_remembered_come_back() -> None:
    """The names of types are kept for next time, so many and no more; the others are read each time."""
    frames = [
        Frame(1, n, 0, 0, f"type {n % (TYPES_KNOWN_MAX + 3)}", b"", 0) for n in range(3 * TYPES_KNOWN_MAX)
    ]
    reassembly = Reassembly()
    assert reassembly.add(b"".join(map(packed, frames))) == frames
    assert len(reassembly._types) <= TYPES_KNOWN_MAX + 1


def test_what_is_no_whole_frame_is_refused() -> None:
    """Where one frame is expected, it is one, and nothing is left over."""
    frame = Frame(1, 1, 1, 0, "t", b"x", 0)
    assert only(packed(frame)) == frame
    with pytest.raises(ProtocolError, match="33 bytes are no whole frame"):
        unpack(packed(frame)[:-1])
    with pytest.raises(ProtocolError, match="2 frames where one"):
        only(packed(frame) * 2)

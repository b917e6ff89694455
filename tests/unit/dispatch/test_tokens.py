"""Tokens in a pipe: whole ones are found whatever lies between them, and nothing else is taken for one."""

from __future__ import annotations

import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st

from energymarket.dispatch.tokens import FRAME_BYTES, Kind, Token, TokenReader

TOKENS = st.builds(Token, st.sampled_from(Kind), st.integers(0, 2**64 - 1))


def frame(token: Token) -> bytes:
    """A frame as the module's docstring has it, written by hand."""
    body = b"\xe9\x7a" + bytes([token.kind, 0]) + struct.pack("<Q", token.number)
    return body + struct.pack("<I", zlib.crc32(body))


@given(st.lists(TOKENS, max_size=8), st.data())
def test_tokens_come_whole_however_the_pipe_cuts_them(tokens: list[Token], data: st.DataObject) -> None:
    """A stream of frames gives its tokens in order, in whatever pieces it is read."""
    assert [token.pack() for token in tokens] == [frame(token) for token in tokens]
    stream = b"".join(frame(token) for token in tokens)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    reader = TokenReader()
    pieces = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    assert [token for begin, end in pieces for token in reader.feed(stream[begin:end])] == tokens
    assert reader.skipped_bytes == 0


@given(st.lists(TOKENS | st.binary(max_size=40), max_size=8))
def test_garbage_between_tokens_costs_no_token(parts: list[Token | bytes]) -> None:
    """Every whole frame is found, however it is surrounded; torn and random bytes are none and are counted.

    A garbage that ends within a mark can join with what follows only by a CRC of 32 bits.
    """
    stream = b"".join(frame(part) if isinstance(part, Token) else part for part in parts)
    reader = TokenReader()
    found = reader.feed(stream + frame(Token(Kind.PING)))
    assert found == [*(part for part in parts if isinstance(part, Token)), Token(Kind.PING)]
    assert reader.skipped_bytes == sum(len(part) for part in parts if isinstance(part, bytes))


@given(TOKENS, st.integers(0, FRAME_BYTES - 1), st.integers(1, 255))
def test_a_damaged_frame_is_no_token(token: Token, place: int, change: int) -> None:
    """One byte changed anywhere, and it is dropped; the next one is found."""
    raw = bytearray(frame(token))
    raw[place] ^= change
    assert TokenReader().feed(bytes(raw) + frame(Token(Kind.PONG, 1))) == [Token(Kind.PONG, 1)]

"""A generation file cut into files of parts of its homes: all of it or nothing, wherever it is killed.

The pieces are written whole and durable under names that nobody reads; then they get their names, and then
the file that was cut is removed. Until it is gone it alone counts: a piece beside it is worth nothing, and
the cut may be done again, also into other pieces.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from energymarket.core.sparse import part_of_payload
from energymarket.transport.generation import GenerationError, GenerationFault, headers_of, sync_directory
from energymarket.wire.state_file import HEADER_STEP, NO_SLOT, Header, Shape, checksum

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DRAFT: Final = ".cut"
"""What the name of a piece ends with until all pieces are there; nobody reads such a file."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A contiguous part of the homes, and the file that is to have it."""

    path: Path
    first: int
    count: int


def cut(path: Path, descriptor: int, pieces: Sequence[Piece]) -> None:
    """Cut the file that the caller has locked (`generation.held`) into pieces that cover it, in order.

    Slots and editions are kept, checksums are made anew. A generation that is damaged is so in its pieces
    too: one whose header is torn, or whose payload does not match its checksum. Raises GenerationError, or
    OSError for what the disk refuses; the file is as it was then.
    """
    headers = headers_of(descriptor)
    shape = _shape_of(path, descriptor, headers)
    if [piece.first for piece in pieces] != _edges(shape, pieces):
        raise ValueError(f"{pieces} do not cover the homes of {path}")
    drafts = [piece.path.with_name(piece.path.name + DRAFT) for piece in pieces]
    try:
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as whole:
            for piece, draft in zip(pieces, drafts, strict=True):
                _write(draft, piece, _parts(piece, whole, shape, headers), shape)
        for piece, draft in zip(pieces, drafts, strict=True):
            draft.replace(piece.path)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
    sync_directory(path.parent)
    path.unlink()
    sync_directory(path.parent)


def _edges(shape: Shape, pieces: Sequence[Piece]) -> list[int]:
    """Where the pieces would have to begin so that they cover the homes; never, if their sum is another."""
    edges = [shape.first]
    for piece in pieces:
        edges.append(edges[-1] + max(1, piece.count))
    return edges[:-1] if edges[-1] == shape.first + shape.count else []


def _shape_of(path: Path, descriptor: int, headers: Sequence[Header | None]) -> Shape:
    found = {header.shape for header in headers if header is not None}
    if len(found) != 1:
        raise GenerationError(
            GenerationFault.CORRUPT, f"{path}: not a state file, or both headers are torn; move it away"
        )
    shape = found.pop()
    if os.fstat(descriptor).st_size != shape.file_bytes:
        raise GenerationError(
            GenerationFault.SHAPE, f"{path}: {shape.payload_bytes} bytes for {shape.count} homes"
        )
    return shape


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece's part of a generation."""

    header: Header  # of the whole
    payload: bytes  # empty: nothing that could be cut
    wrong: int = 0  # by what the checksum of the whole is off: 0 if it is sound


def _parts(
    piece: Piece, whole: memoryview, shape: Shape, headers: Sequence[Header | None]
) -> list[_Part | None]:
    """What a piece gets of each generation; None where the header is torn. Raises GenerationError."""
    parts: list[_Part | None] = []
    for generation, header in enumerate(headers):
        if header is None or header.slot == NO_SLOT:
            parts.append(None if header is None else _Part(header, b""))
            continue
        at, start = shape.area_at(generation), piece.first - shape.first
        area = whole[at : at + shape.area_bytes]
        wrong = checksum(area) ^ header.checksum
        payload, stop = area[: shape.payload_bytes], start + piece.count
        try:
            cut_out = part_of_payload(payload, shape.count, start, stop, shape.block_homes)
        except ValueError as error:
            if not wrong:
                text = f"homes {shape.first} to {shape.first + shape.count - 1}: {error}"
                raise GenerationError(GenerationFault.SHAPE, text) from error
            cut_out = b""
        parts.append(_Part(header, cut_out, wrong))
    return parts


def _write(draft: Path, piece: Piece, parts: Sequence[_Part | None], shape: Shape) -> None:
    """One piece with both generations, durable under its draft's name."""
    sizes = {bool(part.wrong): len(part.payload) for part in parts if part is not None and part.payload}
    size = sizes.get(False, sizes.get(True))  # who has what is alike in both: a sound one knows
    if size is None:
        raise GenerationError(GenerationFault.CORRUPT, f"{draft}: no state that could be cut; move it away")
    ours = Shape(piece.first, piece.count, size, shape.identity, shape.version)
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        # Every block is there from now on, as in a file that is made new.
        os.posix_fallocate(descriptor, 0, ours.file_bytes)
        for generation, part in enumerate(parts):
            if part is None:
                continue  # zeros are no header
            header = part.header
            fresh = Header(ours, generation, NO_SLOT, 0)
            if header.slot != NO_SLOT:
                area = bytearray(ours.area_bytes)
                if len(part.payload) == size:
                    area[:size] = part.payload
                # One that is damaged must not match in its piece either.
                sums = checksum(memoryview(area)) ^ part.wrong
                fresh = Header(ours, generation, header.slot, sums, header.edition)
                _put(descriptor, memoryview(area), ours.area_at(generation))
            _put(descriptor, memoryview(fresh.pack()), generation * HEADER_STEP)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put(descriptor: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written

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


def cut(path: Path, descriptor: int, pieces: Sequence[Piece], widths: Sequence[int]) -> None:
    """Cut the file that the caller has locked (`generation.held`) into pieces that cover it, in order.

    Its payload has columns back to back; `widths` are the bytes of a home in each. Slots and editions are
    kept, checksums are made anew. A generation that is damaged is so in its pieces too: one whose header
    is torn, or whose payload does not match its checksum. Raises GenerationError, or OSError for what the
    disk refuses; the file is as it was then.
    """
    headers = headers_of(descriptor)
    shape = _shape_of(path, descriptor, headers, widths)
    if [piece.first for piece in pieces] != _edges(shape, pieces):
        raise ValueError(f"{pieces} do not cover the homes of {path}")
    drafts = [piece.path.with_name(piece.path.name + DRAFT) for piece in pieces]
    try:
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as whole:
            for piece, draft in zip(pieces, drafts, strict=True):
                _write(draft, piece, whole, shape, headers, widths)
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


def _shape_of(path: Path, descriptor: int, headers: Sequence[Header | None], widths: Sequence[int]) -> Shape:
    found = {header.shape for header in headers if header is not None}
    if len(found) != 1:
        raise GenerationError(
            GenerationFault.CORRUPT, f"{path}: not a state file, or both headers are torn; move it away"
        )
    shape = found.pop()
    if os.fstat(descriptor).st_size != shape.file_bytes or shape.payload_bytes != shape.count * sum(widths):
        raise GenerationError(
            GenerationFault.SHAPE, f"{path}: {shape.payload_bytes} bytes for {shape.count} homes"
        )
    return shape


def _write(
    draft: Path,
    piece: Piece,
    whole: memoryview,
    shape: Shape,
    headers: Sequence[Header | None],
    widths: Sequence[int],
) -> None:
    """One piece with both generations, durable under its draft's name."""
    ours = Shape(piece.first, piece.count, piece.count * sum(widths), shape.identity)
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        # Every block is there from now on, as in a file that is made new.
        os.posix_fallocate(descriptor, 0, ours.file_bytes)
        for generation, header in enumerate(headers):
            if header is None:
                continue  # zeros are no header
            fresh = Header(ours, generation, NO_SLOT, 0)
            if header.slot != NO_SLOT:
                at = shape.area_at(generation)
                area = whole[at : at + shape.area_bytes]
                part = _part(area, shape, ours, widths)
                wrong = checksum(area) ^ header.checksum  # not 0: the piece must not match either
                fresh = Header(ours, generation, header.slot, checksum(part) ^ wrong, header.edition)
                _put(descriptor, part, ours.area_at(generation))
            _put(descriptor, memoryview(fresh.pack()), generation * HEADER_STEP)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _part(area: memoryview, shape: Shape, ours: Shape, widths: Sequence[int]) -> memoryview:
    """The payload of some of an area's homes, column by column, in whole pages."""
    part = bytearray(ours.area_bytes)
    source = target = 0
    for width in widths:
        start, size = source + (ours.first - shape.first) * width, ours.count * width
        part[target : target + size] = area[start : start + size]
        source += shape.count * width
        target += size
    return memoryview(part)


def _put(descriptor: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written

"""A batch and its receipt as bytes: a header, then one column after the other, then the claims.

    magic 4s, version u2, kind u2, first u4, count u4, claims u4, epoch u4, slot i8  (32 bytes)

Columns are those of `core.records`, `count` values each, back to back. Reading copies nothing: the
arrays are views of the buffer, which must not change while they live (a sealed memory file does not).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from energymarket.core.limits import CLAIMS_PER_HOME_MAX, HOMES_MAX
from energymarket.core.records import BATCH_COLUMNS, CLAIM, RECEIPT_COLUMNS
from energymarket.wire.fault import WireError, WireFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Buffer: TypeAlias = bytes | bytearray | memoryview
    Columns: TypeAlias = dict[str, npt.NDArray[Any]]
    Schema: TypeAlias = tuple[tuple[str, np.dtype[Any]], ...]

MAGIC: Final = b"EMBT"
VERSION: Final = 1
KIND_BATCH: Final = 1
KIND_RECEIPT: Final = 2
HEADER: Final = struct.Struct("<4sHHIIIIq")

CLAIMS_MAX: Final = CLAIMS_PER_HOME_MAX * HOMES_MAX


@dataclass(frozen=True, slots=True)
class Head:
    """Whose homes, and of which slot and epoch."""

    slot: int
    epoch: int
    first: int  # home id
    count: int  # homes
    claims: int = 0


def batch_bytes(count: int, claims: int) -> int:
    """How long a batch is."""
    return HEADER.size + _columns_bytes(BATCH_COLUMNS, count) + claims * CLAIM.itemsize


BATCH_BYTES_MAX: Final = (
    HEADER.size + sum(t.itemsize for _, t in BATCH_COLUMNS) * HOMES_MAX + (CLAIMS_MAX * CLAIM.itemsize)
)


def pack(
    columns: Mapping[str, npt.NDArray[Any]],
    claims: npt.NDArray[np.void],
    *,
    slot: int,
    epoch: int,
    first: int,
) -> bytearray:
    """A batch as bytes. ValueError if a column is missing, too long or does not fit: that is our bug."""
    return bytearray().join(parts(columns, claims, slot=slot, epoch=epoch, first=first))


def parts(
    columns: Mapping[str, npt.NDArray[Any]],
    claims: npt.NDArray[np.void],
    *,
    slot: int,
    epoch: int,
    first: int,
) -> list[Buffer]:
    """The same in parts that follow each other: views of the columns where they have the batch's width."""
    count = len(columns[BATCH_COLUMNS[0][0]])
    made = _parts(KIND_BATCH, Head(slot, epoch, first, count, len(claims)), BATCH_COLUMNS, columns)
    if len(claims):
        made.append(_bytes_of(np.ascontiguousarray(claims, CLAIM)))
    return made


def unpack(buffer: Buffer) -> tuple[Head, Columns, npt.NDArray[np.void]]:
    """Header, columns and claims of a batch, as views. Raises WireError."""
    head, columns, at = _unpack(KIND_BATCH, BATCH_COLUMNS, buffer, CLAIM.itemsize)
    return head, columns, np.frombuffer(buffer, CLAIM, head.claims, at)


def pack_receipt(columns: Mapping[str, npt.NDArray[Any]], *, slot: int, epoch: int, first: int) -> bytearray:
    """A receipt as bytes. ValueError as with `pack`."""
    return bytearray().join(receipt_parts(columns, slot=slot, epoch=epoch, first=first))


def receipt_parts(
    columns: Mapping[str, npt.NDArray[Any]], *, slot: int, epoch: int, first: int
) -> list[Buffer]:
    """The same in parts, as `parts`."""
    head = Head(slot, epoch, first, len(columns[RECEIPT_COLUMNS[0][0]]))
    return _parts(KIND_RECEIPT, head, RECEIPT_COLUMNS, columns)


def unpack_receipt(buffer: Buffer) -> tuple[Head, Columns]:
    """Header and columns of a receipt, as views. Raises WireError."""
    head, columns, _ = _unpack(KIND_RECEIPT, RECEIPT_COLUMNS, buffer, 0)
    return head, columns


def _columns_bytes(schema: Schema, count: int) -> int:
    return count * sum(dtype.itemsize for _, dtype in schema)


def _parts(kind: int, head: Head, schema: Schema, columns: Mapping[str, npt.NDArray[Any]]) -> list[Buffer]:
    _check_range(head)
    made: list[Buffer] = [
        HEADER.pack(MAGIC, VERSION, kind, head.first, head.count, head.claims, head.epoch, head.slot)
    ]
    for name, dtype in schema:
        column = columns[name]
        if column.shape != (head.count,):
            raise ValueError(f"column {name} has shape {column.shape}, not {(head.count,)}")
        fitted = np.ascontiguousarray(column.astype(dtype, casting="same_kind", copy=False))
        if column.dtype.itemsize > dtype.itemsize and not np.array_equal(fitted, column):
            raise ValueError(f"column {name} does not fit {dtype}")
        made.append(_bytes_of(fitted))
    return made


def _bytes_of(column: npt.NDArray[Any]) -> memoryview:
    return column.view(np.uint8).data


def _unpack(kind: int, schema: Schema, buffer: Buffer, claim_bytes: int) -> tuple[Head, Columns, int]:
    head = _head(kind, buffer)
    expected = HEADER.size + _columns_bytes(schema, head.count) + head.claims * claim_bytes
    length = len(buffer)
    if length != expected:
        fault = WireFault.TRUNCATED if length < expected else WireFault.TRAILING
        raise WireError(fault, f"{head.count} homes and {head.claims} claims: {expected} bytes, not {length}")
    columns: Columns = {}
    at = HEADER.size
    for name, dtype in schema:
        columns[name] = np.frombuffer(buffer, dtype, head.count, at)
        at += columns[name].nbytes
    return head, columns, at


def _head(kind: int, buffer: Buffer) -> Head:
    if len(buffer) < HEADER.size:
        raise WireError(WireFault.TRUNCATED, f"{len(buffer)} bytes are no header")
    magic, version, found_kind, first, count, claims, epoch, slot = HEADER.unpack_from(buffer)
    if magic != MAGIC:
        raise WireError(WireFault.MAGIC, f"{magic!r} is no batch")
    if version != VERSION:
        raise WireError(WireFault.VERSION, f"layout {version}, we read {VERSION}")
    if found_kind != kind:
        raise WireError(WireFault.KIND, f"kind {found_kind} where {kind} belongs")
    head = Head(slot, epoch, first, count, claims)
    try:
        _check_range(head)
    except ValueError as error:
        raise WireError(WireFault.RANGE, str(error)) from error
    return head


def _check_range(head: Head) -> None:
    if not 1 <= head.count <= HOMES_MAX:
        raise ValueError(f"{head.count} homes; a batch has 1 to {HOMES_MAX}")
    if not 1 <= head.first <= HOMES_MAX - head.count + 1:
        raise ValueError(f"homes {head.first} to {head.first + head.count - 1}; ids are 1 to {HOMES_MAX}")
    if head.claims > CLAIMS_MAX:
        raise ValueError(f"{head.claims} claims; a batch has at most {CLAIMS_MAX}")
    if head.slot < 0:
        raise ValueError(f"slot {head.slot} is before 1970")

"""A batch and its receipt as bytes: a header, then one column after the other, then the claims.

Columns are those of `core.records`, `count` values each, in the order that is given there. Each has a width
of its own, 0, 1, 2, 4 or 8 bytes a value, at most that of its type; 0: nothing but zeros. The widths stand in
the header. Each column is filled up with zeros to a multiple of 8 bytes.

The registers of a batch are whole (`since` is -1), or as growth: what has flowed since the reading of slot
`since`, the last one that the ledger has of all these homes. `registers` then is what all four registers of
all homes come to after the slot, added up modulo 2**64: who does not grow from the same reading is found out
and refused (RegistersUnknown), and hands in whole registers. In a whole batch, and in a receipt, it is 0.

Reading copies nothing: the arrays are views of the buffer, which must not change while they live (a sealed
memory file does not).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from energymarket.core.limits import CLAIMS_PER_HOME_MAX, HOMES_MAX
from energymarket.core.packed import WIDTHS, width_of
from energymarket.core.records import BATCH_COLUMNS, CLAIM, RECEIPT_COLUMNS
from energymarket.wire.fault import WireError, WireFault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Buffer: TypeAlias = bytes | bytearray | memoryview
    Columns: TypeAlias = dict[str, npt.NDArray[Any]]
    Schema: TypeAlias = tuple[tuple[str, np.dtype[Any]], ...]

MAGIC: Final = b"EMBT"
VERSION: Final = 2
KIND_BATCH: Final = 1
KIND_RECEIPT: Final = 2
HEADER: Final = struct.Struct("<4sHHIIIIqqQ16s")

CLAIMS_MAX: Final = CLAIMS_PER_HOME_MAX * HOMES_MAX
WHOLE: Final = -1
"""As `since`: the registers are whole."""

_FILLED_TO: Final = 8  # every column begins at a multiple of it


@dataclass(frozen=True, slots=True)
class Head:
    """Whose homes, of which slot and epoch, and what the registers are."""

    slot: int
    epoch: int
    first: int  # home id
    count: int  # homes
    claims: int = 0
    since: int = WHOLE  # slot of the reading that the registers grow from; -1: they are whole
    registers: int = 0  # of a batch that grows: what they come to, all together, modulo 2**64


def _filled(size: int) -> int:
    return -(-size // _FILLED_TO) * _FILLED_TO


BATCH_BYTES_MAX: Final = (
    HEADER.size
    + sum(t.itemsize * HOMES_MAX + _FILLED_TO for _, t in BATCH_COLUMNS)
    + (CLAIMS_MAX * CLAIM.itemsize)
)


def pack(
    columns: Mapping[str, npt.NDArray[Any]],
    claims: npt.NDArray[np.void],
    *,
    slot: int,
    epoch: int,
    first: int,
    since: int = WHOLE,
    registers: int = 0,
) -> bytearray:
    """A batch as bytes. ValueError if a column is missing, too long or does not fit: that is our bug."""
    words = {"slot": slot, "epoch": epoch, "first": first, "since": since, "registers": registers}
    return bytearray().join(parts(columns, (claims,), **words))


def parts(
    columns: Mapping[str, npt.NDArray[Any]],
    claims: Sequence[npt.NDArray[np.void]],
    *,
    slot: int,
    epoch: int,
    first: int,
    since: int = WHOLE,
    registers: int = 0,
) -> list[Buffer]:
    """The same in parts that follow each other: views of the columns that are as narrow as they can be.

    Claims may come in pieces.
    """
    count = len(columns[BATCH_COLUMNS[0][0]])
    head = Head(slot, epoch, first, count, sum(len(piece) for piece in claims), since, registers)
    made = _parts(KIND_BATCH, head, BATCH_COLUMNS, columns)
    made.extend(_bytes_of(np.ascontiguousarray(piece, CLAIM)) for piece in claims if len(piece))
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


def _parts(kind: int, head: Head, schema: Schema, columns: Mapping[str, npt.NDArray[Any]]) -> list[Buffer]:
    _check_range(head)
    widths = bytearray(16)
    made: list[Buffer] = []
    for number, (name, dtype) in enumerate(schema):
        column = columns[name]
        if column.shape != (head.count,):
            raise ValueError(f"column {name} has shape {column.shape}, not {(head.count,)}")
        width = _width(column, dtype, name)
        widths[number] = width
        if width:
            data = _bytes_of(np.ascontiguousarray(column, f"<{dtype.kind}{width}"))
            made.append(data)
            made.append(bytes(_filled(len(data)) - len(data)))
    fields = (head.first, head.count, head.claims, head.epoch, head.slot, head.since, head.registers)
    return [HEADER.pack(MAGIC, VERSION, kind, *fields, bytes(widths)), *made]


def _width(column: npt.NDArray[Any], dtype: np.dtype[Any], name: str) -> int:
    """How wide a column is written. ValueError if its type cannot hold it."""
    if column.dtype.kind != dtype.kind:
        raise ValueError(f"column {name} is of {column.dtype}, not of {dtype}")
    width = width_of(column) if dtype.kind == "i" else column.itemsize
    if width > dtype.itemsize:
        raise ValueError(f"column {name} does not fit {dtype}")
    return width


def _bytes_of(column: npt.NDArray[Any]) -> memoryview:
    return column.view(np.uint8).data


def _unpack(kind: int, schema: Schema, buffer: Buffer, claim_bytes: int) -> tuple[Head, Columns, int]:
    head, widths = _head(kind, buffer)
    for (name, dtype), width in zip(schema, widths, strict=False):
        if width not in WIDTHS or width > dtype.itemsize:
            raise WireError(WireFault.RANGE, f"{name}: {width} bytes a value")
    at, length = HEADER.size, len(buffer)
    expected = at + sum(_filled(width * head.count) for width in widths[: len(schema)])
    expected += head.claims * claim_bytes
    if length != expected:
        fault = WireFault.TRUNCATED if length < expected else WireFault.TRAILING
        raise WireError(fault, f"{head.count} homes and {head.claims} claims: {expected} bytes, not {length}")
    columns: Columns = {}
    for (name, dtype), width in zip(schema, widths, strict=False):
        if width:
            columns[name] = np.frombuffer(buffer, f"<{dtype.kind}{width}", head.count, at)
        else:
            columns[name] = np.broadcast_to(np.zeros((), f"{dtype.kind}1"), head.count)
        at += _filled(width * head.count)
    return head, columns, at


def _head(kind: int, buffer: Buffer) -> tuple[Head, bytes]:
    if len(buffer) < HEADER.size:
        raise WireError(WireFault.TRUNCATED, f"{len(buffer)} bytes are no header")
    magic, version, found_kind, first, count, claims, epoch, slot, since, registers, widths = (
        HEADER.unpack_from(buffer)
    )
    if magic != MAGIC:
        raise WireError(WireFault.MAGIC, f"{magic!r} is no batch")
    if version != VERSION:
        raise WireError(WireFault.VERSION, f"layout {version}, we read {VERSION}")
    if found_kind != kind:
        raise WireError(WireFault.KIND, f"kind {found_kind} where {kind} belongs")
    head = Head(slot, epoch, first, count, claims, since, registers)
    try:
        _check_range(head)
    except ValueError as error:
        raise WireError(WireFault.RANGE, str(error)) from error
    return head, widths


def _check_range(head: Head) -> None:
    if not 1 <= head.count <= HOMES_MAX:
        raise ValueError(f"{head.count} homes; a batch has 1 to {HOMES_MAX}")
    if not 1 <= head.first <= HOMES_MAX - head.count + 1:
        raise ValueError(f"homes {head.first} to {head.first + head.count - 1}; ids are 1 to {HOMES_MAX}")
    if head.claims > CLAIMS_MAX:
        raise ValueError(f"{head.claims} claims; a batch has at most {CLAIMS_MAX}")
    if head.slot < 0:
        raise ValueError(f"slot {head.slot} is before 1970")
    if head.since != WHOLE and not 0 <= head.since < head.slot:
        raise ValueError(f"registers of slot {head.slot} grow since slot {head.since}")

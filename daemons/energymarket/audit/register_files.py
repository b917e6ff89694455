"""The registers that homes keep for themselves: state files, read while their owners may be writing."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

import numpy as np

from energymarket.audit.findings import Findings, Kind
from energymarket.core.limits import HOMES_MAX
from energymarket.core.sparse import state_in
from energymarket.core.state import STATE_COLUMNS, Layout, State
from energymarket.wire.fault import WireError
from energymarket.wire.state_file import (
    HEADER_BYTES,
    HEADER_STEP,
    NO_SLOT,
    PAGE_BYTES,
    Header,
    checksum,
)

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.core.units import I64

READS_MAX: Final = 5
"""A generation that changes while it is read is read again; a home writes it once per slot."""

OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""The homes' user may put anything there: no link is followed, and no pipe is waited at."""

PATTERNS: Final = ("shard-*.state", "home-*.state")

Generation: TypeAlias = tuple[Header, State | None] | str
"""Header and state (None while it is written), or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Registers:
    """The state of a range of homes at the end of a slot."""

    path: Path
    first: int  # home id
    slot: int
    settled: bool  # the receipt of the slot is in the registers of gifts
    state: State

    @property
    def home(self) -> I64:
        """Ids of the homes."""
        return np.arange(self.first, self.first + self.state.count, dtype=np.int64)


def read_all(directory: Path, findings: Findings, scenario_hash: str | None) -> list[Registers]:
    """Every generation of every state file, the older of a file first.

    A file whose homes part is cut into others and then goes: where one has gone meanwhile, the others are
    looked for. For a moment both are there and say the same.
    """
    found: dict[Path, list[Registers]] = {}
    for _ in range(READS_MAX):
        listed = [path for pattern in PATTERNS for path in sorted(directory.glob(pattern))]
        gone = False
        for path in listed:
            if path not in found:
                read = _read(path, findings, scenario_hash)
                if read is None:
                    gone = True
                else:
                    found[path] = read
        if not gone:
            break
    return [registers for read in found.values() for registers in read]


def _read(path: Path, findings: Findings, scenario_hash: str | None) -> list[Registers] | None:
    """The generations of a file; None if it has gone."""
    generations: list[Generation] = []
    for _ in range(READS_MAX):
        try:
            data = data_of(path)
        except FileNotFoundError:
            return None  # moved away between listing and reading
        generations = [data] if isinstance(data, str) else [generation_of(data, at) for at in (0, 1)]
        if not any(isinstance(each, str) for each in generations):
            break
    for each in generations:
        if isinstance(each, str):
            findings.add(Kind.REGISTERS_DAMAGED, f"{path.name}: {each}")
    good = [each for each in generations if isinstance(each, tuple)]
    if scenario_hash is not None:
        for header, _ in good[:1]:
            findings.same(
                Kind.REGISTERS_FOREIGN,
                f"{path.name} is of another scenario",
                scenario_hash,
                header.shape.identity.hex(),
                slot=None,
                account="identity",
            )
    held = sorted(
        (each for each in good if each[0].slot != NO_SLOT), key=lambda each: (each[0].slot, each[0].edition)
    )
    return [
        Registers(path, header.shape.first, header.slot, bool(header.edition), state)
        for header, state in held
        if state is not None
    ]


def data_of(path: Path) -> bytes | str:
    """A whole state file, or why it is none. Raises FileNotFoundError.

    As much is read as its headers say that it has, and nothing unless it has exactly that.
    """
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:  # a link, a socket, not ours to read
        return f"it cannot be opened as a file: {error.strerror}"
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return "it is no regular file"
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return _whole(file, found.st_size)
    finally:
        os.close(descriptor)


def _whole(file: BinaryIO, size: int) -> bytes | str:
    head = file.read(PAGE_BYTES)
    sizes = [said for number in (0, 1) if (said := _size_said(head, number)) is not None]
    if not sizes:
        return head  # whose headers are damaged, which is told of each
    if size not in sizes:
        return f"it has {size} bytes, not {sizes[0]}"
    return head + file.read(size - len(head))


def _size_said(head: bytes, number: int) -> int | None:
    """Bytes of the file by one of its headers, if that is one of homes that there can be."""
    at = number * HEADER_STEP
    try:
        shape = Header.unpack(head[at : at + HEADER_BYTES]).shape
    except WireError:
        return None
    possible = shape.payload_bytes <= Layout.WIDE.size_bytes(shape.count) + PAGE_BYTES
    if shape.block_homes is None:
        possible = Layout.of(shape.count, shape.payload_bytes) is not None
    return shape.file_bytes if shape.count <= HOMES_MAX and possible else None


def generation_of(data: bytes, number: int) -> Generation:
    """Header and state of a generation, or what is wrong with it."""
    at = number * HEADER_STEP
    try:
        header = Header.unpack(data[at : at + HEADER_BYTES])
    except WireError as error:
        return f"generation {number}: {error}"
    shape = header.shape
    if len(data) != shape.file_bytes:
        return f"generation {number}: {len(data)} bytes, not {shape.file_bytes} for {shape.count} homes"
    if header.slot == NO_SLOT:
        return header, None
    area = memoryview(data)[shape.area_at(number) : shape.area_at(number) + shape.area_bytes]
    if checksum(area) != header.checksum:
        return f"generation {number}: the state of slot {header.slot} does not match its checksum"
    try:
        return header, state_in(area[: shape.payload_bytes], shape.count, shape.block_homes)
    except ValueError as error:
        return f"generation {number}: no state of {shape.count} homes: {error}"


def columns_of(state: State) -> dict[str, I64]:
    """The whole numbers of a state, as int64."""
    names = [name for name, dtype in STATE_COLUMNS if dtype.kind == "i"]
    return {name: state.column(name).astype(np.int64) for name in names}

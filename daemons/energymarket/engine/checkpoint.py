"""Checkpoints of a run: all that it goes on from, in one file, whole or not there.

A header line of JSON, then the parts, back to back: the homes' state, the accounts, the measures. The
file is durable before the ledger commits the slots up to it, and the ledger's last slot says which file
counts: a run that is killed in between goes on from the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from energymarket.exits import Exit, Failure
from energymarket.transport.generation import sync_directory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT: Final = 1
"""Raised whenever a reader of an older one would misread the file."""

_HEADER_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run after a slot."""

    slot: int
    facts: Mapping[str, Any]  # small things, as JSON
    parts: Mapping[str, bytes | memoryview]


Part: TypeAlias = "Sequence[bytes | memoryview]"
"""What is written one after the other; nothing that has all of it is made."""


def path_of(directory: Path, slot: int) -> Path:
    """Where the checkpoint of a slot lies."""
    return directory / f"checkpoint-{slot}"


def write(directory: Path, slot: int, facts: Mapping[str, Any], parts: Mapping[str, Part]) -> None:
    """Make the checkpoint of a slot durable. OSError if the disk refuses."""
    sizes = {name: sum(memoryview(each).nbytes for each in part) for name, part in parts.items()}
    header = {"format": FORMAT, "slot": slot, "facts": facts, "sizes": sizes, "sha256": _UNKNOWN}
    path = path_of(directory, slot)
    draft = path.with_suffix(".new")
    with draft.open("wb") as file, ThreadPoolExecutor(1) as beside:
        digest = beside.submit(_digest_of, parts)  # while the disk is written to
        file.write(json.dumps(header).encode() + b"\n")
        for each in chain.from_iterable(parts.values()):
            file.write(each)
        file.seek(0)
        file.write(json.dumps(header | {"sha256": digest.result()}).encode())
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_directory(directory)


def _digest_of(parts: Mapping[str, Part]) -> str:
    digest = hashlib.sha256()
    for each in chain.from_iterable(parts.values()):
        digest.update(each)
    return digest.hexdigest()


_UNKNOWN: Final = "0" * 64
"""What stands for a digest until it is known: as long as it."""


def read(directory: Path, slot: int) -> Checkpoint:
    """The checkpoint of a slot. Failure says why it cannot be had."""
    path = path_of(directory, slot)
    hint = "without --resume the run begins anew"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise Failure(f"{path} is gone, though the ledger counts on it", hint, Exit.IO_ERROR) from None
    line, _, body = data[:_HEADER_BYTES_MAX].partition(b"\n")
    try:
        header = json.loads(line)
        known, sizes = header["format"], dict(header["sizes"])
        digest, facts = header["sha256"], header["facts"]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} is no checkpoint: {error!r}", hint, Exit.IO_ERROR) from error
    if known != FORMAT:
        what = f"{path} is of another version (format {known}, this program writes {FORMAT})"
        raise Failure(what, hint, Exit.CONFIGURATION)
    del body
    rest = memoryview(data)[len(line) + 1 :]
    if rest.nbytes != sum(sizes.values()) or hashlib.sha256(rest).hexdigest() != digest:
        raise Failure(f"{path} is damaged: its checksum does not hold", hint, Exit.IO_ERROR)
    parts, at = {}, 0
    for name, size in sizes.items():
        parts[name] = rest[at : at + size]
        at += size
    return Checkpoint(slot, facts, parts)


def keep_only(directory: Path, slot: int) -> None:
    """Remove every checkpoint but that of a slot; NO_SLOT removes all."""
    kept = path_of(directory, slot).name
    for path in directory.glob("checkpoint-*"):
        if path.name != kept:
            path.unlink()

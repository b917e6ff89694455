"""The manifest of a backup: what is in it, of which moment, made by which version; sealed by its own hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec

from energymarket.exits import Exit, Failure
from energymarket.scenario.compiled import canonical

FORMAT: Final = 1
"""Raised whenever a reader of an older one would misread a backup."""

BYTES_MAX: Final = 16 << 20
"""A shard or single home takes 200 bytes in it: a hundred thousand of them, and room."""

MANIFEST: Final = "manifest.json"
CONFIGURATION: Final = "configuration.toml"
SCENARIO: Final = "scenario"
MARKET: Final = "market"
HOMES: Final = "homes"
LEDGER: Final = f"{MARKET}/ledger.db"


class BackupDamaged(Failure):
    """A backup that is not what was written: where, and what differs. Nothing makes this one good again."""

    code = Exit.IO_ERROR

    def __init__(self, message: str) -> None:
        super().__init__(message, "nothing was changed; take another backup")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the backup."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Range:
    """The registers of homes that share a file, at the end of the last slot that the ledger has of them."""

    file: str
    first: int  # home id
    count: int
    slot: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself; every field is checked before anything of it is used."""

    product_version: str
    made: str  # RFC 3339, UTC
    ledger_schema: int
    scenario_hash: str
    scenario_name: str
    compiled_name: str  # of the directory in which the scenario lay compiled
    homes: int
    first_slot: int
    last_slot: int
    chain_hash: str  # of the last slot
    ranges: tuple[Range, ...]
    members: tuple[Member, ...]  # in the order of the file

    def pack(self) -> bytes:
        """As it stands in the backup."""
        document: dict[str, Any] = {"format": FORMAT, **asdict(self)}
        document["sha256"] = _seal(document)
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    @property
    def seal(self) -> str:
        """The name of exactly this backup."""
        return _seal({"format": FORMAT, **asdict(self)})


def unpack(data: bytes, where: str) -> Manifest:
    """Read a manifest. Raises BackupDamaged, and Failure for a format that is newer than this program."""
    try:
        document = json.loads(data)
        sealed, found = document.pop("sha256"), document["format"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupDamaged(f"{where}: its manifest cannot be read: {error!r}") from error
    if sealed != _seal(document):
        raise BackupDamaged(f"{where}: its manifest does not agree with its hash")
    if not isinstance(found, int) or found > FORMAT:
        maker = document.get("product_version")
        raise Failure(
            f"{where}: a backup of format {found}, made by version {maker}; this program reads {FORMAT}",
            "restore it with the version that made it",
        )
    try:
        return msgspec.convert({name: document.get(name) for name in Manifest.__dataclass_fields__}, Manifest)
    except msgspec.ValidationError as error:
        raise BackupDamaged(f"{where}: its manifest is incomplete: {error}") from error


def _seal(document: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(document)).hexdigest()

"""A compiled scenario on its way to another machine: its JSON, its arrays, and the hashes that prove both.

Machines of a cluster need not see the files of the one that a run was begun on. So the scenario travels as
bytes, once per machine, and whoever unpacks it checks it against the hash that the ledger begins with.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import energymarket
from energymarket.scenario.compiled import carried, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from energymarket.scenario.compiled import Compiled


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a machine needs to play homes of a scenario."""

    program: str  # see `program_hash`
    scenario_hash: str
    head: bytes  # the scenario's JSON
    arrays: Mapping[str, npt.NDArray[Any]]

    def unpack(self) -> Compiled:
        """The scenario, without files. CompiledError if it is not the one that was sent."""
        return unpacked(self.head, self.arrays, self.scenario_hash)


def packed(compiled: Compiled) -> Parcel:
    """A scenario, ready to travel. CompiledError if its files were changed since they were compiled."""
    head, arrays = carried(compiled)
    return Parcel(program_hash(), compiled.hash, head, arrays)


@cache
def program_hash() -> str:
    """SHA-256 over the package's own sources: equal where homes are played by the same program.

    A version does not say it: between two releases there are many programs.
    """
    root = Path(energymarket.__file__).parent
    digest = hashlib.sha256()
    for part in ("core", "engine", "scenario", "wire"):
        for path in sorted((root / part).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()

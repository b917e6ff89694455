"""Where compiled scenarios lie, and under which name: found again without the libraries of the field."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from energymarket.scenario.schema import Scenario

COMPILER: Final = 5
"""Raised whenever the compiler would make other arrays of the same file: older ones are made anew."""

NAME_HEX: Final = 32  # 128 bits of the hash: as a name, enough
NAME: Final = re.compile(rf"[0-9a-f]{{{NAME_HEX}}}")
"""What the directory of a compiled scenario is called."""
_CHUNK_BYTES: Final = 1 << 20


def cache_directory() -> Path:
    """$XDG_CACHE_HOME/energy-market/compiled, or below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # Without a home the cache lasts until the machine is started again.
    home = Path(os.environ.get("HOME") or "/var/tmp")  # noqa: S108 - a directory of its own is made below
    root = Path(base) if base.startswith("/") else home / ".cache"
    return root / "energy-market" / "compiled"


def precompiled_directory() -> Path:
    """What an installed package carries compiled."""
    return Path(__file__).parent / "precompiled"


def source_hash(scenario: Scenario) -> str:
    """Name of a scenario's compiled directory: hash of its content, its data files and the compiler.

    The content is that after overrides. Where the file lies, its comments, and what it says of workers do not
    matter; a data file that is missing counts as empty (and the compiler will say so).
    """
    content = asdict(scenario)
    for name in ("path", "text", "dispatch", "broker", "meters"):
        del content[name]
    for home in content["homes"]:
        if home["meter"] is None:  # scenarios without metered homes keep their names
            del home["meter"]
    digest = hashlib.sha256(json.dumps([COMPILER, content], sort_keys=True, default=str).encode())
    for path in data_files(scenario):
        digest.update(f"\0{path.name}\0".encode())
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError:
            digest.update(b"\0")
    return digest.hexdigest()[:NAME_HEX]


def data_files(scenario: Scenario) -> Iterator[Path]:
    """The files that a scenario names, in a fixed order; of a directory, its tables."""
    loads = [home.load for home in scenario.homes] + [group.load for group in scenario.groups]
    names = [scenario.weather.file, scenario.tariff.file, scenario.grid.file]
    names += [scenario.data.file if scenario.data else None]
    names += [load.file for load in loads if load is not None]
    beside = Path(scenario.path).parent
    for name in sorted({name for name in names if name is not None}):
        path = beside / name
        if path.is_dir():
            yield from sorted(each for each in path.iterdir() if each.suffix in {".csv", ".json"})
        else:
            yield path


def locate(scenario: Scenario) -> Path | None:
    """The directory in which a scenario lies compiled, or None."""
    name = source_hash(scenario)
    for root in (cache_directory(), precompiled_directory()):
        if (root / name / "scenario.json").is_file():
            return root / name
    return None

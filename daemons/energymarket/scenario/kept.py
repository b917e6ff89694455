"""The compiled scenarios that this user and the package keep, found by their hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energymarket.scenario import cache, compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from energymarket.scenario.compiled import Compiled


def compiled_with(scenario_hash: str) -> Compiled | None:
    """The compiled scenario of this hash, where this user or the package has it."""
    return next((found for found in _naming(scenario_hash) if found.hash == scenario_hash), None)


def _naming(scenario_hash: str) -> Iterator[Compiled]:
    """Those whose JSON names the hash: a cache holds hundreds, and opening one opens all its arrays."""
    for root in (cache.cache_directory(), cache.precompiled_directory()):
        for path in sorted(root.glob(f"*/{compiled.JSON_NAME}")):
            try:
                if scenario_hash.encode() in path.read_bytes():
                    yield compiled.load(path.parent)
            except (compiled.CompiledError, OSError):
                continue  # of another version, or half removed: not the one that is looked for

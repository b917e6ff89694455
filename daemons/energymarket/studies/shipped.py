"""The studies that come with the program."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def names() -> tuple[str, ...]:
    """Their names."""
    return tuple(sorted(path.stem for path in _directory().glob("*.toml")))


def path_of(name: str) -> Path:
    """The file of one."""
    return _directory() / f"{name}.toml"


def _directory() -> Path:
    return Path(str(resources.files("energymarket.studies"))) / "examples"

"""Places that a backup comes from and goes to: compiled scenarios, room on the disk, owners."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energymarket.exits import ConfigError
from energymarket.scenario import compiled as compiling
from energymarket.scenario.kept import compiled_with

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.scenario.compiled import Compiled


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom something will belong to, and what others may do with it."""

    uid: int
    gid: int
    mode: int  # of directories; files are readable for whom these are open

    def take(self, path: Path) -> None:
        """Give a file, or a directory with what is in it, to its owner.

        Only root gives away; others own what they make.
        """
        for each in (path, *path.rglob("*")):
            if each.is_symlink():
                continue  # none of ours; what it leads to is not ours to give
            each.chmod(self.mode if each.is_dir() else self.mode & 0o666)
            if os.geteuid() == 0:
                os.chown(each, self.uid, self.gid, follow_symlinks=False)


def compiled_of(named: Path | None, scenario_hash: str) -> Compiled:
    """The compiled scenario of a ledger: the one that is named, or one of this user's cache. ConfigError."""
    if named is not None:
        try:
            compiled = compiling.load(named)
        except compiling.CompiledError as error:
            raise ConfigError(str(error)) from error
        if compiled.hash != scenario_hash:
            raise ConfigError(f"{named} is not the scenario of this ledger", "--compiled names the right one")
        return compiled
    found = compiled_with(scenario_hash)
    if found is not None:
        return found
    raise ConfigError(
        f"the ledger's scenario ({scenario_hash[:12]}…) does not lie compiled here", "--compiled DIR names it"
    )


def copy_durably(source: Path, target: Path) -> None:
    """Copy the files of a directory into a new one; all of it stays, also after a power cut."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, target / path.name)
        with (target / path.name).open("rb") as file:
            os.fsync(file.fileno())
    durable(target)


def room(directory: Path) -> int:
    """Bytes that are free where a directory lies."""
    return shutil.disk_usage(directory).free


def durable(directory: Path) -> None:
    """Whatever was made, renamed or removed in a directory stays so, also after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

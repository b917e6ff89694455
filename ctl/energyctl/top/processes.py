"""The processes of a suite in /proc: which they are, and what they use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from energyctl.up.proc import stat_field

PROC: Final = Path("/proc")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_SHARD: Final = re.compile(rb"--shard\x00(\d+):(\d+)\x00")
HOMES: Final = "homes"


class Use(NamedTuple):
    """What a process uses."""

    name: str
    pid: int
    start: str  # in ticks: with the id it names the process
    cpu_s: float  # since it began
    resident_bytes: int
    own_bytes: int  # of that: neither files nor what is shared

    @property
    def is_of_homes(self) -> bool:
        """Whether it is of the pool, or a home by itself."""
        return re.match(r"homes?\b", self.name) is not None


def of_suite(roots: Iterable[tuple[str, int]]) -> list[Use]:
    """The processes of these names and ids that run, each followed by its children."""
    found: list[Use] = []
    for name, pid in roots:
        use = use_of(name, pid)
        if use is None:
            continue
        found.append(use)
        children = [use_of(_name_of(child, name), child) for child in children_of(pid)]
        found += sorted((each for each in children if each is not None), key=_first_home)
    return found


def use_of(name: str, pid: int) -> Use | None:
    """What a process uses; None if it is gone."""
    start = stat_field(pid, 22)
    user, system = stat_field(pid, 14), stat_field(pid, 15)
    if start is None or user is None or system is None or stat_field(pid, 3) in {"Z", "X"}:
        return None
    resident, own = _memory(pid)
    return Use(name, pid, start, (int(user) + int(system)) / TICKS_PER_S, resident, own)


def children_of(pid: int) -> list[int]:
    """The ids of a process's children, whichever of its threads has made them."""
    found: list[int] = []
    try:
        for task in (PROC / str(pid) / "task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return found  # it has just ended
    return found


def _memory(pid: int) -> tuple[int, int]:
    """Resident bytes, and those of them that are the process's own."""
    try:
        text = (PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0, 0
    sizes = dict(re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB$", text, re.MULTILINE))
    return int(sizes.get("VmRSS", 0)) * 1024, int(sizes.get("RssAnon", 0)) * 1024


def _name_of(pid: int, parent: str) -> str:
    """What a child is called: a shard by its homes, else the name that it has taken."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes()
        taken = (PROC / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return parent
    shard = _SHARD.search(words)
    if shard is not None:
        first, count = int(shard[1]), int(shard[2])
        return f"{HOMES} {first}–{first + count - 1}"
    return f"{parent} {taken}" if taken.startswith("python") else taken


def _first_home(use: Use) -> tuple[int, str]:
    found = re.search(r" (\d+)–", use.name)
    return (int(found[1]) if found else 0, use.name)

"""Who runs here: the processes that up.json names, looked up in /proc. Light: every failing command may ask.

A process is known by its id, its start time and the boot: an id alone may be somebody else's by now.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

RECORD: Final = "up.json"
VERSION: Final = 1
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_START_TIME_FIELD: Final = 22


class Process(NamedTuple):
    """A recorded process."""

    name: str
    pid: int
    start_ticks: str
    role: str = ""

    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return stat_field(self.pid, _START_TIME_FIELD) == self.start_ticks and stat_field(
            self.pid, 3
        ) not in {"Z", "X"}

    def frozen(self) -> bool:
        """Whether it is stopped by a signal or a debugger."""
        return self.alive() and stat_field(self.pid, 3) in {"T", "t"}


class Record(NamedTuple):
    """What up.json says."""

    up: Process
    children: tuple[Process, ...]
    scenario: str
    compiled: str
    state: str
    ready: bool

    def document(self) -> dict[str, Any]:
        """The record as JSON keeps it."""
        return {
            "version": VERSION,
            "boot_id": boot_id(),
            "up": _process_document(self.up),
            "children": [_process_document(child) for child in self.children],
            "scenario": self.scenario,
            "compiled": self.compiled,
            "state": self.state,
            "ready": self.ready,
        }


def boot_id() -> str:
    """The kernel's name for this boot."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def process(name: str, pid: int, role: str = "") -> Process:
    """A process of ours, to be recorded while it cannot vanish unnoticed."""
    return Process(name, pid, stat_field(pid, _START_TIME_FIELD) or "", role)


def read(run: Path) -> Record | None:
    """What up.json says; None when there is none, or one of another boot or version."""
    try:
        data = json.loads((run / RECORD).read_text(encoding="utf-8"))
        if data["version"] != VERSION or data["boot_id"] != boot_id():
            return None
        children = tuple(_process(child) for child in data["children"])
        return Record(
            _process(data["up"]),
            children,
            data["scenario"],
            data["compiled"],
            data["state"],
            bool(data["ready"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stat_field(pid: int, number: int) -> str | None:
    """A field of /proc/PID/stat by its number in proc(5); None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # the name (field 2) may hold blanks and brackets: count from behind its last bracket
    fields = text.rpartition(")")[2].split()
    return fields[number - 3]


def _process_document(found: Process) -> dict[str, Any]:
    return {"name": found.name, "pid": found.pid, "start_ticks": found.start_ticks, "role": found.role}


def _process(data: dict[str, Any]) -> Process:
    return Process(str(data["name"]), int(data["pid"]), str(data["start_ticks"]), str(data.get("role", "")))

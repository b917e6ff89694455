"""What a bug report holds: every part is text, loses its secrets, and may be missing with a reason."""

from __future__ import annotations

import gzip
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from energyctl import asking, standing, systemd
from energyctl.exits import Exit, ProblemError
from energyctl.privacy import LEFT_OUT, without_trades
from energyctl.programs import python
from energyctl.redaction import redact
from energyctl.session import SYSTEM_RUN, Session, default_state
from energyctl.up import proc, record
from energyctl.up.log import before

CONFIGURATION: Final = Path("/etc/energy-market")
STATE: Final = Path("/var/lib/energy-market")
PROGRAM_S_MAX: Final = 60
PART_BYTES_MAX: Final = 8 << 20
FAILURES_MAX: Final = 20
_PACKAGES: Final = (
    "energy-market", "msgspec", "numpy", "python-daemon", "rich", "sdnotify", "sysv-ipc", "typer", "tzdata",
    "pvlib", "windpowerlib", "demandlib", "pandas", "matplotlib",
)  # fmt: skip
NEVER: Final = {
    "homes' registers and rows": "what a household consumes is nobody else's business",
    "key files and credentials": "secrets",
    "environment of the processes": "it may hold secrets",
}


class MissingError(Exception):
    """A part cannot be had here; the text says why."""


class Report:
    """The parts by their name, what was left out and why, and how many secrets were taken out."""

    def __init__(self, moment: str) -> None:
        self.moment = moment
        self.parts: dict[str, bytes] = {}
        self.left_out: dict[str, str] = dict(NEVER)
        self.redacted = 0
        self.trades = 0  # of homes, told in logs and states

    def add(self, name: str, text: str) -> None:
        """A part; its last bytes if it is too long, because the end tells most."""
        clean, count = redact(text)
        self.redacted += count
        clean, count = without_trades(clean)
        self.trades += count
        self.parts[name] = clean.encode(errors="replace")[-PART_BYTES_MAX:]

    def try_to_add(self, name: str, made: Callable[[], str]) -> None:
        """A part that may not be there; why not is told in its place."""
        try:
            self.add(name, made())
        except MissingError as error:
            self.left_out[name] = str(error)
        except ProblemError as problem:
            self.left_out[name] = f"{problem.message} ({problem.why})" if problem.why else problem.message
        except OSError as error:
            self.left_out[name] = f"{error.filename or ''}: {error.strerror or error}".lstrip(": ")

    def write(self, descriptor: int, root: str) -> None:
        """The archive; the descriptor is closed. Owners and times tell nothing of the writer's machine."""
        lines = [
            f"bug report of {self.moment}; {self.redacted} secrets were replaced by [redacted]",
            f"{self.trades} times a home's energy and money were replaced by {LEFT_OUT}",
            "",
            "left out:",
        ]
        lines += [f"  {name}: {why}" for name, why in self.left_out.items()]
        parts = {"README.txt": ("\n".join(lines) + "\n").encode(), **dict(sorted(self.parts.items()))}
        with (
            os.fdopen(descriptor, "wb") as file,
            gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for name, data in parts.items():
                info = tarfile.TarInfo(f"{root}/{name}")
                info.size, info.mode = len(data), 0o600
                archive.addfile(info, io.BytesIO(data))


def collect(here: Session, moment: str, lines: int) -> Report:
    """Everything that can be had. Nothing that is missing stops it."""
    report = Report(moment)
    found = standing.look(here)
    kept = proc.read(here.run_dir)
    report.try_to_add("versions.json", lambda: _json(_versions()))
    report.try_to_add("status.json", lambda: _json(_status(found)))
    report.try_to_add("units.txt", _units)
    report.try_to_add("journal.txt", lambda: _journal(here, lines))
    report.try_to_add("up.log", lambda: _tail(here.run_dir / record.LOG, lines))
    report.try_to_add("doctor.json", lambda: _json(_doctor(found)))
    report.try_to_add("ipc.json", lambda: _ipc(here))
    report.try_to_add("ledger.json", lambda: _ledger(here, found, kept))
    _configuration(report, kept)
    _failures(report)
    return report


def _json(data: object) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n"


def _versions() -> dict[str, Any]:
    from importlib import metadata

    packages: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    manager = systemd.is_booted() and _run(["systemctl", "--version"]).splitlines()[0]
    return {
        "python": sys.version,
        "packages": packages,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": release.get("PRETTY_NAME"),
        "systemd": manager or "not running here",
        "cores": os.cpu_count(),
    }


def _status(found: standing.Standing) -> dict[str, Any]:
    said = found.problem.document() if found.problem is not None else found.status
    return {
        "market": said,
        "units": found.unit_rows(),
        "sockets": found.socket_rows(),
        "processes": found.process_rows(),
    }


def _units() -> str:
    """Every property of every unit but their environments: drop-ins may put secrets there."""
    said = _of_systemd(["systemctl", "show", "--no-pager", *systemd.ALL])
    return "".join(line for line in said.splitlines(keepends=True) if not line.startswith("Environment"))


def _of_systemd(command: Sequence[str]) -> str:
    if not systemd.is_booted():
        raise MissingError("systemd does not run here")
    return _run(command)


def _run(command: Sequence[str], *, good: Sequence[int] = (0,)) -> str:
    """What a program says; MissingError with its own words if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROGRAM_S_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{command[0]}: {error}") from error
    said = done.stdout.decode(errors="replace")
    if done.returncode not in good:
        words = done.stderr.decode(errors="replace").strip() or said.strip()
        raise MissingError(f"{command[0]} ended with {done.returncode}: {words[:500]}")
    return said


def _journal(here: Session, lines: int) -> str:
    if here.run_dir != SYSTEM_RUN:
        raise MissingError("this market does not run as units; up.log has its words")
    units = [f"--unit={pattern}" for pattern in systemd.PATTERNS]
    said = _of_systemd(
        ["journalctl", "--no-pager", "--quiet", "--output=short-iso-precise", f"--lines={lines}", *units]
    )
    if not said.strip():
        raise MissingError(
            "empty, or no right to read it: sudo usermod -aG systemd-journal $USER, or use sudo"
        )
    return said


def _tail(path: Path, lines: int) -> str:
    if not path.exists():
        raise MissingError("no detached run has written here")
    said: list[str] = []
    for part in (each for each in (before(path), path) if each.exists()):
        with part.open("rb") as file:
            file.seek(max(0, part.stat().st_size - PART_BYTES_MAX))
            said += file.read().decode(errors="replace").splitlines()
    return "\n".join(said[-lines:]) + "\n"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _doctor(found: standing.Standing) -> object:
    from energyctl.verbs.doctor import examine

    return examine(found, user=False).data


def _ipc(here: Session) -> str:
    return _run(python("anchor", "list", "--run", str(here.run_dir), "--json"))


def _ledger(here: Session, found: standing.Standing, kept: proc.Record | None) -> str:
    """Totals and hash: of the market's last slot, or of the file. No home's row is asked for."""
    if found.status is not None:
        page = asking.ask(here, "Ledger", {"first": 1, "count": 0})["ledger"]
        return _json({name: page[name] for name in page if name not in {"homes", "gifts", "orders", "time"}})
    if found.problem is not None and found.problem.exit_code is Exit.PERMISSION:
        raise found.problem
    if kept is not None:
        state = Path(kept.state) / "market"
    elif here.run_dir == SYSTEM_RUN:
        state = STATE / "market"
    else:
        state = default_state(os.environ, "default") / "market"
    path = state / "ledger.db"
    if not path.exists():
        raise MissingError(f"there is no {path}")
    checker = python("checkd", "--chain-only", "--json", "--ledger", str(path))
    return _run(checker, good=(0, 5))


def _configuration(report: Report, kept: proc.Record | None) -> None:
    """The service's files, and the resolved scenario that a run was compiled from."""
    try:
        files = sorted(path for path in CONFIGURATION.rglob("*.toml") if path.is_file())
    except OSError as error:
        report.left_out[str(CONFIGURATION)] = error.strerror or str(error)
        files = []
    if not files and not CONFIGURATION.exists():
        report.left_out[str(CONFIGURATION)] = "there is none: the suite is not installed"
    for path in files:
        name = f"configuration/{path.relative_to(CONFIGURATION)}"
        report.try_to_add(name, partial(_text, path))
    if kept is not None:
        scenario = Path(kept.compiled) / "scenario.toml"
        report.try_to_add("scenario.toml", partial(_text, scenario))


def _failures(report: Report) -> None:
    directory = STATE / "failures"
    try:
        # is_dir() says no to a closed door on some Pythons: listing tells the difference
        names = sorted(name for name in os.listdir(directory) if name.endswith(".json"))  # noqa: PTH208
    except FileNotFoundError:
        report.left_out["failures"] = "no unit has ever failed for good here"
        return
    except OSError as error:
        report.left_out["failures"] = f"{directory}: {error.strerror}"
        return
    for name in names[-FAILURES_MAX:]:
        path = directory / name
        report.try_to_add(f"failures/{name}", partial(_text, path))

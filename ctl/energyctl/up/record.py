"""The run directory as `up` keeps it: who holds it (up.lock), who runs (up.json), what they said (up.log)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from energyctl.exits import Exit, ProblemError
from energyctl.up.proc import RECORD, Record, read
from energymarket.wire.dispatch_text import DIRECTORY, SOCKET
from energymarket.wire.messages import CONTROL_SOCKET, SUPERVISOR_SOCKET, TRADE_SOCKET

LOCK: Final = "up.lock"
LOG: Final = "up.log"
LOGS: Final = (LOG, f"{LOG}.1", f"{LOG}.new")
"""The log, the lines before, and what a death in between has left."""


def write(run: Path, record: Record) -> None:
    """Replace up.json in one step: a reader sees the old one or the new one."""
    part = run / f"{RECORD}.part"
    part.write_text(json.dumps(record.document(), indent=1) + "\n", encoding="utf-8")
    part.chmod(0o640)
    part.replace(run / RECORD)


@dataclass(slots=True)
class Hold:
    """A run directory that is ours until `release`."""

    run: Path
    fd: int
    keep_log: bool = False
    handed_over: bool = False  # a forked daemon holds it now: here only the descriptor goes

    def sign(self) -> None:
        """Write our process id into the lock: after detaching it is another one."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Remove what a run leaves in the directory, then give it back: the next holder finds nothing."""
        if not self.handed_over:
            clear(self.run, keep=LOGS if self.keep_log else ())
        os.close(self.fd)


def hold(run: Path) -> Hold:
    """Make the run directory ours and take its lock.

    The lock is the kernel's (flock): it ends with its holder, however that dies.
    """
    while True:
        _own_directory(run)
        fd = os.open(run / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise _held(run, holder) from None
        if _is_file(fd, run / LOCK):
            held = Hold(run, fd)
            held.sign()
            return held
        # The last holder removed the file between our open and our lock: that lock guards nothing.
        os.close(fd)


def _held(run: Path, holder: str) -> ProblemError:
    return ProblemError(
        Exit.SECOND_INSTANCE,
        "second_instance",
        f"a market is already up in {run}",
        f"process {holder or 'unknown'} holds {run / LOCK}",
        "energyctl stop ends it; --run DIR starts another beside it",
    )


def _is_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def kill_leftovers(run: Path) -> list[str]:
    """SIGKILL recorded children that outlived their supervisor; the answer names them. Needs the lock."""
    record = read(run)
    killed = []
    for child in record.children if record else ():
        if child.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
                killed.append(f"{child.name} ({child.pid})")
    return killed


def clear(run: Path, keep: Iterable[str] = ()) -> list[str]:
    """Remove what a run leaves in its directory, except the named files; the directory goes if empty."""
    removed = []
    sockets = (CONTROL_SOCKET, TRADE_SOCKET, SUPERVISOR_SOCKET)
    for name in (*sockets, RECORD, f"{RECORD}.part", *LOGS, LOCK):
        if name in keep:
            continue
        with contextlib.suppress(FileNotFoundError):
            (run / name).unlink()
            removed.append(name)
    removed += _clear_dispatch(run / DIRECTORY)
    with contextlib.suppress(OSError):
        run.rmdir()
    return removed


_OF_DISPATCH: Final = (
    (re.compile(r"(dw|wd)tube[0-9]+"), stat.S_ISFIFO),
    (re.compile(r"\.?segment(\.[0-9]+)?"), stat.S_ISREG),
    (re.compile(SOCKET), stat.S_ISSOCK),
)


def _clear_dispatch(directory: Path) -> list[str]:
    """Pipes, segment and socket of a dispatcher that was killed; what is none of these stays."""
    try:
        found = list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    ours = [
        path
        for path in found
        if any(name.fullmatch(path.name) and is_one(path.lstat().st_mode) for name, is_one in _OF_DISPATCH)
    ]
    for path in ours:
        path.unlink()
    with contextlib.suppress(OSError):
        directory.rmdir()
    return [DIRECTORY] if ours else []


def _own_directory(run: Path) -> None:
    try:
        run.mkdir(mode=0o750, parents=True, exist_ok=True)
        found = os.lstat(run)
    except OSError as error:
        raise ProblemError(
            Exit.PERMISSION if isinstance(error, PermissionError) else Exit.IO_ERROR,
            "no_run_directory",
            f"{run} cannot be made: {error.strerror}",
            hint="--run DIR names another",
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ProblemError(
            Exit.PERMISSION,
            "not_our_directory",
            f"{run} is not ours",
            f"it belongs to user {found.st_uid}, and who owns it could put anything there",
            "--run DIR names another",
        )

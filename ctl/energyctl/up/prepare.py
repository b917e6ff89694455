"""What comes before the daemons: scenario compiled, state directory held, leftovers gone, IPC made."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from energyctl.exits import Exit, ProblemError
from energyctl.programs import python
from energyctl.up import feed, record
from energymarket.wire.messages import CONTROL_SOCKET

MARK: Final = "energy-market-state"
"""A state directory of ours has a file of this name; its lock keeps two runs out of one state."""
_PARTS: Final = ("market", "weather", "homes", "meters", "pv", "readings")


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a run needs to know of its compiled scenario."""

    directory: Path
    name: str
    title: str
    homes_count: int
    single_homes: tuple[int, ...]
    live_weather: bool
    metered: bool


def compile_scenario(
    name: str, homes: int | None, seed: int | None, *, begun_with: str | None, as_json: bool
) -> Path:
    """Run the compiler (cached). Its progress and its words go to our terminal, and its exit code is ours.

    A ledger that was begun with a scenario keeps it, as long as only the price is another.
    """
    options = ["--homes", str(homes)] if homes is not None else []
    options += ["--seed", str(seed)] if seed is not None else []
    options += ["--begun-with", begun_with] if begun_with is not None else []
    options += ["--json"] if as_json else []
    command = python("scenario", "compile", name, *options)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise typer.Exit(done.returncode if done.returncode > 0 else Exit.FAILED)
    return Path(_directory(done.stdout))


def _directory(said: str) -> str:
    """The directory that the compiler names: a member of its JSON, or a line `directory  PATH`."""
    if said.startswith("{"):
        return str(json.loads(said)["directory"])
    for line in said.splitlines():
        key, _, value = line.partition(" ")
        if key == "directory":
            return value.strip()
    raise ProblemError(
        Exit.FAILED, "not_compiled", "the compiler did not say where its arrays are", said.strip()
    )


def read_compiled(directory: Path) -> Compiled:
    """Read what a run needs of a compiled scenario: a few parameters, and which homes are single."""
    try:
        data: dict[str, Any] = json.loads((directory / "scenario.json").read_text(encoding="utf-8"))
        homes_count = int(data["homes_count"])
        # One byte per home at the file's end (NumPy's format, type u1): no NumPy needed to read it.
        flags = (directory / "homes.single.npy").read_bytes()[-homes_count:]
        live_weather = data["settings"]["weather"]["source"] == "live"
        metered = bool(data["settings"].get("metered_homes"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProblemError(
            Exit.CONFIGURATION,
            "bad_compiled_scenario",
            f"{directory} is no compiled scenario",
            repr(error),
            "energyctl scenario compile makes it again",
        ) from error
    singles = tuple(home for home, flag in enumerate(flags, start=1) if flag)
    return Compiled(
        directory, str(data["name"]), str(data["title"]), homes_count, singles, live_weather, metered
    )


def left_the_pool(state: Path, homes_count: int) -> tuple[int, ...]:
    """The homes that were started by themselves once: the pool of this state leaves them out."""
    try:
        names = {entry.name for entry in (state / "homes" / "apart").iterdir()}
    except FileNotFoundError:
        return ()
    return tuple(home for home in range(1, homes_count + 1) if str(home) in names)


def hold_state(state: Path, scenario: str, *, fresh: bool) -> int:
    """Make or take the state directory and lock it; `fresh` empties it of what is ours."""
    if state.exists() and any(state.iterdir()) and not (state / MARK).is_file():
        raise ProblemError(
            Exit.FAILED,
            "not_our_state",
            f"{state} is no state directory of ours",
            f"it is not empty and holds no file {MARK}",
            "--state DIR names another",
        )
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    fd = os.open(state / MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise ProblemError(
            Exit.SECOND_INSTANCE,
            "second_instance",
            f"another run uses the state in {state}",
            hint="energyctl stop ends it; --state DIR names another",
        ) from None
    if fresh:
        _empty(state, fd)
    if not os.pread(fd, 1, 0):
        os.pwrite(fd, f"state of energy-market, scenario {scenario}\n".encode(), 0)
    return fd


def _empty(state: Path, fd: int) -> None:
    strange = sorted(entry.name for entry in state.iterdir() if entry.name not in {*_PARTS, MARK})
    if strange:
        os.close(fd)
        raise ProblemError(
            Exit.FAILED,
            "not_ours",
            f"{state} holds more than a state of ours: {', '.join(strange[:5])}",
            "--fresh deletes nothing that is not ours",
            "move it away, or --state DIR names another",
        )
    for part in _PARTS:
        if (state / part).exists():
            shutil.rmtree(state / part)


def clear_leftovers(run: Path) -> list[str]:
    """Remove what a killed run left (we hold the lock: nobody supervises here); refuse a live market."""
    removed = record.kill_leftovers(run)
    foreign = feed.call(run / CONTROL_SOCKET, "org.varlink.service.GetInfo", more=False)
    if foreign is not None:
        foreign.close()
        raise ProblemError(
            Exit.SECOND_INSTANCE,
            "second_instance",
            f"a market already serves {run / CONTROL_SOCKET}",
            "it was started without energyctl up",
            "energyctl stop ends it; --run DIR starts another beside it",
        )
    if (run / "ipc.json").exists():
        anchor(run, "remove")
        removed.append("IPC objects")
    removed += record.clear(run, keep=(record.LOCK,))
    return removed


def anchor(run: Path, verb: str) -> None:
    """Let the anchor program create or remove the run's IPC objects."""
    command = python("anchor", verb, "--run", str(run))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        code = Exit(done.returncode) if done.returncode in {int(e) for e in Exit} else Exit.FAILED
        raise ProblemError(
            code, "ipc", f"the IPC objects were not {verb}d", done.stdout.strip(), "energyctl ipc ls"
        )

"""`energyctl ledger backup` and `restore`: all that a market needs to go on, in one file, and its return."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from energyctl import systemd
from energyctl.exits import Exit, ProblemError
from energyctl.ledger_place import users_state
from energyctl.programs import run_program
from energyctl.render import Answer
from energyctl.session import SYSTEM_RUN, Session, session

SYSTEM_STATE = Path("/var/lib/energy-market")
SYSTEM_BACKUPS = SYSTEM_STATE / "backup"
SYSTEM_CONFIG = Path("/etc/energy-market/energy-market.toml")
SYSTEM_PREPARED = Path("/var/cache/energy-market")
UNIT = "energy-backup.service"
BACKUP_S_MAX = 3_600  # the unit's own limit

_STATE = typer.Option("--state", metavar="DIR", help="Of this state directory, not of the suite or the run.")


def backup(
    ctx: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE|DIR", help="Where the backup goes (default: here)."),
    ] = None,
    state: Annotated[Path | None, _STATE] = None,
    compiled: Annotated[
        Path | None, typer.Option("--compiled", metavar="DIR", help="The compiled scenario of that state.")
    ] = None,
) -> Answer | int:
    """Back up ledger, registers, scenario and configuration of one moment into one file, while all runs."""
    here = session(ctx)
    if state is None and is_system(here):
        return _of_the_suite(here, out)
    where = ["--state", str(state or state_of(here))]
    named = compiled or compiled_of(here, state)
    if named is not None:
        where += ["--compiled", str(named)]
    return run_program("backup", [*where, "--out", str(out or Path.cwd()), *_form(here)])


def restore(
    ctx: typer.Context,
    backup: Annotated[Path, typer.Argument(metavar="FILE", help="What ledger backup has made.")],
    *,
    state: Annotated[Path | None, _STATE] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also back in time, or to another version; never a damaged backup."),
    ] = False,
) -> int:
    """Put a backup in the place of the state, once all of it is verified; what is there is kept aside."""
    here = session(ctx)
    words = [str(backup), *(("--force",) if force else ()), *_form(here)]
    if state is not None or not is_system(here):
        return run_program("restore", [*words, "--state", str(state or state_of(here))])
    busy = [unit.name for unit in systemd.show() if unit.get("ActiveState", "inactive") not in _QUIET]
    if busy:
        raise ProblemError(
            Exit.SECOND_INSTANCE,
            "running",
            f"the suite runs: {', '.join(busy)}",
            hint="energyctl stop, then again",
        )
    if os.geteuid() != 0:
        raise _needs_root(f"ledger restore {backup}{' --force' * force}", "it gives the state to its users")
    installed = ("--config", str(SYSTEM_CONFIG), "--prepared", str(SYSTEM_PREPARED))
    return run_program("restore", [*words, "--state", str(SYSTEM_STATE), *installed])


_QUIET = {"inactive", "failed"}


def is_system(here: Session) -> bool:
    """Whether the suite's own units are meant."""
    return here.run_dir == SYSTEM_RUN and systemd.installed()


def _form(here: Session) -> list[str]:
    return ["--json"] if here.as_json else []


def _of_the_suite(here: Session, out: Path | None) -> Answer | int:
    """By the suite's own unit, which operators may start; to another place only as root."""
    if out is None:
        made = _start_unit()
        where = made or SYSTEM_BACKUPS
        lines = [f"{where}: made and verified"] if made else [f"a backup was made and verified in {where}"]
        return Answer({"type": "backed_up", "file": made, "directory": str(SYSTEM_BACKUPS)}, tuple(lines))
    if os.geteuid() != 0:
        raise _needs_root(
            f"ledger backup -o {out}",
            "ledger and registers are readable for their own users only",
            f"; without -o it is made by {UNIT} in {SYSTEM_BACKUPS}",
        )
    source = ("--state", str(SYSTEM_STATE), "--compiled", str(SYSTEM_PREPARED / "scenario"))
    return run_program("backup", [*source, "--config", str(SYSTEM_CONFIG), "--out", str(out), *_form(here)])


def _start_unit() -> str | None:
    """Let the unit make a backup; its exit code is ours. The file, or None for whom may not look."""
    newest, before = _newest(), systemd.show((UNIT,))
    try:
        systemd.tell(["start", UNIT], timeout_s=BACKUP_S_MAX)
    except ProblemError as problem:
        if problem.exit_code is not Exit.FAILED:
            raise
    unit = systemd.show((UNIT,))[0]
    if unit.state == "not needed":
        why = f"there is no ledger in {SYSTEM_STATE} yet, or no more"
        raise ProblemError(
            Exit.NO_SUCH_OBJECT,
            "nothing_to_back_up",
            f"{UNIT} made no backup",
            why,
            "energyctl start begins one",
        )
    status = int(unit.get("ExecMainStatus") or 0)
    if status or unit.failed:
        code = Exit(status) if status in set(Exit) - {Exit.OK} else Exit.FAILED
        why = unit.why if unit.failed else code.meaning
        raise ProblemError(code, "not_backed_up", f"{UNIT} made no backup", why, f"energyctl logs -u {UNIT}")
    made = _newest()
    if made == newest and (made is not None or not _ran(before[0], unit)):
        why = "it has run, and left no new file" if _ran(before[0], unit) else "it has not run"
        raise ProblemError(
            Exit.FAILED, "not_backed_up", f"{UNIT} made no backup", why, f"energyctl logs -u {UNIT}"
        )
    return made


def _ran(before: systemd.Unit, after: systemd.Unit) -> bool:
    """Whether a unit has run since; one that was running has, and the manager may have forgotten when."""
    running = before.get("ActiveState") in {"activating", "active"}
    return running or not after.get("InvocationID") or after["InvocationID"] != before.get("InvocationID")


def _newest() -> str | None:
    """The newest backup of the unit; None if there is none yet, or for whom may not look."""
    try:
        found = sorted(name for name in os.listdir(SYSTEM_BACKUPS) if name.endswith(".tar"))  # noqa: PTH208
    except (FileNotFoundError, PermissionError):  # the unit makes the directory
        return None
    return str(SYSTEM_BACKUPS / found[-1]) if found else None


def _needs_root(command: str, why: str, otherwise: str = "") -> ProblemError:
    return ProblemError(
        Exit.PERMISSION, "permission_denied", "this needs root", why, f"sudo energyctl {command}{otherwise}"
    )


def state_of(here: Session) -> Path:
    """The state of the run here, or this user's default one."""
    import sys

    from energyctl.up import proc

    kept = proc.read(here.run_dir)
    if kept is not None:
        return Path(kept.state)
    state = users_state(here)
    sys.stderr.write(f"no market runs here: the state in {state}; --state DIR names another\n")
    return state


def compiled_of(here: Session, state: Path | None) -> Path | None:
    """The scenario of the run here, if its state is meant; else it is looked for by its hash."""
    from energyctl.up import proc

    kept = proc.read(here.run_dir)
    meant = kept is not None and (state is None or Path(kept.state) == state.absolute())
    return Path(kept.compiled) if kept is not None and meant else None

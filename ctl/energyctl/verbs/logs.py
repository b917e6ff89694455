"""`energyctl logs`: the suite's journal."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from energyctl import systemd
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import means_users
from energyctl.session import Session, session
from energyctl.up import record
from energyctl.verbs.start import USER


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("logs")(logs)


def logs(
    ctx: typer.Context,
    unit: Annotated[
        str | None,
        typer.Option("--unit", "-u", metavar="UNIT", help="Only this unit, for example energy-market."),
    ] = None,
    home: Annotated[
        int | None, typer.Option("--home", min=1, metavar="ID", help="Only what concerns this home.")
    ] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, metavar="N", help="The last so many lines.")
    ] = 100,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as lines come, until Ctrl-C.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", "-x", help="With the catalog's explanations: what it means, and what to do."
        ),
    ] = False,
    user: Annotated[bool, USER] = False,
) -> None:
    """Show the journal of the suite's units: all of them, one unit, or what concerns one home."""
    if not systemd.is_booted():
        raise _no_journal("systemd does not run here", session(ctx))
    words = ["journalctl", f"--lines={lines}", *(["--follow"] if follow else ["--no-pager"])]
    words += ["--catalog"] if explain else []
    user = means_users(user=user)
    words += ["--user"] if user else []
    kind = "--user-unit" if user else "--unit"
    words += [f"{kind}={unit}"] if unit else [f"{kind}={pattern}" for pattern in systemd.PATTERNS]
    if home is not None:
        words.append(f"ENERGY_HOME={home}")
    try:
        os.execvp(words[0], words)  # noqa: S606 - no shell: the journal's own program takes our place
    except OSError as error:
        raise _no_journal(f"journalctl cannot be started: {error.strerror}", session(ctx)) from error


def _no_journal(why: str, here: Session) -> ProblemError:
    log = here.run_dir / record.LOG
    hint = "`energyctl up` says all on its own stderr; with --detach in up.log of its run directory"
    if log.exists():
        hint = f"the log of the market here is {log}"
    return ProblemError(Exit.FAILED, "no_journal", "there is no journal of the suite", why, hint)

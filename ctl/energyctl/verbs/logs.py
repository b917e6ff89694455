"""`energyctl logs`: the suite's journal."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from energyctl import systemd
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import means_users
from energyctl.verbs.start import USER


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("logs")(logs)


def logs(
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
        raise ProblemError(
            Exit.FAILED,
            "no_journal",
            f"journalctl cannot be started: {error.strerror}",
            hint="without systemd, the log of `energyctl up --detach` is up.log in the run directory",
        ) from error

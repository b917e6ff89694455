"""`energyctl report`: what a run came to, in words, tables, and pictures on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energyctl.ledger_place import words_for
from energyctl.programs import run_program
from energyctl.session import session


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("report")(report)


def report(
    ctx: typer.Context,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="A state directory, or what a simulation has written."),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Pictures of the whole run on one page, report.html.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files go.")] = Path("report"),
    day: Annotated[
        str | None,
        typer.Option("--day", metavar="YYYY-MM-DD", help="A day whose flows the page shows first."),
    ] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Believe the ledger; the report says that it does.")
    ] = False,
    compiled: Annotated[
        Path | None,
        typer.Option(
            "--compiled", metavar="DIR", help="The compiled scenario; found by itself if it is here."
        ),
    ] = None,
) -> int:
    """Report on a run: energy, money, prices and their causes, days, and what the checker says.

    Of the market that runs here, of its last state, or of a directory that a simulation has written. The
    page needs no network and no program but a browser. Exit code 5 if the checker disagrees.
    """
    chosen = ["--html"] if html else []
    chosen += ["--no-check"] if no_check else []
    chosen += [] if day is None else [f"--day={day}"]
    return run_program("report", ["--out", str(out), *chosen, *words_for(session(ctx), state, compiled)])

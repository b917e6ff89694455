"""`energyctl study`: a scenario again and again with other parameters; one table, one page of pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from energyctl.exits import Exit, ProblemError
from energyctl.programs import run_program
from energyctl.session import default_study, session

ENGINES: Final = ("local", "ray")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("study")(study)


def study(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="A file, or the name of a shipped study.")
    ] = None,
    *,
    listing: Annotated[bool, typer.Option("--list", help="Name the shipped studies.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Print the study's file: to begin one of your own.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cases, play none.")] = False,
    case: Annotated[
        int | None,
        typer.Option("--case", min=1, metavar="N", help="Print the scenario of a case, play none."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where the results go (default: below $XDG_STATE_HOME)."),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="local|ray", help="On the cores of this machine, or over Ray.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="Of a Ray cluster that runs.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, metavar="N", help="Cases that are played at a time (default: cores)."
        ),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write the table as CSV, too.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the ledger of every case: for reports and checks.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Play the cases that are missing or have failed.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Remove the study that lies there, and begin anew.")
    ] = False,
) -> int:
    """Play a scenario with other parameters again and again: a grid or a sample of cases, one row each.

    The results are one Parquet table with parameters, indicators and hashes of every case, a page with
    pictures, and study.json. A study that is interrupted or killed goes on with --resume. Exit code 5 if
    some cases have failed, 1 if all have.
    """
    here = session(ctx)
    if name is None and not listing:
        raise ProblemError(
            Exit.USAGE, "no_study", "which study?", hint="energyctl study --list names the shipped ones"
        )
    if engine not in ENGINES:
        raise ProblemError(
            Exit.USAGE,
            "no_such_engine",
            f"there is no engine {engine!r}",
            hint=f"engines: {', '.join(ENGINES)}",
        )
    place = out or default_study(os.environ, Path(name or "").stem)
    words = [*([] if name is None else [name]), f"--out={place}", f"--engine={engine}"]
    options = {"case": case, "address": address, "workers": workers}
    words += [f"--{option}={value}" for option, value in options.items() if value is not None]
    flags = {
        "--list": listing, "--show": show, "--dry-run": dry_run, "--csv": csv, "--keep": keep,
        "--resume": resume, "--anew": anew, "--json": here.as_json,
    }  # fmt: skip
    return run_program("study", [*words, *(flag for flag, given in flags.items() if given)])

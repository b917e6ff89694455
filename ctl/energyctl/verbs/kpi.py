"""`energyctl kpi`: what a run adds up to, for the community or one home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energyctl.ledger_place import words_for
from energyctl.programs import run_program
from energyctl.session import session


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("kpi")(kpi)


def kpi(
    ctx: typer.Context,
    home: Annotated[
        int | None, typer.Option("--home", min=1, metavar="ID", help="Of this home only.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="A state directory, for a market that does not run."),
    ] = None,
    compiled: Annotated[
        Path | None,
        typer.Option("--compiled", metavar="DIR", help="The compiled scenario, where it is not found."),
    ] = None,
) -> int:
    """Show indicators: energy, self-sufficiency, peaks, bills, carbon, spread over homes, price.

    Of the market that runs, or of a state directory. Definitions and sources are in packaging/doc/kpi.md.
    """
    words = words_for(session(ctx), state, compiled)
    return run_program("kpi", [*words, *([] if home is None else ["--home", str(home)])])

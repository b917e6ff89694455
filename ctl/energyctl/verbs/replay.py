"""`energyctl replay`: a recorded run settled once more from its inputs: equal to the hash, or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energyctl.exits import Exit, ProblemError
from energyctl.programs import run_program
from energyctl.session import Session, session
from energyctl.verbs import backup


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("replay")(replay)


def replay(
    ctx: typer.Context,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="A state directory, or a copy of one.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", metavar="FILE", help="A ledger.db, or a backup (.tar).")
    ] = None,
    compiled: Annotated[
        Path | None, typer.Option("--compiled", metavar="DIR", help="The compiled scenario of that ledger.")
    ] = None,
    *,
    ledger_only: Annotated[
        bool, typer.Option("--ledger-only", help="Only the ledger: do not live through the homes' physics.")
    ] = False,
) -> int:
    """Settle a recorded run once more from what came to it from outside, and compare the hashes.

    Late batches, shed offers and gap slots are told. The market may run meanwhile. Exit code 0: every slot
    that has a record is equal; 5: one differs, or its record is damaged; 4: there is no record.
    """
    here = session(ctx)
    if state is not None and ledger is not None:
        raise ProblemError(
            Exit.USAGE, "usage", "--state and --ledger name two ledgers", hint="give one of them"
        )
    where = ["--ledger", str(ledger)] if ledger is not None else ["--state", str(state or _state(here))]
    if ledger is None and compiled is None:
        compiled = _compiled(here, state)
    named = [] if compiled is None else ["--compiled", str(compiled)]
    form = [*(("--ledger-only",) if ledger_only else ()), *(("--json",) if here.as_json else ())]
    return run_program("replay", [*where, *named, *form])


def _state(here: Session) -> Path:
    return backup.SYSTEM_STATE if backup.is_system(here) else backup.state_of(here)


def _compiled(here: Session, state: Path | None) -> Path | None:
    """Of the run here, or of the suite's units; else it is looked for by its hash."""
    if state is None and backup.is_system(here):
        return backup.SYSTEM_PREPARED / "scenario"
    return backup.compiled_of(here, state)

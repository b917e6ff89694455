"""`energyctl explain`: the chain of causes of a price, a trade or a home's slot, from the ledger alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energyctl.exits import Exit, ProblemError
from energyctl.ledger_place import words_for
from energyctl.programs import run_program
from energyctl.session import Session, session

_STATE = typer.Option("--state", metavar="DIR", help="A state directory, for a market that does not run.")
_LEDGER = typer.Option("--ledger", metavar="FILE", help="A ledger.db, or a backup (.tar).")
_COMPILED = typer.Option(
    "--compiled", metavar="DIR", help="The compiled scenario: local times, names, policies."
)
_SLOT = typer.Argument(metavar="[SLOT]", min=0, help="A slot; the last sealed one without.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Explain a price, a trade or a home from the ledger.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.callback()(_explain)
    group.command("price")(price)
    group.command("trade")(trade)
    group.command("home")(home)
    app.add_typer(group, name="explain")


def _explain() -> None:
    """Explain a price, a trade or a home from the ledger."""


def price(
    ctx: typer.Context,
    slot: Annotated[int | None, _SLOT] = None,
    state: Annotated[Path | None, _STATE] = None,
    ledger: Annotated[Path | None, _LEDGER] = None,
    compiled: Annotated[Path | None, _COMPILED] = None,
) -> int:
    """Why a slot had its price: terms that add up exactly, and what made each of them."""
    words = ["price", *([] if slot is None else [str(slot)])]
    return run_program("explain", [*words, *_where(session(ctx), state, ledger, compiled)])


def trade(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="RECEIPT|ID", help="A receipt, or an order's or batch's id.")
    ],
    state: Annotated[Path | None, _STATE] = None,
    ledger: Annotated[Path | None, _LEDGER] = None,
    compiled: Annotated[Path | None, _COMPILED] = None,
) -> int:
    """What became of an order or a batch: slot, price, total, and the imbalance that followed."""
    return run_program("explain", ["trade", *_where(session(ctx), state, ledger, compiled), "--", name])


def home(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", min=1, help="The home's number.")],
    slot: Annotated[int | None, _SLOT] = None,
    state: Annotated[Path | None, _STATE] = None,
    ledger: Annotated[Path | None, _LEDGER] = None,
    compiled: Annotated[Path | None, _COMPILED] = None,
) -> int:
    """What a home metered, gave, got, sold and bought in a slot, the money of each part, and why."""
    words = ["home", str(number), *([] if slot is None else [str(slot)])]
    return run_program("explain", [*words, *_where(session(ctx), state, ledger, compiled)])


def _where(here: Session, state: Path | None, ledger: Path | None, compiled: Path | None) -> list[str]:
    if ledger is None:
        return words_for(here, state, compiled)
    if state is not None:
        raise ProblemError(
            Exit.USAGE, "usage", "--state and --ledger name two ledgers", hint="give one of them"
        )
    found = ["--json"] if here.as_json else []
    return [*found, "--ledger", str(ledger), *([] if compiled is None else ["--compiled", str(compiled)])]

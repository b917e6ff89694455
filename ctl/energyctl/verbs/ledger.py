"""`energyctl ledger`: a slot row by row, and the programs that verify, check, export, back up, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from energyctl.asking import ask, check_slot
from energyctl.exits import Exit
from energyctl.ledger_place import listens, words_for
from energyctl.programs import run_program
from energyctl.quantities import clock, kwh, money, price
from energyctl.render import Alert, Answer, Block, Table
from energyctl.session import session
from energyctl.slotline import with_eur
from energyctl.verbs import backup

VERIFY_S_MAX = 600.0  # the whole chain of a large ledger, read between the market's other work

_STATE = typer.Option("--state", metavar="DIR", help="A state directory, for a market that does not run.")
_COMPILED = typer.Option("--compiled", metavar="DIR", help="The compiled scenario of that state.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Show, verify, check, export, back up and restore the ledger.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.callback()(_ledger)
    group.command("show")(show)
    group.command("verify")(verify)
    group.command("check")(check)
    group.command("export")(export)
    group.command("backup")(backup.backup)
    group.command("restore")(backup.restore)
    app.add_typer(group, name="ledger")


def _ledger() -> None:
    """Show, verify, check, export, back up and restore the ledger."""


def show(
    ctx: typer.Context,
    slot: Annotated[
        int | None, typer.Argument(metavar="[SLOT]", help="A slot; without, the last sealed one.")
    ] = None,
    first: Annotated[int, typer.Option("--first", min=1, metavar="ID", help="Begin with this home.")] = 1,
    count: Annotated[int, typer.Option("--count", min=1, metavar="N", help="At most so many homes.")] = 20,
) -> Answer:
    """Show one slot of the ledger, row by row."""
    check_slot(slot)
    reply: dict[str, Any] = ask(session(ctx), "Ledger", {"slot": slot, "first": first, "count": count})[
        "ledger"
    ]
    blocks: list[Block] = [f"slot {reply.get('slot', slot)}  {clock(str(reply.get('time', '')))} UTC"]
    for name, value in reply.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            blocks += [f"{name}:", _rows(value)]
        elif isinstance(value, dict) and name != "meta":  # who handed in: for programs
            blocks.append(Table((name, ">"), [(_label(n), _cell(n, v)) for n, v in value.items()]))
        elif name not in {"slot", "time", "meta"} and not isinstance(value, list):
            blocks.append(f"{_label(name)}: {_cell(name, value)}")
    return Answer(with_eur(reply, "ledger"), tuple(blocks))


def verify(
    ctx: typer.Context,
    state: Annotated[Path | None, _STATE] = None,
    compiled: Annotated[Path | None, _COMPILED] = None,
) -> Answer | int:
    """Recompute the hash chain and the sums; a flipped byte is found."""
    here = session(ctx)
    if state is not None or not listens(here):
        return run_program("checkd", ["--chain-only", *words_for(here, state, compiled)])
    reply = ask(here, "Verify", timeout_s=VERIFY_S_MAX)
    if not reply["slots"] and reply["ok"]:
        return Answer({"type": "verified", **reply}, ("the ledger is still empty: nothing to verify",))
    span = f"slots {reply['first_slot']} to {reply['last_slot']}"
    found = f"{span}: {reply['slots']} verified, hash {reply['hash']}"
    if reply["ok"]:
        return Answer({"type": "verified", **reply}, (found,))
    return Answer({"type": "verified", **reply}, (found, Alert(str(reply["problem"]))), Exit.FAILED)


def check(
    ctx: typer.Context,
    state: Annotated[Path | None, _STATE] = None,
    compiled: Annotated[Path | None, _COMPILED] = None,
) -> int:
    """Hold registers, ledger and physics together (the independent checker); exit code 5 if they disagree."""
    return run_program("checkd", words_for(session(ctx), state, compiled))


def export(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the CSV files go.")],
    state: Annotated[Path | None, _STATE] = None,
    compiled: Annotated[Path | None, _COMPILED] = None,
) -> int:
    """Write prices.csv and homes.csv: of the running market, or of a state directory."""
    return run_program(
        "report", ["--csv-only", "--out", str(directory), *words_for(session(ctx), state, compiled)]
    )


def _rows(rows: list[dict[str, Any]]) -> Table:
    names = list(rows[0])
    cells = [tuple(_cell(name, row.get(name)) for name in names) for row in rows]
    return Table(tuple(f">{_label(name)}" for name in names), cells)


def _label(name: str) -> str:
    for unit in ("_ueur_per_kwh", "_wh", "_ueur"):
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def _cell(name: str, value: object) -> str:
    """A value by the unit that its name ends with."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int):
        return str(value)
    if name.endswith("_ueur_per_kwh"):
        return f"{price(value)} €/kWh"
    if name.endswith("_wh"):
        return kwh(value)
    return money(value) if name.endswith("_ueur") else str(value)

"""`energyctl price`: the price now, of the last slots, and term by term."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from energyctl.asking import ask, check_slot
from energyctl.exits import Exit, ProblemError
from energyctl.quantities import clock, eur_per_kwh, price
from energyctl.render import Answer, Block, Table, number
from energyctl.session import Session, session
from energyctl.slotline import explanation, with_eur


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("price")(show_price)


def show_price(
    ctx: typer.Context,
    *,
    last: Annotated[
        int | None, typer.Option("--last", min=1, metavar="N", help="The last N slots, one per line.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Term by term: inertia, factors, events; they add up exactly.")
    ] = False,
    slot: Annotated[
        int | None,
        typer.Option("--slot", metavar="SLOT", help="With --explain: this slot, not the open one."),
    ] = None,
) -> Answer:
    """Show the price in €/kWh, now, of the last slots, or term by term.

    Beside it stand the import price, which the grid asks, and the export price, which it pays.
    """
    if slot is not None and not explain:
        raise ProblemError(
            Exit.USAGE,
            "usage",
            "--slot says which slot to explain",
            hint="energyctl price --explain --slot N",
        )
    check_slot(slot)
    if not explain:
        reply = ask(session(ctx), "Price", {"last": last})
        return _rows(reply) if last else _now(reply)
    if last is None:
        return _explained([ask(session(ctx), "Explain", {"slot": slot})], alone=True)
    if slot is None:
        rows = ask(session(ctx), "Price", {"last": last})["prices"]
        return _explained([ask(session(ctx), "Explain", {"slot": row["slot"]}) for row in rows], alone=False)
    return _explained(_up_to(session(ctx), slot, last), alone=False)


def _up_to(here: Session, slot: int, count: int) -> list[dict[str, Any]]:
    """So many slots that end with this one; what the ledger does not hold any more ends them early."""
    found = [ask(here, "Explain", {"slot": slot})]
    try:
        while len(found) < min(count, slot + 1):
            found.append(ask(here, "Explain", {"slot": slot - len(found)}))
    except ProblemError as problem:
        if problem.exit_code is not Exit.NO_SUCH_OBJECT:
            raise
    return found[::-1]


def _now(reply: dict[str, Any]) -> Answer:
    row = reply["current"]
    text = (
        f"slot {row['slot']} ({clock(row['time'])} UTC)  {price(row['price_ueur_per_kwh'])} €/kWh"
        f"  import {price(row['import_ueur_per_kwh'])}  export {price(row['export_ueur_per_kwh'])}"
        f"{_marks(row)}"
    )
    return Answer(with_eur(row, "price"), (text,))


def _rows(reply: dict[str, Any]) -> Answer:
    rows = reply["prices"]
    table = Table(
        (">slot", "time (UTC)", ">€/kWh", ">import", ">export", "notes"),
        [
            (
                str(row["slot"]),
                clock(row["time"]),
                price(row["price_ueur_per_kwh"]),
                price(row["import_ueur_per_kwh"]),
                price(row["export_ueur_per_kwh"]),
                _marks(row).strip(),
            )
            for row in rows
        ],
    )
    data = {
        "type": "prices",
        "current": with_eur(reply["current"]),
        "prices": [with_eur(row) for row in rows],
    }
    return Answer(data, (table,))


def _explained(replies: list[dict[str, Any]], *, alone: bool) -> Answer:
    documents = [_with_terms_in_eur(reply) for reply in replies]
    text: tuple[Block, ...] = tuple(line for reply in replies for line in explanation(reply))
    data = documents[0] if alone else {"type": "explanations", "explanations": documents}
    return Answer(data, text)


def _with_terms_in_eur(reply: dict[str, Any]) -> dict[str, Any]:
    document = with_eur(reply, "explanation")
    for name in ("terms", "inertia_of_events"):
        document[name] = [
            {**term, "value_eur_per_kwh": eur_per_kwh(number(term, "value_ueur_per_kwh"))}
            for term in reply.get(name) or ()
        ]
    return document


def _marks(row: dict[str, Any]) -> str:
    marks = ["gap"] if row.get("gap") else []
    if row.get("weather_stale"):
        marks.append("stale weather")
    return f"  [{', '.join(marks)}]" if marks else ""

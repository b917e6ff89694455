"""`energyctl homes`: the homes' last committed slot and their accounts."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from energyctl.asking import I64_MAX, ask
from energyctl.exits import Exit, ProblemError
from energyctl.quantities import kwh, money, span
from energyctl.render import Answer, Table, number
from energyctl.session import session

_POLICIES: Final = {1: "give", 2: "sell", 3: "give, then sell"}
_HEADINGS: Final = (
    ">home", "policy", "joined", ">net", ">given", ">received", ">sold", ">bought", ">imbalance",
    ">money", ">balance",
)  # fmt: skip
_ENERGIES: Final = ("given_wh", "received_wh", "sold_wh", "bought_wh")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("homes")(homes)


def homes(
    ctx: typer.Context,
    home: Annotated[
        int | None, typer.Argument(metavar="[ID]", min=1, help="Only this home, one figure per line.")
    ] = None,
    first: Annotated[int, typer.Option("--first", min=1, metavar="ID", help="Begin with this home.")] = 1,
    count: Annotated[int, typer.Option("--count", min=1, metavar="N", help="At most so many homes.")] = 20,
) -> Answer:
    """Show homes: their last slot (kWh), what it brought or cost, and their balance.

    Net is what the meter counted out of the home less what it counted in. Imbalance is net less what was
    given, received, sold and bought: below zero the home was short and pays the import price.
    """
    wanted = {"first": first, "count": count}
    if home is not None:
        wanted = {"first": min(home, I64_MAX), "count": 1}
    reply = ask(session(ctx), "Homes", wanted)
    rows = reply["homes"]
    if home is not None:
        rows = [row for row in rows if row["home"] == home]
        if not rows:
            raise unknown_home(home, reply["total"])
        reading = next((each for each in _readings(ctx) if each["home"] == home), None)
        if reading is None:
            return Answer({"type": "home", **rows[0]}, (_one(rows[0]),))
        return Answer({"type": "home", **rows[0], "reading": reading}, (_one(rows[0]), *_metered(reading)))
    table = Table(_HEADINGS, [_row(row) for row in rows])
    text = f"{len(rows)} of {reply['total']} homes"
    more = f"; --first {rows[-1]['home'] + 1} goes on" if rows and rows[-1]["home"] < reply["total"] else ""
    return Answer({"type": "homes", **reply}, (table, text + more))


def unknown_home(home: int, total: int) -> ProblemError:
    """There is no such home, and which there are."""
    return ProblemError(
        Exit.NO_SUCH_OBJECT,
        "unknown_home",
        f"there is no home {home}",
        f"this market has the homes 1 to {total}",
        "energyctl homes lists them",
    )


def _readings(ctx: typer.Context) -> list[dict[str, Any]]:
    """The last readings of metered homes."""
    status = ask(session(ctx), "Status")["status"]
    return [dict(each) for each in status.get("meters", ())]


def _metered(reading: dict[str, Any]) -> tuple[str, ...]:
    """The reading of its last slot, in lines."""
    if reading["heard_s"] is None:
        return (f"{reading['meter']} has not been heard yet",)
    lines = [f"{reading['meter']} was heard {span(reading['behind_s'])} of market time ago"]
    if reading["estimated_s"]:
        lines.append(f"{reading['estimated_s']} s of the last reading are estimated")
    if reading["corrected_wh"]:
        lines.append(f"the last reading corrects {kwh(reading['corrected_wh'], sign=True)}: imbalance")
    return tuple(lines)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(row["home"]),
        _POLICIES.get(row["policy"], str(row["policy"])),
        "yes" if row.get("joined") else "no",
        kwh(number(row, "net_wh"), sign=True),
        *(kwh(number(row, name)) for name in _ENERGIES),
        kwh(number(row, "imbalance_wh"), sign=True),
        money(number(row, "money_ueur")),
        money(number(row, "balance_ueur")),
    )


def _one(row: dict[str, Any]) -> Table:
    cells = _row(row)
    names = tuple(heading.lstrip(">") for heading in _HEADINGS)
    return Table(("what", ">value"), list(zip(names, cells, strict=True)))

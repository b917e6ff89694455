"""`energyctl ask`: heavy questions, answered by a worker off the market's path: reports and forecasts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from energyctl.quantities import UEUR_PER_EUR, finite
from energyctl.render import Answer, Block, Table
from energyctl.session import Session, session

TIMEOUT_S: Final = 300.0
_WIDTH_MAX: Final = 108
_HEIGHT: Final = 9
_ROWS: Final = 12
_S_PER_H: Final = 3600

Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, metavar="S", help="Wait at most so long for the answer.")
]
Dispatcher = Annotated[
    str | None,
    typer.Option("--dispatcher", metavar="HOST:PORT", help="The dispatcher, where it is not found."),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Ask a worker for a report or a forecast.", no_args_is_help=True, rich_markup_mode=None
    )
    group.callback()(_ask)
    group.command("report")(report)
    group.command("forecast")(forecast)
    app.add_typer(group, name="ask")


def _ask() -> None:
    """Ask a worker for a report or a forecast.

    The dispatcher refers the question to a worker, which reads and computes off the market's path. Busy
    workers are waited for, dead ones asked again; on a terminal a line shows how far the answer is.
    """


def report(
    ctx: typer.Context,
    last: Annotated[
        str | None, typer.Option("--last", metavar="7d|96", help="The last slots: market time, or a number.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY|TIME|SLOT", help="From this day, time or slot on."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="DAY|TIME|SLOT", help="Until then; a day and a slot are taken in."),
    ] = None,
    home: Annotated[
        int | None, typer.Option("--home", min=1, metavar="ID", help="Of this home only.")
    ] = None,
    timeout_s: Timeout = TIMEOUT_S,
    dispatcher: Dispatcher = None,
) -> Answer:
    """Report on a period of the live ledger: indicators of the community, or of one home.

    Without a period it is of all slots. What the figures mean stands in packaging/doc/kpi.md.
    """
    question = {"last": last, "from": _slot_or_text(since), "to": _slot_or_text(until), "home": home}
    found = _asked(session(ctx), "report", question, timeout_s, dispatcher)
    lines = found.pop("words", [])
    return Answer(found, tuple(str(line) for line in lines))


def forecast(
    ctx: typer.Context,
    ahead: Annotated[
        str | None, typer.Option("--for", metavar="1d|96", help="How far: market time, or slots.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=9, max=1000, metavar="N", help="So many are played: 100.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="S", help="Of the samples' chance: 0.")
    ] = None,
    weather: Annotated[
        float | None,
        typer.Option(
            "--weather", min=0, max=2, metavar="X", help="Part of the climate's spread that is unknown: 0.7."
        ),
    ] = None,
    *,
    no_events: Annotated[bool, typer.Option("--no-events", help="No further events begin.")] = False,
    no_homes: Annotated[
        bool, typer.Option("--no-homes", help="Households do by chance what the scenario's seed says.")
    ] = False,
    timeout_s: Timeout = TIMEOUT_S,
    dispatcher: Dispatcher = None,
) -> Answer:
    """Forecast price and net load of the next day, each with a band of P10 to P90.

    The market's own core is run forward from its present state, many times, each under other weather,
    events and households. The truth lies between P10 and P90 in four of five slots, as far as it comes as
    these do: packaging/doc/forecast.md says how weather is sampled, and what that leaves out.
    """
    question = {
        "for": ahead,
        "samples": samples,
        "seed": seed,
        "weather": finite(weather),
        "events": False if no_events else None,
        "homes": False if no_homes else None,
    }
    found = _asked(session(ctx), "forecast", question, timeout_s, dispatcher)
    return Answer(found, tuple(_told(found)))


def _slot_or_text(given: str | None) -> int | str | None:
    """A number is a slot."""
    return int(given) if given is not None and given.isascii() and given.isdecimal() else given


def _asked(
    here: Session,
    kind: str,
    question: Mapping[str, object],
    timeout_s: float,
    dispatcher: str | None,
) -> dict[str, Any]:
    from energyctl.dispatch.asking import Asking
    from energyctl.dispatch.place import address_of
    from energyctl.dispatch.waiting import WaitingLine

    finite(timeout_s)
    address = address_of(here, dispatcher)
    with WaitingLine(kind) as line:
        asking = Asking(address, timeout_s, line.told)
        return asking.ask(kind, {name: value for name, value in question.items() if value is not None})


# ---- a forecast for people


def _told(found: Mapping[str, Any]) -> list[Block]:
    from energyctl.dispatch.band_plot import INSIDE, MEDIAN, plot

    times: Sequence[str] = found["time"]
    to_kw = _S_PER_H / found["slot_s"] / 1000
    price = {name: [each / UEUR_PER_EUR for each in row] for name, row in found["price_ueur_per_kwh"].items()}
    power = {name: [each * to_kw for each in row] for name, row in found["net_wh"].items()}
    width = min(shutil.get_terminal_size().columns, _WIDTH_MAX)
    count = f"{found['samples']} samples" if found["samples"] > 1 else "nothing is left to chance"
    begins = f"from {_short(times[0])} on ({found['timezone']})"
    return [
        f"{begins}, {len(times)} slots, {found['homes']} homes: {count}",
        "",
        f"price in €/kWh   {MEDIAN} median  {INSIDE} P10 to P90",
        *plot(price, times, width, _HEIGHT, "{:.4f}"),
        "",
        "net load in kW: above zero the homes draw from the grid",
        *plot(power, times, width, _HEIGHT, "{:,.1f}"),
        "",
        _table(times, price, power),
        *(f"note: {note}" for note in found["notes"]),
    ]


def _table(
    times: Sequence[str], price: Mapping[str, Sequence[float]], power: Mapping[str, Sequence[float]]
) -> Table:
    heads = ("from", ">€/kWh P10", ">P50", ">P90", ">kW P10", ">P50", ">P90")
    step = max(1, len(times) // _ROWS)
    names = ("p10", "p50", "p90")
    return Table(
        heads,
        [
            (
                _short(times[at]),
                *(f"{price[name][at]:.4f}" for name in names),
                *(f"{power[name][at]:,.1f}" for name in names),
            )
            for at in range(0, len(times), step)
        ],
    )


def _short(time: str) -> str:
    """RFC 3339 as `2025-06-16 12:00`."""
    return time[:16].replace("T", " ")

"""`energyctl event`: external events, listed, raised and cleared by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from energyctl.asking import ask
from energyctl.exits import Exit, ProblemError
from energyctl.quantities import duration_slots, event, span
from energyctl.render import Answer, Block
from energyctl.session import Session, session

_PERMILLE_MIN, _PERMILLE_MAX = 1, 100_000  # what an event's record holds


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="List, raise and clear external events.", no_args_is_help=True, rich_markup_mode=None
    )
    group.callback()(_events)
    group.command("list")(list_events)
    group.command("raise")(raise_event)
    group.command("clear")(clear_event)
    app.add_typer(group, name="event")


def _events() -> None:
    """List, raise and clear external events."""


def list_events(ctx: typer.Context) -> Answer:
    """Show the active events, and the kinds that this scenario has."""
    reply = ask(session(ctx), "Events")
    active: list[Block] = [
        f"{event(row)}, since slot {row['from_slot']}, by {row['origin']}" for row in reply["active"]
    ]
    kinds = f"kinds: {', '.join(reply['kinds']) or 'none in this scenario'}"
    return Answer({"type": "events", **reply}, (*(active or ["no active events"]), kinds))


def raise_event(
    ctx: typer.Context,
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="What happens: a kind that `energyctl event list` names.")
    ],
    intensity: Annotated[
        float, typer.Option("--intensity", metavar="X", help="Times the event as the scenario has it.")
    ] = 1.0,
    lasting: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="N|2h", help="How long: slots, or market time; without, until it is cleared."
        ),
    ] = None,
) -> Answer:
    """Raise an event from the next slot on, until it is cleared or for a time.

    Events of a kind add. What is left of it in the price afterwards fades: energyctl price --explain.
    """
    permille = round(intensity * 1000) if math.isfinite(intensity) else 0
    if not _PERMILLE_MIN <= permille <= _PERMILLE_MAX:
        raise ProblemError(
            Exit.USAGE,
            "bad_intensity",
            f"intensity {intensity:g} is not within {_PERMILLE_MIN / 1000:g} and {_PERMILLE_MAX / 1000:g}",
            hint="energyctl event clear ends an event",
        )
    here = session(ctx)
    slots, words = None, ""
    if lasting is not None:
        slot_s = _slot_s(here)
        slots = duration_slots(lasting, slot_s)
        words = f" ({slots} slots, {span(slots * slot_s)} of market time)"
    wanted = {"kind": kind, "intensity_permille": permille, "slots": slots}
    raised = ask(here, "Raise", wanted)["event"]
    text = f"raised: {event(raised)}, from slot {raised['from_slot']}{words}"
    return Answer({"type": "event", **raised}, (text, "see its effect: energyctl price --explain"))


def clear_event(
    ctx: typer.Context,
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="The kind; of all origins, also those not raised by hand.")
    ],
) -> Answer:
    """Clear the active events of a kind from the next slot on."""
    reply = ask(session(ctx), "Clear", {"kind": kind})
    count = reply["cleared"]
    text = f"cleared {count} event{'' if count == 1 else 's'} of {kind} from slot {reply['from_slot']}"
    return Answer({"type": "cleared", "kind": kind, **reply}, (text,))


def _slot_s(here: Session) -> int:
    """The slot's length: slots are numbered by UTC seconds // length, so one slot and its time tell it."""
    row: dict[str, Any] = ask(here, "Price")["current"]
    began = datetime.fromisoformat(row["time"]).astimezone(UTC)
    return max(1, round(began.timestamp() / int(row["slot"])))

"""`energyctl watch`: one line per slot as the market commits it, until Ctrl-C or the market's end."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from energyctl.asking import follow
from energyctl.render import Answer
from energyctl.session import Session, session
from energyctl.slotline import slot_line, with_eur


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("watch")(watch)


def watch(ctx: typer.Context) -> Iterator[Answer]:
    """Follow the market: one line per slot as it is committed; with --json one document per line.

    It ends with the market, or with Ctrl-C.
    """
    return _slots(session(ctx))


def _slots(here: Session) -> Iterator[Answer]:
    last_slot = -1
    for reply in follow(here, "Watch"):
        snapshot = reply["snapshot"]
        slot = snapshot.get("slot")
        # a change of phase names the last slot again, and a market that has just started names none
        if isinstance(slot, int) and slot > last_slot:
            last_slot = slot
            yield Answer({**with_eur(snapshot), "type": "slot"}, (slot_line(snapshot),))
        if snapshot.get("phase") in {"ended", "stopped"}:
            return

"""`energyctl restart`: all units down, the configuration checked again, all units up; or some units."""

from __future__ import annotations

from typing import Annotated

import typer

from energyctl.carrier import carrier_of, unit_name
from energyctl.render import Answer
from energyctl.session import session
from energyctl.verbs.start import UNITS, USER, standing_of


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("restart")(restart)


def restart(
    ctx: typer.Context,
    units: Annotated[list[str] | None, UNITS] = None,
    *,
    user: Annotated[bool, USER] = False,
) -> Answer:
    """Stop all of it, check the configuration again, and start; or restart some units only.

    A run of energyctl up keeps its compiled scenario: its daemons end in order and are started again.
    """
    names = [unit_name(text) for text in units or ()]
    carrier = carrier_of(session(ctx).of(user=user), user=user)
    carrier.restart(names)
    return standing_of(carrier, "restarted", names)

"""`energyctl restart`: all units down, the configuration checked again, all units up."""

from __future__ import annotations

from typing import Annotated

import typer

from energyctl import systemd
from energyctl.render import Answer
from energyctl.verbs.start import USER, start


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("restart")(restart)


def restart(ctx: typer.Context, *, user: Annotated[bool, USER] = False) -> Answer:
    """Stop all of it, check the configuration again, and start."""
    systemd.tell(["stop", systemd.SLICE, systemd.TARGET], user=user, timeout_s=systemd.STOP_S_MAX)
    return start(ctx, user=user)

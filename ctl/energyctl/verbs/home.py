"""`energyctl home`: a single home as a unit, started and stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from energyctl import systemd
from energyctl.render import Answer
from energyctl.verbs.start import USER

HOME_MAX = 9_999_999


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Start and stop a single home as a unit.", no_args_is_help=True)
    group.callback()(_home)
    group.command("start")(home_start)
    group.command("stop")(home_stop)
    app.add_typer(group, name="home")


def _home() -> None:
    """Start and stop a single home as a unit."""


_ID = typer.Argument(metavar="ID", min=1, max=HOME_MAX, help="The home's number.")


def home_start(number: Annotated[int, _ID], *, user: Annotated[bool, USER] = False) -> Answer:
    """Start a home that the scenario has as a process of its own."""
    unit = f"energy-home@{number}.service"
    systemd.tell(["start", unit], user=user, timeout_s=systemd.STOP_S_MAX)
    return Answer({"type": "home_started", "home": number, "unit": unit}, (f"{unit} serves",))


def home_stop(number: Annotated[int, _ID], *, user: Annotated[bool, USER] = False) -> Answer:
    """Stop a home; its energy is imbalance until it comes back."""
    unit = f"energy-home@{number}.service"
    systemd.tell(["stop", unit], user=user, timeout_s=systemd.STOP_S_MAX)
    return Answer({"type": "home_stopped", "home": number, "unit": unit}, (f"{unit} is stopped",))

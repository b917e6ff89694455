"""`energyctl home`: a single home as a unit, started and stopped."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from energyctl import systemd
from energyctl.asking import ask
from energyctl.exits import Exit, ProblemError
from energyctl.render import Answer
from energyctl.session import Session, session
from energyctl.verbs.homes import unknown_home
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


def home_start(
    ctx: typer.Context, number: Annotated[int, _ID], *, user: Annotated[bool, USER] = False
) -> Answer:
    """Start a home as a process of its own; one of the pool leaves it for good, with its registers."""
    _known(session(ctx), number)
    unit = f"energy-home@{number}.service"
    systemd.tell(["start", unit], user=user, timeout_s=systemd.STOP_S_MAX, about=(unit,))
    return Answer({"type": "home_started", "home": number, "unit": unit}, (f"{unit} serves",))


def home_stop(
    ctx: typer.Context, number: Annotated[int, _ID], *, user: Annotated[bool, USER] = False
) -> Answer:
    """Stop a home that is a process of its own; it is away until it is started again."""
    row = _known(session(ctx), number)
    unit = f"energy-home@{number}.service"
    ran = any(
        each.get("ActiveState") not in {"inactive", "failed"} for each in systemd.show((unit,), user=user)
    )
    if not ran and row is not None and row.get("joined"):
        raise ProblemError(
            Exit.FAILED,
            "home_in_pool",
            f"home {number} is no process of its own",
            "it trades in the pool, which is stopped as a whole",
            f"energyctl home start {number} takes it out of the pool for good; then it can be stopped",
        )
    systemd.tell(["stop", unit], user=user, timeout_s=systemd.STOP_S_MAX, about=(unit,))
    data = {"type": "home_stopped", "home": number, "unit": unit, "ran": ran}
    if not ran:
        return Answer(data, (f"{unit} did not run",))
    away = (
        f"home {number} is away and does not return to the pool; its energy is imbalance when it comes back"
    )
    back = f"energyctl home start {number} brings it back, and so does the next start of the suite"
    return Answer(data, (f"{unit} is stopped", away, back))


def _known(here: Session, number: int) -> dict[str, Any] | None:
    """What the market says of the home, so that no unit is bothered with one that there is not.

    None if the market cannot be asked: then the unit itself says what is wrong.
    """
    try:
        reply = ask(here, "Homes", {"first": number, "count": 1})
    except ProblemError as problem:
        if problem.exit_code in {Exit.NOT_RUNNING, Exit.UNREACHABLE, Exit.TRY_AGAIN}:
            return None
        raise
    if number > reply["total"]:
        raise unknown_home(number, reply["total"])
    return next((dict(row) for row in reply["homes"] if row["home"] == number), None)

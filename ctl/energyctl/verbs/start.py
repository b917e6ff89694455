"""`energyctl start`: the suite, or some of its units, started and looked at one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from energyctl.carrier import SERVES, Carrier, Manager, carrier_of, unit_name
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import means_users
from energyctl.render import Answer, Table
from energyctl.session import Session, session

UNITS = typer.Argument(metavar="[UNIT]...", help="Only these, for example energy-weather.")
USER = typer.Option("--user", help="The units of your own service manager, not the system's.")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("start")(start)


def start(
    ctx: typer.Context,
    units: Annotated[list[str] | None, UNITS] = None,
    *,
    user: Annotated[bool, USER] = False,
) -> Answer:
    """Start the suite, or some of its units, and wait until all serve; what had failed gets another chance.

    Where a run of energyctl up lives, these are its daemons; else the units of systemd.
    """
    names = [unit_name(text) for text in units or ()]
    carrier = carrier_of(session(ctx).of(user=user), user=user)
    if isinstance(carrier, Manager) and means_users(user=user):
        _not_beside_up(session(ctx).of(user=True))
    carrier.start(names)
    return standing_of(carrier, "started", names)


def _not_beside_up(here: Session) -> None:
    """A user's units and `energyctl up` share a run directory: the one would take the other's sockets."""
    from energyctl.up import proc

    kept = proc.read(here.run_dir)
    if kept is not None:
        raise ProblemError(
            Exit.SECOND_INSTANCE,
            "up_is_here",
            f"a run of energyctl up has {here.run_dir}",
            f"process {kept.up.pid} " + ("keeps it" if kept.up.alive() else "was killed and left it"),
            "energyctl stop" if kept.up.alive() else "energyctl ipc clean",
        )


def standing_of(carrier: Carrier, done: str, names: Sequence[str]) -> Answer:
    """Who carries them is content when a wanted unit has failed: so look at each, or at the named ones."""
    units = [unit for unit in carrier.units() if not names or unit.name in names]
    bad = [unit for unit in units if unit.state not in SERVES]
    rows = [(unit.name, unit.state, unit.says or unit.why * unit.failed) for unit in units]
    data = {"type": done, "ok": not bad, "units": [{"unit": u.name, "state": u.state} for u in units]}
    if bad:
        raise ProblemError(
            Exit.CONFIGURATION if any(u.exit_status == "78" for u in bad) else Exit.FAILED,
            "not_all_started",
            f"not all units serve: {', '.join(unit.name for unit in bad)}",
            "; ".join(f"{unit.name} is {unit.state} ({unit.why})" for unit in bad),
            f"energyctl logs -u {bad[0].name}",
        )
    return Answer(data, (done, Table(("unit", "state", "says"), rows)))

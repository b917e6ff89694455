"""`energyctl start`: the suite as units of systemd, started and looked at one by one."""

from __future__ import annotations

from typing import Annotated

import typer

from energyctl import systemd
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import means_users
from energyctl.render import Answer, Table
from energyctl.session import Session, session

USER = typer.Option("--user", help="The units of your own service manager, not the system's.")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("start")(start)


def start(ctx: typer.Context, *, user: Annotated[bool, USER] = False) -> Answer:
    """Start the suite and wait until all of it serves; what had failed is given another chance."""
    if means_users(user=user):
        _not_beside_up(session(ctx).of(user=True))
    if systemd.installed(user=user):
        failed = [unit.name for unit in systemd.show(user=user) if unit.failed]
        if failed:
            systemd.tell(["reset-failed", *failed], user=user)
    systemd.tell(["start", systemd.TARGET], user=user, unless_failed=systemd.DAEMONS)
    return _standing("started", user=user)


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


def _standing(done: str, *, user: bool) -> Answer:
    """`systemctl start` is content when a wanted unit has failed: so look at each."""
    units = systemd.show(user=user)
    bad = [unit for unit in units if unit.state not in {"active", "not needed"}]
    rows = [(unit.name, unit.state, unit.get("StatusText", "") or unit.why * unit.failed) for unit in units]
    data = {"type": done, "ok": not bad, "units": [{"unit": u.name, "state": u.state} for u in units]}
    if bad:
        raise ProblemError(
            Exit.CONFIGURATION if any(u.get("ExecMainStatus") == "78" for u in bad) else Exit.FAILED,
            "not_all_started",
            f"not all units serve: {', '.join(unit.name for unit in bad)}",
            "; ".join(f"{unit.name} is {unit.state} ({unit.why})" for unit in bad),
            f"energyctl logs -u {bad[0].name}",
        )
    return Answer(data, (done, Table(("unit", "state", "says"), rows)))
